"""The file of the embedded online store: SQLite, a table a view, a row an entity. Read and written without Feast.

A table is called `<project>_<view>`. Its columns are the join keys, `__event` and `__created` (microseconds since 1970)
and the features, in SQLite's own types; times are microseconds, and what SQLite has no type for is Feast's protobuf.

The journal is a WAL: readers see the last commit and never wait for a writer. `synchronous` is NORMAL: a killed process
loses nothing that was committed; a power cut may lose the last commits, never the file, and the offline store has them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_glue.errors import DataError

NO_ENTITY = ("__dummy_id", "")  # Feast's name and value of the key of a view that has no entity
CHUNK = 500  # keys in one query
WRITER_WAITS_S = 30.0  # for another writer
READER_WAITS_S = 0.2  # only while a killed writer's journal is being recovered
NEVER = -(1 << 63)

Row = tuple[Any, ...]


class OnlineFile:
    """One file, which several threads may share. Reading never creates it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: tuple[int, sqlite3.Connection] | None = None  # the inode of the file, and a connection to it

    def read(
        self,
        table: str,
        keys: Sequence[str],
        features: Sequence[str],
        wanted: Sequence[Row],
        oldest_us: int | None = None,
    ) -> dict[Row, Row]:
        """The event time and the features of entities, by the values of their keys; without rows of before `oldest_us`.

        Raises:
            DataError: the file, the table or a column of it does not exist.
        """
        # without the name of its table, SQLite would take a missing column for a text
        key_columns = ", ".join(f"t.{_name(name)}" for name in keys)
        columns = ", ".join(f"t.{_name(name)}" for name in ("__event", *features))
        key = f"({', '.join('?' * len(keys))})"
        oldest = NEVER if oldest_us is None else oldest_us
        found = {}
        with self._reading() as connection:
            for start in range(0, len(wanted), CHUNK):
                some = wanted[start : start + CHUNK]
                query = (
                    f"SELECT {key_columns}, {columns} FROM {_name(table)} t "
                    f"WHERE ({key_columns}) IN (VALUES {', '.join([key] * len(some))}) AND t.__event >= ?"
                )
                for row in connection.execute(query, [*itertools.chain.from_iterable(some), oldest]):
                    found[row[: len(keys)]] = row[len(keys) :]
        return found

    def version(self) -> tuple[int, int]:
        """Changes when another connection has written to the file, or another file has taken its place.

        Raises:
            DataError: the file does not exist.
        """
        with self._reading() as connection:
            return self.path.stat().st_ino, connection.execute("PRAGMA data_version").fetchone()[0]

    def is_empty(self, tables: Sequence[str]) -> bool:
        """Has none of these tables a row?

        Raises:
            DataError: the file, or one of them, does not exist.
        """
        with self._reading() as connection:
            return not any(connection.execute(f"SELECT 1 FROM {_name(table)} LIMIT 1").fetchone() for table in tables)

    def declare(self, table: str, keys: Sequence[str], features: dict[str, str]) -> None:
        """Make a view's table, or adapt it to a changed definition; what changed is null until it is filled again.

        `features` holds Feast's type of each.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        name = _name(table)
        # SQLite makes numbers of text in a column whose type it does not know; keys have no type, so 12 is not "12"
        types = {feature: "TEXT" if kind == "STRING" else kind for feature, kind in features.items()}
        columns = f"{_names(keys)}, __event INTEGER NOT NULL, __created INTEGER, PRIMARY KEY ({_names(keys)})"
        key_query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
        feature_query = "SELECT name, type FROM pragma_table_info(?) WHERE NOT pk AND name NOT IN (?, ?)"
        with self._writing(create=True) as connection:
            if [found for (found,) in connection.execute(key_query, [table])] != list(keys):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) WITHOUT ROWID")
            present = set(connection.execute(feature_query, [table, "__event", "__created"]))
            for feature, _ in present - types.items():
                connection.execute(f"ALTER TABLE {name} DROP COLUMN {_name(feature)}")
            for feature, kind in types.items() - present:
                connection.execute(f"ALTER TABLE {name} ADD COLUMN {_name(feature)} {kind}")

    def write(self, table: str, keys: Sequence[str], features: Sequence[str], rows: Iterable[Row]) -> None:
        """Write all rows or, if it fails, none. An older value never replaces a newer one.

        A row has its keys, its event time, the time of writing or null, and its features.
        """
        columns = [*keys, "__event", "__created", *features]
        updated = ", ".join(f"{_name(name)} = excluded.{_name(name)}" for name in columns[len(keys) :])
        upsert = (  # it ignores a row with a null key, which belongs to nobody
            f"INSERT OR IGNORE INTO {_name(table)} ({_names(columns)}) VALUES ({', '.join('?' * len(columns))}) "
            f"ON CONFLICT ({_names(keys)}) DO UPDATE SET {updated} "
            f"WHERE (excluded.__event, ifnull(excluded.__created, {NEVER})) >= (__event, ifnull(__created, {NEVER}))"
        )
        with self._writing() as connection:
            connection.executemany(upsert, rows)

    def drop(self, table: str) -> None:
        """Delete a view's table, if the file exists."""
        if self.path.exists():
            with self._writing() as connection:
                connection.execute(f"DROP TABLE IF EXISTS {_name(table)}")

    def remove(self) -> None:
        """Delete the file."""
        self._reader = None
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file that is at the path now; it is kept."""
        with self._errors():
            inode = self.path.stat().st_ino
            reader = self._reader
            if reader is None or reader[0] != inode:
                # a folder that cannot be written has no writer either: then the file never changes
                writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
                mode = "mode=rw" if writable else "mode=ro&immutable=1"
                reader = self._reader = inode, self._connect(mode, READER_WAITS_S)
            yield reader[1]

    @contextlib.contextmanager
    def _writing(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction, on a connection of its own."""
        with self._errors():
            if not create:
                self.path.stat()
            with contextlib.closing(self._connect("mode=rwc" if create else "mode=rw", WRITER_WAITS_S)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")

    def _connect(self, mode: str, timeout_s: float) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{mode}"
        made = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        made.execute("PRAGMA synchronous = NORMAL")
        made.execute("PRAGMA cache_size = -65536")
        return made

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: there is no online store", hint="glue materialize") from error
        except sqlite3.OperationalError as error:
            if "no such" in str(error):
                raise DataError(f"the online store has {error}", hint="glue materialize") from error
            raise DataError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}", hint=f"rm {self.path}*; glue materialize") from error


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(_name, names))

"""The file of the embedded online store: SQLite with a table per view and a row per entity, accessed without Feast.

A table is named `<project>_<view>`. Its columns are the join keys, `__event` and `__created` (microseconds since 1970)
and the features in SQLite's types. Times are microseconds, and values without a SQLite type are Feast's protobuf.

The journal is a WAL, so that readers see the last commit and never wait for a writer. `synchronous` is NORMAL: a killed
process loses no committed data. A power cut may lose the last commits, which the offline store still has, but never
damages the file.
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

NO_ENTITY = ("__dummy_id", "")  # Feast's key name and value for a view without an entity
CHUNK = 500  # keys in one query
WRITER_WAITS_S = 30.0  # for another writer
READER_WAITS_S = 0.2  # only while a killed writer's journal is being recovered
NEVER = -(1 << 63)

Row = tuple[Any, ...]


class OnlineFile:
    """The file, which threads may share. Reading never creates it."""

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
        """Read event time and features of entities, by the values of their keys, from `oldest_us` on.

        Raises:
            DataError: the file, the table or a column does not exist.
        """
        # without the table name, SQLite would treat the quoted name of a missing column as text
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
        """Return a value that changes when another connection writes to the file, or when the file is replaced.

        Raises:
            DataError: the file does not exist.
        """
        with self._reading() as connection:
            return self.path.stat().st_ino, connection.execute("PRAGMA data_version").fetchone()[0]

    def is_empty(self, tables: Sequence[str]) -> bool:
        """Are all these tables empty?

        Raises:
            DataError: the file or a table does not exist.
        """
        with self._reading() as connection:
            return not any(connection.execute(f"SELECT 1 FROM {_name(table)} LIMIT 1").fetchone() for table in tables)

    def declare(self, table: str, keys: Sequence[str], features: dict[str, str]) -> None:
        """Create a view's table, or adapt it to a changed definition; changed columns are null until they are filled.

        `features` has the Feast type of each feature.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        name = _name(table)
        # SQLite converts text to numbers in columns of unknown type; keys have no type, so that 12 is not "12"
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
        """Write all rows or none. An older value never replaces a newer one.

        A row consists of its keys, event time, creation time or null, and features.
        """
        columns = [*keys, "__event", "__created", *features]
        updated = ", ".join(f"{_name(name)} = excluded.{_name(name)}" for name in columns[len(keys) :])
        upsert = (  # ignores rows with a null key, which belong to no entity
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
        """Return a cached connection to the file that is at the path now."""
        with self._errors():
            inode = self.path.stat().st_ino
            reader = self._reader
            if reader is None or reader[0] != inode:
                # if the folder is read-only, nobody can write, so the file never changes
                writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
                mode = "mode=rw" if writable else "mode=ro&immutable=1"
                reader = self._reader = inode, self._connect(mode, READER_WAITS_S)
            yield reader[1]

    @contextlib.contextmanager
    def _writing(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Run one transaction on a separate connection."""
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
            raise DataError(f"{self.path}: the online store does not exist", hint="glue materialize") from error
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

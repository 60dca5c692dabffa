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
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_glue.errors import DataError

NO_ENTITY = ("__dummy_id", "")  # Feast's name and value of the key of a view that has no entity
CHUNK = 500  # keys in one query
WRITER_WAITS_MS = 30_000  # for another writer
READER_WAITS_MS = 200  # only while a killed writer's journal is being recovered
NEVER = -(1 << 63)


class OnlineFile:
    """One file; safe to share between threads and across a fork.

    Args:
        path: the file. Reading never creates it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def read(
        self,
        table: str,
        keys: Sequence[str],
        features: Sequence[str],
        wanted: Sequence[tuple[Any, ...]],
        oldest_us: int | None = None,
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """The event time and the features of entities, by the values of their keys.

        Args:
            table: of the view.
            keys: names of the join keys.
            features: names.
            wanted: the values of the keys of each entity.
            oldest_us: rows of before this time are left out.

        Raises:
            DataError: the file, the table or a column of it is not there.
        """
        # without the name of its table, a column that is not there would be taken for a text
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
        """Changes when somebody else has written to the file, or put another in its place.

        Raises:
            DataError: the file is not there.
        """
        with self._reading() as connection:
            return self.path.stat().st_ino, connection.execute("PRAGMA data_version").fetchone()[0]

    def is_empty(self, tables: Sequence[str]) -> bool:
        """Has none of these tables a row?

        Raises:
            DataError: the file, or one of them, is not there.
        """
        with self._reading() as connection:
            return not any(connection.execute(f"SELECT 1 FROM {_name(table)} LIMIT 1").fetchone() for table in tables)

    def declare(self, table: str, keys: Sequence[str], features: dict[str, str]) -> None:
        """Make a view's table, or take over a change of its definition; what changed is null until it is filled anew.

        Args:
            table: of the view.
            keys: names of the join keys.
            features: name and Feast's type of each.
        """
        self._make()
        # SQLite makes numbers of text in a column whose type it does not know
        types = {name: "TEXT" if kind == "STRING" else kind for name, kind in features.items()}
        # keys have no type, so that 12 and "12" stay two
        columns = f"{_names(keys)}, __event INTEGER NOT NULL, __created INTEGER, PRIMARY KEY ({_names(keys)})"
        create = f"CREATE TABLE IF NOT EXISTS {_name(table)} ({columns}) WITHOUT ROWID"
        with self._writing() as connection:
            connection.execute(create)
            present = _columns(connection, table)
            if [name for name, (_, is_key) in present.items() if is_key] != list(keys):
                connection.execute(f"DROP TABLE {_name(table)}")
                connection.execute(create)
                present = _columns(connection, table)
            for name, (kind, is_key) in present.items():
                if not is_key and name not in ("__event", "__created") and types.get(name) != kind:
                    connection.execute(f"ALTER TABLE {_name(table)} DROP COLUMN {_name(name)}")
            kept = _columns(connection, table)
            for name in types.keys() - kept.keys():
                connection.execute(f"ALTER TABLE {_name(table)} ADD COLUMN {_name(name)} {types[name]}")

    def write(self, table: str, keys: Sequence[str], features: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows: all of them or, when it fails, none. An older value never replaces a newer one.

        Args:
            table: of the view.
            keys: names of the join keys.
            features: names.
            rows: keys, event time, time of writing or null, and features of each.
        """
        columns = [*keys, "__event", "__created", *features]
        # a row with a null key is nobody's, and ignored
        updated = ", ".join(f"{_name(name)} = excluded.{_name(name)}" for name in columns[len(keys) :])
        upsert = (
            f"INSERT OR IGNORE INTO {_name(table)} ({_names(columns)}) VALUES ({', '.join('?' * len(columns))}) "
            f"ON CONFLICT ({_names(keys)}) DO UPDATE SET {updated} "
            f"WHERE (excluded.__event, ifnull(excluded.__created, {NEVER})) >= (__event, ifnull(__created, {NEVER}))"
        )
        with self._writing() as connection:
            connection.executemany(upsert, rows)

    def drop(self, table: str) -> None:
        """Forget a view and its rows."""
        with self._writing() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {_name(table)}")

    def remove(self) -> None:
        """Remove the file."""
        self._close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection()
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: there is no online store", hint="glue materialize") from error
        except sqlite3.OperationalError as error:
            if "no such" in str(error):
                raise DataError(f"the online store has {error}", hint="glue materialize") from error
            raise DataError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}", hint=f"rm {self.path}*; glue materialize") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            connection = self._connection()
            connection.execute(f"PRAGMA busy_timeout = {WRITER_WAITS_MS}")
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                connection.execute(f"PRAGMA busy_timeout = {READER_WAITS_MS}")
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: there is no online store", hint="glue materialize") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _make(self) -> None:
        """The file, where it is not there.

        Raises:
            DataError: it is there and no database.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        waits_s = WRITER_WAITS_MS / 1000
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=waits_s, isolation_level=None)) as connection:
                if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # busy, or a full disk: nothing that removing would mend
            raise
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}", hint=f"rm {self.path}*; glue materialize") from error

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection to the file that is at the path now."""
        local, opened = self._local, (os.getpid(), self.path.stat().st_ino)
        if getattr(local, "opened", None) != opened:
            if getattr(local, "opened", (None,))[0] == os.getpid():
                self._close()
            # a parent's connection is not closed here: that would drop the parent's locks
            local.of_parent = getattr(local, "connection", None)
            # a folder that cannot be written has no writer either: then the file is as it is
            writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
            uri = f"{self.path.absolute().as_uri()}?{'mode=rw' if writable else 'mode=ro&immutable=1'}"
            local.connection = sqlite3.connect(uri, uri=True, timeout=READER_WAITS_MS / 1000, isolation_level=None)
            local.connection.execute("PRAGMA synchronous = NORMAL")
            local.connection.execute("PRAGMA cache_size = -65536")
            local.opened = opened
        connection: sqlite3.Connection = local.connection
        return connection

    def _close(self) -> None:
        connection = getattr(self._local, "connection", None)
        self._local.connection = self._local.opened = None
        if connection is not None:
            connection.close()


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, tuple[str, bool]]:
    """The type of each column, and whether it is a key."""
    rows = connection.execute("SELECT name, type, pk FROM pragma_table_info(?) ORDER BY pk", [table])
    return {name: (kind, bool(place)) for name, kind, place in rows}


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(_name, names))

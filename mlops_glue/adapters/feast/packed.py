"""The file of the packed online store: SQLite, a table a view, a row a key. Read and written without Feast or pandas.

A key is msgpack of the join key's value, or of a list of them in the order of their names; a row is a msgpack array of
the number of its schema and its features. Schemas are kept in the file, so that a row written before a view changed is
still read by the names that it was written under.

The journal is a WAL: readers see the last commit and never wait for a writer. `synchronous` is NORMAL: a killed process
loses nothing that was committed; a power cut may lose the last commits, never the file, and the offline store has them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlops_glue.errors import DataError
from mlops_glue.suggest import did_you_mean

# As Feast numbers and names them
PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 3, 4
CHUNK = 500  # keys in one query
WRITER_WAITS_MS = 30_000  # for another writer
READER_WAITS_MS = 200  # only while a killed writer's journal is being recovered
# A row gives way to one that is not older; of equally old ones to the last written
UPSERT = """INSERT INTO {table} VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET event = excluded.event, created = excluded.created, row = excluded.row
WHERE (excluded.event, ifnull(excluded.created, {never})) >= (event, ifnull(created, {never}))"""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list).decode


@dataclass(frozen=True)
class View:
    """What the file knows of a view."""

    name: str
    keys: tuple[str, ...]
    """Join keys in the order of their names."""
    features: tuple[tuple[str, str], ...]
    """Name and Feast's value type of each, as new rows have them."""
    ttl_us: int | None


class Found(NamedTuple):
    """What there is for one key. Times are microseconds, in `values` too; maps, JSON and the like stay packed."""

    status: int
    event_us: int | None
    values: list[Any] | None


@dataclass(frozen=True)
class Read:
    """What is read of a view: its name in the file, name and type of each feature, and how long a value is good."""

    view: str
    features: Sequence[tuple[str, str]]
    ttl_us: int | None


MISSING = Found(NOT_FOUND, None, None)


def key_of(values: Sequence[Any]) -> bytes:
    """The key of an entity, from its join keys' values in the order of their names."""
    return encode(values[0] if len(values) == 1 else list(values))


class PackedFile:
    """One file; safe to share between threads and across a fork.

    Args:
        path: the file. Reading never creates it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._schemas: dict[int, dict[tuple[str, str], int]] = {}

    def views(self) -> dict[str, View]:
        """The views of the file by name, which is `<project>_<view>`."""
        with self._reading() as connection:
            rows = connection.execute("SELECT name, spec FROM views").fetchall()
        specs = {name: json.loads(spec) for name, spec in rows}
        return {
            name: View(name, tuple(s["keys"]), tuple((n, t) for n, t in s["features"]), s["ttl_us"])
            for name, s in specs.items()
        }

    def is_empty(self, views: Sequence[str]) -> bool:
        """Has none of these views a row?

        Raises:
            DataError: the file, or one of them, is not there.
        """
        with self._reading() as connection:
            return not any(connection.execute(f"SELECT 1 FROM {_table(view)} LIMIT 1").fetchone() for view in views)

    def version(self) -> tuple[int, int]:
        """Changes when somebody else has written to the file, or put another in its place."""
        with self._reading() as connection:
            return self._local.of[1], connection.execute("PRAGMA data_version").fetchone()[0]

    def read(
        self,
        view: str,
        keys: Sequence[bytes],
        features: Sequence[tuple[str, str]],
        ttl_us: int | None,
        now_us: int | None = None,
    ) -> list[Found]:
        """What there is for each key: every feature that is asked for, null where its row was written without.

        Args:
            view: its name in the file.
            keys: of `key_of`.
            features: name and type of each; one that was written as another type is null until it is written anew.
            ttl_us: how long a value is good for (just as long still is); None: for ever.
            now_us: the time to reckon from; None: the clock.

        Raises:
            DataError: the file, or the view in it, is not there.
        """
        now_us = time.time_ns() // 1000 if now_us is None else now_us
        return self.read_together([(Read(view, features, ttl_us), keys)], now_us)[0]

    def read_together(self, asked: Sequence[tuple[Read, Sequence[bytes]]], now_us: int) -> list[list[Found]]:
        """As `read`, of several views with one look at the file: `asked` has each view and its keys.

        Raises:
            DataError: the file, or a view in it, is not there.
        """
        with self._reading() as connection:
            rows = [_rows(connection, one.view, list(dict.fromkeys(keys))) for one, keys in asked]
        out = []
        for (one, keys), found in zip(asked, rows, strict=True):
            oldest = None if one.ttl_us is None else now_us - one.ttl_us
            places: dict[int, list[int | None]] = {}
            out.append([self._found(found.get(key), one.features, oldest, places) for key in keys])
        return out

    def _found(
        self,
        got: tuple[int, bytes] | None,
        features: Sequence[tuple[str, str]],
        oldest: int | None,
        places: dict[int, list[int | None]],
    ) -> Found:
        if got is None:
            return MISSING
        event, blob = got
        if oldest is not None and event < oldest:
            return Found(OUTSIDE_MAX_AGE, event, None)
        row = decode(blob)
        if row[0] not in places:
            schema = self._schema(row[0])
            places[row[0]] = [schema.get((name, kind)) for name, kind in features]
        return Found(PRESENT, event, [None if at is None else row[at] for at in places[row[0]]])

    def _schema(self, number: int) -> dict[tuple[str, str], int]:
        """Where each feature stands in a row of this schema."""
        if number not in self._schemas:
            with self._reading() as connection:
                ((text,),) = connection.execute("SELECT features FROM schemas WHERE id = ?", [number]).fetchall()
            self._schemas[number] = {(name, kind): at for at, (name, kind) in enumerate(json.loads(text), start=1)}
        return self._schemas[number]

    def declare(self, view: View) -> int:
        """Make the view's table, or take over a change of its definition.

        Returns:
            The number of the schema, which new rows begin with.
        """
        features = json.dumps(view.features)
        spec = json.dumps({"keys": view.keys, "features": view.features, "ttl_us": view.ttl_us})
        self._make()
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO schemas (features) VALUES (?)", [features])
            connection.execute("INSERT OR REPLACE INTO views VALUES (?, ?)", [view.name, spec])
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_table(view.name)} (key BLOB PRIMARY KEY, event INTEGER NOT NULL,"
                " created INTEGER, row BLOB NOT NULL) WITHOUT ROWID"
            )
            ((number,),) = connection.execute("SELECT id FROM schemas WHERE features = ?", [features]).fetchall()
        return int(number)

    def write(self, view: str, rows: Iterable[tuple[bytes, int, int | None, bytes]]) -> None:
        """Write key, event time, created time and packed row of each; all of them or, when it fails, none."""
        with self._writing() as connection:
            connection.executemany(UPSERT.format(table=_table(view), never=-(1 << 63)), rows)

    def drop(self, view: str) -> None:
        """Forget a view and its rows."""
        with self._writing() as connection:
            connection.execute("DELETE FROM views WHERE name = ?", [view])
            connection.execute(f"DROP TABLE IF EXISTS {_table(view)}")

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection(self.path.stat().st_ino)
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: there is no online store", hint="feast apply, then materialize") from error
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                table = str(error).rpartition("rows:")[2]
                raise DataError(
                    f"{self.path} has no view {table!r}", hint=did_you_mean(table, [*self.views()])
                ) from error
            raise DataError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}", hint="remove it, then feast apply and materialize") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            connection = self._connection(self.path.stat().st_ino)
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
            raise DataError(f"{self.path}: there is no online store", hint="feast apply") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _make(self) -> None:
        """The file and its first tables, where they are not there whole: a kill may come between them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._make_tables()
        except sqlite3.OperationalError:  # busy, or a full disk: nothing that removing would mend
            raise
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}", hint=f"rm {self.path}*; glue materialize") from error

    def _make_tables(self) -> None:
        with contextlib.closing(
            sqlite3.connect(self.path, timeout=WRITER_WAITS_MS / 1000, isolation_level=None)
        ) as connection:
            if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS views (name TEXT PRIMARY KEY, spec TEXT NOT NULL)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schemas (id INTEGER PRIMARY KEY, features TEXT UNIQUE NOT NULL)"
            )

    def _connection(self, inode: int) -> sqlite3.Connection:
        """This thread's connection to the file that is there now."""
        local = self._local
        if getattr(local, "connection", None) is None or local.of != (os.getpid(), inode):
            if getattr(local, "of", (None,))[0] == os.getpid():
                self.close()
            local.kept = getattr(local, "connection", None)  # a parent's is not closed here: that would drop its locks
            # a folder that cannot be written has no writer either: then the file is as it is
            writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
            uri = f"{self.path.absolute().as_uri()}?{'mode=rw' if writable else 'mode=ro&immutable=1'}"
            local.connection = sqlite3.connect(uri, uri=True, timeout=READER_WAITS_MS / 1000, isolation_level=None)
            local.connection.execute("PRAGMA synchronous = NORMAL")
            local.connection.execute("PRAGMA cache_size = -65536")
            local.of = (os.getpid(), inode)
        connection: sqlite3.Connection = local.connection
        return connection


def _rows(connection: sqlite3.Connection, view: str, keys: list[bytes]) -> dict[bytes, tuple[int, bytes]]:
    found = {}
    for start in range(0, len(keys), CHUNK):
        some = keys[start : start + CHUNK]
        query = f"SELECT key, event, row FROM {_table(view)} WHERE key IN ({','.join('?' * len(some))})"
        for key, event, row in connection.execute(query, some):
            found[key] = (event, row)
    return found


def _table(view: str) -> str:
    return '"rows:' + view.replace('"', '""') + '"'

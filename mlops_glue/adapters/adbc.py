"""ADBC: the prediction log as tables of PostgreSQL, with the methods that a folder of its Parquet files has.

A file of the log is the rows with its name in `glue_file`. `glue_log_files` lists the files; rows of one version with
the same columns are a table of their own, `predictions_v3_1f2e3d4c`, whose columns are those of the Parquet file.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from mlops_glue import waiting
from mlops_glue.errors import GlueError, MissingExtra, ToolError
from mlops_glue.layout import LOGGED
from mlops_glue.secrets import redacted

if TYPE_CHECKING:
    import pyarrow as pa

FILES = "glue_log_files"
MAKE = f"""CREATE TABLE IF NOT EXISTS {FILES}
(name text PRIMARY KEY, bytes bigint, modified timestamptz, rows_in text, arrow_schema bytea)"""
LOCK = "SELECT pg_advisory_xact_lock(712077101)"  # writers take turns: two cannot make one table at once
NAME_BYTES = 63  # of a name in PostgreSQL, which cuts longer ones
MAX_MESSAGE = 200  # characters
Result = TypeVar("Result")


class LogTables:
    """A prediction log in the first schema of a database's search path.

    Raises:
        MissingExtra: the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        """`url` is postgresql://user:password@host/database; ?options=-csearch_path%3Dname chooses a schema."""
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise MissingExtra("adbc-driver-postgresql", "postgres") from error
        self.where, self._url, self._connect = redacted(url), url, dbapi.connect

    def put(self, source: Path, name: str) -> None:
        """Insert a file's rows, in the place of those that have its name.

        Raises:
            ToolError: they could not be written; nothing is.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(source)
        rows = _storable(table)
        version = found[2] if (found := LOGGED.search(name)) else "0"
        into = f"predictions_v{version}_{sha256(str(rows.schema.remove_metadata()).encode()).hexdigest()[:8]}"
        rows = rows.append_column("glue_file", pa.array([name] * len(rows), pa.string()))

        def work(cursor: Any) -> None:
            cursor.execute(LOCK)
            cursor.execute(MAKE)
            _delete(cursor, name)
            cursor.adbc_ingest(into, rows, mode="create_append")
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {into}_file ON {into} (glue_file)")
            entry = (name, source.stat().st_size, into, table.schema.serialize().to_pybytes())
            cursor.execute(f"INSERT INTO {FILES} VALUES ($1, $2, now(), $3, $4)", entry)

        self._done(work)

    def files(self) -> list[tuple[str, int, float]]:
        """Name, bytes as a Parquet file and time (seconds since 1970) of each file."""

        def work(cursor: Any) -> list[tuple[str, int, float]]:
            if not _is_there(cursor):
                return []
            cursor.execute(f"SELECT name, bytes, extract(epoch FROM modified)::float8 FROM {FILES}")
            return [(str(name), int(size), float(when)) for name, size, when in cursor.fetchall()]

        return self._done(work)

    def open(self, name: str) -> IO[bytes]:
        """A file's rows as the Parquet file that they came from.

        Raises:
            ToolError: there is no such file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        def work(cursor: Any) -> pa.Table:
            cursor.execute(f"SELECT rows_in, arrow_schema FROM {FILES} WHERE name = $1", (name,))
            found = cursor.fetchone()
            if found is None:
                raise ToolError(f"{self.where}: no {name} in {FILES}")
            schema = pa.ipc.read_schema(pa.py_buffer(found[1]))
            chosen = ", ".join(map(_quoted, _names(schema)))
            cursor.execute(f"SELECT {chosen} FROM {_quoted(found[0])} WHERE glue_file = $1", (name,))
            columns = zip(cursor.fetch_arrow_table().columns, schema, strict=True)
            return pa.table([column.cast(field.type) for column, field in columns], schema)

        stream = io.BytesIO()
        pq.write_table(self._done(work), stream)
        stream.seek(0)
        return stream

    def remove(self, name: str) -> None:
        """Delete a file's rows; that another host did so first is as good."""

        def work(cursor: Any) -> None:
            cursor.execute(LOCK)
            _delete(cursor, name)

        self._done(work)

    def try_out(self) -> None:
        """Make the table of files, as the first host does.

        Raises:
            ToolError: it cannot be made or written.
        """

        def work(cursor: Any) -> None:
            cursor.execute(LOCK)
            cursor.execute(MAKE)
            cursor.execute(f"DELETE FROM {FILES} WHERE false")

        self._done(work)

    def _done(self, work: Callable[[Any], Result]) -> Result:
        """Do work in one transaction, within the time limit of a store."""

        def done() -> Result:
            with self._connect(self._url) as connection, connection.cursor() as cursor:
                result = work(cursor)
                connection.commit()
                return result

        with self._translated():
            return waiting.answered(self.where, done)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except GlueError:
            raise
        except Exception as error:  # ADBC's, and Arrow's where a table was changed by hand
            said = " ".join(redacted(str(error), self._url).split()).rpartition("ERROR: ")[2]  # before it is the query
            raise ToolError(f"{self.where}: {said[:MAX_MESSAGE]}", hint="glue doctor") from error


def _is_there(cursor: Any) -> bool:
    cursor.execute("SELECT to_regclass($1) IS NOT NULL", (FILES,))
    return bool(cursor.fetchone()[0])


def _delete(cursor: Any, name: str) -> None:
    """Delete what has this name."""
    if not _is_there(cursor):
        return
    cursor.execute(f"DELETE FROM {FILES} WHERE name = $1 RETURNING rows_in", (name,))
    for (table,) in cursor.fetchall():
        cursor.execute(f"DELETE FROM {_quoted(table)} WHERE glue_file = $1", (name,))


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _names(schema: pa.Schema) -> list[str]:
    """The columns' names in PostgreSQL: `glue_column_7` for one that is too long there, or that two would have."""
    fits = [len(name.encode()) <= NAME_BYTES and name != "glue_file" for name in schema.names]
    return [name if fit else f"glue_column_{at}" for at, (name, fit) in enumerate(zip(schema.names, fits, strict=True))]


def _storable(table: pa.Table) -> pa.Table:
    """The rows with such names; PostgreSQL's text takes no NUL, which is left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def stored(column: Any) -> Any:
        return pc.replace_substring(column, "\0", "") if pa.types.is_string(column.type) else column

    return pa.table([stored(column) for column in table.columns], _names(table.schema))

"""ADBC: the prediction log as PostgreSQL tables, with the same methods as a folder of Parquet files.

The rows of a file of the log have its name in the column `glue_file`, and `glue_log_files` lists the files. Rows of one
version with the same columns share a table, such as `predictions_v3_1f2e3d4c`, with the columns of the Parquet file.
"""

from __future__ import annotations

import contextlib
import io
import re
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
LOCK = "SELECT pg_advisory_xact_lock(712077101)"  # two transactions cannot create the same table at the same time
# of each transaction, so that the server releases the locks of a host that froze or died
LIMITS = {
    **{"statement_timeout": "600s", "idle_in_transaction_session_timeout": "60s"},
    **{"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"},
}
LIMIT = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in LIMITS.items())
NAME_BYTES = 63  # the longest name in PostgreSQL, which truncates longer ones
OWN = ("", "glue_file", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")  # not allowed as names, or reserved
PAGE_BYTES, HEAD_BYTES = 8160, 64  # the largest row, and its size without the values and their null bits
TEXT_BYTES, VALUE_BYTES = 24, 8  # the most that a value takes in the row: longer text is stored outside it
ROW_BYTES = 48  # on disk, in addition to values and file name: the row's header and its share of the index
# a password with one of these characters would be parsed as host or port, which an error quotes
URL = re.compile(r"[a-z]+://([^@/?#]*@)?[^@]*")
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
        if URL.fullmatch(url) is None:
            problem = "a prediction log's URL has a sign in its user or password that ends them"
            raise ToolError(problem, hint="@ is %40 there, / is %2F, ? is %3F, # is %23")
        self.where, self._url, self._connect = redacted(url), url, dbapi.connect

    def put(self, source: Path, name: str) -> None:
        """Insert a file's rows, and replace rows that have its name.

        Raises:
            ToolError: the rows could not be written; the tables are unchanged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(source)
        if _row_bytes(table.schema) > PAGE_BYTES:  # otherwise the values of each request would decide if it fits
            problem = f"{self.where}: {table.num_columns} columns do not fit into a row of PostgreSQL"
            raise ToolError(problem, hint="log this model to a folder or an object store")
        rows = _storable(table)
        version = found[2] if (found := LOGGED.search(name)) else "0"
        into = f"predictions_v{version}_{sha256(str(rows.schema.remove_metadata()).encode()).hexdigest()[:8]}"
        rows = rows.append_column("glue_file", pa.array([name] * len(rows), pa.string()))

        def make(cursor: Any) -> None:
            if _is_there(cursor, FILES) and _is_there(cursor, into):
                return
            cursor.execute(LOCK)
            cursor.execute(MAKE)
            cursor.adbc_ingest(into, rows.slice(0, 0), mode="create_append")
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {into}_file ON {into} (glue_file)")

        def work(cursor: Any) -> None:
            n_bytes = table.nbytes + len(table) * (ROW_BYTES + len(name))
            entry = (name, n_bytes, into, table.schema.serialize().to_pybytes())
            # another host that sends the same file waits here; the returned table has the rows to replace
            claim = f"""INSERT INTO {FILES} VALUES ($1, $2, now(), $3, $4)
            ON CONFLICT (name) DO UPDATE SET modified = now() RETURNING rows_in"""
            cursor.execute(claim, entry)
            cursor.execute(f"DELETE FROM {_quoted(cursor.fetchone()[0])} WHERE glue_file = $1", (name,))
            cursor.adbc_ingest(into, rows, mode="append")
            cursor.execute(f"UPDATE {FILES} SET bytes = $2, rows_in = $3, arrow_schema = $4 WHERE name = $1", entry)

        self._done(make)  # in its own transaction, so that no host waits for another host's rows
        self._done(work)

    def files(self) -> list[tuple[str, int, float]]:
        """Return name, bytes (approximate, in the database) and time (seconds since 1970) of each file."""

        def work(cursor: Any) -> list[tuple[str, int, float]]:
            if not _is_there(cursor, FILES):
                return []
            cursor.execute(f"SELECT name, bytes, extract(epoch FROM modified)::float8 FROM {FILES}")
            return [(str(name), int(size), float(when)) for name, size, when in cursor.fetchall()]

        return self._done(work)

    def open(self, name: str) -> IO[bytes]:
        """Return a file's rows as the Parquet file that they came from.

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
        """Delete a file's rows. It is no error if another host has deleted them first."""

        def work(cursor: Any) -> None:
            if not _is_there(cursor, FILES):
                return
            cursor.execute(f"DELETE FROM {FILES} WHERE name = $1 RETURNING rows_in", (name,))
            for (table,) in cursor.fetchall():
                cursor.execute(f"DELETE FROM {_quoted(table)} WHERE glue_file = $1", (name,))

        self._done(work)

    def try_out(self) -> None:
        """Create the table of files if it does not exist, and check that it can be written.

        Raises:
            ToolError: it cannot be created or written.
        """

        def work(cursor: Any) -> None:
            cursor.execute(LOCK)
            cursor.execute(MAKE)
            cursor.execute(f"DELETE FROM {FILES} WHERE false")

        self._done(work)

    def _done(self, work: Callable[[Any], Result]) -> Result:
        """Run `work` in one transaction, within the time limit of a store."""

        def done() -> Result:
            with self._connect(self._url) as connection, connection.cursor() as cursor:
                cursor.execute(LIMIT)
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
        except Exception as error:  # ADBC's, or Arrow's if a table was changed by hand
            # the query precedes "ERROR: "
            message = " ".join(redacted(str(error), self._url).split()).rpartition("ERROR: ")[2]
            raise ToolError(f"{self.where}: {message[:MAX_MESSAGE]}", hint="glue doctor") from error


def _is_there(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT to_regclass($1) IS NOT NULL", (table,))
    return bool(cursor.fetchone()[0])


def _row_bytes(schema: pa.Schema) -> int:
    """Return the size of the largest possible row, in bytes."""
    texts = [str(field.type) for field in schema].count("string")
    return HEAD_BYTES + len(schema) // 8 + TEXT_BYTES * texts + VALUE_BYTES * (len(schema) - texts)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _names(schema: pa.Schema) -> list[str]:
    """Return the columns' names in PostgreSQL: `glue_column_7` for a name that is not allowed there."""
    fits = [len(n.encode()) <= NAME_BYTES and n not in OWN and "\0" not in n for n in schema.names]
    return [name if fit else f"glue_column_{at}" for at, (name, fit) in enumerate(zip(schema.names, fits, strict=True))]


def _storable(table: pa.Table) -> pa.Table:
    """Return the table with PostgreSQL's names, and without NUL characters, which its text type cannot store."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def stored(column: Any) -> Any:
        return pc.replace_substring(column, "\0", "") if pa.types.is_string(column.type) else column

    return pa.table([stored(column) for column in table.columns], _names(table.schema))

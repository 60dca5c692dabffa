"""ADBC: the prediction log as tables of PostgreSQL, with the methods that a folder of its Parquet files has.

A file of the log is the rows with its name in `glue_file`. `glue_log_files` lists the files; rows of one version with
the same columns are a table of their own, `predictions_v3_1f2e3d4c`, whose columns are those of the Parquet file.
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
LOCK = "SELECT pg_advisory_xact_lock(712077101)"  # whose turn it is to make a table: two cannot make one at once
# of one transaction: what a host that froze or died holds is given up
LIMITS = {
    **{"statement_timeout": "600s", "idle_in_transaction_session_timeout": "60s"},
    **{"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"},
}
LIMIT = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in LIMITS.items())
NAME_BYTES = 63  # of a name in PostgreSQL, which cuts longer ones
OWN = ("", "glue_file", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")  # no names there, or PostgreSQL's own
PAGE_BYTES, HEAD_BYTES = 8160, 64  # of a row at most, and what it has besides its values and a bit for each
TEXT_BYTES, VALUE_BYTES = 24, 8  # that a value may take there: a longer text lies elsewhere
ROW_BYTES = 48  # on disk, besides its values and the name of its file: its head, its share of the index
# a secret with one of these signs is read as a host or a port, which an error quotes
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
        """Insert a file's rows, in the place of those that have its name.

        Raises:
            ToolError: they could not be written; nothing is.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(source)
        if _row_bytes(table.schema) > PAGE_BYTES:  # else what one request holds decides whether its file is taken
            problem = f"{self.where}: {table.num_columns} columns are more than a row of PostgreSQL holds"
            raise ToolError(problem, hint="such a model logs to a folder or an object store")
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
            # whoever sends the same file waits here for the other's end; the table is that of the rows that are there
            claim = f"""INSERT INTO {FILES} VALUES ($1, $2, now(), $3, $4)
            ON CONFLICT (name) DO UPDATE SET modified = now() RETURNING rows_in"""
            cursor.execute(claim, entry)
            cursor.execute(f"DELETE FROM {_quoted(cursor.fetchone()[0])} WHERE glue_file = $1", (name,))
            cursor.adbc_ingest(into, rows, mode="append")
            cursor.execute(f"UPDATE {FILES} SET bytes = $2, rows_in = $3, arrow_schema = $4 WHERE name = $1", entry)

        self._done(make)  # by itself, so that nobody waits for the rows of another one's file
        self._done(work)

    def files(self) -> list[tuple[str, int, float]]:
        """Name, bytes (about those in the database) and time (seconds since 1970) of each file."""

        def work(cursor: Any) -> list[tuple[str, int, float]]:
            if not _is_there(cursor, FILES):
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
            if not _is_there(cursor, FILES):
                return
            cursor.execute(f"DELETE FROM {FILES} WHERE name = $1 RETURNING rows_in", (name,))
            for (table,) in cursor.fetchall():
                cursor.execute(f"DELETE FROM {_quoted(table)} WHERE glue_file = $1", (name,))

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
        except Exception as error:  # ADBC's, and Arrow's where a table was changed by hand
            said = " ".join(redacted(str(error), self._url).split()).rpartition("ERROR: ")[2]  # before it is the query
            raise ToolError(f"{self.where}: {said[:MAX_MESSAGE]}", hint="glue doctor") from error


def _is_there(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT to_regclass($1) IS NOT NULL", (table,))
    return bool(cursor.fetchone()[0])


def _row_bytes(schema: pa.Schema) -> int:
    """What the longest row takes of a page."""
    texts = [str(field.type) for field in schema].count("string")
    return HEAD_BYTES + len(schema) // 8 + TEXT_BYTES * texts + VALUE_BYTES * (len(schema) - texts)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _names(schema: pa.Schema) -> list[str]:
    """The columns' names in PostgreSQL: `glue_column_7` for one that is none there, or that two would have."""
    fits = [len(n.encode()) <= NAME_BYTES and n not in OWN and "\0" not in n for n in schema.names]
    return [name if fit else f"glue_column_{at}" for at, (name, fit) in enumerate(zip(schema.names, fits, strict=True))]


def _storable(table: pa.Table) -> pa.Table:
    """The rows with such names; PostgreSQL's text takes no NUL, which is left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def stored(column: Any) -> Any:
        return pc.replace_substring(column, "\0", "") if pa.types.is_string(column.type) else column

    return pa.table([stored(column) for column in table.columns], _names(table.schema))

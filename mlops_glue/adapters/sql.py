"""Read a query from PostgreSQL (psycopg) or DuckDB: as one table, or in sorted pieces with exact types."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_glue import other_formats
from mlops_glue.errors import DataError, GlueError, MissingExtra, ToolError, first_line
from mlops_glue.secrets import redacted

if TYPE_CHECKING:
    import pyarrow as pa

Result = TypeVar("Result")
ANSWER_S = 5
CONNECT_S = 10
STATEMENT_S = 600
GRACE_S = 5  # time for the server itself to report that a statement took too long
PIECE_ROWS = 1 << 15
MEMORY = "1GB"  # DuckDB's limit; beyond it, DuckDB spills to disk
DECIMALS = 38  # digits of Arrow's decimal128
EXACT = {  # DuckDB types with an identical Arrow type
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("DECIMAL", "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
}
CONNECTION = ("OperationalError", "ConnectionTimeout")  # psycopg's errors of a connection that failed or broke
TEXT, UUID, NUMERIC = (25, 1043, 1042, 19), 2950, 1700  # PostgreSQL's type numbers, which never change


def query(url: str, text: str, root: Path) -> pa.Table:
    """Return the rows of a query, without writing anything.

    Args:
        url: postgresql://user:password@host/database or duckdb:///file. No message contains it, because it may contain
            secrets.
        text: the query.
        root: the folder that a DuckDB file is relative to.

    Raises:
        DataError: the URL has another scheme, or its file does not exist.
        ToolError: the database does not answer, or refuses the query.
    """
    kind = _kind(url)
    with _translated(kind, url):
        return _duckdb(url, text, root) if kind == "duckdb" else _postgres(url, text)


def rows(url: str, text: str, root: Path, limit_s: float) -> Iterator[pa.Table]:
    """Yield the rows of a SELECT in pieces, without writing anything; the first piece has no rows.

    The rows are sorted by all columns, from the first to the last, with nulls last and text ordered by its bytes, so
    the order does not depend on the database's query plan. The query runs as a subquery, so it must be a SELECT;
    PostgreSQL runs it in a read-only transaction. With `duckdb://` and no file, the query reads files by their paths
    relative to `root`.

    Args:
        url: as in `query`.
        text: the query.
        root: the project folder.
        limit_s: how long the database may take to return the next rows.

    Raises:
        DataError: as in `query`; or a column's type cannot be stored exactly, or two columns have the same name.
        ToolError: the database does not answer in time, or refuses the query.
    """
    kind, text = _kind(url), text.strip().rstrip(";")
    files = "; file paths are relative to the project folder" if kind == "duckdb" else ""
    hint = f"is it a single SELECT that runs there? it is run as: select * from (QUERY) as q{files}"
    with _translated(kind, url, hint):
        yield from _duckdb_rows(url, text, root, limit_s) if kind == "duckdb" else _postgres_rows(url, text, limit_s)


def check_answers(place: str | dict[str, Any], key: str) -> None:
    """Connect to a PostgreSQL database and run a trivial query.

    Args:
        place: its URL, or Feast's options of a store.
        key: the config key that names it in an error.

    Raises:
        MissingExtra: psycopg is not installed.
        ToolError: the connection fails.
    """
    if isinstance(place, str) and not place.startswith(("postgresql", "postgres:")):
        return
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres") from error
    names = {"host": "host", "port": "port", "database": "dbname", "user": "user", "password": "password"}
    more = {name: place[ours] for ours, name in names.items() if ours in place} if isinstance(place, dict) else {}
    url = f"postgresql://{place.partition('://')[2]}" if isinstance(place, str) else ""
    try:
        with psycopg.connect(url, connect_timeout=ANSWER_S, **more) as connection:
            connection.execute("select 1")
    except Exception as error:  # only an OperationalError's text is safe to show once the password is redacted
        reason = f": {str(error).splitlines()[0][:200]}" if isinstance(error, psycopg.OperationalError) else ""
        problem = redacted(f"{key}: cannot connect to PostgreSQL{reason}", url)
        raise ToolError(problem, hint="try psql from this machine, with the same user and address") from error


def _kind(url: str) -> str:
    kind = url.partition("://")[0]
    if kind not in ("postgresql", "postgres", "duckdb"):
        raise DataError("is not a postgresql:// or duckdb:// URL", hint="postgresql://user:password@host/database")
    return kind


@contextlib.contextmanager
def _translated(kind: str, url: str, refused: str = "does the query run there?") -> Iterator[None]:
    """Translate the drivers' errors without quoting the URL; `refused` is the hint if the database refuses a query."""
    try:
        yield
    except (GlueError, GeneratorExit):
        raise
    except Exception as error:
        reason = _reason(error, url)
        connected = reason and type(error).__name__ not in CONNECTION
        hint = refused if connected else "is the database up, and is the URL right?"
        raise ToolError(f"{kind}: {type(error).__name__}{reason}", hint=hint) from error


def _reason(error: Exception, url: str) -> str:
    """Return the database's reason for refusing the query or the connection, without any part of the URL."""
    message = getattr(getattr(error, "diag", None), "message_primary", None)
    if message is None and type(error).__name__ in CONNECTION:
        message = redacted(str(error).strip().splitlines()[0], url)
    if message is None and type(error).__module__.startswith(("duckdb", "_duckdb")):
        message = str(error).splitlines()[0]
    return f": {message[:200]}" if message else ""


def _postgres(url: str, text: str) -> pa.Table:
    import pyarrow as pa

    options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_S * 1000}"
    # a cursor runs only one query and no command: a read-only transaction would not stop COPY ... TO PROGRAM
    with _connect(url, options=options) as connection, connection.cursor(name="glue") as cursor:
        cursor.execute(text)
        names = [column.name for column in cursor.description or []]
        found = cursor.fetchall()
    columns = zip(*found, strict=True) if found else [()] * len(names)
    return pa.table({name: pa.array(list(values)) for name, values in zip(names, columns, strict=True)})


def _connect(url: str, **options: Any) -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres") from error
    return psycopg.connect(url, connect_timeout=CONNECT_S, **options)


def _postgres_rows(url: str, text: str, limit_s: float) -> Iterator[pa.Table]:
    import pyarrow as pa

    with _connect(url, fallback_application_name="glue") as connection:
        watch = _Watch(connection, limit_s)
        connection.read_only = True
        connection.execute(f"set statement_timeout = {max(int(limit_s * 1000), 1)}")
        found = watch(lambda: connection.execute(f"select * from (\n{text}\n) as q limit 0", binary=True).description)
        schema = _schema([(column.name, _arrow_type(column), column.type_display) for column in found])
        texts = {column.name for column in found if column.type_code in TEXT}
        uuids = {column.name for column in found if column.type_code == UUID}
        yield schema.empty_table()
        with connection.cursor(name="glue", binary=True) as cursor:
            watch(lambda: cursor.execute(_sorted(text, schema.names, texts, uuids)))
            while piece := watch(lambda: cursor.fetchmany(PIECE_ROWS)):
                columns = zip(schema, zip(*piece, strict=True), strict=True)
                yield pa.table([_array(field, values) for field, values in columns], schema=schema)


def _arrow_type(column: Any) -> pa.DataType | None:
    """Return the Arrow type with exactly the values of a PostgreSQL type; None if there is none."""
    import pyarrow as pa

    if column.type_code == NUMERIC:
        digits, places = column.precision, column.scale
        fits = digits is not None and 0 <= places <= digits <= DECIMALS
        return pa.decimal128(digits, places) if fits else None
    types = {16: pa.bool_(), 21: pa.int16(), 23: pa.int32(), 20: pa.int64(), 700: pa.float32(), 701: pa.float64()}
    types |= {1082: pa.date32(), 1083: pa.time64("us"), 1114: pa.timestamp("us"), 1184: pa.timestamp("us", "UTC")}
    return types.get(column.type_code, pa.string() if column.type_code in (*TEXT, UUID) else None)


def _array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, ValueError, OverflowError) as error:  # NaN among decimals
        raise DataError(f"column {field.name!r}: {first_line(error, 120)}", hint=_cast_it(field.name)) from error


class _Watch:
    """Closes a connection whose server does not answer: a frozen server does not enforce its own time limit."""

    def __init__(self, connection: Any, limit_s: float) -> None:
        self._connection, self._limit_s = connection, limit_s

    def __call__(self, work: Any) -> Any:
        """Return the result of one step.

        Raises:
            DataError: Python cannot represent a value.
            ToolError: the step took too long.
        """
        import psycopg

        late = threading.Event()
        timer = threading.Timer(self._limit_s + GRACE_S, self._close, [late])
        timer.start()
        try:
            return work()
        except psycopg.errors.QueryCanceled as error:
            raise _too_long("postgresql", self._limit_s) from error
        except psycopg.DataError as error:  # a value that Python cannot represent, such as an infinite date
            if error.diag.message_primary is not None:
                raise
            hint = "leave such rows out, or cast the column"
            raise DataError(f"postgresql: {first_line(error, 120)}", hint=hint) from error
        except psycopg.OperationalError as error:
            if not late.is_set():
                raise
            raise _too_long("postgresql", self._limit_s) from error
        finally:
            timer.cancel()

    def _close(self, late: threading.Event) -> None:
        late.set()
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as its:
            its.shutdown(socket.SHUT_RDWR)


def _too_long(kind: str, limit_s: float) -> ToolError:
    hint = "to wait longer, set timeout_s next to the query; with glue init: --timeout SECONDS"
    return ToolError(f"{kind}: no more rows within {limit_s:g} s", hint=hint)


def _schema(columns: list[tuple[str, pa.DataType | None, str]]) -> pa.Schema:
    """Build the schema from each column's name, Arrow type and type name in the database.

    Raises:
        DataError: a name occurs twice, or a type cannot be stored exactly.
    """
    import pyarrow as pa

    names = [name for name, _, _ in columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"two columns are called {twice[0]!r}", hint=f"select … as {twice[0]}_2")
    for name, kind, shown in columns:
        if kind is None:
            raise DataError(f"column {name!r} has type {shown}, which cannot be stored exactly", hint=_cast_it(name))
    return pa.schema([(name, kind) for name, kind, _ in columns])


def _cast_it(name: str) -> str:
    return f"cast it in the query: {_quoted(name)}::numeric(18, 4), ::double precision, ::text; or leave it out"


def _sorted(text: str, names: Sequence[str], texts: set[str], casts: set[str]) -> str:
    columns = ", ".join(f"q.{_quoted(n)}::text as {_quoted(n)}" if n in casts else f"q.{_quoted(n)}" for n in names)
    order = ", ".join(f'q.{_quoted(n)} collate "C"' if n in texts else f"q.{_quoted(n)}" for n in names)
    return f"select {columns} from (\n{text}\n) as q order by {order}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _database(url: str, root: Path, **config: Any) -> Iterator[Any]:
    """Open a DuckDB file for reading, or an in-memory database; it spills to a new folder."""
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("duckdb", "features") from error
    name = url.partition("://")[2][1:]  # as in SQLAlchemy: ///relative or ////absolute
    path = root / name
    if name and not path.is_file():
        hint = "the path is relative to the project: duckdb:///labels.db"
        raise DataError(f"duckdb: {path.name}: no such file", hint=hint)
    if name and (command := other_formats.sqlite_command(path)) is not None:
        raise DataError(f"duckdb: {path.name}: is a SQLite database, which glue cannot read", hint=command)
    with tempfile.TemporaryDirectory() as spill:
        # otherwise DuckDB would look up an unknown table name among the Python variables
        config |= {"temp_directory": spill, "python_enable_replacements": False}
        with duckdb.connect(str(path) if name else ":memory:", read_only=bool(name), config=config) as connection:
            yield connection


def _duckdb(url: str, text: str, root: Path) -> pa.Table:
    # without external access a query cannot read or write other files; DuckDB makes an exception for its spill folder,
    # so that folder is a new one
    with _database(url, root, enable_external_access=False, lock_configuration=True) as connection:
        return _interrupted(connection, STATEMENT_S, lambda: connection.sql(text).to_arrow_table())


def _interrupted(connection: Any, limit_s: float, work: Callable[[], Result]) -> Result:
    """Return the result of one step of DuckDB, which has no time limit of its own.

    Raises:
        ToolError: the step took too long.
    """
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(limit_s, interrupt)
    timer.start()
    try:
        return work()
    except Exception as error:  # DuckDB's own, or Arrow's where it reads what DuckDB gives
        if not late.is_set():
            raise
        raise _too_long("duckdb", limit_s) from error
    finally:
        timer.cancel()


def _duckdb_rows(url: str, text: str, root: Path, limit_s: float) -> Iterator[pa.Table]:
    import duckdb
    import pyarrow as pa

    with _database(url, root, memory_limit=MEMORY, file_search_path=str(root)) as connection:
        connection.execute("set TimeZone = 'UTC'; set lock_configuration = true")
        if [statement.type for statement in connection.extract_statements(text)] != [duckdb.StatementType.SELECT]:
            hint = "COPY, INSERT and similar statements are not allowed"
            raise DataError("duckdb: the query is not a single SELECT", hint=hint)
        # first as a subquery: run directly, a WITH that writes would be executed
        found = connection.sql(f"select * from (\n{text}\n) as q limit 0").to_arrow_table().schema
        relation = connection.sql(text)  # has the column names as they are written
        shown = dict(zip(relation.columns, map(str, relation.types), strict=True))
        columns = zip(relation.columns, found, strict=True)
        schema = _schema([(name, _kept(shown[name], field.type), shown[name]) for name, field in columns])
        texts = {name for name, kind in shown.items() if kind.startswith("VARCHAR")}
        casts = {name for name, kind in shown.items() if kind == "UUID" or kind.startswith("ENUM")}
        yield schema.empty_table()
        whole = _sorted(text, schema.names, texts, casts)
        reader = _interrupted(connection, limit_s, lambda: connection.sql(whole).to_arrow_reader(PIECE_ROWS))
        while (piece := _interrupted(connection, limit_s, lambda: next(reader, None))) is not None:
            yield pa.Table.from_batches([piece]).cast(schema)


def _kept(shown: str, kind: pa.DataType) -> pa.DataType | None:
    """Like `_arrow_type`, for a DuckDB type and the Arrow type that DuckDB converts it to."""
    import pyarrow as pa

    name = shown.partition("(")[0].partition(" COLLATE")[0]
    if name in ("UUID", "ENUM"):
        return pa.string()
    if name in ("TIMESTAMP_S", "TIMESTAMP_MS"):
        return pa.timestamp("us")
    return kind if name in EXACT and not shown.endswith("]") else None

"""A query's result as a table, from PostgreSQL (psycopg) or from a DuckDB file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError, GlueError, MissingExtra, ToolError
from mlops_glue.secrets import redacted

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER_S = 5
CONNECT_S = 10
STATEMENT_S = 600


def query(url: str, text: str, root: Path) -> pa.Table:
    """The rows of a query; nothing is written. A file is relative to `root`.

    The URL, postgresql://user:password@host/database or duckdb:///file, is in no message, because it holds secrets.

    Raises:
        DataError: the URL is of another kind, or its file does not exist.
        ToolError: the database does not answer, or refuses the query.
    """
    kind = url.partition("://")[0]
    if kind not in ("postgresql", "postgres", "duckdb"):
        raise DataError("is no postgresql:// or duckdb:// URL", hint="postgresql://user:password@host/database")
    try:
        return _duckdb(url, text, root) if kind == "duckdb" else _postgres(url, text)
    except GlueError:
        raise
    except Exception as error:  # each driver has its own, and quotes the URL in some
        reason = _reason(error)
        hint = "does the query run there?" if reason else "is the database up, and is the URL right?"
        raise ToolError(f"{kind}: {type(error).__name__}{reason}", hint=hint) from error


def check_answers(place: str | dict[str, Any], key: str) -> None:
    """Connect to a PostgreSQL, by its URL or by Feast's options of a store, and ask it something. `key` names it.

    Raises:
        ToolError: it cannot be connected to.
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
    except Exception as error:  # its text may quote what holds a password
        said = f": {str(error).splitlines()[0][:200]}" if isinstance(error, psycopg.OperationalError) else ""
        problem = redacted(f"{key}: PostgreSQL cannot be connected to{said}", url)
        raise ToolError(problem, hint="psql, with the same user and address, from here") from error


def _reason(error: Exception) -> str:
    """Why the database refuses the query; nothing about the connection, which could hold secrets."""
    message = getattr(getattr(error, "diag", None), "message_primary", None)
    if message is None and type(error).__module__.startswith(("duckdb", "_duckdb")):
        message = str(error).splitlines()[0]
    return f": {message[:200]}" if message else ""


def _postgres(url: str, text: str) -> pa.Table:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres") from error
    import pyarrow as pa

    options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_S * 1000}"
    # a cursor takes one query, and no command; COPY ... TO PROGRAM is not held back by a read-only transaction
    with (
        psycopg.connect(url, connect_timeout=CONNECT_S, options=options) as connection,
        connection.cursor(name="glue") as cursor,
    ):
        cursor.execute(text)  # type: ignore[arg-type]
        names = [column.name for column in cursor.description or []]
        rows = cursor.fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table({name: pa.array(list(values)) for name, values in zip(names, columns, strict=True)})


def _duckdb(url: str, text: str, root: Path) -> pa.Table:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("duckdb", "features") from error
    path = root / url.partition("://")[2][1:]  # as SQLAlchemy has it: three slashes and a path in the project, or four
    if not path.is_file():
        raise DataError(f"duckdb: {path.name}: no such file", hint="duckdb:///labels.db is in the project")
    # without access to other files a query can neither write one nor read what is not in the database; DuckDB makes an
    # exception for the folder that it spills to, so that is a new one
    with tempfile.TemporaryDirectory() as spill:
        closed = {"enable_external_access": False, "lock_configuration": True, "temp_directory": spill}
        with duckdb.connect(str(path), read_only=True, config=closed) as connection:
            return connection.sql(text).to_arrow_table()

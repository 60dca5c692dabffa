"""The SQLAlchemy dialect through which Great Expectations computes on DuckDB: one view of a Parquet file.

The dialect of `duckdb-engine` does not work: Great Expectations fetches rows after the connection was returned, when
DuckDB no longer has them, and the dialect's reflection reads a PostgreSQL table that DuckDB does not have.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import printable
from typing import Any

import duckdb
from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.default import DefaultDialect, DefaultExecutionContext
from sqlalchemy.sql.compiler import IdentifierPreparer

VIEW = "rows"
MEMORY = "1GB"  # beyond it, DuckDB spills to the temporary folder
TYPES = {
    "BIGINT": types.BigInteger,
    "INTEGER": types.Integer,
    "SMALLINT": types.SmallInteger,
    "DOUBLE": types.Double,
    "FLOAT": types.Float,
    "VARCHAR": types.String,
    "BOOLEAN": types.Boolean,
    "DATE": types.Date,
    "TIMESTAMP": types.TIMESTAMP,
}


class _Fetched(DefaultExecutionContext):
    def post_exec(self) -> None:
        """Fetch all rows before the connection is returned."""
        if self.cursor.description is not None:
            rows = self.cursor.fetchall()
            self.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(self.cursor, initial_buffer=rows)


class _Quoting(IdentifierPreparer):
    illegal_initial_characters = set(printable)  # quotes every name: a column may be called `at`


class Dialect(DefaultDialect):
    """The part of a DuckDB dialect that expectations need."""

    name, driver = "duckdb", "glue"
    default_paramstyle = "qmark"
    supports_native_boolean = True
    supports_statement_cache = True
    execution_ctx_cls = _Fetched
    preparer = _Quoting

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return DuckDB's own DB-API."""
        return duckdb

    def connect(self, *words: Any, **named: Any) -> Any:
        """Connect, with UTC as the time zone, and without the optimizer that uses Parquet statistics.

        These statistics leave out NaN, and DuckDB, which trusts them, would not look for it.
        """
        connection = super().connect(*words, **named)
        connection.execute("SET TimeZone = 'UTC'; SET disabled_optimizers = 'statistics_propagation'")
        return connection

    def create_connect_args(self, url: Any) -> Any:
        """Return the database file and DuckDB's settings."""
        config = {"memory_limit": MEMORY, "temp_directory": str(Path(url.database).parent)}
        return [url.database], {"read_only": True, "config": config}

    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **named: Any) -> bool:
        """Check whether the table is the view."""
        return table_name == VIEW

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **named: Any) -> Any:
        """Return the view's columns."""
        found = connection.exec_driver_sql(f'DESCRIBE "{VIEW}"').fetchall()
        return [{"name": row[0], "type": TYPES.get(row[1], types.NullType)(), "nullable": True} for row in found]

    def get_schema_names(self, connection: Any, **named: Any) -> list[str]:
        """Return DuckDB's default schema."""
        return ["main"]

    def get_table_names(self, connection: Any, schema: str | None = None, **named: Any) -> list[str]:
        """Return no tables: there is only the view."""
        return []

    def get_view_names(self, connection: Any, schema: str | None = None, **named: Any) -> list[str]:
        """Return the only view."""
        return [VIEW]

    def get_pk_constraint(self, connection: Any, table_name: str, schema: str | None = None, **named: Any) -> Any:
        """Return no primary key: a view has none."""
        return {"constrained_columns": [], "name": None}

    def do_commit(self, dbapi_connection: Any) -> None:
        """Do nothing: the connection is read-only."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Do nothing: the connection is read-only."""


@contextmanager
def database(path: Path) -> Iterator[str]:
    """Create a database with a view of a Parquet file, and yield its URL; NaN is null, as in pandas."""
    registry.register("duckdb.glue", __name__, "Dialect")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.duckdb"
        with duckdb.connect(str(file)) as connection:
            rows = f"read_parquet({_text(str(path.resolve()))})"
            described = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
            columns = [_name(name) for name, kind, *_ in described if kind in ("DOUBLE", "FLOAT")]
            no_nan = ", ".join(f"CASE WHEN NOT isnan({name}) THEN {name} END AS {name}" for name in columns)
            replaced = f" REPLACE ({no_nan})" if columns else ""
            connection.execute(f'CREATE VIEW "{VIEW}" AS SELECT *{replaced} FROM {rows}')
        yield f"duckdb+glue:///{file}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'

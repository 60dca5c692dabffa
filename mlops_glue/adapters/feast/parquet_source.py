"""The Parquet files of a feature view: their rows as SQL for DuckDB, and their columns in the declared types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import RepoConfig
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.types import Array, Bytes, FeastType, from_feast_to_pyarrow_type

from mlops_glue.errors import DataError
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import equal_but_for_case

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files and their time columns.

    Attributes:
        label: the source's name in messages.
        files: the files, sorted by name.
        schema: the first file's schema.
        mapping: names in the view to names in the files, if the two differ.
        event: the column with the event time of a row.
        created: the column with the creation time of a row, or None.
    """

    label: str
    files: list[Path]
    schema: pa.Schema
    mapping: dict[str, str]
    event: str
    created: str | None

    @classmethod
    def of(cls, config: RepoConfig, source: DataSource | None, view: str = "") -> ParquetSource:
        """Find the files of a source; messages name the view.

        Raises:
            DataError: there is no file, or it is not Parquet or not local.
        """
        suffix = f" (view {view!r})" if view else ""
        if not isinstance(source, FileSource) or not isinstance(source.file_format or ParquetFormat(), ParquetFormat):
            name = getattr(source, "name", None)
            raise DataError(f"source {name!r}{suffix} is not a Parquet file", hint="offline_store: {type: duckdb}")
        uri = FileSource.get_uri_for_file_path(config.repo_path, source.path)
        if "://" in uri:
            raise DataError(f"{uri}{suffix} is not on this machine", hint="offline_store: {type: duckdb}, or dvc pull")
        files, schema = _files(Path(uri), suffix)
        mapping = {new: old for old, new in source.field_mapping.items() if old in schema.names}
        created = source.created_timestamp_column or None
        return cls(f"{uri}{suffix}", files, schema, mapping, source.timestamp_field, created)

    def type_of(self, name: str) -> pa.DataType:
        """Return the type of a column.

        Raises:
            DataError: there is no such column.
        """
        column = self.mapping.get(name, name)
        if column not in self.schema.names:
            raise DataError(f"{self.label} has no column {column!r}", hint=did_you_mean(column, self.schema.names))
        return self.schema.field(column).type

    def rows(self, keys: list[str], features: list[str]) -> str:
        """Return SQL for every row that ever became known.

        The columns are the keys `k0`, `k1`, …; the features `f0`, `f1`, …; `event`, `created` and `known` in
        microseconds since 1970; `file` and `place`, which order rows with equal times. A row is known from the later
        of its event and creation times. A row without either of them never became known.
        """
        picked = [f"{self._column(name)} AS k{i}" for i, name in enumerate(keys)]
        picked += [f"{self._column(name)} AS f{i}" for i, name in enumerate(features)]
        picked += [f"{self._microseconds(self.event)} AS event"]
        picked += [f"{self._microseconds(self.created) if self.created else 'NULL'} AS created"]
        picked += ["file_index AS file", "file_row_number AS place"]
        files = ", ".join("'" + str(file).replace("'", "''") + "'" for file in self.files)
        known = "greatest(event, created)" if self.created else "event"
        has_times = "event IS NOT NULL AND created IS NOT NULL" if self.created else "event IS NOT NULL"
        return (
            f"SELECT *, {known} AS known FROM (SELECT {', '.join(picked)} FROM read_parquet([{files}])) "
            f"WHERE {has_times}"
        )

    def _column(self, name: str) -> str:
        self.type_of(name)
        return '"' + self.mapping.get(name, name).replace('"', '""') + '"'

    def _microseconds(self, name: str) -> str:
        """Return SQL for a time in microseconds since 1970, UTC. Nanoseconds are rounded up, so no row is known early.

        Raises:
            DataError: the column does not contain times.
        """
        column, kind = self._column(name), self.type_of(name)
        if pa.types.is_timestamp(kind):
            return f"(epoch_ns({column}) + 999) // 1000" if kind.unit == "ns" else f"epoch_us({column})"
        if kind_of(kind) == "text":
            return f"epoch_us(CAST({column} AS TIMESTAMPTZ))"
        if pa.types.is_date(kind):
            return f"epoch_us(CAST({column} AS TIMESTAMP))"
        raise DataError(f"{self.label}: column {name!r} is {kind}, not a time")


def _files(path: Path, suffix: str) -> tuple[list[Path], pa.Schema]:
    """Return the files of a path, a folder or a pattern, and the schema of the first file."""
    if "*" in path.name:
        files = sorted(file for file in path.parent.glob(path.name) if file.is_file())
    else:
        files = sorted(file for file in (path.rglob("*.parquet") if path.is_dir() else [path]) if file.is_file())
    if not files:
        raise DataError(f"{path}{suffix}: the file does not exist", hint="the path is relative to feature_store.yaml")
    try:
        schema = pq.read_schema(files[0])
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{files[0]}{suffix}: cannot be read as parquet: {error}") from error
    if twins := equal_but_for_case(schema.names):  # SQL takes the first for any of them
        raise DataError(f"{files[0]}{suffix}: columns {twins} differ only in case", hint="rename all but one")
    return files, schema


def kind_of(kind: pa.DataType) -> str:
    """Return the group of types that a type can be joined with: `integer`, `text`, `binary`, `float`, or its name."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    groups = {
        "integer": pa.types.is_integer,
        "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        "binary": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t),
        "float": pa.types.is_floating,
    }
    return next((word for word, belongs in groups.items() if belongs(kind)), str(kind))


def microseconds(moment: datetime) -> int:
    """Convert a time to microseconds since 1970; without a zone it is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def cast(column: pa.ChunkedArray | pa.Array, declared: FeastType, label: str) -> pa.ChunkedArray | pa.Array:
    """Cast a column of a file to the type that a view declares; the label is its name in a message.

    Raises:
        DataError: the column has values that do not fit the type (1.5 as Int64, text as a number).
    """
    wanted = arrow_type(declared)
    if wanted is None or column.type == wanted:
        return column
    exact = not pa.types.is_floating(wanted) and not pa.types.is_timestamp(wanted)
    if pa.types.is_floating(column.type) and pa.types.is_integer(wanted):
        column = pc.if_else(pc.is_nan(column), None, column)  # pandas writes a missing integer as NaN
    try:
        return column.cast(wanted, safe=exact)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{label} is declared as {declared}, but the file has {column.type}: {error}") from error


def arrow_type(declared: FeastType) -> pa.DataType | None:
    """Return the Arrow type of a Feast type; None if it has none, so that values are kept as they are."""
    if declared == Bytes:  # missing in Feast's own table
        return pa.binary()
    if isinstance(declared, Array):
        inner = arrow_type(declared.base_type)
        return None if inner is None else pa.list_(inner)
    try:
        return from_feast_to_pyarrow_type(declared)
    except ValueError:
        return None

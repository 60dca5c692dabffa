"""An offline store for Feast on DuckDB: every row back once, in its order, with the value that was known at its time.

    offline_store: {type: mlops_glue.adapters.feast.offline.AsofOfflineStore}

Of Feast's own stores for files, `dask` drops and mis-values rows, and `duckdb` joins before it looks for the latest,
which grows with the square of the rows of an entity (and drops features whose names end in `_y`). Here each view is one
`ASOF JOIN` against what was known when: a row counts from the later of its event and its created timestamp, and is left
out where another of its entity was known by then and is later by (event, created, place in the file).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel
from feast.types import Array, Bytes, from_feast_to_pyarrow_type

from mlops_glue.errors import DataError, UsageError
from mlops_glue.suggest import did_you_mean
from mlops_glue.tables import write_parquet

FOREVER = 1 << 62  # a TTL beyond any data, in microseconds or nanoseconds


class AsofOfflineStoreConfig(FeastConfigBaseModel):
    """Options of the store in `feature_store.yaml`."""

    type: Literal["mlops_glue.adapters.feast.offline.AsofOfflineStore"] = (
        "mlops_glue.adapters.feast.offline.AsofOfflineStore"
    )
    with_timestamps: bool = False
    """Add `<view>__known_timestamp` to historical features: when what was found was known (null: nothing was found)."""


class AsofOfflineStore(OfflineStore):
    """Point-in-time joins over local Parquet files; what each method takes and gives is Feast's."""

    supports_filter_by_created_timestamp = True  # and does it unasked

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **unused: Any,
    ) -> RetrievalJob:
        """See `join`; on-demand views are computed when the job runs, by Feast."""
        if not isinstance(entity_df, pd.DataFrame):
            said = "an SQL query" if isinstance(entity_df, str) else "none (start_date and end_date)"
            raise UsageError(
                f"entity_df is {said}; this store takes a pandas frame", hint="pass the rows as a DataFrame"
            )
        time = _time_column(entity_df)
        moments = _moments(entity_df[time], f"entity_df.{time}")

        def run() -> pa.Table:
            return join(
                config,
                feature_views,
                feature_refs,
                entity_df,
                full_feature_names=full_feature_names,
                with_timestamps=config.offline_store.with_timestamps,
            )

        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entity_df.columns if name != time],
            min_event_timestamp=moments.min().to_pydatetime() if len(moments) else None,
            max_event_timestamp=moments.max().to_pydatetime() if len(moments) else None,
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return AsofRetrievalJob(config, run, metadata, on_demand, full_feature_names)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The latest row of each entity that happened from `start_date` to `end_date` and was known at `end_date`."""
        names = _names([*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column])
        window = _window(config, data_source, timestamp_field, created_timestamp_column, start_date, end_date)
        keys = ", ".join(map(_name, join_key_columns))
        order = ", ".join(f"{column} DESC NULLS LAST" for column in ("__event", "__created", "__file", "__place"))
        first = f"row_number() OVER ({f'PARTITION BY {keys}' if keys else ''} ORDER BY {order}) = 1"
        sort = f"ORDER BY {keys}" if keys else ""  # an ordered table is written faster
        return AsofRetrievalJob(config, f"SELECT {names} FROM ({window}) QUALIFY {first} {sort}")

    @staticmethod
    def pull_all_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row that happened from `start_date` to `end_date` and was known at `end_date`."""
        names = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        if not feature_name_columns:  # how Feast asks for all, for a view that transforms them
            names = list(_Source.of(config, data_source).schema.names)
        window = _window(config, data_source, timestamp_field, created_timestamp_column, start_date, end_date)
        return AsofRetrievalJob(config, f"SELECT {_names(names)} FROM ({window})")

    @staticmethod
    def offline_write_batch(config: Any, feature_view: Any, table: pa.Table, progress: Any) -> None:
        """Append rows to the view's Parquet file, which is replaced as a whole."""
        source = _Source.of(config, feature_view.batch_source)
        if len(source.files) != 1:
            raise UsageError(f"{source.label} is {len(source.files)} files; rows are appended to one only")
        before = pq.read_table(source.files[0])
        write_parquet(
            source.files[0], pa.concat_tables([before, table.select(before.column_names).cast(before.schema)])
        )
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(*arguments: Any, **keywords: Any) -> None:
        """Feast's own way, of its duckdb store."""
        from feast.infra.offline_stores.duckdb import DuckDBOfflineStore

        DuckDBOfflineStore.write_logged_features(*arguments, **keywords)


class AsofRetrievalJob(RetrievalJob):
    """A table to be computed: by a function, or by a query over Parquet alone."""

    def __init__(
        self,
        config: Any,
        make: Callable[[], pa.Table] | str,
        metadata: Any = None,
        on_demand: list[Any] | None = None,
        full_feature_names: bool = False,
    ) -> None:
        super().__init__()
        self._config, self._make, self._metadata = config, make, metadata
        self._on_demand, self._full_feature_names = on_demand or [], full_feature_names

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are called view__feature."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """What Feast computes on top."""
        return self._on_demand

    @property
    def metadata(self) -> Any:
        """Features, keys and the range of times asked for."""
        return self._metadata

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> Any:
        """The table as a frame; Feast's own copies it once more."""
        return self.to_arrow(validation_reference=validation_reference, timeout=timeout).to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        if not isinstance(self._make, str):
            return self._make()
        with _database() as connection:
            return connection.sql(self._make).to_arrow_table()

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal().to_pandas()

    @contextlib.contextmanager
    def batches(self, rows: int) -> Iterator[Iterator[pa.RecordBatch]]:
        """The table of a query in pieces of so many rows, in memory that does not grow with it."""
        with _database() as connection:
            yield connection.sql(str(self._make)).to_arrow_reader(rows)

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result as the Parquet file of a saved dataset."""
        uri = storage.to_data_source().path
        path = Path(FileSource.get_uri_for_file_path(self._config.repo_path, uri))
        if path.exists() and not allow_overwrite:
            raise UsageError(f"{path} is already there", hint="allow_overwrite=True replaces it")
        write_parquet(path, self.to_arrow())


def join(
    config: Any,
    feature_views: list[Any],
    feature_refs: list[str],
    entity_df: pd.DataFrame,
    *,
    full_feature_names: bool = False,
    with_timestamps: bool = False,
) -> pa.Table:
    """For every row of a frame, in its order, what was known of its entities at its time.

    Args:
        config: Feast's RepoConfig.
        feature_views: Feast's views, with their projections.
        feature_refs: `view:feature`, each.
        entity_df: entities and `event_timestamp` (or its only time column); naive times are UTC. Other columns stay.
        full_feature_names: call columns `view__feature`.
        with_timestamps: add `<view>__known_timestamp`, the later of when the value found happened and was written down.

    Returns:
        The frame's columns, its times as UTC, and the features in the types that their views declare. Null: the entity
        is unknown at that time, or its latest row is older than the view's TTL (just as old is not).

    Raises:
        DataError: a column, a type or a time cannot be what it should; a source file is missing.
        UsageError: two columns of the result would have one name.
    """
    time = _time_column(entity_df)
    moments = _moments(entity_df[time], f"entity_df.{time}")
    columns = {name: pa.array(moments) if name == time else _column(entity_df, name) for name in entity_df.columns}
    added: dict[str, Any] = {}
    with _database() as connection:
        for view in feature_views:
            called, base = view.projection.name_to_use(), view.projection.name_alias or view.name
            wanted = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{called}:")]
            made = _view(connection, config, view, wanted, columns, moments, with_timestamps)
            names = [f"{base}__{name}" if full_feature_names else name for name in wanted]
            twice = next((name for name in names if name in columns or name in added), None)
            if twice is not None:
                raise UsageError(f"two columns would be called {twice!r}", hint="full_feature_names=True")
            added |= dict(zip(names, made, strict=False))
            if with_timestamps:
                added[f"{base}__known_timestamp"] = made[-1]
    return pa.table(columns | added)


def _view(
    connection: duckdb.DuckDBPyConnection,
    config: Any,
    view: Any,
    wanted: list[str],
    columns: dict[str, Any],
    moments: Any,
    with_timestamps: bool,
) -> list[pa.Array]:
    """What one view has for each row: the wanted features and, when asked, when they were known."""
    source = _Source.of(config, view.batch_source, f" (view {view.name!r})")
    keys = [field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    maps = view.projection.join_key_map
    labels = {f"k{i}": _key(columns, maps.get(key, key), source, key) for i, key in enumerate(keys)}
    known = source.known(keys, wanted)
    if _ties_or_waits(connection, known, list(labels), source.created):
        known = _effective(known, list(labels))
    per_us = 1000 if source.unit == "ns" else 1
    ttl = min((view.ttl or timedelta(0)) // timedelta(microseconds=1) * per_us, FOREVER)
    young = f"WHERE f.event + {ttl} >= l.t" if ttl else ""
    on = "".join(f"l.{key} = f.{key} AND " for key in labels)
    features = "".join(f", f.f{i}" for i in range(len(wanted)))
    connection.register("labels", pa.table({"row": np.arange(len(moments)), "t": source.instants(moments), **labels}))
    query = f"SELECT l.row, f.known{features} FROM labels l ASOF JOIN ({known}) f ON {on}l.t >= f.known {young}"
    found = connection.sql(query).to_arrow_table()
    connection.unregister("labels")

    rows = found["row"].to_numpy()
    place, missing = np.zeros(len(moments), np.int64), np.ones(len(moments), bool)
    place[rows], missing[rows] = np.arange(len(rows)), False
    back = pa.array(place, mask=missing)
    types = {field.name: field.dtype for field in view.features}
    made = [cast(found[f"f{i}"], types[name], f"{view.name}:{name}") for i, name in enumerate(wanted)]
    made += [found["known"].cast(pa.timestamp(source.unit, "UTC"))] if with_timestamps else []
    return [column.combine_chunks().take(back) for column in made]


def _ties_or_waits(connection: duckdb.DuckDBPyConnection, known: str, keys: list[str], created: str | None) -> bool:
    """Whether some row has a twin in (entity, event), or was known only after its event."""
    if created and connection.sql(f"SELECT 1 FROM ({known}) WHERE known > event LIMIT 1").fetchall():
        return True
    twins = f"SELECT 1 FROM ({known}) GROUP BY {', '.join([*keys, 'event'])} HAVING count(*) > 1 LIMIT 1"
    return bool(connection.sql(twins).fetchall())


def _effective(known: str, keys: list[str]) -> str:
    """Of the rows by when they were known, those that were the latest of their entity from then on."""
    by = f"PARTITION BY {', '.join(keys)}" if keys else ""
    ranked = f"SELECT *, row_number() OVER ({by} ORDER BY event, created, file, place) AS rank FROM ({known})"
    # rows that became known at once are peers in max(): only the last of them is its own maximum
    return f"SELECT * FROM ({ranked}) QUALIFY rank = max(rank) OVER ({by} ORDER BY known)"


@dataclass(frozen=True)
class _Source:
    """Parquet files, and the times in them. Names are those in the view; `mapping` has the files' own for some."""

    label: str
    files: list[Path]
    schema: pa.Schema
    mapping: dict[str, str]
    event: str
    created: str | None

    @classmethod
    def of(cls, config: Any, source: Any, of_what: str = "") -> _Source:
        """Find the files.

        Raises:
            DataError: there is none, it is not Parquet, or it is not on this machine.
        """
        if not isinstance(source, FileSource) or not isinstance(source.file_format or ParquetFormat(), ParquetFormat):
            raise DataError(f"source {source.name!r}{of_what} is no Parquet file", hint="offline_store: {type: duckdb}")
        uri = FileSource.get_uri_for_file_path(config.repo_path, source.path)
        if "://" in uri:
            raise DataError(f"{uri}{of_what} is not on this machine", hint="offline_store: {type: duckdb}, or dvc pull")
        path = Path(uri)
        found = (
            path.parent.glob(path.name) if "*" in path.name else path.rglob("*.parquet") if path.is_dir() else [path]
        )
        files = sorted(file for file in found if file.is_file())
        if not files:
            raise DataError(
                f"{path}{of_what}: there is no such file", hint="the path is relative to feature_store.yaml"
            )
        try:
            schema = pq.read_schema(files[0])
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{files[0]}{of_what}: cannot be read as parquet: {error}") from error
        folded = [name.casefold() for name in schema.names]
        twins = [name for name in schema.names if folded.count(name.casefold()) > 1]
        if twins:  # SQL takes the first for any of them
            raise DataError(f"{files[0]}{of_what}: columns {twins} differ in case alone", hint="rename all but one")
        mapping = {new: old for old, new in source.field_mapping.items() if old in schema.names}
        return cls(
            f"{path}{of_what}", files, schema, mapping, source.timestamp_field, source.created_timestamp_column or None
        )

    @property
    def unit(self) -> str:
        """The unit that times are compared in: as fine as the files have it."""
        types = [self.type_of(name) for name in (self.event, self.created) if name]
        return "ns" if any(pa.types.is_timestamp(t) and t.unit == "ns" for t in types) else "us"

    @property
    def scan(self) -> str:
        """The files in SQL."""
        files = ", ".join("'" + str(file).replace("'", "''") + "'" for file in self.files)
        return f"read_parquet([{files}])"

    def type_of(self, name: str) -> pa.DataType:
        """The type of a column.

        Raises:
            DataError: there is no such column.
        """
        column = self.mapping.get(name, name)
        if column not in self.schema.names:
            raise DataError(f"{self.label} has no column {column!r}", hint=did_you_mean(column, self.schema.names))
        return self.schema.field(column).type

    def column(self, name: str) -> str:
        """A column in SQL."""
        self.type_of(name)
        return _name(self.mapping.get(name, name))

    def time(self, name: str) -> str:
        """A time in SQL, as an integer since 1970 in `unit`; without a zone it is UTC.

        Raises:
            DataError: the column has no times.
        """
        column, kind, unit = self.column(name), self.type_of(name), self.unit
        if _kind(kind) == "text":
            column = f"CAST({column} AS TIMESTAMPTZ)"
        elif pa.types.is_date(kind):
            column = f"CAST({column} AS TIMESTAMP)"
        elif not pa.types.is_timestamp(kind):
            raise DataError(f"{self.label}: column {name!r} is {kind}, not a time")
        if unit == "us" or (pa.types.is_timestamp(kind) and kind.unit == "ns"):
            return f"epoch_{unit}({column})"
        return f"epoch_us({column}) * 1000"

    def instants(self, moments: Any) -> Any:
        """Times as `time` has them; rounded down, so that what is not after the integer is not after the time."""
        if self.unit == "ns":
            edges = (pd.Timestamp.min.tz_localize("UTC").ceil("us"), pd.Timestamp.max.tz_localize("UTC").floor("us"))
            return moments.where(moments >= edges[0], edges[0]).where(moments <= edges[1], edges[1]).as_unit("ns").asi8
        scale = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[moments.unit]
        return moments.asi8 // 1000 if moments.unit == "ns" else moments.asi8 * scale

    def known(self, keys: list[str], wanted: list[str]) -> str:
        """Every row in SQL: keys k0.., features f0.., when it happened, was created, could be known, and its place."""
        event = self.time(self.event)
        created = self.time(self.created) if self.created else "NULL"
        picked = [f"{self.column(name)} AS k{i}" for i, name in enumerate(keys)]
        picked += [f"{self.column(name)} AS f{i}" for i, name in enumerate(wanted)]
        picked += [f"{event} AS event", f"{created} AS created", "file_index AS file", "file_row_number AS place"]
        rows = f"SELECT {', '.join(picked)} FROM {self.scan}"
        # a row of unknown creation was never known
        return (
            f"SELECT *, {'greatest(event, created)' if self.created else 'event'} AS known FROM ({rows}) "
            f"WHERE event IS NOT NULL{' AND created IS NOT NULL' if self.created else ''}"
        )


def _window(
    config: Any, data_source: Any, event: str, created: str | None, start: datetime | None, end: datetime | None
) -> str:
    """The rows of a time range in SQL, and what orders them in columns of its own. Names are the file's."""
    found = _Source.of(config, data_source)
    source = replace(found, mapping={}, event=event, created=created or None)
    picked = [f"{source.time(event)} AS __event", f"{source.time(created) if created else 'NULL'} AS __created"]
    picked += ["file_index AS __file", "file_row_number AS __place"]
    limits = ["__event IS NOT NULL"]
    edges = [int(source.instants(_moments(pd.Series([d]), "the window"))[0]) if d else None for d in (start, end)]
    limits += [f"__event >= {edges[0]}"] if start else []
    limits += [f"__event <= {edges[1]}"] if end else []
    limits += [f"__created <= {edges[1]}"] if end and created else []
    return f"SELECT * FROM (SELECT *, {', '.join(picked)} FROM {source.scan}) WHERE {' AND '.join(limits)}"


@contextlib.contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory, spilling to the temporary folder; its complaints about data as ours."""
    settings = {"temp_directory": tempfile.gettempdir(), "preserve_insertion_order": False}
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")  # of text without a zone
        try:
            yield connection
        except (duckdb.DataError, duckdb.IOException) as error:
            raise DataError(f"DuckDB: {str(error).splitlines()[0]}") from error


def cast(column: Any, declared: Any, what: str) -> Any:
    """A column in the type that a view declares for it, as an Arrow column.

    Raises:
        DataError: it holds values that this type does not have (1.5 as Int64, text as a number).
    """
    wanted = _arrow(declared)
    if wanted is None or column.type == wanted:
        return column
    exact = not pa.types.is_floating(wanted) and not pa.types.is_timestamp(wanted)
    if pa.types.is_floating(column.type) and pa.types.is_integer(wanted):
        column = pc.if_else(pc.is_nan(column), None, column)  # how pandas writes a missing integer
    try:
        return column.cast(wanted, safe=exact)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{what} is declared {declared} and the file has {column.type}: {error}") from error


def _arrow(declared: Any) -> pa.DataType | None:
    """The Arrow type of a Feast type; None: it has none, and values stay as they are."""
    if declared == Bytes:  # which Feast's own table lacks
        return pa.binary()
    if isinstance(declared, Array):
        inner = _arrow(declared.base_type)
        return None if inner is None else pa.list_(inner)
    try:
        return from_feast_to_pyarrow_type(declared)
    except ValueError:
        return None


def _time_column(frame: pd.DataFrame) -> str:
    """Which column of the rows has their time: `event_timestamp`, or the only one with times (Feast's rule)."""
    times = [name for name in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[name])]
    if "event_timestamp" in frame.columns:
        return "event_timestamp"
    if len(times) != 1:
        raise DataError(f"entity_df has {len(times)} columns of times, of which none is called event_timestamp")
    return str(times[0])


def _moments(column: Any, what: str) -> Any:
    """A column of times, or of text, as UTC.

    Raises:
        DataError: a value is missing or is no time.
    """
    try:
        if len(column) and pd.api.types.is_numeric_dtype(column):
            raise ValueError(f"{column.dtype} is no time")
        made: Any
        if pd.api.types.is_datetime64_any_dtype(column):  # to_datetime would look for repeated values
            made = pd.DatetimeIndex(column)
            made = made.tz_localize("UTC") if made.tz is None else made.tz_convert("UTC")
        else:
            iso = "ISO8601" if pd.api.types.infer_dtype(column, skipna=True) == "string" else None
            made = pd.DatetimeIndex(pd.to_datetime(column, utc=True, format=iso))
    except (ValueError, TypeError) as error:
        raise DataError(f"{what}: {error}", hint="times, or ISO 8601 text") from error
    if made.hasnans:
        raise DataError(
            f"{what}: {made.isna().sum()} of {len(made)} rows have no time, first row {made.isna().argmax()}"
        )
    return made


def _column(frame: pd.DataFrame, name: str) -> pa.Array:
    """A column of the rows.

    Raises:
        DataError: its values are of several types.
    """
    try:
        return pa.array(frame[name], from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in frame[name].dropna()})
        raise DataError(f"entity_df.{name} mixes {' and '.join(kinds)}") from error


def _kind(kind: pa.DataType) -> str:
    """What a type can be joined with, as a word."""
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    groups = {
        "integer": pa.types.is_integer,
        "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        "binary": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t),
        "float": pa.types.is_floating,
    }
    return next((word for word, belongs in groups.items() if belongs(kind)), str(kind))


def _key(columns: dict[str, Any], name: str, source: _Source, key: str) -> pa.Array:
    """The column of the rows that a view is joined by.

    Raises:
        DataError: there is none, or it cannot equal the source's.
    """
    if name not in columns:
        raise DataError(
            f"entity_df has no column {name!r}, which {source.label} is joined by", hint=did_you_mean(name, [*columns])
        )
    column, kind = columns[name], source.type_of(key)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    mine, theirs = _kind(column.type), _kind(kind)
    if mine == theirs or (mine, theirs) == ("integer", "float"):
        return column
    with contextlib.suppress(pa.ArrowInvalid):
        if pa.types.is_null(column.type) or (mine, theirs) == ("float", "integer"):  # pandas has no missing integers
            return column.cast(kind)
    raise DataError(
        f"{name!r} is {column.type} in entity_df and {kind} in {source.label}: they can never be equal",
        hint="give both tables the same type",
    )


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(names: list[str | None]) -> str:
    return ", ".join(_name(name) for name in dict.fromkeys(names) if name)

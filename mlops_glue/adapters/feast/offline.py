"""Feast's DuckDB store with a point-in-time join that is exact and fast.

Of Feast's own stores for files, `dask` drops and mis-values rows, and `duckdb` joins before it looks for the latest,
which grows with the square of the rows of an entity (and drops features whose names end in `_y`). Here each view is one
`ASOF JOIN`, so that every label row comes back once, in its order, with the value that was known at its time. The
join and the pull of rows are overridden; the rest is Feast's.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView

from mlops_glue.adapters.feast.parquet_source import ParquetSource, cast, kind_of, microseconds
from mlops_glue.errors import DataError, UsageError
from mlops_glue.suggest import did_you_mean

EVENT_TIMESTAMP = "event_timestamp"
MAX_TTL = timedelta(days=365 * 100_000)  # beyond any data, and its microseconds fit in 64 bits
MEMORY = "1500MB"  # of DuckDB, which spills beyond
UTC_TIME = pa.timestamp("us", "UTC")


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """Options of the store in `feature_store.yaml`."""

    type: str = "mlops_glue.adapters.feast.offline.AsofOfflineStore"
    with_timestamps: bool = False
    """Add `<view>__known_timestamp` to historical features: when what was found was known (null: nothing was found)."""


class AsofOfflineStore(DuckDBOfflineStore):
    """Point-in-time joins over local Parquet files; what each method takes and gives is Feast's."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **_: Any,
    ) -> RetrievalJob:
        """See `join`; on-demand views are computed when the job runs, by Feast."""
        if not isinstance(entity_df, pd.DataFrame):
            given = "an SQL query" if isinstance(entity_df, str) else "none (start_date and end_date)"
            raise UsageError(
                f"entity_df is {given}; this store takes a pandas frame", hint="pass the rows as a DataFrame"
            )
        run = partial(
            join,
            config,
            feature_views,
            feature_refs,
            entity_df,
            full_feature_names=full_feature_names,
            with_timestamps=config.offline_store.with_timestamps,
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return ArrowJob(run, on_demand, full_feature_names)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row of a time range, as known at its end. Feast's own has no such end: late rows would come early."""
        source = ParquetSource.of(config, data_source)
        # Feast asks for columns by the names that the files have
        source = replace(source, mapping={}, event=timestamp_field, created=created_timestamp_column or None)
        taken = {*join_key_columns, timestamp_field, created_timestamp_column}
        # Feast asks for all columns by naming none, for a view that transforms them
        features = feature_name_columns or [name for name in source.schema.names if name not in taken]
        query = in_range(source, join_key_columns, features, start_date, end_date)

        def run() -> pa.Table:
            with database() as connection:
                table = connection.sql(query).to_arrow_table()
            columns = {name: table[f"k{i}"] for i, name in enumerate(join_key_columns)}
            columns |= {name: table[f"f{i}"] for i, name in enumerate(features)}
            columns[source.event] = table["event"].cast(UTC_TIME)
            if source.created:
                columns[source.created] = table["created"].cast(UTC_TIME)
            return pa.table(columns)

        return ArrowJob(run)


class ArrowJob(RetrievalJob):
    """A table that a function computes."""

    def __init__(
        self,
        make: Callable[[], pa.Table],
        on_demand: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
    ) -> None:
        super().__init__()
        self._make, self._on_demand, self._full_feature_names = make, on_demand or [], full_feature_names

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are called view__feature."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """What Feast computes on top."""
        return self._on_demand

    @property
    def metadata(self) -> None:
        """Feast asks for it only where it stores a result as a data set."""
        return None

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._make()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._make().to_pandas()
        return frame

    def persist(self, *_: Any, **__: Any) -> None:
        """Refuse: Feast's own store writes data sets.

        Raises:
            UsageError: always.
        """
        raise UsageError("this store writes no data sets", hint="offline_store: {type: duckdb} does, by Feast alone")


def join(
    config: RepoConfig,
    feature_views: list[FeatureView],
    feature_refs: list[str],
    entity_df: pd.DataFrame,
    *,
    full_feature_names: bool = False,
    with_timestamps: bool = False,
) -> pa.Table:
    """For every row of a frame, in its order, what was known of its entities at its time.

    Args:
        config: of the repository; paths of sources are relative to it.
        feature_views: with their projections.
        feature_refs: `view:feature`, each.
        entity_df: entities and `event_timestamp`; times without a zone are UTC. Other columns stay.
        full_feature_names: call columns `view__feature`.
        with_timestamps: add `<view>__known_timestamp`, the later of when the value happened and was written down.

    Returns:
        The frame's columns, its times as UTC, and the features in the types that their views declare. Null: the entity
        is unknown at that time, or its latest row is older than the view's TTL (a row of exactly that age is not).

    Raises:
        DataError: a column, a type or a time cannot be what it should; a source file is missing.
        UsageError: two columns of the result would have one name.
    """
    times = pd.DatetimeIndex(pd.to_datetime(entity_df[EVENT_TIMESTAMP], utc=True))
    columns = {
        name: pa.array(times) if name == EVENT_TIMESTAMP else pa.array(entity_df[name], from_pandas=True)
        for name in entity_df.columns
    }
    times_us = times.as_unit("us").to_numpy("datetime64[us]").astype(np.int64)
    added: dict[str, pa.Array] = {}
    with database() as connection:
        for view in feature_views:
            alias, prefix = view.projection.name_to_use(), view.projection.name_alias or view.name
            features = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{alias}:")]
            values, known = _join_view(connection, config, view, features, columns, times_us)
            names = [f"{prefix}__{name}" if full_feature_names else name for name in features]
            twice = next((name for name in names if name in columns or name in added), None)
            if twice is not None:
                raise UsageError(f"two columns would be called {twice!r}", hint="full_feature_names=True")
            added |= dict(zip(names, values, strict=True))
            if with_timestamps:
                added[f"{prefix}__known_timestamp"] = known
    return pa.table(columns | added)


def _join_view(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    view: FeatureView,
    features: list[str],
    columns: dict[str, pa.Array],
    times: np.ndarray[Any, Any],
) -> tuple[list[pa.Array], pa.Array]:
    """The features of one view for each label row, and when they were known; times are microseconds since 1970."""
    source = ParquetSource.of(config, view.batch_source, view.name)
    keys = [field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    key_map = view.projection.join_key_map
    labels = {f"k{i}": _key(columns, key_map.get(key, key), source, key) for i, key in enumerate(keys)}
    known = source.rows(keys, features)
    if _needs_dedup(connection, known, list(labels), source.created):
        known = _latest_known(known, list(labels))
    ttl_us = min(view.ttl or timedelta(0), MAX_TTL) // timedelta(microseconds=1)
    young = f"WHERE f.event + {ttl_us} >= l.t" if ttl_us else ""
    on = "".join(f"l.{key} = f.{key} AND " for key in labels)
    picked = "".join(f", f.f{i}" for i in range(len(features)))
    connection.register("labels", pa.table({"row": np.arange(len(times)), "t": times, **labels}))
    query = f"SELECT l.row, f.known{picked} FROM labels l ASOF JOIN ({known}) f ON {on}l.t >= f.known {young}"
    found = connection.sql(query).to_arrow_table()
    connection.unregister("labels")

    rows = found["row"].to_numpy()
    place, missing = np.zeros(len(times), np.int64), np.ones(len(times), bool)
    place[rows], missing[rows] = np.arange(len(rows)), False
    in_order = pa.array(place, mask=missing)
    types = {field.name: field.dtype for field in view.features}
    values = [cast(found[f"f{i}"], types[name], f"{view.name}:{name}") for i, name in enumerate(features)]
    *values, known_at = [column.combine_chunks().take(in_order) for column in (*values, found["known"].cast(UTC_TIME))]
    return values, known_at


def _needs_dedup(connection: duckdb.DuckDBPyConnection, known: str, keys: list[str], created: str | None) -> bool:
    """Whether some row has a twin in (entity, event), or was known only after its event."""
    if created and connection.sql(f"SELECT 1 FROM ({known}) WHERE known > event LIMIT 1").fetchall():
        return True
    twins = f"SELECT 1 FROM ({known}) GROUP BY {', '.join([*keys, 'event'])} HAVING count(*) > 1 LIMIT 1"
    return bool(connection.sql(twins).fetchall())


def _latest_known(known: str, keys: list[str]) -> str:
    """Of the rows by when they were known, those that were the latest of their entity from then on.

    Of one entity, by when each row was known:

        known  event  rank
        1      1      1     stays
        3      3      3     stays
        4      2      2     goes: when it became known, event 3 was known already
        6      6      4     stays

    Rows that became known at once are peers in `max() OVER (… ORDER BY known)`: only the last of them is its own
    maximum.
    """
    by = f"PARTITION BY {', '.join(keys)}" if keys else ""
    ranked = f"SELECT *, row_number() OVER ({by} ORDER BY event, created, file, place) AS rank FROM ({known})"
    return f"SELECT * FROM ({ranked}) QUALIFY rank = max(rank) OVER ({by} ORDER BY known)"


def in_range(
    source: ParquetSource, keys: list[str], features: list[str], start: datetime | None, end: datetime | None
) -> str:
    """The rows that happened from `start` and were known at `end`, as SQL, in the columns of `ParquetSource.rows`."""
    limits = [f"event >= {microseconds(start)}"] if start else []
    limits += [f"known <= {microseconds(end)}"] if end else []
    return f"SELECT * FROM ({source.rows(keys, features)}) WHERE {' AND '.join(limits) or 'true'}"


def latest(source: ParquetSource, keys: list[str], features: list[str], start: datetime, end: datetime) -> str:
    """Of the rows of `in_range`, the latest of each entity, in the order of the keys: so a table is written faster."""
    by = ", ".join(f"k{i}" for i in range(len(keys)))
    order = "event DESC, created DESC NULLS LAST, file DESC, place DESC"
    return (
        f"{in_range(source, keys, features, start, end)} "
        f"QUALIFY row_number() OVER ({f'PARTITION BY {by}' if by else ''} ORDER BY {order}) = 1 "
        f"{f'ORDER BY {by}' if by else ''}"
    )


@contextlib.contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory, which spills to the temporary folder.

    Raises:
        DataError: DuckDB complains about the data.
    """
    settings = {"memory_limit": MEMORY, "temp_directory": tempfile.gettempdir(), "preserve_insertion_order": False}
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")  # of text without a zone
        try:
            yield connection
        except (duckdb.DataError, duckdb.IOException) as error:
            raise DataError(f"DuckDB: {str(error).splitlines()[0]}") from error


def _key(columns: dict[str, pa.Array], name: str, source: ParquetSource, key: str) -> pa.Array:
    """The column of the label rows that a view is joined by; it is refused where no value could equal the source's."""
    if name not in columns:
        raise DataError(
            f"entity_df has no column {name!r}, which {source.label} is joined by", hint=did_you_mean(name, [*columns])
        )
    column, kind = columns[name], source.type_of(key)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    mine, theirs = kind_of(column.type), kind_of(kind)
    if mine == theirs or (mine, theirs) == ("integer", "float"):
        return column
    with contextlib.suppress(pa.ArrowInvalid):
        if pa.types.is_null(column.type) or (mine, theirs) == ("float", "integer"):  # pandas has no missing integers
            return column.cast(kind)
    raise DataError(
        f"{name!r} is {column.type} in entity_df and {kind} in {source.label}: they can never be equal",
        hint="give both tables the same type",
    )

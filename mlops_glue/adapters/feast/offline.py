"""Feast's DuckDB store, with a point-in-time join that is exact and fast.

Feast has two stores for files. `dask` drops rows and returns wrong values. `duckdb` joins before it looks for the
latest row, so its cost grows with the square of the rows per entity, and it drops features whose names end in `_y`.
Here each view is one `ASOF JOIN`: every label row is returned once, in its order, with the value that was known at its
time. The join and the pull of rows are overridden; the rest is Feast's.
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
MAX_TTL = timedelta(days=365 * 100_000)  # longer than any data; its microseconds fit into 64 bits
MEMORY = "1500MB"  # DuckDB's limit, beyond which it spills to disk
UTC_TIME = pa.timestamp("us", "UTC")


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """Options of the store in `feature_store.yaml`."""

    type: str = "mlops_glue.adapters.feast.offline.AsofOfflineStore"
    with_timestamps: bool = False
    """Add `<view>__known_timestamp` to historical features: when the value became known (null: no value was found)."""


class AsofOfflineStore(DuckDBOfflineStore):
    """Point-in-time joins over local Parquet files; the methods have Feast's signatures."""

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
        """See `join`. Feast computes on-demand views when the job runs."""
        if not isinstance(entity_df, pd.DataFrame):
            given = "an SQL query" if isinstance(entity_df, str) else "none (start_date and end_date)"
            raise UsageError(
                f"entity_df is {given}; this store needs a pandas frame", hint="pass the rows as a DataFrame"
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
        """Return every row of a time range as known at its end. Feast's store ignores when late rows became known."""
        source = ParquetSource.of(config, data_source)
        # Feast requests columns by their names in the files
        source = replace(source, mapping={}, event=timestamp_field, created=created_timestamp_column or None)
        taken = {*join_key_columns, timestamp_field, created_timestamp_column}
        # for a view that transforms its columns, Feast names no column, which means all
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
        """Are columns named view__feature?"""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes from the result."""
        return self._on_demand

    @property
    def metadata(self) -> None:
        """Feast reads it only to store a result as a data set."""
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
        raise UsageError("this store does not write data sets", hint="offline_store: {type: duckdb}, Feast's own, does")


def join(
    config: RepoConfig,
    feature_views: list[FeatureView],
    feature_refs: list[str],
    entity_df: pd.DataFrame,
    *,
    full_feature_names: bool = False,
    with_timestamps: bool = False,
) -> pa.Table:
    """Return, for every row of a frame in its order, the features that were known at its time.

    Args:
        config: the repository's; paths of sources are relative to the repository.
        feature_views: the views with their projections.
        feature_refs: the features, each as `view:feature`.
        entity_df: entities and `event_timestamp`; times without a zone are UTC. Other columns are kept.
        full_feature_names: name columns `view__feature`.
        with_timestamps: add `<view>__known_timestamp`, the later of the event time and the creation time.

    Returns:
        The frame's columns, with times in UTC, and the features in the types that their views declare. A feature is
        null if the entity is unknown at that time, or if its latest row is older than the view's TTL (a row of exactly
        that age is not).

    Raises:
        DataError: a column, type or time is not valid, or a source file is missing.
        UsageError: two columns of the result would have the same name.
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
                raise UsageError(f"two columns would be named {twice!r}", hint="full_feature_names=True")
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
    """Return a view's features for each label row, and when they became known, in microseconds since 1970."""
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
    """Do two rows have the same entity and event time, or did a row become known after its event?"""
    if created and connection.sql(f"SELECT 1 FROM ({known}) WHERE known > event LIMIT 1").fetchall():
        return True
    twins = f"SELECT 1 FROM ({known}) GROUP BY {', '.join([*keys, 'event'])} HAVING count(*) > 1 LIMIT 1"
    return bool(connection.sql(twins).fetchall())


def _latest_known(known: str, keys: list[str]) -> str:
    """Return SQL for the rows that were the latest of their entity when they became known.

    For example, the rows of one entity, ordered by when they became known:

        known  event  rank
        1      1      1     kept
        3      3      3     kept
        4      2      2     dropped: event 3 was already known
        6      6      4     kept

    Rows that became known at the same time are peers in `max() OVER (… ORDER BY known)`: only the last of them equals
    its own maximum.
    """
    by = f"PARTITION BY {', '.join(keys)}" if keys else ""
    ranked = f"SELECT *, row_number() OVER ({by} ORDER BY event, created, file, place) AS rank FROM ({known})"
    return f"SELECT * FROM ({ranked}) QUALIFY rank = max(rank) OVER ({by} ORDER BY known)"


def in_range(
    source: ParquetSource, keys: list[str], features: list[str], start: datetime | None, end: datetime | None
) -> str:
    """Return SQL for the rows with event times from `start` that were known at `end`, as `ParquetSource.rows`."""
    limits = [f"event >= {microseconds(start)}"] if start else []
    limits += [f"known <= {microseconds(end)}"] if end else []
    return f"SELECT * FROM ({source.rows(keys, features)}) WHERE {' AND '.join(limits) or 'true'}"


def latest(source: ParquetSource, keys: list[str], features: list[str], start: datetime, end: datetime) -> str:
    """Return SQL for the latest row of each entity in a range, ordered by key, which makes writing a table faster."""
    by = ", ".join(f"k{i}" for i in range(len(keys)))
    order = "event DESC, created DESC NULLS LAST, file DESC, place DESC"
    return (
        f"{in_range(source, keys, features, start, end)} "
        f"QUALIFY row_number() OVER ({f'PARTITION BY {by}' if by else ''} ORDER BY {order}) = 1 "
        f"{f'ORDER BY {by}' if by else ''}"
    )


@contextlib.contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB, which spills to the temporary folder.

    Raises:
        DataError: DuckDB refuses the data.
    """
    settings = {"memory_limit": MEMORY, "temp_directory": tempfile.gettempdir(), "preserve_insertion_order": False}
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")  # for text without a zone
        try:
            yield connection
        except (duckdb.DataError, duckdb.IOException) as error:
            raise DataError(f"DuckDB: {str(error).splitlines()[0]}") from error


def _key(columns: dict[str, pa.Array], name: str, source: ParquetSource, key: str) -> pa.Array:
    """Return the label column that a view is joined by; refuse a type that can never equal the source's values."""
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

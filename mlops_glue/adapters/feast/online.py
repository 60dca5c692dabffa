"""The embedded online store, as an online store of Feast; `online_file` is the file.

An older value never replaces a newer one, and a value older than its view's TTL is read as null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from feast.type_map import NULL_TIMESTAMP_INT_VALUE

from mlops_glue.adapters.feast.offline import database, latest
from mlops_glue.adapters.feast.online_file import OnlineFile
from mlops_glue.adapters.feast.parquet_source import EPOCH, ParquetSource, cast, microseconds
from mlops_glue.errors import DataError
from mlops_glue.words import equal_but_for_case

BATCH_ROWS = 65_536
# Feast's types that SQLite supports; the others are stored as protobuf
SCALARS = {"INT32", "INT64", "FLOAT", "DOUBLE", "STRING", "BOOL", "BYTES", "UNIX_TIMESTAMP"}


class EmbeddedOnlineStoreConfig(FeastConfigBaseModel):
    """Options of the store in `feature_store.yaml`."""

    type: str = "mlops_glue.adapters.feast.online.EmbeddedOnlineStore"
    path: str = "data/online.db"
    """The file; relative to the repository."""


class EmbeddedOnlineStore(OnlineStore):
    """The embedded store; the methods have Feast's signatures."""

    _file: OnlineFile | None = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows given as protobuf, all or none."""
        keys, features = _keys(table), _types(table)
        rows = [
            (
                *_key_values(entity),
                microseconds(event),
                None if created is None else microseconds(created),
                *(_column_value(values.get(name)) for name in features),
            )
            for entity, values, event, created in data
        ]
        self._declare(config, table).write(_table_name(config, table), keys, [*features], rows)
        if progress is not None:
            progress(len(rows))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return rows as protobuf; a row that is too old counts as missing."""
        types = _types(table)
        names = requested_features or [*types]
        wanted = [_key_values(entity) for entity in entity_keys]
        oldest = microseconds(datetime.now(UTC) - table.ttl) if table.ttl else None
        found = self._open(config).read(_table_name(config, table), _keys(table), names, wanted, oldest)
        out: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for key in wanted:
            if (row := found.get(key)) is None:
                out.append((None, None))
            else:
                event, *values = row
                protos = {name: _proto(value, types[name]) for name, value in zip(names, values, strict=True)}
                out.append((EPOCH + timedelta(microseconds=event), protos))
        return out

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create missing tables, and drop the tables of deleted views."""
        for table in tables_to_keep:
            self._declare(config, table)
        file = self._open(config)
        for table in tables_to_delete if file.path.exists() else []:
            file.drop(_table_name(config, table))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Delete the file."""
        self._open(config).remove()

    def fill(self, config: RepoConfig, table: FeatureView, start: datetime, end: datetime) -> None:
        """Write the latest row of each entity from the view's Parquet files, in bounded memory.

        Feast's own implementation would hold every value in memory as protobuf.
        """
        keys, features = _keys(table), _types(table)
        stored = [field.name for field in table.entity_columns if field.name != DUMMY_ENTITY_ID]
        source = ParquetSource.of(config, table.batch_source, table.name)
        file, name = self._declare(config, table), _table_name(config, table)
        with database() as connection:
            query = latest(source, sorted(stored), [*features], start, end)
            for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
                file.write(name, keys, [*features], _rows(table, batch, sorted(stored), [*features]))

    def _open(self, config: RepoConfig) -> OnlineFile:
        if self._file is None:
            self._file = OnlineFile(Path(config.repo_path or ".") / config.online_store.path)
        return self._file

    def _declare(self, config: RepoConfig, table: FeatureView) -> OnlineFile:
        file, keys, types = self._open(config), _keys(table), _types(table)
        if twins := equal_but_for_case([*keys, *types]):
            problem = f"columns {twins} of view {table.name!r} differ only in case"
            raise DataError(f"{problem}, which SQLite does not tell apart", hint="rename all but one")
        file.declare(_table_name(config, table), keys, types)
        return file


def is_plain(view: FeatureView) -> bool:
    """Are the view's features columns of its source, with types that SQLite supports? `fill` needs that."""
    more = ("feature_transformation", "aggregations", "filter", "source_views", "stream_source", "enable_validation")
    if any(getattr(view, name, None) for name in (*more, "offline")) or view.batch_source is None or not view.online:
        return False
    return all(field.dtype.to_value_type().name in SCALARS for field in [*view.features, *view.entity_columns])


def _rows(table: FeatureView, batch: pa.RecordBatch, keys: list[str], features: list[str]) -> Iterator[tuple[Any, ...]]:
    """Convert a batch of `latest` to rows for the file."""
    types = {field.name: field.dtype for field in [*table.entity_columns, *table.features]}

    def column(place: str, name: str) -> list[Any]:
        values = cast(batch[place], types[name], f"{table.name}:{name}")
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.timestamp("us")).cast(pa.int64())
        made: list[Any] = values.to_pylist()
        return made

    columns = [column(f"k{i}", name) for i, name in enumerate(keys)] or [[DUMMY_ENTITY_VAL] * batch.num_rows]
    columns += [batch["event"].to_pylist(), batch["created"].to_pylist()]
    columns += [column(f"f{i}", name) for i, name in enumerate(features)]
    return zip(*columns, strict=True)


def _keys(table: FeatureView) -> list[str]:
    """The names of the join keys, sorted."""
    return sorted(field.name for field in table.entity_columns) or [DUMMY_ENTITY_ID]


def _types(table: FeatureView) -> dict[str, str]:
    """Return Feast's type name of each feature."""
    return {field.name: field.dtype.to_value_type().name for field in table.features}


def _table_name(config: RepoConfig, table: FeatureView) -> str:
    name: str = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
    return name


def _key_values(entity: EntityKey) -> tuple[Any, ...]:
    """Return the values of an entity's keys, in the order of the key names."""
    by_name = sorted(zip(entity.join_keys, entity.entity_values, strict=True), key=lambda pair: pair[0])
    return tuple(_column_value(value) for _, value in by_name)


def _column_value(value: Value | None) -> Any:
    """Convert a protobuf value to the value of its column."""
    field = None if value is None else value.WhichOneof("val")
    if value is None or field is None:
        return None
    if field.removesuffix("_val").upper() not in SCALARS:
        return value.SerializeToString()
    plain = getattr(value, field)
    if field != "unix_timestamp_val":
        return plain
    return None if plain == NULL_TIMESTAMP_INT_VALUE else plain * 1_000_000


def _proto(value: Any, kind: str) -> Value:
    """Convert a column's value to protobuf, whose times have whole seconds."""
    if value is None:
        return Value()
    if kind not in SCALARS:
        made: Value = Value.FromString(value)
        return made
    return Value(**{f"{kind.lower()}_val": value // 1_000_000 if kind == "UNIX_TIMESTAMP" else value})

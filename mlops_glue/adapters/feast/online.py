"""An online store for Feast in one file of packed rows (see `packed`): a read is one query a view and no protobuf.

    online_store: {type: mlops_glue.adapters.feast.online.PackedOnlineStore, path: data/online.db}

An older value never replaces a newer one, and a value older than its view's TTL reads as null, OUTSIDE_MAX_AGE. Feast's
protobuf has times in whole seconds; `to_dict` of the quick way has them in microseconds, as they were written. The
quick way is for plain features and keys of the declared type; on-demand views and the rest go Feast's own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
from feast import utils
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from feast.type_map import (
    NULL_TIMESTAMP_INT_VALUE,
    feast_value_type_to_python_type,
    python_values_to_proto_values,
)
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp

from mlops_glue.adapters.feast.packed import OUTSIDE_MAX_AGE, PRESENT, Found, PackedFile, View, encode, key_of

# Value types that are packed as they are, and their field in Feast's protobuf; others are packed as its bytes
FIELDS = {
    "INT32": "int32_val",
    "INT64": "int64_val",
    "FLOAT": "float_val",
    "DOUBLE": "double_val",
    "STRING": "string_val",
    "BOOL": "bool_val",
    "BYTES": "bytes_val",
    "UNIX_TIMESTAMP": "unix_timestamp_val",
}
PLAIN = {*FIELDS, *(f"{name}_LIST" for name in FIELDS)}
KEY_TYPES = {"INT32": int, "INT64": int, "STRING": str}
PROTO = 1  # the code of a msgpack extension that holds Feast's protobuf
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """Options of the store in `feature_store.yaml`."""

    type: Literal["mlops_glue.adapters.feast.online.PackedOnlineStore"] = (
        "mlops_glue.adapters.feast.online.PackedOnlineStore"
    )
    path: str = "data/online.db"
    """The file; relative to the repository."""


class PackedOnlineStore(OnlineStore):
    """What each method takes and gives is Feast's."""

    _file: PackedFile | None = None

    def file(self, config: Any) -> PackedFile:
        """The file behind the store."""
        if self._file is None:
            self._file = PackedFile(Path(config.repo_path or ".") / config.online_store.path)
        return self._file

    def declare(self, config: Any, table: Any) -> tuple[View, int]:
        """Make a view's table, where it is not there; its description, and the number that its rows begin with."""
        keys = tuple(sorted(field.name for field in table.entity_columns))
        features = tuple((field.name, field.dtype.to_value_type().name) for field in table.features)
        view = View(_view_name(config, table), keys, features, ttl_us(table))
        return view, self.file(config).declare(view)

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows given as protobuf, all or none."""
        view, schema = self.declare(config, table)
        rows = [
            (
                _proto_key(entity),
                _us(event),
                None if created is None else _us(created),
                encode([schema, *(_unpacked(values.get(name)) for name, _ in view.features)]),
            )
            for entity, values, event, created in data
        ]
        self.file(config).write(view.name, rows)
        if progress is not None:
            progress(len(rows))

    def online_read(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Rows as protobuf; one that is too old is as one that is not there."""
        names = requested_features or [field.name for field in table.features]
        found = self._found(config, table, [_proto_key(entity) for entity in entity_keys], names)
        return [_row(table, names, one) if one.status == PRESENT else (None, None) for one in found]

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Make the tables that are missing, and drop those of views that were deleted."""
        for table in tables_to_keep:
            self.declare(config, table)
        for table in tables_to_delete if self.file(config).path.exists() else []:
            self.file(config).drop(_view_name(config, table))

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Remove the file."""
        file = self.file(config)
        file.close()
        for end in ("", "-wal", "-shm"):
            Path(f"{file.path}{end}").unlink(missing_ok=True)

    def get_online_features(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> Any:
        """The quick way where it gives the same as Feast's, else Feast's."""
        # a row is whole at any moment here; Feast would refuse a view while it is filled, and after a kill of that
        registry.serve_features_while_materializing = True
        columns = _columns(entity_rows)
        context = utils._get_cached_request_context(registry, project, features, full_feature_names)
        plan = None if include_feature_view_version_metadata else _plan(context, columns, features)
        if plan is None:
            return super().get_online_features(
                config,
                features,
                entity_rows,
                registry,
                project,
                full_feature_names,
                include_feature_view_version_metadata,
            )
        answer = PackedResponse(columns, context[3])
        for table, names, keys in plan:
            found = self._found(config, table, [key_of(key) for key in zip(*keys, strict=True)], names)
            prefix = f"{table.projection.name_to_use()}__" if full_feature_names else ""
            answer.add([prefix + name for name in names], _types(table, names), found)
        return answer

    def _read_features_per_fv(
        self,
        config: Any,
        grouped_refs: list[Any],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Feast's own, which has no way to say that a value is too old."""
        for table, names in grouped_refs:
            entities, places, rows = utils._get_unique_entities(table, join_key_values, entity_name_to_join_key_map)
            keys = [_proto_key(entity) for entity in utils._get_entity_key_protos(entities)]
            found = self._found(config, table, keys, names)
            read = [_row(table, names, one) for one in found]
            utils._populate_response_from_feature_data(
                names,
                read,
                places,
                online_features_response,
                full_feature_names,
                table,
                rows,
                include_feature_view_version_metadata,
            )
            for one, there in zip(found, places, strict=True):
                for vector in online_features_response.results[-len(names) :] if one.status == OUTSIDE_MAX_AGE else []:
                    for place in there:
                        vector.statuses[place] = OUTSIDE_MAX_AGE

    def _found(self, config: Any, table: Any, keys: list[bytes], names: list[str]) -> list[Found]:
        features = [(name, kind.name) for name, kind in zip(names, _types(table, names), strict=True)]
        return self.file(config).read(_view_name(config, table), keys, features, ttl_us(table))


class PackedResponse(OnlineResponse):
    """Feast's response; its protobuf is made when somebody asks for it."""

    def __init__(self, columns: dict[str, list[Any]], types: dict[str, ValueType]) -> None:
        """Begin with the entities' columns."""
        rows = len(next(iter(columns.values())))
        self._columns: list[tuple[str, Any, list[Any], list[int], list[int | None]]] = [
            (n, types[n], values, [PRESENT] * rows, [None] * rows) for n, values in columns.items()
        ]
        self._feature_types: dict[str, ValueType] = {}
        self._proto: Any = None

    def add(self, names: list[str], types: list[ValueType], found: list[Found]) -> None:
        """Add a view's features."""
        statuses, events = [one.status for one in found], [one.event_us for one in found]
        for at, (name, kind) in enumerate(zip(names, types, strict=True)):
            values = [None if one.values is None else one.values[at] for one in found]
            self._columns.append((name, kind, values, statuses, events))
            self._feature_types[name] = kind

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Every column as a list; times in microseconds, UTC. `<feature>__ts`: seconds since 1970, 0 where none."""
        made: dict[str, Any] = {}
        for name, kind, values, _, events in self._columns:
            made[name] = _python(values, kind)
            if include_event_timestamps:
                made[f"{name}__ts"] = [(event or 0) // 1_000_000 for event in events]
        return made

    @property
    def proto(self) -> Any:
        """The response as Feast sends it over a wire."""
        if self._proto is None:
            made = GetOnlineFeaturesResponse()
            for name, kind, values, statuses, events in self._columns:
                made.metadata.feature_names.val.append(name)
                made.results.append(
                    GetOnlineFeaturesResponse.FeatureVector(
                        values=[_packed_proto(value, kind) for value in values],
                        statuses=statuses,  # type: ignore[arg-type]
                        event_timestamps=[Timestamp(seconds=(us or 0) // 1_000_000) for us in events],
                    )
                )
            self._proto = made
        return self._proto


def ttl_us(table: Any) -> int | None:
    """How long a view's values are good for; None: for ever."""
    ttl: timedelta | None = getattr(table, "ttl", None)
    return ttl // timedelta(microseconds=1) if ttl else None


def _view_name(config: Any, table: Any) -> str:
    name: str = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
    return name


def _columns(entity_rows: Any) -> dict[str, list[Any]]:
    """Lists of values by name, or nothing where they are not plain."""
    if isinstance(entity_rows, list):
        names = entity_rows[0].keys() if entity_rows else ()
        if any(row.keys() != names for row in entity_rows):
            return {}
        return {name: [row[name] for row in entity_rows] for name in names}
    return dict(entity_rows) if all(type(values) is list for values in entity_rows.values()) else {}


def _plan(
    context: tuple[Any, ...], columns: dict[str, list[Any]], features: Any
) -> list[tuple[Any, list[str], list[list[Any]]]] | None:
    """View, features and key columns of each query; None: the request is not plain."""
    refs, on_demand, _, types, join_keys, grouped, _, request_data, no_entity = context
    odd = on_demand or request_data or no_entity or getattr(features, "precompute_online", False)
    if odd or not columns or not columns.keys() <= join_keys:
        return None
    rows = len(next(iter(columns.values())))
    for name, values in columns.items():
        wanted = KEY_TYPES.get(types[name].name)
        if not rows or len(values) != rows or any(type(value) is not wanted for value in values):
            return None
    plan = []
    for table, names in grouped:
        called = table.projection.join_key_map
        keys = [called.get(name, name) for name in sorted(field.name for field in table.entity_columns)]
        if table.projection.version_tag is not None or not columns.keys() >= set(keys):
            return None
        by_ref = {f"{table.projection.name_to_use()}:{name}": name for name in names}  # Feast has them in a set
        ordered = [by_ref[ref] for ref in refs if ref in by_ref]
        plan.append((table, ordered if len(ordered) == len(names) else names, [columns[key] for key in keys]))
    return plan


def _types(table: Any, names: list[str]) -> list[ValueType]:
    types = {field.name: field.dtype for field in table.features}
    return [types[name].to_value_type() for name in names]


def _row(table: Any, names: list[str], one: Found) -> tuple[datetime | None, dict[str, Any] | None]:
    """What was found as Feast passes rows around."""
    if one.values is None:
        return _moment(one.event_us), None
    protos = map(_packed_proto, one.values, _types(table, names))
    return _moment(one.event_us), dict(zip(names, protos, strict=True))


def _proto_key(entity: Any) -> bytes:
    """The key of an entity given as protobuf."""
    return key_of(
        [
            _unpacked(value)
            for _, value in sorted(zip(entity.join_keys, entity.entity_values, strict=True), key=lambda p: p[0])
        ]
    )


def _unpacked(value: Any) -> Any:
    """A protobuf value as it is packed."""
    field = None if value is None else value.WhichOneof("val")
    if field is None:
        return None
    got = getattr(value, field)
    if field in FIELDS.values():
        return _from_seconds(got) if field == "unix_timestamp_val" else got
    if field.replace("_list_val", "_val") in FIELDS.values():
        return [_from_seconds(one) for one in got.val] if field == "unix_timestamp_list_val" else list(got.val)
    return msgspec.msgpack.Ext(PROTO, value.SerializeToString())


def _packed_proto(value: Any, kind: ValueType) -> Any:
    """A packed value as protobuf, which has whole seconds."""
    if value is None:
        return Value()
    if isinstance(value, msgspec.msgpack.Ext):
        return Value.FromString(bytes(value.data))
    field = FIELDS.get(kind.name)
    if field is None:
        return python_values_to_proto_values(_python([value], kind), kind)[0]
    return Value(**{field: value // 1_000_000 if kind == ValueType.UNIX_TIMESTAMP else value})


def _python(values: list[Any], kind: ValueType) -> list[Any]:
    """Packed values as Feast gives them to Python."""
    if kind == ValueType.UNIX_TIMESTAMP:
        return [_moment(value) for value in values]
    if kind == ValueType.UNIX_TIMESTAMP_LIST:
        return [value and [_moment(one) for one in value] for value in values]
    if kind.name in PLAIN:
        return values
    return [feast_value_type_to_python_type(_packed_proto(value, kind), kind) for value in values]


def _from_seconds(seconds: int) -> int | None:
    return None if seconds == NULL_TIMESTAMP_INT_VALUE else seconds * 1_000_000


def _moment(us: int | None) -> datetime | None:
    return None if us is None else EPOCH + timedelta(microseconds=us)


def _us(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)

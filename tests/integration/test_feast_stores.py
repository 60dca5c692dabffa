"""Feast on our stores: against a slow reference that is plainly right, and against kills, mistakes and Feast's own CLI."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("feast")

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

from mlops_glue.adapters.feast import offline
from mlops_glue.adapters.feast.packed import OUTSIDE_MAX_AGE, PackedFile, View, encode, key_of
from mlops_glue.errors import DataError, UsageError

NOW = datetime.now(UTC).replace(microsecond=0)
ROOM = "mlops_glue.adapters.feast"
STORES: dict[str, Any] = {
    "registry": {"registry_store_type": f"{ROOM}.registry.AtomicRegistryStore", "path": "data/registry.db"},
    "offline_store": {"type": f"{ROOM}.offline.AsofOfflineStore"},
    "online_store": {"type": f"{ROOM}.online.PackedOnlineStore", "path": "data/online.db"},
    "batch_engine": {"type": f"{ROOM}.engine.ArrowComputeEngine"},
}
CUSTOMER = Entity(name="customer", join_keys=["id"], value_type=ValueType.INT64)
PLAIN = [Field(name="x", dtype=Int64)]


def config(root: Path, **other: Any) -> RepoConfig:
    made = RepoConfig(project="p", provider="local", entity_key_serialization_version=3, **(STORES | other))
    made.repo_path = root
    return made


def view(name: str, schema: list[Field], *, ttl: timedelta | None = None, created: bool = False, **other: Any) -> Any:
    source = FileSource(
        name=f"{name}_source",
        path=f"{name}.parquet",
        timestamp_field="at",
        created_timestamp_column="made" if created else "",
        field_mapping=other.pop("field_mapping", {}),
    )
    given: dict[str, Any] = {"entities": [CUSTOMER], "ttl": ttl or timedelta(0), "schema": schema, "source": source}
    return FeatureView(name=name, **(given | other))


def write(root: Path, name: str, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), root / f"{name}.parquet")


def seen(rows: list[dict[str, Any]], key: tuple[Any, ...], at: datetime, ttl: timedelta | None) -> dict[str, Any]:
    """What was known of an entity at a time: the reference."""
    known = [
        (row["event"], row["created"] or row["event"], place, row)
        for place, row in enumerate(rows)
        if row["key"] == key and None not in key and row["event"] <= at and (row["created"] or row["event"]) <= at
    ]
    if not known:
        return {}
    event, _, _, row = max(known, key=lambda k: k[:3])
    return {} if ttl and event + ttl < at else row


KINDS: dict[str, tuple[Any, pa.DataType, Any]] = {
    "int64": (Int64, pa.int64(), lambda r: r.choice([-(2**62), 0, 7, 2**62])),
    "int32": (Int32, pa.int64(), lambda r: r.randrange(100)),
    "float64": (Float64, pa.float64(), lambda r: r.random()),
    "float32": (Float32, pa.float64(), lambda r: r.choice([0.5, -1.25, 3.0])),
    "string": (String, pa.large_string(), lambda r: r.choice(["", "é", "a'b\"c"])),
    "bool": (Bool, pa.bool_(), lambda r: r.random() < 0.5),
    "bytes": (Bytes, pa.binary(), lambda r: r.choice([b"", b"\0\xff"])),
    "time": (UnixTimestamp, pa.timestamp("us"), lambda r: NOW.replace(tzinfo=None) - timedelta(days=r.randrange(9))),
    "floats": (Array(Float32), pa.list_(pa.float64()), lambda r: [0.5] * r.randrange(3)),
    "texts": (Array(String), pa.list_(pa.string()), lambda r: ["a", "b"][: r.randrange(3)]),
}


def random_view(
    r: random.Random, root: Path, name: str, keys: list[str], kinds: dict[str, pa.DataType]
) -> tuple[Any, Any]:
    """A feature table with ties, late rows and gaps, as Parquet and as rows of the reference."""
    late, ttl = r.random() < 0.6, r.choice([None, timedelta(hours=1), timedelta(hours=5), timedelta(microseconds=1)])
    features = r.sample(sorted(KINDS), r.randrange(1, 4))
    rows = []
    for _ in range(r.choice([0, 1, 5, 40, 120])):
        event = NOW - timedelta(hours=r.randrange(12), microseconds=r.randrange(3))
        waits = timedelta(hours=r.choice([0, 0, 1, 3]), microseconds=r.randrange(2))
        key = tuple(r.choice(VALUES[k]) for k in keys)
        values = {f: None if r.random() < 0.2 else KINDS[f][2](r) for f in features}
        rows.append({"event": event, "created": event + waits if late else None, "key": key, "values": values})
    zone, unit = r.choice([None, "UTC", "Europe/Berlin"]), r.choice(["us", "ns"])
    times: Any = pa.array([row["event"] for row in rows], pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, zone))
    if r.random() < 0.2:
        times = pa.array([row["event"].isoformat() for row in rows], pa.string())
    columns = {k: pa.array([row["key"][i] for row in rows], kinds[k]) for i, k in enumerate(keys)}
    columns |= {f"f_{f}": pa.array([row["values"][f] for row in rows], KINDS[f][1]) for f in features} | {"at": times}
    if late:
        columns["made"] = pa.array([row["created"] for row in rows], pa.timestamp("us", "UTC"))
    write(root, name, columns)
    entities = [Entity(name=k, join_keys=[k], value_type=ENTITIES[k]) for k in keys]
    schema = [Field(name=f, dtype=KINDS[f][0]) for f in features] + [Field(name=k, dtype=ENTITY_TYPES[k]) for k in keys]
    mapping = {f"f_{f}": f for f in features}
    made = view(name, schema, ttl=ttl, created=late, entities=entities, field_mapping=mapping)
    return made, (rows, keys, ttl, features)


VALUES: dict[str, list[Any]] = {"a": [1, 2, 3, 2**53 + 1], "b": ["x", "y", "é"], "c": [10, 20]}
ENTITIES = {"a": ValueType.INT64, "b": ValueType.STRING, "c": ValueType.INT32}
ENTITY_TYPES = {"a": Int64, "b": String, "c": Int32}


@pytest.mark.parametrize("block", range(10))
def test_every_row_once_in_its_order_with_the_value_known_at_its_time(tmp_path: Path, block: int) -> None:
    """300 random cases against the reference."""
    for case in range(30 * block, 30 * block + 30):
        r = random.Random(case)
        kinds = {
            "a": pa.int64(),
            "b": r.choice([pa.string(), pa.large_string()]),
            "c": r.choice([pa.int32(), pa.int64()]),
        }
        views = [
            random_view(r, tmp_path, f"v{i}", r.choice([["a"], ["b"], ["a", "b"], ["c", "a"], []]), kinds)
            for i in range(r.randrange(1, 4))
        ]
        rows = r.choice([1, 2, 30])
        asked = [NOW - timedelta(hours=r.randrange(12), microseconds=r.randrange(3)) for _ in range(rows)]
        frame = pd.DataFrame(
            {k: [r.choice([*VALUES[k], VALUES[k][0] if k != "b" else "unseen"]) for _ in asked] for k in VALUES}
        )
        times = pd.Series(pd.DatetimeIndex(asked))
        frame["event_timestamp"] = r.choice(
            [
                times.dt.as_unit("us"),
                times.dt.as_unit("ns"),
                times.dt.tz_localize(None),
                times.dt.tz_convert("Asia/Tokyo"),
                times.map(lambda t: t.isoformat()),
            ]
        )
        frame["label"] = range(rows)
        frame = pd.concat([frame, frame.sample(frac=0.3, random_state=case)])  # duplicates, and an index that repeats
        refs = [f"{made.name}:{f}" for made, (_, _, _, features) in views for f in features]
        got = offline.join(
            config(tmp_path), [made for made, _ in views], refs, frame, full_feature_names=True, with_timestamps=True
        )
        assert got["label"].to_pylist() == frame["label"].tolist()
        at = pd.to_datetime(frame["event_timestamp"], utc=True, format="ISO8601").tolist()
        assert got["event_timestamp"].to_pandas().tolist() == at
        for made, (source, keys, ttl, features) in views:
            want = [
                seen(source, tuple(row[k] for k in keys), moment, ttl)
                for (_, row), moment in zip(frame.iterrows(), at, strict=True)
            ]
            events = [w.get("event") for w in want]
            assert got[f"{made.name}__event_timestamp"].cast(pa.timestamp("us", "UTC")).to_pylist() == events, case
            for f in features:
                values = [w["values"][f] if w else None for w in want]
                values = [v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in values]
                assert got[f"{made.name}__{f}"].to_pylist() == values, (case, made.name, f)

"""Feast on our stores: against a slow reference that is plainly right, kills, mistakes, and with Feast's own CLI."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("feast")

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.infra.registry.file import FileRegistryStore
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

from mlops_glue.adapters.feast import offline
from mlops_glue.adapters.feast.offline import AsofOfflineStore
from mlops_glue.adapters.feast.online import EmbeddedOnlineStore, is_plain
from mlops_glue.adapters.feast.online_file import OnlineFile
from mlops_glue.adapters.feast.registry import AtomicRegistryStore
from mlops_glue.adapters.feast.repository import Repository
from mlops_glue.errors import DataError, UsageError

NOW = datetime.now(UTC).replace(microsecond=0)
ROOM = "mlops_glue.adapters.feast"
STORES: dict[str, Any] = {
    "registry": {"registry_store_type": f"{ROOM}.registry.AtomicRegistryStore", "path": "data/registry.db"},
    "offline_store": {"type": f"{ROOM}.offline.AsofOfflineStore"},
    "online_store": {"type": f"{ROOM}.online.EmbeddedOnlineStore", "path": "data/online.db"},
}
PRESENT, NOT_FOUND = 1, 3  # as Feast numbers them
CUSTOMER = Entity(name="customer", join_keys=["id"], value_type=ValueType.INT64)
PLAIN = [Field(name="x", dtype=Int64)]
FEAST_0_40 = (  # a registry that `feast apply` of 0.40 wrote: zlib, base 85
    "c-"
    "pOzze~eV5XZST)_QgbagpK_x+u*{^Rv}S5FK<7tdmQ4$$Jk1X%mwa)XBLZiY`tLj!sTOanRApS@54R7KId7r~7>2d)$5Ru!qYy?|E!A7@Vs3"
    "1765>AyHPaQGfcp{iw;WFXKs7nNirr20|!HYUPjn@v`jxR!uO}R>xpLZ{2saz!p@q9bs!!6l599H7v_<J6(J2x9#fYZc;Tb00#(EfusqcI)`"
    "u~OQuvmf7Unl>d>sv{Af{Gpd_K`@rdVRFa)PrPQsx`DT#%M!XfvvJWhE=L>LtukJ5mXor3#Qya%A0;McIoAxotgZ|~Qo7*lnyja%5B88IwR$"
    "d02h=cGR^ht!X_x`Yiq(HYID9uwv()x@Lz{y*;i0Fa!mV)22N)n%sd3PWQ)6PnF!Q=`;%w2mc$;?TAwgz*JT@1Oz"
)


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feast takes the working directory for the repository, where it is given no feature_store.yaml."""
    monkeypatch.chdir(tmp_path)


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
            known = [max(w["event"], w["created"] or w["event"]) if w else None for w in want]
            assert got[f"{made.name}__known_timestamp"].cast(pa.timestamp("us", "UTC")).to_pylist() == known, case
            for f in features:
                values = [w["values"][f] if w else None for w in want]
                values = [v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in values]
                assert got[f"{made.name}__{f}"].to_pylist() == values, (case, made.name, f)


def fresh(root: Path, views: list[Any], *more: Any, **other: Any) -> FeatureStore:
    """A store with these views, by their own stores unless said otherwise."""
    store = FeatureStore(config=config(root, **other))
    store.apply([CUSTOMER, *views, *more])
    return store


def fill(store: FeatureStore, start: datetime, end: datetime) -> None:
    """Materialize as glue does it."""
    for one in store.list_feature_views():
        EmbeddedOnlineStore().fill(store.config, one, start, end)


def hours(*back: float) -> pa.Array:
    return pa.array([NOW - timedelta(hours=b) for b in back], pa.timestamp("us", "UTC"))


def read(store: FeatureStore, refs: list[str], ids: list[int]) -> tuple[dict[str, list[Any]], list[int]]:
    """Values, and the statuses of the last feature."""
    response = store.get_online_features(refs, [{"id": i} for i in ids])
    return response.to_dict(), list(response.proto.results[-1].statuses)


def test_names_services_aliases_and_on_demand_views_through_feast(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1, 1, 2], "x": [1, 2, 3], "at": hours(3, 2, 1)})
    write(tmp_path, "all", {"n": [5, 6], "at": hours(3, 1)})
    a = view("a", PLAIN)
    everywhere = view("all", [Field(name="n", dtype=Int64)], entities=[])

    @on_demand_feature_view(sources=[a, everywhere], schema=[Field(name="sum", dtype=Int64)], mode="pandas")
    def both(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": (inputs["x"] + inputs["n"]).astype("Int64")})

    service = FeatureService(
        name="service", features=[a.with_name("payer").with_join_key_map({"id": "payer_id"}), everywhere]
    )
    store = fresh(tmp_path, [a, everywhere], both, service)
    ask = pd.DataFrame({"id": [2, 1], "payer_id": [1, 9], "event_timestamp": [NOW, NOW - timedelta(hours=2)]})
    got = store.get_historical_features(ask, store.get_feature_service("service"), full_feature_names=True).to_df()
    assert got["payer__x"].tolist()[0] == 2 and pd.isna(got["payer__x"][1]) and got["all__n"].tolist() == [6, 5]
    got = store.get_historical_features(ask, ["both:sum", "a:x"]).to_df()
    assert got["sum"].tolist() == [9, 7] and got["x"].tolist() == [3, 2]

    fill(store, NOW - timedelta(days=1), NOW)
    rows = [{"id": 2, "payer_id": 1}, {"id": 1, "payer_id": 9}]
    online = store.get_online_features(store.get_feature_service("service"), rows, full_feature_names=True).to_dict()
    assert online["payer__x"] == [2, None] and online["all__n"] == [6, 6]
    online = store.get_online_features(["a:x", "both:sum"], [{"id": 2}, {"id": 1}]).to_dict()
    assert online["x"] == [3, 2] and online["sum"] == [9, 8]
    assert list(store.get_online_features(["all:n", "a:x"], [{"id": 1}]).to_dict()) == ["id", "n", "x"]


@pytest.mark.parametrize("by", ["glue", "Feast"])
def test_every_type_comes_back_from_online_as_it_was_written(tmp_path: Path, by: str) -> None:
    """Lists are written by Feast alone."""
    r, kinds = random.Random(0), dict(KINDS)
    kinds["times"] = (Array(UnixTimestamp), pa.list_(pa.timestamp("us")), lambda r: [datetime(2026, 1, 2)])
    for name in ("int64", "bool", "string"):
        kinds[f"{name}_list"] = (
            Array(KINDS[name][0]),
            pa.list_(KINDS[name][1]),
            lambda r, make=KINDS[name][2]: [make(r)],
        )
    columns = {n: pa.array([make(r), None, make(r)], kind) for n, (_, kind, make) in kinds.items()}
    columns["time"] = pa.array([NOW.replace(tzinfo=None), None, datetime(1969, 12, 31)], pa.timestamp("us"))
    columns["float64"] = pa.array([float("nan"), None, float("-inf")])
    write(tmp_path, "a", {"id": [1, 2, 3], "at": hours(1, 1, 1), **columns})
    schema = [Field(name=n, dtype=kind) for n, (kind, _, _) in kinds.items()]
    scalars = [field for field in schema if field.name not in ("floats", "texts", "times") and "list" not in field.name]
    store = fresh(tmp_path, [view("a", scalars if by == "glue" else schema)])
    assert is_plain(store.get_feature_view("a")) == (by == "glue")
    if by == "glue":
        fill(store, NOW - timedelta(days=1), NOW)
        columns = {field.name: columns[field.name] for field in scalars}
    else:
        store.materialize(NOW - timedelta(days=1), NOW)
    for rows in ([{"id": 1}, {"id": 2}, {"id": 3}], {"id": [1, 2, 3]}):
        got = store.get_online_features([f"a:{n}" for n in columns], rows).to_dict()
        for name, column in columns.items():
            want = column.cast(pa.list_(pa.float32())).to_pylist() if name == "floats" else column.to_pylist()
            if name in ("time", "times"):
                want = [
                    [m.replace(tzinfo=UTC) for m in w] if isinstance(w, list) else w and w.replace(tzinfo=UTC)
                    for w in want
                ]
            if name == "float64":  # SQLite has no NaN, and glue takes it for a missing number everywhere
                want[0] = None
            assert got[name] == want, name


def test_online_is_what_the_offline_join_gives_at_that_moment(tmp_path: Path) -> None:
    r = random.Random(1)
    n = 6000
    event = [NOW - timedelta(minutes=r.randrange(600)) for _ in range(n)]
    columns = {
        "id": [r.randrange(1000) for _ in range(n)],
        "x": pa.array([None if r.random() < 0.1 else r.randrange(99) for _ in range(n)], pa.int64()),
        "at": pa.array(event, pa.timestamp("us", "UTC")),
        "made": pa.array([e + timedelta(minutes=r.choice([0, 0, 30, 900])) for e in event], pa.timestamp("us", "UTC")),
    }
    write(tmp_path, "a", columns)
    store = fresh(tmp_path, [view("a", PLAIN, created=True, ttl=timedelta(hours=5))])
    moment = NOW - timedelta(minutes=40)
    fill(store, NOW - timedelta(days=2), moment)
    oldest = (moment - timedelta(hours=5) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    file, keys = OnlineFile(tmp_path / "data/online.db"), [(i,) for i in range(1010)]
    found = file.read("p_a", ["id"], ["x"], keys, oldest)
    online = [found[key][1] if key in found else None for key in keys]
    ask = pd.DataFrame({"id": range(1010), "event_timestamp": [moment] * 1010})
    assert online == store.get_historical_features(ask, ["a:x"]).to_arrow()["x"].to_pylist()
    assert sum(value is not None for value in online) > 500 and len(found) < len(file.read("p_a", ["id"], [], keys))


def test_an_older_window_after_a_newer_one_overwrites_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1, 1, 2], "x": [1, 2, 3], "at": hours(9, 1, 9)})
    store = fresh(tmp_path, [view("a", PLAIN)])
    fill(store, NOW - timedelta(hours=2), NOW)
    fill(store, NOW - timedelta(hours=10), NOW - timedelta(hours=8))
    assert read(store, ["a:x"], [1, 2, 3])[0]["x"] == [2, 3, None]
    frame = pd.DataFrame({"id": [1], "x": [7], "at": [NOW - timedelta(hours=3)]})
    store.write_to_online_store("a", frame)
    assert read(store, ["a:x"], [1])[0]["x"] == [2]
    store.write_to_online_store("a", frame.assign(at=NOW))
    assert read(store, ["a:x"], [1])[0]["x"] == [7]


def test_a_value_older_than_its_ttl_is_not_served(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1, 2], "x": [1, 2], "at": hours(1, 5)})
    a = view("a", PLAIN, ttl=timedelta(hours=3))

    @on_demand_feature_view(sources=[a], schema=[Field(name="more", dtype=Float64)], mode="pandas")
    def more(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"more": inputs["x"].astype("float64")})

    store = fresh(tmp_path, [a], more)
    store.materialize(NOW - timedelta(days=1), NOW)
    values, statuses = read(store, ["a:x"], [1, 2, 3])
    assert values["x"] == [1, None, None] and statuses == [PRESENT, NOT_FOUND, NOT_FOUND]
    response = store.get_online_features(["a:x", "more:more"], [{"id": 1}, {"id": 2}, {"id": 3}]).to_dict()
    assert response["x"] == [1, None, None] and response["more"][0] == 1


def test_a_changed_view_never_serves_a_value_under_another_name_or_type(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1], "w": ["5"], "x": [1], "at": hours(1)})
    both = [Field(name="w", dtype=String), Field(name="x", dtype=Int64)]
    store = fresh(tmp_path, [view("a", both)])
    store.materialize(NOW - timedelta(days=1), NOW)
    store.apply([view("a", [Field(name="x", dtype=Int64), Field(name="w", dtype=Int64)])])
    assert read(store, ["a:x", "a:w"], [1])[0] == {"id": [1], "x": [1], "w": [None]}
    store.materialize(NOW - timedelta(days=1), NOW)
    assert read(store, ["a:x", "a:w"], [1])[0] == {"id": [1], "x": [1], "w": [5]}
    store.apply([], objects_to_delete=[store.get_feature_view("a")], partial=False)
    with pytest.raises(DataError, match="no such table: p_a"):
        OnlineFile(tmp_path / "data/online.db").is_empty(["p_a"])


def test_other_online_stores_are_filled_as_feast_does_it(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1, 1], "x": [1, 2], "at": hours(2, 1)})
    store = fresh(tmp_path, [view("a", PLAIN)], online_store={"type": "sqlite", "path": "data/o.db"})
    store.materialize(NOW - timedelta(days=1), NOW)
    assert read(store, ["a:x"], [1])[0]["x"] == [2]


def test_the_file_is_read_without_feast_or_pandas(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1], "x": [4], "at": hours(1)})
    fresh(tmp_path, [view("a", PLAIN)]).materialize(NOW - timedelta(days=1), NOW)
    code = """
    import sys
    from pathlib import Path
    from mlops_glue.adapters.feast.online_file import OnlineFile
    print(OnlineFile(Path("data/online.db")).read("p_a", ["id"], ["x"], [(1,)])[(1,)][1:])
    print({"feast", "pandas", "pyarrow", "numpy", "duckdb"} & {m.split(".")[0] for m in sys.modules})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "(4,)\nset()\n", done.stderr


def test_readers_do_not_fail_while_a_view_is_written(tmp_path: Path) -> None:
    file = OnlineFile(tmp_path / "online.db")
    file.declare("v", ["id"], {"x": "INT64"})
    done, seen_values, errors = threading.Event(), set(), []

    def reading() -> None:
        while not done.is_set():
            try:
                seen_values.add(tuple(row[1] for row in file.read("v", ["id"], ["x"], keys).values()))
            except Exception as error:
                errors.append(error)

    keys = [(i,) for i in range(50)]
    threads = [threading.Thread(target=reading) for _ in range(3)]
    for thread in threads:
        thread.start()
    for at in range(60):
        file.write("v", ["id"], ["x"], [(i, at, None, at) for i in range(2000)])
    done.set()
    for thread in threads:
        thread.join()
    assert errors == [] and len(seen_values) > 1
    assert all(len(set(values)) <= 1 for values in seen_values)  # a batch is seen whole


def kill_during(root: Path, work: Callable[[FeatureStore], object], after: float) -> None:
    """Another process does the work again and again, until it is killed."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            store = FeatureStore(config=config(root))
            os.write(writing, b"ready")
            for _ in range(1000):
                work(store)
        os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 5) == b"ready"
        time.sleep(after)
    finally:
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        os.close(reading)


def test_a_kill_during_materialise_leaves_a_store_that_reads_and_fills(tmp_path: Path) -> None:
    rows = 300_000
    write(tmp_path, "a", {"id": range(rows), "x": range(rows), "at": [NOW - timedelta(hours=1)] * rows})
    store = fresh(tmp_path, [view("a", PLAIN)])
    for after in (0.4, 0.8):
        kill_during(tmp_path, lambda store: fill(store, NOW - timedelta(days=1), NOW), after)
        again = FeatureStore(config=config(tmp_path))
        got = read(again, ["a:x"], [0, 1, rows - 1])[0]["x"]
        assert all(value in (None, want) for value, want in zip(got, [0, 1, rows - 1], strict=True))
    fill(FeatureStore(config=config(tmp_path)), NOW - timedelta(days=1), NOW)
    assert read(store, ["a:x"], [0, rows - 1])[0]["x"] == [0, rows - 1]


@pytest.mark.long
def test_a_kill_while_the_registry_is_written_leaves_it_whole(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1], "x": [4], "at": hours(1)})
    fresh(tmp_path, [view("a", PLAIN), *(view(f"v{i}", PLAIN) for i in range(60))])
    for after in (0.05, 0.3):
        kill_during(tmp_path, lambda store: store.registry.commit(), after)
        assert len(FeatureStore(config=config(tmp_path)).list_feature_views()) == 61


def test_an_empty_or_damaged_registry_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1], "x": [4], "at": hours(1)})
    fresh(tmp_path, [view("a", PLAIN)])
    file = tmp_path / "data/registry.db"
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], b"\xff" * 300, b"not a registry"):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"registry\.db: the registry is empty, damaged"):
            FeatureStore(config=config(tmp_path)).list_feature_views()


def test_a_registry_of_another_version_of_feast_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "data/registry.db"
    file.parent.mkdir()
    file.write_bytes(zlib.decompress(base64.b85decode(FEAST_0_40)))
    write(tmp_path, "a", {"id": [1], "x": [4], "at": [NOW]})
    store = FeatureStore(config=config(tmp_path))
    assert [v.name for v in store.list_feature_views()] == ["a"]
    fresh(tmp_path, [view("a", PLAIN)])  # the definitions are applied over it, as each glue run does
    store = FeatureStore(config=config(tmp_path))
    store.materialize(NOW - timedelta(days=1), NOW)
    assert read(store, ["a:x"], [1])[0]["x"] == [4]
    later = Registry.FromString(file.read_bytes())
    later.registry_schema_version = "2"
    file.write_bytes(later.SerializeToString())
    with pytest.raises(DataError, match="from another version of Feast"):
        FeatureStore(config=config(tmp_path)).list_feature_views()


YAML = f"""
project: p
provider: local
entity_key_serialization_version: 3
registry: {{registry_store_type: {ROOM}.registry.AtomicRegistryStore, path: data/registry.db}}
offline_store: {{type: {ROOM}.offline.AsofOfflineStore}}
online_store: {{type: {ROOM}.online.EmbeddedOnlineStore, path: data/online.db}}
"""
DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Int64
customer = Entity(name="customer", join_keys=["id"], value_type=ValueType.INT64)
source = FileSource(name="s", path="a.parquet", timestamp_field="at")
a = FeatureView(name="a", entities=[customer], ttl=timedelta(days=9), source=source,
                schema=[Field(name="x", dtype=Int64)])
"""


def test_feasts_own_command_line_works_on_a_repository_with_our_stores(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(YAML)
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    write(tmp_path, "a", {"id": [1, 2], "x": [4, 5], "at": hours(1, 2)})

    until = NOW.strftime("%Y-%m-%dT%H:%M:%S")
    calls = ["apply"], ["feature-views", "list"], ["materialize", "2020-01-01T00:00:00", until]
    code = f"from feast.cli.cli import cli\nfor words in {calls}:\n    cli(words, standalone_mode=False)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a  " in done.stdout
    assert read(FeatureStore(repo_path=str(tmp_path)), ["a:x"], [2, 1])[0]["x"] == [5, 4]
    FeatureStore(repo_path=str(tmp_path)).teardown()
    assert not (tmp_path / "data/online.db").exists()


FILES = {  # feature_store.yaml, what glue.yaml says: the classes that glue takes, and the online store's file
    "left open": ("", {}, (AsofOfflineStore, EmbeddedOnlineStore, AtomicRegistryStore), "data/online.db"),
    "Feast's own": (
        "offline_store: {type: duckdb}\nregistry: data/mine.db\nonline_store: {type: sqlite, path: data/mine.sqlite}\n",
        {},
        (AsofOfflineStore, SqliteOnlineStore, AtomicRegistryStore),
        "data/mine.sqlite",
    ),
    "with options": (
        "offline_store: {type: duckdb, staging_location: here}\nregistry: {path: data/r.db, cache_ttl_seconds: 9}\n",
        {},
        (DuckDBOfflineStore, EmbeddedOnlineStore, AtomicRegistryStore),
        "data/online.db",
    ),
    "a store of Feast's by its class": (
        "registry: {path: data/r.db, registry_store_type: feast.infra.registry.file.FileRegistryStore}\n",
        {},
        (AsofOfflineStore, EmbeddedOnlineStore, FileRegistryStore),
        "data/online.db",
    ),
    "named in glue.yaml": (
        "offline_store: {type: duckdb}\n",
        {"offline": {"type": "duckdb"}, "online": {"type": "sqlite", "path": "data/o.db"}},
        (DuckDBOfflineStore, SqliteOnlineStore, AtomicRegistryStore),
        "data/o.db",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_glue_puts_its_stores_where_none_is_named_and_writes_no_file_of_feasts_in_another_form(
    tmp_path: Path, name: str
) -> None:
    text, given, classes, file = FILES[name]
    here = tmp_path / "repo"
    here.mkdir()
    (here / "feature_store.yaml").write_text(f"project: p\nprovider: local\n{text}")
    (here / "definitions.py").write_text(DEFINITIONS)
    write(here, "a", {"id": [1, 2], "x": [4, 5], "at": hours(1, 2)})
    made = Repository(tmp_path, "repo", **given)
    made.apply()
    made.materialize(["a"], NOW - timedelta(days=30), NOW)
    store = made._store
    provider = store._get_provider()
    registry = store.registry._registry_store
    assert (type(provider.offline_store), type(provider.online_store), type(registry)) == classes
    assert made.exact == (classes[0] is AsofOfflineStore)
    assert made.online_file == here / file
    with contextlib.closing(sqlite3.connect(made.online_file)) as connection:
        columns = {row[1] for row in connection.execute("pragma table_info(p_a)")}
    assert ("__event" in columns) == (classes[1] is EmbeddedOnlineStore)
    if name == "Feast's own":  # who reads them by Feast alone finds what glue wrote, and glue what Feast wrote
        plain = FeatureStore(repo_path=str(here))
        assert type(plain.registry._registry_store) is FileRegistryStore
        assert [one.name for one in plain.list_feature_views()] == ["a"]
        assert read(plain, ["a:x"], [2, 1])[0]["x"] == [5, 4]
        plain.apply([view("b", PLAIN)])
        assert {one.of for one in Repository(tmp_path, "repo").views(["a:x", "b:x"])[0]} == {"a", "b"}


@pytest.mark.parametrize("path", ["s3://bucket/a.parquet", "a.parquet"])
def test_a_source_elsewhere_is_left_to_feasts_own_store(tmp_path: Path, path: str) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: p\nprovider: local\noffline_store: {type: duckdb}\n")
    (tmp_path / "definitions.py").write_text(DEFINITIONS.replace("a.parquet", path))
    write(tmp_path, "a", {"id": [1], "x": [4], "at": hours(1)})
    assert Repository(tmp_path, ".").exact == (path == "a.parquet")


def ask(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": [1], "event_timestamp": [NOW]} | columns)


@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        (ask(id=["1"]), DataError, r"'id' is string in entity_df and int64 in .*a\.parquet \(view 'a'\)"),
        (ask(id=[1.5]), DataError, "'id' is double in entity_df and int64"),
        (ask(id=pd.Series([1, "x"])[:1].to_list()).rename(columns={"id": "ident"}), DataError, "no column 'id'"),
        (ask(x=[1]), UsageError, "two columns would be named 'x'"),
    ],
)
def test_rows_that_cannot_be_joined_are_refused(tmp_path: Path, frame: Any, error: type[Exception], said: str) -> None:
    write(tmp_path, "a", {"id": [1], "x": [4], "at": hours(1)})
    with pytest.raises(error, match=said):
        offline.join(config(tmp_path), [view("a", [*PLAIN, Field(name="id", dtype=Int64)])], ["a:x"], frame)


def test_an_online_view_needs_names_that_differ_by_more_than_case(tmp_path: Path) -> None:
    columns = [Field(name=name, dtype=Int64) for name in ("id", "X", "x")]
    with pytest.raises(DataError, match=r"columns .'X', 'x'. of view 'a' differ only in case"):
        fresh(tmp_path, [view("a", columns)])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (None, "the file does not exist"),
        ({"id": [1], "at": hours(1)}, r"a\.parquet \(view 'a'\) has no column 'x'"),
        ({"id": [1], "x": [1.5], "at": hours(1)}, "a:x is declared as Int64, but the file has double"),
        ({"id": [1], "x": ["one"], "at": hours(1)}, "a:x is declared as Int64, but the file has string"),
        ({"id": [1], "x": [1], "at": [5]}, "column 'at' is int64, not a time"),
        ({"id": [1], "x": [1], "at": ["soon"]}, "soon"),
        ({"id": [1], "X": [1], "x": [1], "at": hours(1)}, "'X', 'x'. differ only in case"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(tmp_path: Path, columns: dict[str, Any] | None, said: str) -> None:
    if columns is not None:
        write(tmp_path, "a", columns)
    with pytest.raises(DataError, match=said):
        offline.join(config(tmp_path), [view("a", [*PLAIN, Field(name="id", dtype=Int64)])], ["a:x"], ask())


def test_ways_that_are_not_there_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", {"id": [1], "x": [4], "at": hours(1)})
    store = fresh(tmp_path, [view("a", PLAIN)])
    with pytest.raises(UsageError, match="entity_df is an SQL query"):
        store.get_historical_features("SELECT 1", ["a:x"])
    with pytest.raises(UsageError, match="entity_df is none"):
        store.get_historical_features(features=["a:x"], start_date=NOW - timedelta(days=1), end_date=NOW)
    for file in (tmp_path / "data").glob("online.db*"):
        file.unlink()
    with pytest.raises(DataError, match=r"online\.db: the online store does not exist"):
        read(store, ["a:x"], [1])
    (tmp_path / "data/online.db").write_bytes(b"damaged" * 999)
    with pytest.raises(DataError, match="not a database"):
        read(store, ["a:x"], [1])


def test_missing_integers_dates_and_several_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    write(tmp_path / "a.parquet", "1", {"id": [1.0, None], "x": [float("nan"), 3.0], "at": [date(2026, 1, 1)] * 2})
    write(tmp_path / "a.parquet", "2", {"id": [1.0, 2.0], "x": [5.0, 6.0], "at": [date(2026, 1, 1), date(2026, 1, 3)]})
    frame = pd.DataFrame(
        {"id": [1, 2, None], "event_timestamp": pd.to_datetime(["2026-01-01T00", "2026-01-02T11", "2026-02-01T00"])}
    )
    got = offline.join(config(tmp_path), [view("a", [*PLAIN, Field(name="id", dtype=Int64)])], ["a:x"], frame)
    assert got["x"].to_pylist() == [5, None, None]  # of equal rows the last, in the last file

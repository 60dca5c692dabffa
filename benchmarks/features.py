"""glue's Feast stores side by side with Feast's own and with DuckDB by hand: `python benchmarks/features.py [part …]`.

Parts: `join` (1 million labels x 2 views of 1 million rows), `dense` (100,000 x 100,000 with 500 rows for each entity),
`late` (as `join`, every value known a while after its event), `materialize` (1 million entities x 4 features), `online`
(reads of 1 and of 100 entities, by glue as a server makes them). `--default` adds Feast's default offline store to the
joins, which loses rows.

Each run has a process of its own. Seconds are of the work alone, without imports and set-up, which every contestant
has alike; memory is the peak of the whole process, imports included. Contestants take turns; printed are medians and
ratios. Feast's own joins and materialisation run once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ROOM = "mlops_glue.adapters.feast"
OURS: dict[str, Any] = {
    "offline_store": {"type": f"{ROOM}.offline.AsofOfflineStore"},
    "online_store": {"type": f"{ROOM}.online.EmbeddedOnlineStore", "path": "ours.db"},
}
DEFAULT: dict[str, Any] = {"offline_store": {"type": "file"}, "online_store": {"type": "sqlite", "path": "feast.db"}}
BY_HAND = """
SELECT e.*, a.x AS a__x, a.n AS a__n, b.x AS b__x, b.n AS b__n FROM labels e
ASOF LEFT JOIN 'a.parquet' a ON e.id = a.id AND e.event_timestamp >= a.event_timestamp
ASOF LEFT JOIN 'b.parquet' b ON e.id = b.id AND e.event_timestamp >= b.event_timestamp
"""
ONCE = ("Feast's duckdb", "Feast's default")  # minutes, and beyond doubt
JOINS = ("glue's store", "ASOF JOIN by hand", "Feast's duckdb")


def table(rows: int, entities: int, seed: int, features: int = 0) -> Any:
    """Ids and times over 90 days, and two features, or so many."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    at = pd.Timestamp(NOW) - pd.to_timedelta(rng.integers(0, 90 * 86_400_000_000, rows), unit="us")
    made = pd.DataFrame({"id": rng.integers(0, entities, rows), "event_timestamp": at.as_unit("us")})
    if features:
        made["id"] = rng.permutation(rows)
        return made.assign(
            **{f"f{i}": rng.random(rows) if i % 2 else rng.integers(0, 99, rows) for i in range(features)}
        )
    known = made["event_timestamp"] + pd.to_timedelta(rng.integers(0, 10_000_000, rows), unit="us")
    return made.assign(created=known, x=rng.random(rows), n=rng.integers(0, 1000, rows))


def store(stores: dict[str, Any], views: dict[str, list[str]], created: str = "") -> Any:
    """A Feast repository in this folder, with a view for each Parquet file."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, Int64

    registry = f"{stores['offline_store']['type'].rpartition('.')[2]}_registry.db"
    made = FeatureStore(
        config=RepoConfig(
            project="bench", provider="local", registry=registry, entity_key_serialization_version=3, **stores
        )
    )
    entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    whole = {"n", "f0", "f2"}
    made.apply(
        [entity]
        + [
            FeatureView(
                name=name,
                entities=[entity],
                ttl=timedelta(days=9999),
                schema=[Field(name=f, dtype=Int64 if f in whole else Float64) for f in features],
                source=FileSource(
                    path=f"{name}.parquet", timestamp_field="event_timestamp", created_timestamp_column=created
                ),
            )
            for name, features in views.items()
        ]
    )
    return made


def run_join(who: str, created: str = "") -> float:
    """One point-in-time join, to a frame."""
    import duckdb
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    offline = {"glue's store": OURS["offline_store"], "Feast's duckdb": {"type": "duckdb"}}.get(who, {"type": "file"})
    made = store(DEFAULT | {"offline_store": offline}, {"a": ["x", "n"], "b": ["x", "n"]}, created)
    labels = pd.read_parquet("labels.parquet")
    refs = ["a:x", "a:n", "b:x", "b:n"]
    started = time.perf_counter()
    if who == "ASOF JOIN by hand":
        got = duckdb.sql(BY_HAND).df()
    else:
        got = made.get_historical_features(labels, refs, full_feature_names=True).to_df()
    took = time.perf_counter() - started
    if len(got) != len(labels):
        print(f"  {who}: {len(labels) - len(got):,} of {len(labels):,} rows are lost", file=sys.stderr)
    return took


def run_materialize(who: str) -> float:
    """Fill an empty online store."""
    for file in [*Path().glob("ours.db*"), *Path().glob("feast.db*")]:
        file.unlink()
    made = store(OURS if who == "glue's stores" else DEFAULT, {"m": ["f0", "f1", "f2", "f3"]})
    started = time.perf_counter()
    fill(made, glue=who == "glue's stores")
    return time.perf_counter() - started


def fill(made: Any, *, glue: bool) -> None:
    """Materialize the view as glue does it, or by Feast's own call."""
    from mlops_glue.adapters.feast.online import EmbeddedOnlineStore

    start = NOW - timedelta(days=91)
    if glue:
        EmbeddedOnlineStore().fill(made.config, made.get_feature_view("m"), start, NOW)
    else:
        with contextlib.redirect_stdout(io.StringIO()):
            made.materialize(start, NOW)


def run_online(who: str, entities: int) -> float:
    """The median of reads: as a server of glue's makes them, none of them cached, and Feast's own call to a dict."""
    import numpy as np

    glue = who == "glue's store"
    made = store(OURS if glue else DEFAULT, {"m": ["f0", "f1", "f2", "f3"]})
    fill(made, glue=glue)
    rng, refs = np.random.default_rng(0), [f"m:f{i}" for i in range(4)]
    asked = [[int(i) for i in rng.integers(0, 50_000, entities)] for _ in range(500)]
    if glue:
        return asyncio.run(reads_of_a_server(asked, refs))
    taken = []
    for ids in asked:
        started = time.perf_counter()
        made.get_online_features(refs, [{"id": one} for one in ids]).to_dict()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def reads_of_a_server(asked: list[list[int]], refs: list[str]) -> float:
    """The median of reads of the embedded store by entities that were not read before."""
    from mlops_glue.records import FeatureList, FeatureView
    from mlops_glue.serving.lookup import Embedded

    views = [FeatureView("m", {"id": "id"}, {ref.partition(":")[2]: "number" for ref in refs}, 0.0, "", of="m")]
    listed, taken = FeatureList(refs, views, {ref: ref for ref in refs}), []
    for ids in asked:
        lookup = Embedded(listed, 1.0, 0.0, path="ours.db", project="bench")
        await lookup.read([(-1,)])  # opens the file
        started = time.perf_counter()
        await lookup.read([(one,) for one in ids])
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


RUNS: dict[str, Callable[[str], float]] = {
    "join": run_join,
    "dense": run_join,
    "late": lambda who: run_join(who, "created"),
    "materialize": run_materialize,
    "online, 1 entity": lambda who: run_online(who, 1),
    "online, 100 entities": lambda who: run_online(who, 100),
}


def apart(part: str, who: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one run in a process of its own."""
    words = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--run", part, who]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def compare(
    part: str, folder: Path, repeat: int, who: tuple[str, ...], limits: dict[str, tuple[float, float | None]]
) -> None:
    """Run the contestants in turn; each limit is of the first one's median time and memory over another's."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in who}
    for turn in range(repeat):
        for name in who:
            if turn == 0 or name not in ONCE:
                taken[name].append(apart(part, name, folder))
    middle = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in taken.items()}
    told = (f"{n} {s:.3f} s, {m:.0f} MiB" if s > 0.1 else f"{n} {s * 1000:.3f} ms" for n, (s, m) in middle.items())
    print(f"\n{part}: " + "; ".join(told))
    for name, wanted in limits.items():
        for what, limit, mine, theirs in zip(("time", "memory"), wanted, middle[who[0]], middle[name], strict=True):
            if limit is not None:
                ratio = mine / theirs
                met = "met" if ratio <= limit else "MISSED"
                print(f"  {who[0]} is {ratio:.3f} x {name} in {what} (wanted <= {limit:.3f}) {met}")


def joins(part: str, folder: Path, repeat: int, default: bool, rows: int, entities: int) -> None:
    """Labels and two views."""
    for name, seed in {"a": 1, "b": 2, "labels": 3}.items():
        made = table(rows, entities, seed)
        made = made[["id", "event_timestamp", "n"]].rename(columns={"n": "label"}) if name == "labels" else made
        made.to_parquet(folder / f"{name}.parquet", index=False)
    who = (*JOINS, "Feast's default") if default else JOINS
    compare(part, folder, repeat, who, {"ASOF JOIN by hand": (1.5, 1.5)} if part != "late" else {})


def materialize(folder: Path, repeat: int) -> None:
    """A million entities."""
    table(1_000_000, 1, 0, features=4).to_parquet(folder / "m.parquet", index=False)
    who = ("glue's stores", "Feast's default")
    compare("materialize", folder, repeat, who, {"Feast's default": (1 / 10, 1 / 5)})


def online(folder: Path, repeat: int) -> None:
    """Reads."""
    table(50_000, 1, 0, features=4).to_parquet(folder / "m.parquet", index=False)
    for part, limit in {"online, 1 entity": 1.0, "online, 100 entities": 1 / 3}.items():
        compare(part, folder, repeat, ("glue's store", "Feast's SQLite"), {"Feast's SQLite": (limit, None)})


def main() -> None:
    """Run the parts that are asked for, or all."""
    parts = ("join", "dense", "late", "materialize", "online")
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    asked.add_argument("--repeat", type=int, default=5)
    asked.add_argument("--default", action="store_true", help="the joins of Feast's default store too")
    asked.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.run:
        warnings.simplefilter("ignore")
        seconds = RUNS[given.run[0]](given.run[1])
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    for name in given.parts or parts:
        with tempfile.TemporaryDirectory() as there:
            folder = Path(there)
            if name == "materialize":
                materialize(folder, given.repeat)
            elif name == "online":
                online(folder, given.repeat)
            else:
                size = (100_000, 200) if name == "dense" else (1_000_000, 100_000)
                joins(name, folder, given.repeat, given.default, *size)


if __name__ == "__main__":
    main()

"""What a label row is joined with, and what the online store had before it, against plain Python on random tables."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("feast")

from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Int64, String

from mlops_glue import features
from mlops_glue.adapters.feast import offline
from mlops_glue.adapters.feast.parquet_source import ParquetSource
from mlops_glue.adapters.feast.repository import Repository
from mlops_glue.delivery import skew
from mlops_glue.errors import CheckFailed
from mlops_glue.pipeline import join
from mlops_glue.records import FeatureList

START = datetime(2026, 3, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
UTC_US = pa.timestamp("us", "UTC")
Row = dict[str, Any]
SHOPS = "abcdefghijklm"


def moment(r: random.Random) -> datetime:
    """One of few, so that there are ties, and some a microsecond apart."""
    return START + timedelta(minutes=r.randrange(12)) + r.choice([0, 0, 0, 1]) * US


def table(r: random.Random, rows: int, shops: str, *, late: bool) -> list[Row]:
    """Rows of entities of two keys, in no order, some written down before they happened, or never."""
    made = []
    for at in range(rows):
        event: datetime | None = moment(r) if r.random() > 0.05 else None
        waits = timedelta(minutes=r.choice([-4, -1, 0, 0, 1, 3]))
        created = None if not late or event is None or r.random() < 0.1 else event + waits
        made.append({"a": r.choice([1, 2, None]), "b": r.choice(shops), "at": event, "made": created, "v": at})
    return made


def known_of(row: Row, *, late: bool) -> datetime | None:
    """When a row could be known: never where its time, or that of its writing, is not known."""
    if row["at"] is None or (late and row["made"] is None):
        return None
    return max(row["at"], row["made"]) if late else row["at"]


def expected(
    rows: list[Row], key: tuple[Any, ...], until: datetime, now: datetime, ttl: timedelta, *, late: bool
) -> Any:
    """The value of the entity that was known until a moment, if it is not too old now."""
    best, order = None, None
    for place, row in enumerate(rows):
        known = known_of(row, late=late)
        if None in key or (row["a"], row["b"]) != key or known is None or known > until:
            continue
        rank = (row["at"], row["made"] if late else row["at"], place)
        if order is None or rank > order:
            best, order = row, rank
    return None if best is None or (ttl and best["at"] + ttl < now) else best["v"]


def write(path: Path, rows: list[Row]) -> None:
    kinds = {"a": pa.int64(), "b": pa.string(), "at": UTC_US, "made": UTC_US, "v": pa.int64()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}), path)


STORES: dict[str, Any] = {"offline_store": {"type": "mlops_glue.adapters.feast.offline.AsofOfflineStore"}}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(minutes=2), US])
def test_joined_and_served_is_what_was_known(tmp_path: Path, ttl: timedelta, late: bool) -> None:
    """At a moment the join takes what is known at it, and the store of just before it what is known before."""
    config = RepoConfig(project="p", provider="local", registry="r.db", entity_key_serialization_version=3, **STORES)
    config.repo_path = tmp_path
    entities = [Entity(name="a", join_keys=["a"], value_type=ValueType.INT64)]
    entities += [Entity(name="b", join_keys=["b"], value_type=ValueType.STRING)]
    schema = [Field(name="v", dtype=Int64), Field(name="a", dtype=Int64), Field(name="b", dtype=String)]
    for seed, size in enumerate((0, 1, 100, 200)):
        r = random.Random(f"{seed} {ttl} {late}")
        rows = table(r, size, SHOPS, late=late)
        write(tmp_path / "t.parquet", rows)
        source = FileSource(
            name="t", path="t.parquet", timestamp_field="at", created_timestamp_column="made" if late else ""
        )
        view = FeatureView(name="t", entities=entities, ttl=ttl, schema=schema, source=source)
        asked = [(r.choice([1, 2, 3]), r.choice(SHOPS), moment(r)) for _ in range(400)]
        frame = pd.DataFrame(asked, columns=["a", "b", "event_timestamp"])
        got = offline.join(config, [view], ["t:v"], frame, with_timestamps=True)
        want = [expected(rows, (a, b), at, at, ttl, late=late) for a, b, at in asked]
        assert got["v"].to_pylist() == want, seed
        known = [None if v is None else known_of(rows[v], late=late) for v in want]
        assert got["t__known_timestamp"].to_pylist() == known, seed
        until = moment(r) - r.choice([timedelta(0), US])
        query = offline.latest(ParquetSource.of(config, source), ["a", "b"], ["v"], START - timedelta(days=9), until)
        with offline.database() as connection:
            stored = {(a, b): v for a, b, v, *_ in connection.sql(query).fetchall()}
        for key in ((a, b) for a in (1, 2, 3) for b in SHOPS):
            assert stored.get(key) == expected(rows, key, until, until, timedelta(0), late=late), (seed, key)
    assert sum(value is not None for value in want) > (40 if ttl != US else 1)


DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Int64
entities = a, b = [Entity(name="a", join_keys=["a"], value_type=ValueType.INT64),
                   Entity(name="b", join_keys=["b"], value_type=ValueType.STRING)]
old = FeatureView(name="old", entities=entities, ttl=timedelta(minutes=3), schema=[Field(name="v", dtype=Int64)],
    source=FileSource(name="old", path="../old.parquet", timestamp_field="at", created_timestamp_column="made"))
ever = FeatureView(name="ever", entities=entities, ttl=timedelta(0), schema=[Field(name="v", dtype=Int64)],
    source=FileSource(name="ever", path="../ever.parquet", timestamp_field="at"))
"""
USE = ["old:v", "ever:v"]
VIEWS = {"old": (timedelta(minutes=3), True), "ever": (timedelta(0), False)}


@pytest.fixture
def repository(tmp_path: Path) -> Callable[[dict[str, list[Row]], Any], Repository]:
    """A project with two views on these tables, by an offline store."""

    def make(tables: dict[str, list[Row]], store: Any = None) -> Repository:
        for name, rows in tables.items():
            write(tmp_path / f"{name}.parquet", rows)
        (tmp_path / "feature_repo").mkdir(exist_ok=True)
        (tmp_path / "feature_repo/feature_store.yaml").write_text("project: p\nprovider: local\n")
        (tmp_path / "feature_repo/definitions.py").write_text(DEFINITIONS)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        found = Repository(tmp_path, "feature_repo", offline=store, scratch=scratch)
        found.apply()
        return found

    return make


def labels(r: random.Random, rows: int) -> tuple[pa.Table, Any, list[Any]]:
    asked = [(r.choice([1, 2, 3]), r.choice("xy"), moment(r)) for _ in range(rows)]
    columns = {"a": pa.array([one[0] for one in asked]), "b": pa.array([one[1] for one in asked])}
    when = pa.array([one[2] for one in asked], UTC_US)
    return pa.table(columns), when.to_numpy(zero_copy_only=False).astype("datetime64[us]"), asked


@pytest.mark.parametrize("delay_s", [0, 1e-6, 60.0, 120.000001])
def test_a_delay_leaves_out_what_is_not_that_old(
    repository: Callable[..., Repository], tmp_path: Path, delay_s: float
) -> None:
    """The same of training's join and of a store that is filled with what was known so long before."""
    delay = timedelta(seconds=delay_s)
    for case in range(2):
        r = random.Random(case)
        tables = {name: table(r, r.choice([0, 1, 6, 25, 25]), "xy", late=late) for name, (_, late) in VIEWS.items()}
        made = repository(tables)
        views, _ = made.views(USE)
        listed = FeatureList(USE, views, {"old_v": "old:v", "ever_v": "ever:v"}, delay_s=delay_s)
        asked_of, when, asked = labels(r, 60)
        got, _ = features.joined(made, listed, asked_of, when)
        for name, (ttl, late) in VIEWS.items():
            want = [expected(tables[name], (a, b), at - delay, at, ttl, late=late) for a, b, at in asked]
            assert got[f"{name}_v"].to_pylist() == want, (case, name)
        made.replace_sources(lambda path: path)  # as the replay does it: the age is judged by the reader
        made.apply()
        for at in np.argsort(when, kind="stable")[::12]:
            a, b, now = asked[at]
            until = now - (delay or US)
            made.materialize(["old", "ever"], skew.EVER, until)
            (row,) = made.read(USE, views, [{"a": a, "b": b}], now)
            for name, (ttl, late) in VIEWS.items():
                assert row[f"{name}__v"] == expected(tables[name], (a, b), until, now, ttl, late=late), (case, name)
        made.teardown()


@pytest.mark.parametrize("seed", range(8))
def test_a_row_of_the_very_moment_is_found_wherever_it_is(repository: Callable[..., Repository], seed: int) -> None:
    """It is refused exactly where some label row got a value that it would not have had just before."""
    r = random.Random(seed)
    tables = {name: table(r, r.choice([0, 1, 6, 25, 25]), "xy", late=late) for name, (_, late) in VIEWS.items()}
    made = repository(tables)
    views, _ = made.views(USE)
    listed = FeatureList(USE, views, {"old_v": "old:v", "ever_v": "ever:v"})
    asked_of, when, asked = labels(r, 3)
    got, found = features.joined(made, listed, asked_of, when)
    changed = [
        [
            expected(tables[name], (a, b), at, at, ttl, late=late)
            != expected(tables[name], (a, b), at - US, at, ttl, late=late)
            for a, b, at in asked
        ]
        for name, (ttl, late) in VIEWS.items()
    ]
    rows = next((sum(one) for one in changed if any(one)), 0)  # of the first view that has some
    if not rows:
        join.check_before(join.Join(made, listed, asked_of, when, got, found))
        return
    with pytest.raises(CheckFailed, match=rf"just before \({rows} of 3 label rows\)") as refused:
        join.check_before(join.Join(made, listed, asked_of, when, got, found))
    assert str(refused.value.hint).startswith("features: {delay: 1s} in glue.yaml")

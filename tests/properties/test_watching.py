"""Watching cannot be silenced: one distance wherever it is asked, by no few rows, by no request, by no other word."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import wasserstein_distance

from mlops_glue import files, layout, tables
from mlops_glue.config import Drift, Monitor, Performance
from mlops_glue.drift import MARGIN, Numbers, Reference, few
from mlops_glue.monitoring.drift import DriftMonitor, Version
from mlops_glue.monitoring.labels import TRUTH, Joined
from mlops_glue.monitoring.performance import performance, truths
from mlops_glue.monitoring.tables import compared
from mlops_glue.report.pull_request import table_drift
from mlops_glue.schema import Schema
from mlops_glue.serving.log_table import as_array
from mlops_glue.serving.segments import Column as LogColumn

SETTINGS = Monitor(drift=Drift(weights="equal"))
Make = Callable[[np.random.Generator, int], Any]

KINDS: dict[str, Make] = {
    "normal": lambda rng, n: rng.normal(5, 2, n),
    "skewed": lambda rng, n: rng.lognormal(0, 1, n),
    "whole": lambda rng, n: rng.poisson(3, n),
    "mostly one": lambda rng, n: np.where(rng.random(n) < 0.03, rng.normal(size=n), 1.0),
    "words": lambda rng, n: rng.choice(["a", "b", "c "], n, p=[0.6, 0.3, 0.1]),
    "codes": lambda rng, n: rng.choice(["0012", "12", "NA"], n),
    "flag": lambda rng, n: rng.random(n) < 0.3,
    "constant": lambda rng, n: np.full(n, 1.0),
    "one word": lambda rng, n: np.full(n, "x"),
    "always": lambda rng, n: np.full(n, True),
    "empty": lambda rng, n: np.full(n, None),
}


def nulls(values: pa.Array, rng: np.random.Generator, share: float) -> pa.Array:
    return pa.array([None if rng.random() < share else one for one in values.to_pylist()], values.type)


def moved(values: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Another distribution than it was."""
    if pa.types.is_null(values.type):
        return pa.array(rng.normal(size=len(values)))
    if pa.types.is_boolean(values.type):
        return pa.array([not one for one in values.to_pylist()])
    if pa.types.is_string(values.type):
        return pa.array(["new"] * len(values))
    return pa.array(np.asarray(values, float) * 1.0 + 2 * max(float(np.std(np.asarray(values, float))), 0.5))


def emptied(values: pa.Array, rng: np.random.Generator) -> pa.Array:
    return pa.nulls(len(values), values.type)


def absurd(values: pa.Array, rng: np.random.Generator) -> pa.Array:
    if not pa.types.is_floating(values.type):
        return values
    out = np.array(values)
    at = rng.integers(0, len(out), 2)
    out[at] = rng.choice([3.4e38, -3.4e38, 1e30, np.inf, -1e12], 2)
    return pa.array(out)


CHANGES: list[Callable[[pa.Array, np.random.Generator], pa.Array]] = [moved, emptied, absurd]


def changed_tables(seed: int) -> tuple[pa.Table, pa.Table]:
    """Two tables with a column of each kind, of which some have changed in between."""
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([150, 200, 346, 1000]))
    before, now = {}, {}
    for name, make in KINDS.items():
        before[name], now[name] = pa.array(make(rng, rows)), pa.array(make(rng, rows))
        if rng.random() < 0.3:
            before[name] = nulls(before[name], rng, 0.3)
        if rng.random() < 0.5:
            now[name] = CHANGES[int(rng.integers(len(CHANGES)))](now[name], rng)
    return pa.table(before), pa.table(now)


def by_tables(before: pa.Table, now: pa.Table, folder: Path) -> dict[str, Any]:
    told, _ = compared(before, lambda _: [now.slice(0, 100), now.slice(100)], SETTINGS, folder / "a.parquet")
    return told


def by_pull_request(before: pa.Table, now: pa.Table, folder: Path) -> dict[str, Any]:
    """The labels' table of a commit against that of the working tree."""
    tables.write_parquet(folder / layout.TABLE, now)
    there: Any = SimpleNamespace(hash=lambda _: "another", table=lambda _: before)
    told = table_drift(folder, there, {}, SETTINGS)
    assert told is not None
    return told | {"columns": {one["column"]: one for one in told["columns"]}}


def by_log(before: pa.Table, now: pa.Table, folder: Path) -> dict[str, Any]:
    """What a version was trained on against what it was asked, as the prediction log has it."""
    _, found = compared(before, lambda _: [now], SETTINGS, folder / "a.parquet")
    parts = [
        before.append_column(layout.SPLIT_COLUMN, pa.array([part] * before.num_rows)) for part in ("train", "test")
    ]
    tables.write_parquet(folder / layout.SAMPLE, pa.concat_tables(parts))
    watch = DriftMonitor(Version(1, found.schema, Reference.read(folder, found.schema), folder))
    logged = {}
    for column in found.schema.columns:
        field = LogColumn(column.name, column.kind, column.dtype, column.day_first)
        logged[column.name] = as_array(now.column(column.name).to_pylist(), field)
    watch.add(pa.table(logged))
    return watch.verdict(SETTINGS)


WAYS = [by_tables, by_pull_request, by_log]


@pytest.mark.parametrize("seed", range(12))
def test_two_tables_are_as_far_apart_wherever_it_is_asked(seed: int, tmp_path: Path) -> None:
    before, now = changed_tables(seed)
    first, *others = [way(before, now, tmp_path) for way in WAYS]
    assert set(first["columns"]) == set(KINDS)
    for other in others:
        assert (other["verdict"], other["drift_share"]) == (first["verdict"], pytest.approx(first["drift_share"]))
        for name, one in first["columns"].items():
            for key in ("distance", "threshold", "drifted", "why", "null_share", "reference_null_share", "method"):
                wanted = pytest.approx(one[key], rel=1e-9) if isinstance(one[key], float) else one[key]
                assert other["columns"][name][key] == wanted, (name, key)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_what_moves_empties_or_fills_is_drift_and_what_stays_is_not(
    name: str, way: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    before, same = (pa.array(KINDS[name](rng, 400)) for _ in range(2))
    steady = pa.array(rng.normal(size=400))
    changes = {"same": same, "moved": moved(same, rng), "emptied": emptied(same, rng), "absurd": absurd(same, rng)}
    for change, now in changes.items():
        told = way(pa.table({"v": before, "w": steady}), pa.table({"v": now, "w": steady}), tmp_path)
        wanted = change == "moved" or (change == "emptied" and name != "empty")
        assert told["columns"]["v"]["drifted"] == wanted, change
        assert not told["columns"]["w"]["drifted"] and told["verdict"] == ("drift" if wanted else "ok")


NUMBERS: dict[str, Make] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1, n),
    "heavy": lambda rng, n: rng.standard_t(3, n),
    "years": lambda rng, n: rng.choice([2007.0, 2008.0, 2009.0], n),
    "mostly zero": lambda rng, n: (rng.random(n) < 0.05) * rng.exponential(size=n),
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", NUMBERS)
def test_few_broken_rows_change_no_verdict_on_either_side(name: str, seed: int) -> None:
    """Up to `few` of them, of whatever size: what was no drift is none, and what was drift is still found."""
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([200, 346, 2000]))
    one, two, level = NUMBERS[name](rng, 1000), NUMBERS[name](rng, rows), 0.99
    shifted = two + 3 * one.std()

    def with_broken(values: Any) -> Any:
        broken = rng.choice([3.4e38, -3.4e38, 1e9, -1e9, 9999.0 * max(one.std(), 1)], few(len(values)))
        return rng.permutation(np.concatenate([values[len(broken) :], broken]))

    for reference_rows in (one, with_broken(one)):
        known = Numbers.of(reference_rows)
        limit = max(0.2, known.noise(rows, level))
        for values, drifts in ((two, False), (with_broken(two), False), (shifted, True), (with_broken(shifted), True)):
            seen = known.compare(values)
            assert ((seen.distance or 0.0) >= limit) == drifts, (len(values), drifts)
            assert seen.known == rows


@pytest.mark.parametrize("rows", [40, 41, 80, 200])
def test_what_is_far_away_and_not_few_counts_as_far_as_the_margin(rows: int) -> None:
    """Of 4,000 rows 40 are few: so many are left out, the others count."""
    one = np.random.default_rng(0).normal(size=4000)
    known = Numbers.of(one)
    two = one.copy()
    two[:rows] = 1e9
    seen = known.compare(two)
    clipped = np.minimum(two[few(4000) :], one.max() + MARGIN * one.std())
    assert seen.unseen == pytest.approx(rows / 4000)
    assert seen.distance == pytest.approx(wasserstein_distance(one, clipped) / one.std(), rel=1e-9)


TRUE, FALSE = ["True", "true", "TRUE", "yes", "Y", "1", "1.0", " t "], ["False", "no", "NO", "n", "0", "0.0", "f"]
TWO: dict[str, list[Any]] = {
    "numbers": [0, 1],
    "fractions": [0.0, 1.0],
    "booleans": [False, True],
    "words": ["no", "yes"],
    "letters": ["N", "Y"],
    "digits": ["0", "1"],
}


@pytest.mark.parametrize("name", TWO)
def test_the_truth_in_other_words_is_the_same_truth(name: str) -> None:
    labels, r = TWO[name], random.Random(name)
    schema = Schema("binary", "y", labels=labels, positive=labels[1])
    wanted = [r.random() < 0.5 for _ in range(100)]
    words = [r.choice(TRUE if one else FALSE) for one in wanted]
    found, known = truths(schema, pa.chunked_array([pa.array(words)]))
    assert known.all() and found.tolist() == [int(one) for one in wanted]
    table = pa.table({TRUTH: pa.array([*words, "maybe", "2"])})
    said = Joined(table, 102).in_words_of(schema).table
    assert said is not None
    own = [str(label).removesuffix(".0") if isinstance(label, float) else str(label) for label in labels]
    assert said.column(TRUTH).to_pylist() == [*(own[one] for one in wanted), "maybe", "2"]


def test_other_classes_stay_apart_and_numbers_are_read_as_the_schema_says() -> None:
    several = Schema("multiclass", "y", labels=[1, 2, 3])
    found, known = truths(several, pa.chunked_array([pa.array(["1.0", "2", " 3", "True", "4"])]))
    assert found.tolist() == [0, 1, 2, -1, -1] and known.tolist() == [True, True, True, False, False]
    good = Schema("binary", "y", labels=["bad", "good"], positive="good")
    assert truths(good, pa.chunked_array([pa.array(["good", "yes", "1", "bad"])]))[0].tolist() == [1, -1, -1, 0]
    value = Schema("regression", "y", decimal=",")
    numbers, there = truths(value, pa.chunked_array([pa.array(["1.5", "1,5", "1.234,5", "much"])]))
    assert numbers[:3].tolist() == [1.5, 1.5, 1234.5] and there.tolist() == [True, True, True, False]


CLASSES = ["a", "b", "c"]


def test_rows_without_an_answer_are_counted_and_change_no_performance(tmp_path: Path) -> None:
    """A model whose terms overflow answers no class: over HTTP, in a batch, and so in the log."""
    from sklearn.linear_model import LogisticRegression

    from mlops_glue.serving.model import Model
    from tests.support.models import NAMES, made, through

    frame, target, schema = made(CLASSES, 0)
    bundle = through(tmp_path, LogisticRegression(C=1000), frame, target, schema)[1]
    files.write_json(tmp_path / "bundle/input_example.json", frame.head(2).to_dict("records"))
    served = Model(tmp_path / "bundle", files.digest(tmp_path / "bundle"), name="m", version=1)
    asked = frame.copy()
    asked.loc[:4, NAMES[:2]] = -3.4e38
    rows = served.contract.from_dicts(json.loads(asked.to_json(orient="records")))
    said, shares = served.score(served.contract.matrices(rows))
    assert shares is not None and said[:5] == [None] * 5 and None not in said[5:]
    batch = bundle.scored(pa.Table.from_pandas(asked), pa.table({"place": range(90)}))
    assert batch.column("prediction").to_pylist() == said

    of_class = {f"probability_{name}": [share[at] for share in shares] for at, name in enumerate(CLASSES)}
    log = pa.table({"prediction": said, **of_class})
    assert log.num_rows == len(frame)
    log = log.append_column(TRUTH, pa.array(target))
    score = {"value": 0.9, "low": 0.8, "high": 1.0}
    points = [[[0.0, 1.0], [0.0, 1.0]]] * 3
    files.write_json(tmp_path / layout.HOLDOUT, {"metrics": {"accuracy": score}, "calibration": points, "rows": 90})
    options = Performance(metric="accuracy", min_labelled=10)

    def measured(table: pa.Table, joined: bool) -> dict[str, Any]:
        of = Joined(table if joined else None, table.num_rows)
        return performance(schema, tmp_path, options, None, of, None if joined else table)

    for joined in (True, False):
        with_them, without = measured(log, joined), measured(log.slice(5), joined)
        for key in ("value", "low", "high", "verdict", "estimated"):
            assert with_them[key] == without[key], key
    assert measured(log, True)["problems"] == [
        "the model could not score 5 of 90 labelled rows: excluded from accuracy"
    ]
    assert measured(log, True)["labelled"] == 85
    nobody = log.slice(0, 5)
    assert measured(nobody, False)["value"] is None
    assert measured(pa.concat_tables([nobody] * 3), True)["verdict"] == "not enough data"

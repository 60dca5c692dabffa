"""When a window drifts: each limit on both sides, of real summaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from mlops_glue.config import Drift, Monitor
from mlops_glue.monitoring.drift import Version, Watch
from mlops_glue.schema import Column, Schema
from mlops_glue.summary import Reference, Summary, summarised


def version(prediction: Any = None, **columns: Any) -> Version:
    """Of columns of numbers, each of the same weight."""
    schema = Schema("regression", "y", [Column(name, "number", "double") for name in columns])
    known: dict[str, Summary] = {n: summarised(np.asarray(v, float), "wasserstein") for n, v in columns.items()}
    said = None if prediction is None else summarised(np.asarray(prediction, float), "wasserstein")
    return Version(1, schema, Reference(known, dict.fromkeys(known, 1 / len(known)), said), Path())


def verdict(of: Version, settings: Monitor, **columns: Any) -> dict[str, Any]:
    watch = Watch(of)
    watch.add(pa.table({name: pa.array(np.asarray(v, float), from_pandas=True) for name, v in columns.items()}))
    return watch.verdict(settings)


def normal(rows: int, seed: int, mean: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(mean, 1, rows)


@pytest.mark.parametrize(("rows", "said"), [(199, "not enough data"), (200, "drift"), (201, "drift")])
def test_with_so_many_rows_there_is_a_verdict(rows: int, said: str) -> None:
    told = verdict(version(a=normal(1000, 0)), Monitor(min_rows=200), a=normal(rows, 1, 3))
    assert told["verdict"] == said
    assert (told["drift_share"], told["columns"]["a"]["drifted"]) == ((None, None) if rows < 200 else (1.0, True))


def test_the_level_is_divided_by_the_columns_and_the_prediction() -> None:
    """Bonferroni: of five columns and a prediction each is asked at 1 - 0.05 / 6."""
    names, settings = "abcde", Monitor(min_rows=1)
    of = version(prediction=normal(500, 9), **{name: normal(500, at) for at, name in enumerate(names)})
    told = verdict(of, settings, prediction=normal(30, 19), **{n: normal(30, 10 + at) for at, n in enumerate(names)})
    for name in names:
        known = of.reference.columns[name]
        assert told["columns"][name]["threshold"] == known.by_chance(30, 1 - 0.05 / 6) > known.by_chance(30, 0.95) > 0.2
    assert of.reference.prediction is not None
    assert told["prediction"]["threshold"] == of.reference.prediction.by_chance(30, 1 - 0.05 / 6)


@pytest.mark.parametrize("counts", [True, False])
def test_drift_of_the_prediction_alone_counts_where_that_is_asked_for(counts: bool) -> None:
    of = version(prediction=normal(1000, 0), a=normal(1000, 1))
    told = verdict(of, Monitor(drift=Drift(prediction=counts)), prediction=normal(500, 2, 2), a=normal(500, 3))
    assert told["prediction"]["drifted"] and told["drifted"] == []
    assert told["verdict"] == ("drift" if counts else "ok")


def test_between_the_limit_and_what_chance_does_is_no_drift() -> None:
    of = version(a=normal(1000, 0))
    few, many = normal(30, 1), normal(3000, 1)
    for values, drifts in ((few, False), (many, True)):
        moved = (values - values.mean()) / values.std() + 0.3
        one = verdict(of, Monitor(min_rows=1), a=moved)["columns"]["a"]
        assert one["distance"] > 0.2 and one["drifted"] == drifts == (one["distance"] >= one["threshold"])
    assert verdict(of, Monitor(min_rows=1, drift=Drift(number=0.5)), a=many + 0.3)["columns"]["a"]["threshold"] == 0.5


def with_nulls(rows: int, share: float) -> Any:
    """As like the normal distribution as so many rows can be."""
    known = round(rows * (1 - share))
    return np.append(norm.ppf((np.arange(known) + 0.5) / known), np.full(rows - known, np.nan))


@pytest.mark.parametrize(
    ("before", "now", "rows", "why"),
    [
        (0.30, 0.30, 10_000, None),
        (0.30, 0.34, 10_000, None),  # more than chance does, less than the limit of 0.1
        (0.30, 0.26, 10_000, None),
        (0.30, 0.41, 10_000, "nulls"),
        (0.30, 0.19, 10_000, "nulls"),
        (0.30, 0.00, 10_000, "nulls"),  # that they vanish is drift as well
        (0.30, 1.00, 10_000, "nulls"),
        (0.00, 0.11, 10_000, "nulls"),
        (0.30, 0.41, 40, None),  # more than the limit, less than chance does with so few rows
    ],
)
def test_nulls_drift_beyond_the_limit_and_chance(before: float, now: float, rows: int, why: str | None) -> None:
    one = verdict(version(a=with_nulls(10_000, before)), Monitor(min_rows=1), a=with_nulls(rows, now))["columns"]["a"]
    assert (one["why"], one["drifted"]) == (why, why is not None)


def test_predictions_that_are_none_are_counted_and_many_are_drift() -> None:
    of, steady = version(prediction=normal(1000, 0), a=normal(1000, 1)), normal(1000, 2)
    for missing, drifts in ((0, False), (3, False), (900, True), (1000, True)):
        said = normal(1000, 3)
        said[:missing] = np.nan
        told = verdict(of, Monitor(), prediction=said, a=steady)
        assert (told["unanswered"], told["predictions"]) == (missing, 1000)
        assert told["verdict"] == ("drift" if drifts else "ok")


def test_values_of_another_type_are_a_problem_of_their_column() -> None:
    of = version(prediction=normal(1000, 0), a=normal(1000, 1), b=normal(1000, 2))
    watch = Watch(of)
    nested = pa.array([[1.0]] * 300)
    watch.add(pa.table({"a": nested, "b": normal(300, 4), "prediction": ["much"] * 300}))
    told = watch.verdict(Monitor())
    assert told["drifted"] == ["a"] and told["verdict"] == "drift" and not told["columns"]["b"]["drifted"]
    assert told["prediction"]["drifted"] and "is not what it was" in told["prediction"]["why"]

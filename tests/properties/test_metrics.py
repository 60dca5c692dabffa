"""Each metric is scikit-learn's, and is undefined where scikit-learn has no value: whole, by slice and in each draw."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from mlops_glue import bootstrap, metrics, paired
from mlops_glue.metrics import METRICS
from mlops_glue.pipeline import evaluate
from tests.support.known_metrics import KNOWN, Known

CASES = 200  # of each metric
Outcome = tuple[Any, Any, Any]  # truth, label and probability as `metrics` takes them


OF_SCORES = {"roc_auc", "average_precision", "log_loss", "brier", "roc_auc_ovr", "top_2_accuracy"}


def expected(known: Known, made: Outcome) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where a share is 0 of 0, or there is no value
        try:
            return float(known(*made))
        except ValueError:
            return float("nan")


def regression(rng: np.random.Generator) -> Outcome:
    rows = int(rng.choice([1, 2, 3, 10, 60]))
    scale = 10.0 ** rng.integers(-6, 7)
    truth = rng.normal(rng.choice([0, 1e6]), scale, rows)
    label = truth + rng.normal(0, scale, rows)
    kind = rng.integers(6)
    if kind == 0:
        truth[:] = truth[0]  # nothing varies
    elif kind == 1:
        label = truth.copy()
    elif kind == 2:
        truth, label = truth.round(), label.round()
    elif kind == 3:
        label = label.astype(np.float32).astype(float)
    elif kind == 4:
        label[rng.integers(rows)] = rng.choice([np.nan, np.inf, -np.inf])
    return (abs(truth), abs(label), None) if rng.random() < 0.3 else (truth, label, None)


def classes(rng: np.random.Generator, count: int) -> Outcome:
    """Classes that no row is of, or none is predicted as; one class alone; equal and certain scores; no numbers."""
    rows = int(rng.choice([1, 2, 3, 10, 40, 60]))
    true = rng.choice(count, count if rng.random() < 0.6 else int(rng.integers(1, count + 1)), replace=False)
    truth = rng.choice(true, rows)
    q = rng.dirichlet(np.full(count, rng.choice([0.05, 1.0, 20.0])), rows)
    kind = rng.integers(8)
    if kind == 0:
        q = np.round(q * 4) / 4  # ties; a row need not sum to 1
    elif kind == 1:
        q = np.eye(count)[rng.integers(0, count, rows)]
    elif kind == 2:
        q = np.tile(q[0], (rows, 1))
    elif kind == 3:
        q = q.astype(np.float32)
    elif kind == 4:
        q[:, rng.integers(count)] = 0.0
        q = np.divide(q, q.sum(axis=1, keepdims=True), out=np.full_like(q, 1 / count), where=q.sum(axis=1)[:, None] > 0)
    elif kind == 5:
        q[rng.integers(rows)] = rng.choice([np.nan, np.inf, 1.0000001, -1e-9, 2.0])
    said = rng.choice(count, int(rng.integers(1, count + 1)), replace=False)
    label = rng.choice(said, rows) if rng.random() < 0.7 else np.nan_to_num(q).argmax(1)
    return truth, label, q


def outcome(task: str, rng: np.random.Generator) -> Outcome:
    if task == "regression":
        return regression(rng)
    return classes(rng, 2 if task == "binary" else int(rng.integers(3, 6)))


def width(made: Outcome) -> int:
    """How many classes there are."""
    return 0 if made[2] is None else int(made[2].shape[1])


def test_no_metric_is_left_out() -> None:
    assert set(KNOWN) >= {(task, name) for task in METRICS for name in (*METRICS[task], *metrics.MORE[task])}


def known_as(task: str, name: str) -> metrics.Metric:
    found = metrics.find(task, name)
    assert found is not None
    return found


@pytest.mark.parametrize(("task", "name"), KNOWN)
def test_the_value_is_that_of_scikit_learn(task: str, name: str) -> None:
    rng = np.random.default_rng(sum(map(ord, task + name)))
    undefined = 0
    for case in range(CASES):
        made = outcome(task, rng)
        value, wanted = metrics.compute(known_as(task, name), *made), expected(KNOWN[task, name], made)
        undefined += np.isnan(wanted)
        rel = 1e-5 if made[2] is not None and made[2].dtype == np.float32 else 1e-9
        assert value == pytest.approx(wanted, rel=rel, abs=1e-12, nan_ok=True), (case, made)
    of_numbers = task == "regression" or name in OF_SCORES | {"cohen_kappa"}
    assert (0 < undefined < 0.8 * CASES) if of_numbers else undefined == 0


@pytest.mark.parametrize("task", METRICS)
def test_so_is_each_slice_and_the_most_frequent_are_kept(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(len(task))
    for _ in range(15):
        parts = [outcome(task, rng) for _ in range(1 if task == "regression" else 4)]
        count = width(parts[0])
        made = tuple(
            None if one[0] is None else np.concatenate(one)
            for one in zip(*(part for part in parts if width(part) == count), strict=True)
        )
        values = rng.choice(["", "a", "b", "b", "b", "ä", "c", "c", "d"], len(made[0])).astype(object)
        known = {name: known_as(task, name) for of, name in KNOWN if of == task}
        most = int(rng.integers(1, 8))
        monkeypatch.setattr(paired, "MAX_SLICES", most)
        monkeypatch.setattr(bootstrap, "SAMPLES", 2)
        found = evaluate.by_value(values, known, *made, seed=0)
        rows = {value: int((values == value).sum()) for value in set(values)}
        assert [one["value"] or "" for one in found] == sorted(one["value"] or "" for one in found)
        assert sorted(one["rows"] for one in found) == sorted(sorted(rows.values())[-most:])
        for one in found:
            at = values == (one["value"] or "")
            assert one["rows"] == at.sum() and set(one["metrics"]) == set(known)
            some = (made[0][at], made[1][at], None if made[2] is None else made[2][at])
            for name, value in one["metrics"].items():
                wanted = expected(KNOWN[task, name], some)
                assert value == pytest.approx(wanted, rel=1e-5, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize(("task", "name"), KNOWN)
def test_so_is_each_draw_of_the_bootstrap(task: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 12)
    monkeypatch.setattr(bootstrap, "MAX_ROWS", 40)  # fewer than the rows of some cases
    rng = np.random.default_rng(5)
    for seed in range(8):
        made = outcome(task, rng)
        drawn = bootstrap.bootstrap(known_as(task, name), *made, seed)
        again = np.random.default_rng(seed)
        wanted = []
        for _ in range(12):
            at = again.integers(0, len(made[0]), len(made[0]) if name == "max_error" else min(len(made[0]), 40))
            sampled = (made[0][at], made[1][at], None if made[2] is None else made[2][at])
            wanted.append(expected(KNOWN[task, name], sampled))
        assert drawn == pytest.approx(np.array(wanted), rel=1e-5, abs=1e-9, nan_ok=True)

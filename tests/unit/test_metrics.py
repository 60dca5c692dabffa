"""Every metric has the value that scikit-learn gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as m

from mlops_glue import metrics
from mlops_glue.config import METRICS

KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("binary", "roc_auc"): lambda y, p, q: m.roc_auc_score(y, q[:, 1]),
    ("binary", "average_precision"): lambda y, p, q: m.average_precision_score(y, q[:, 1]),
    ("binary", "f1"): lambda y, p, q: m.f1_score(y, p, zero_division=0),
    ("binary", "precision"): lambda y, p, q: m.precision_score(y, p, zero_division=0),
    ("binary", "recall"): lambda y, p, q: m.recall_score(y, p, zero_division=0),
    ("binary", "accuracy"): lambda y, p, q: m.accuracy_score(y, p),
    ("binary", "log_loss"): lambda y, p, q: m.log_loss(y, q, labels=[0, 1]),
    ("binary", "brier"): lambda y, p, q: m.brier_score_loss(y, q[:, 1]),
    ("multiclass", "log_loss"): lambda y, p, q: m.log_loss(y, q, labels=[0, 1, 2]),
    ("multiclass", "accuracy"): lambda y, p, q: m.accuracy_score(y, p),
    ("multiclass", "balanced_accuracy"): lambda y, p, q: m.balanced_accuracy_score(y, p),
    ("multiclass", "f1_macro"): lambda y, p, q: m.f1_score(y, p, average="macro", zero_division=0),
    ("multiclass", "roc_auc_ovr"): lambda y, p, q: m.roc_auc_score(y, q, multi_class="ovr", labels=[0, 1, 2]),
    ("regression", "r2"): lambda y, p, q: m.r2_score(y, p),
    ("regression", "rmse"): lambda y, p, q: m.root_mean_squared_error(y, p),
    ("regression", "mae"): lambda y, p, q: m.mean_absolute_error(y, p),
    ("regression", "median_absolute_error"): lambda y, p, q: m.median_absolute_error(y, p),
}


def outcomes(task: str, rows: int, seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    if task == "regression":
        return rng.normal(size=rows), rng.normal(size=rows), None
    classes = 2 if task == "binary" else 3
    probability = rng.dirichlet(np.ones(classes), rows)
    return rng.integers(0, classes, rows), probability.argmax(1), probability


def test_every_metric_is_held_against_scikit_learn() -> None:
    assert set(KNOWN) == {(task, name) for task, names in METRICS.items() for name in names}


@pytest.mark.parametrize(("task", "name"), KNOWN)
@pytest.mark.parametrize("seed", range(5))
def test_it_has_the_value_of_scikit_learn(task: str, name: str, seed: int) -> None:
    made = outcomes(task, 200, seed)
    classes = {"binary": 2, "multiclass": 3}.get(task, 0)
    value = metrics.compute(metrics.table(task, classes)[name], *made)
    assert value == pytest.approx(KNOWN[task, name](*made), rel=1e-12)


@pytest.mark.parametrize(("task", "name"), [key for key in KNOWN if key[0] != "regression"])
def test_equal_probabilities_missing_classes_and_nan(task: str, name: str) -> None:
    classes = {"binary": 2, "multiclass": 3}[task]
    metric = metrics.table(task, classes)[name]
    rng = np.random.default_rng(9)
    probability = rng.integers(1, 4, (300, classes)).astype(np.float64)
    probability /= probability.sum(axis=1, keepdims=True)
    truth, label = rng.integers(0, classes, 300), probability.argmax(1)
    assert metrics.compute(metric, truth, label, probability) == pytest.approx(
        KNOWN[task, name](truth, label, probability), rel=1e-9
    )
    one = probability.astype(np.float32)
    assert metrics.compute(metric, truth, label, one) == pytest.approx(KNOWN[task, name](truth, label, one), rel=1e-5)
    if task == "multiclass":  # no row is of the last class, and some are predicted as it
        few = truth % 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = KNOWN[task, name](few, label, probability)
        assert np.isnan(wanted) == (name == "roc_auc_ovr")
        assert metrics.compute(metric, few, label, probability) == pytest.approx(wanted, nan_ok=True)
    if not metric.of_label:
        probability[3] = np.nan
        assert np.isnan(metrics.compute(metric, truth, label, probability))


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "accuracy", "brier"])
def test_without_a_positive_anywhere_it_is_as_scikit_learn_has_it(name: str) -> None:
    nothing, probability = np.zeros(20, np.int64), np.tile([0.9, 0.1], (20, 1))
    value = metrics.compute(metrics.table("binary", 2)[name], nothing, nothing, probability)
    assert value == pytest.approx(KNOWN["binary", name](nothing, nothing, probability), rel=1e-12)


def test_what_is_not_defined_is_nan() -> None:
    ones, probability = np.ones(20, np.int64), np.tile([0.2, 0.8], (20, 1))
    assert np.isnan(metrics.compute(metrics.table("binary", 2)["roc_auc"], ones, ones, probability))


def test_recall_is_averaged_over_the_classes_that_are_there() -> None:
    made = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), np.eye(3)[[0, 2, 1, 1]]
    assert metrics.compute(metrics.table("multiclass", 3)["balanced_accuracy"], *made) == 0.75


def test_an_interval_holds_its_value() -> None:
    """A class with few rows is in few of the samples: the mean over classes of those is higher."""
    assert metrics.interval(0.3, np.linspace(0.32, 0.4, 100), 6966) == (0.3, pytest.approx(0.38, abs=0.02))


def test_an_interval_is_of_the_level_and_as_narrow_as_the_rows_make_it() -> None:
    drawn = np.append(np.linspace(0, 1, 1001), np.nan)  # a draw without a value counts for nothing
    for rows in (1, metrics.DRAW_ROWS):
        assert metrics.interval(0.5, drawn, rows, 0.9) == pytest.approx((0.05, 0.95))
    assert metrics.interval(0.5, drawn, 4 * metrics.DRAW_ROWS, 0.9) == pytest.approx((0.275, 0.725))
    assert metrics.interval(0.5, drawn, 100) == pytest.approx((0.025, 0.975))
    assert np.isnan(metrics.interval(float("nan"), drawn, 100)).all()
    assert np.isnan(metrics.interval(0.5, np.array([np.nan]), 100)).all()


@pytest.mark.parametrize("higher", [True, False])
def test_as_good_is_better_or_equal_but_for_a_tie(higher: bool) -> None:
    sign = 1 if higher else -1
    for other in (0.5, 1e6):
        wide = metrics.TIE * max(1.0, other)
        for ahead, good in ((0, True), (wide, True), (-0.9 * wide, True), (-1.1 * wide, False), (-9 * wide, False)):
            assert metrics.is_at_least(other + sign * ahead, other, higher_is_better=higher) is good
    for value, other in ((float("nan"), 0.5), (0.5, float("nan"))):
        assert not metrics.is_at_least(value, other, higher_is_better=higher)


def test_a_draw_has_the_rows_of_the_table_and_at_most_5000() -> None:
    seen: list[int] = []

    def score(y: Any, p: Any, q: Any) -> float:
        seen.append(len(y))
        return float(len(set(p)))

    for rows in (7, metrics.DRAW_ROWS + 1):
        seen.clear()
        drawn = metrics.draws(metrics.Metric(score), np.arange(rows), np.arange(rows), None, 0)
        assert seen == [min(rows, metrics.DRAW_ROWS)] * metrics.DRAWS and len(set(drawn)) > 1
        assert (drawn < rows).all()  # with rows that are drawn twice


@pytest.mark.parametrize("most", [4_000_000, 1])  # all columns together, or one at a time
def test_importances_are_those_of_scikit_learn(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, text and nulls; the model is asked for many permutations at once."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.inspection import permutation_importance
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300).astype(np.float32), "b": rng.normal(size=300)})
    frame["c"] = rng.choice(["x", "y", ""], 300).astype(object)
    frame.loc[::7, "b"] = np.nan
    truth = ((frame.a + (frame.c == "x") + rng.normal(size=300) / 3) > 0).to_numpy().astype(int)
    prepare = make_column_transformer((OneHotEncoder(sparse_output=False), ["c"]), remainder="passthrough")
    model = make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=10)).fit(frame, truth)

    def score(given: pd.DataFrame, copies: int) -> Any:
        probability = model.predict_proba(given)[:, 1].reshape(copies, -1)
        return np.array([m.roc_auc_score(truth, one) for one in probability])

    monkeypatch.setattr(metrics, "MOST_CELLS", most)
    got = metrics.importances(frame, score, repeats=4, seed=3)
    theirs = permutation_importance(model, frame, truth, scoring="roc_auc", n_repeats=4, random_state=3)
    assert got == pytest.approx(np.column_stack([theirs.importances_mean, theirs.importances_std]), abs=1e-12)

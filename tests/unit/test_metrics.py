"""Every metric has the value that scikit-learn gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as m

from mlops_glue import metrics
from mlops_glue.metrics import METRICS
from tests.support.outcomes import outcomes

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


def test_every_metric_is_held_against_scikit_learn() -> None:
    assert set(KNOWN) == {(task, name) for task, names in METRICS.items() for name in names}


@pytest.mark.parametrize(("task", "name"), KNOWN)
@pytest.mark.parametrize("seed", range(5))
def test_it_has_the_value_of_scikit_learn(task: str, name: str, seed: int) -> None:
    made = outcomes(task, 200, seed)
    value = metrics.compute(metrics.METRICS[task][name], *made)
    assert value == pytest.approx(KNOWN[task, name](*made), rel=1e-12)


@pytest.mark.parametrize(("task", "name"), [key for key in KNOWN if key[0] != "regression"])
def test_equal_probabilities_missing_classes_and_nan(task: str, name: str) -> None:
    classes = {"binary": 2, "multiclass": 3}[task]
    metric = metrics.METRICS[task][name]
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
    value = metrics.compute(metrics.METRICS["binary"][name], nothing, nothing, probability)
    assert value == pytest.approx(KNOWN["binary", name](nothing, nothing, probability), rel=1e-12)


def test_what_is_not_defined_is_nan() -> None:
    ones, probability = np.ones(20, np.int64), np.tile([0.2, 0.8], (20, 1))
    assert np.isnan(metrics.compute(metrics.METRICS["binary"]["roc_auc"], ones, ones, probability))


def test_recall_is_averaged_over_the_classes_that_are_there() -> None:
    made = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), np.eye(3)[[0, 2, 1, 1]]
    assert metrics.compute(metrics.METRICS["multiclass"]["balanced_accuracy"], *made) == 0.75


@pytest.mark.parametrize("higher", [True, False])
def test_as_good_is_better_or_equal_but_for_a_tie(higher: bool) -> None:
    sign = 1 if higher else -1
    for other in (0.5, 1e6):
        wide = metrics.TIE_TOLERANCE * max(1.0, other)
        for ahead, good in ((0, True), (wide, True), (-0.9 * wide, True), (-1.1 * wide, False), (-9 * wide, False)):
            assert metrics.is_at_least(other + sign * ahead, other, higher_is_better=higher) is good
    for value, other in ((float("nan"), 0.5), (0.5, float("nan"))):
        assert not metrics.is_at_least(value, other, higher_is_better=higher)


LESS_IS_BETTER = {"log_loss", "brier", "rmse", "mae", "median_absolute_error"}


OF_PROBABILITIES = {"roc_auc", "average_precision", "log_loss", "brier", "roc_auc_ovr"}


@pytest.mark.parametrize(("task", "name"), KNOWN)
def test_which_way_is_better_and_what_it_is_of(task: str, name: str) -> None:
    """A metric of probabilities has a value where labels are none; one of labels, where probabilities are none."""
    metric = metrics.METRICS[task][name]
    assert metric.higher_is_better is (name not in LESS_IS_BETTER)
    assert metric.of_label is (name not in OF_PROBABILITIES)
    truth, label, probability = outcomes(task, 50, 1)
    assert not np.isnan(metrics.compute(metric, truth, label, probability))
    nothing = np.full(50, np.nan)
    of_others = (label, None) if metric.of_label else (nothing, probability)
    assert metrics.compute(metric, truth, *of_others) == metrics.compute(metric, truth, label, probability)
    assert np.isnan(metrics.compute(metric, truth[:0], label[:0], None if probability is None else probability[:0]))


def test_warnings_and_settings_of_scikit_learn_are_as_they_were() -> None:
    import sklearn

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        metrics.compute(metrics.METRICS["regression"]["r2"], np.ones(1), np.ones(1), None)  # it warns of one row
        assert not told
        warnings.warn("mine", stacklevel=1)
    assert len(told) == 1 and not sklearn.get_config()["assume_finite"]


@pytest.mark.parametrize(
    ("rows", "clip"), [((0.0, 1.0), 1e-15), ((0.25, 0.75), None)]
)  # a certain mistake costs much, and not everything
def test_a_loss_is_finite_and_within_the_precision_of_its_type(rows: Any, clip: Any) -> None:
    probability = np.array([rows, rows[::-1]])
    value = metrics.compute(metrics.METRICS["binary"]["log_loss"], np.array([0, 1]), np.zeros(2, int), probability)
    assert value == pytest.approx(m.log_loss([0, 1], probability, labels=[0, 1]), rel=1e-12)


@pytest.mark.parametrize("name", ["brier", "log_loss"])
def test_what_is_no_probability_has_no_loss(name: str) -> None:
    metric, truth = metrics.METRICS["binary"][name], np.array([0, 1, 1])
    for wrong in (-1e-9, 1 + 1e-9):
        probability = np.array([[1 - wrong, wrong], [0.5, 0.5], [0.0, 1.0]])
        assert np.isnan(metrics.compute(metric, truth, truth, probability))
    edge = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert not np.isnan(metrics.compute(metric, truth, truth, edge))


def test_what_does_not_sum_to_one_has_no_area_over_classes() -> None:
    """Scikit-learn refuses it, but for rounding."""
    metric, truth, label = metrics.METRICS["multiclass"]["roc_auc_ovr"], np.array([0, 1, 2]), np.zeros(3, int)
    probability = np.eye(3) * 0.4 + 0.2
    assert metrics.compute(metric, truth, label, probability + 1e-9) == 1
    probability[1, 1] += 0.01
    assert np.isnan(metrics.compute(metric, truth, label, probability))


@pytest.mark.parametrize("which", [0, 1])
def test_where_one_side_does_not_vary_there_is_no_order_of_numbers(which: int) -> None:
    sides = [np.arange(5.0), np.arange(5.0) ** 2]
    metric = metrics.RANKING["regression"]
    assert metrics.compute(metric, *sides, None) == 1
    sides[which] = np.full(5, 2.0)
    assert np.isnan(metrics.compute(metric, *sides, None))


def test_a_confusion_has_the_true_classes_in_its_rows_and_those_that_nobody_saw() -> None:
    found = metrics.confusion(np.array([0, 0, 0, 2, 2]), np.array([1, 1, 0, 2, 1]), 4)
    assert found.tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]

"""Every metric has the value that scikit-learn gives."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as m

from mlops_glue import formulas, metrics
from mlops_glue.metrics import METRICS
from tests.support.known_metrics import KNOWN
from tests.support.outcomes import outcomes


def known(task: str, name: str) -> metrics.Metric:
    found = metrics.find(task, name)
    assert found is not None
    return found


def test_every_metric_is_held_against_scikit_learn() -> None:
    """But for those at a number of rows, which it does not have: they are done by hand below."""
    for task in metrics.TASKS:
        held = {name for of, name in KNOWN if of == task}
        assert {*METRICS[task], *metrics.MORE[task]} <= held
        for family in metrics.FAMILIES[task]:
            assert "_at_" in family.example or any(re.fullmatch(family.pattern, name) for name in held), family
            assert metrics.find(task, family.example) is not None


def made_of(task: str, name: str, rows: int, seed: int) -> tuple[Any, Any, Any]:
    truth, label, probability = outcomes(task, rows, seed)
    return (abs(truth), abs(label), None) if name in POSITIVE else (truth, label, probability)


@pytest.mark.parametrize(("task", "name"), KNOWN)
@pytest.mark.parametrize("seed", range(5))
def test_it_has_the_value_of_scikit_learn(task: str, name: str, seed: int) -> None:
    made = made_of(task, name, 200, seed)
    value = metrics.compute(known(task, name), *made)
    assert value == pytest.approx(KNOWN[task, name](*made), rel=1e-12)


@pytest.mark.parametrize(("task", "name"), [key for key in KNOWN if key[0] != "regression"])
def test_equal_probabilities_missing_classes_and_nan(task: str, name: str) -> None:
    classes = {"binary": 2, "multiclass": 3}[task]
    metric = known(task, name)
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
    value = metrics.compute(known("binary", name), nothing, nothing, probability)
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


LESS_IS_BETTER = {"log_loss", "brier", "rmse", "mae", "median_absolute_error"} | {
    *("mean_absolute_percentage_error", "root_mean_squared_log_error", "max_error", "mean_poisson_deviance"),
    *("mean_gamma_deviance", "mean_pinball_loss_0.9"),
}


OF_PROBABILITIES = {"roc_auc", "average_precision", "log_loss", "brier", "roc_auc_ovr", "top_2_accuracy"}
POSITIVE = {"mean_poisson_deviance", "mean_gamma_deviance", "root_mean_squared_log_error"}  # of values above 0


@pytest.mark.parametrize(("task", "name"), KNOWN)
def test_which_way_is_better_and_what_it_is_of(task: str, name: str) -> None:
    """A metric of probabilities has a value where labels are none; one of labels, where probabilities are none."""
    metric = known(task, name)
    assert metric.higher_is_better is (name not in LESS_IS_BETTER)
    assert metric.of_label is (name not in OF_PROBABILITIES)
    truth, label, probability = made_of(task, name, 50, 1)
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
    metric, truth = known("binary", name), np.array([0, 1, 1])
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
    found = formulas.confusion(np.array([0, 0, 0, 2, 2]), np.array([1, 1, 0, 2, 1]), 4)
    assert found.tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_precision_and_recall_among_the_first_rows_by_hand() -> None:
    truth, share = np.array([1, 0, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.5, 0.5, 0.5, 0.1])

    def value(name: str) -> float:
        return metrics.compute(known("binary", name), truth, truth, np.column_stack([1 - share, share]))

    assert [value(f"precision_at_{k}") for k in (1, 2, 5, 6)] == [1, 0.5, 0.6, 0.5]
    assert value("precision_at_3") == pytest.approx((1 + 2 / 3) / 3)  # one of three that tie
    assert [value(f"recall_at_{k}") for k in (1, 2, 5, 6)] == pytest.approx([1 / 3, 1 / 3, 1, 1])
    assert np.isnan(value("precision_at_7")) and np.isnan(value("recall_at_7"))
    assert value("precision_at_33.4%") == value("precision_at_2") and value("recall_at_1%") == value("recall_at_1")
    nothing = np.zeros(6, int)
    assert metrics.compute(known("binary", "recall_at_2"), nothing, nothing, np.column_stack([1 - share, share])) == 0


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *(("binary", name) for name in ("f", "f0", "f-1", "f02", "f1.", "precision_at_0", "precision_at_1.5", "F2")),
        *(("binary", name) for name in ("precision_at_100%", "precision_at_0%", "recall_at_101%", "top_3_accuracy")),
        *(("multiclass", name) for name in ("f2", "top_0_accuracy", "top_1.5_accuracy", "precision_at_5")),
        *(("regression", f"mean_pinball_loss_{a}") for a in ("0", "1", "1.5", "", "-0.1", "0.5 ")),
    ],
)
def test_what_is_no_metric(task: str, name: str) -> None:
    assert metrics.find(task, name) is None


def test_all_names_are_found() -> None:
    for task in metrics.TASKS:
        assert all(metrics.find(task, name) for name in metrics.names([task]))
    every = metrics.names(metrics.TASKS)
    assert every == sorted(set(every)) and set(metrics.ALSO_CALLED).isdisjoint(every)
    assert all(any(metrics.find(task, name) for task in metrics.TASKS) for name in metrics.ALSO_CALLED.values())


@pytest.mark.parametrize("task", metrics.TASKS)
def test_where_there_are_losses_their_mean_moves_with_the_metric(task: str) -> None:
    """So the difference of two models in the metric is that of the means, up to its sign."""
    for name in metrics.names([task]):
        metric = known(task, name)
        if metric.losses is None:
            continue
        one, other = made_of(task, "mean_gamma_deviance", 80, 1), made_of(task, "mean_gamma_deviance", 80, 2)
        if task != "regression":
            one, other = made_of(task, name, 80, 1), made_of(task, name, 80, 2)
        other = (one[0], *other[1:])
        gain = metrics.compute(metric, *one) - metrics.compute(metric, *other)
        lost = float(np.mean(metric.losses(*other).astype(float) - metric.losses(*one)))
        assert (gain if metric.higher_is_better else -gain) == pytest.approx(lost), name

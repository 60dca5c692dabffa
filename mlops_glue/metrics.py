"""The metrics of each task: how to compute them, and which direction is better. The values are scikit-learn's.

In a bootstrap, scikit-learn's own functions spend most of their time on type checks: five metrics on 100 samples take
2.7 s there and 0.15 s here.

This module imports no packages, because the configuration uses its names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_glue.formulas import (
    average_precision,
    class_mean,
    concordance,
    explained,
    f_beta,
    from_counts,
    gamma,
    kappa,
    log_errors,
    log_losses,
    matthews,
    median,
    pinball,
    places,
    poisson,
    r2,
    relative,
    roc_auc,
    roc_auc_ovr,
    squares,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MIN_ROWS = 20  # with fewer rows, a value is mostly chance
MIN_FRESH_ROWS = 50  # minimum number of fresh rows to judge a retrained model by
TIE_TOLERANCE = 1e-6  # float32: difference between the same model in ONNX and in skops


@dataclass(frozen=True)
class Metric:
    """A function of truth, label and probability.

    Class metrics take class indices of shape (rows,) and probabilities of shape (rows, classes); regression metrics
    take values and None.
    """

    score: Callable[[Array, Array, Any], float]
    higher_is_better: bool = True
    of_label: bool = True  # whether it uses the label; otherwise, it uses only the probabilities
    losses: Callable[[Array, Array, Any], Array] | None = (
        None  # loss per row, if the metric is their mean or a decreasing function of it
    )
    whole: bool = False  # undefined on part of the rows, so that samples must have all rows
    of_count: bool = False  # uses a fixed number of rows, so only tables of the same size are comparable


def mean_of(losses: Callable[[Array, Array, Any], Array], *, of_label: bool = True) -> Metric:
    """Create a metric that is the mean of a loss over rows."""
    return Metric(lambda y, p, q: float(losses(y, p, q).mean()), False, of_label, losses)


# The default of `evaluate.metrics`, by task; the first metric is the default of `promote.metric`. Binary metrics use
# class 1 as positive. Add new metrics to MORE: an addition here changes the output of `evaluate`, and needs a new
# `stages.FORMAT`. Without `losses`, the interval of a difference is bootstrapped.
METRICS: dict[str, dict[str, Metric]] = {
    "binary": {
        "roc_auc": Metric(lambda y, p, q: roc_auc(y == 1, q[:, 1]), of_label=False),
        "average_precision": Metric(lambda y, p, q: average_precision(y, q[:, 1]), of_label=False),
        "f1": Metric(lambda y, p, q: from_counts(y, p, lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn))),
        "precision": Metric(lambda y, p, q: from_counts(y, p, lambda tp, fp, fn: (tp, tp + fp))),
        "recall": Metric(lambda y, p, q: from_counts(y, p, lambda tp, fp, fn: (tp, tp + fn))),
        "accuracy": Metric(lambda y, p, q: float((y == p).mean()), losses=lambda y, p, q: y != p),
        "log_loss": mean_of(lambda y, p, q: log_losses(y, q), of_label=False),
        "brier": mean_of(lambda y, p, q: squares(y, q[:, 1]), of_label=False),
    },
    "multiclass": {
        "log_loss": mean_of(lambda y, p, q: log_losses(y, q), of_label=False),
        "accuracy": Metric(lambda y, p, q: float((y == p).mean()), losses=lambda y, p, q: y != p),
        "balanced_accuracy": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (hit, true, true > 0))),
        "f1_macro": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (2 * hit, true + of, true + of > 0))),
        "roc_auc_ovr": Metric(lambda y, p, q: roc_auc_ovr(y, q), of_label=False),
    },
    "regression": {
        "r2": Metric(lambda y, p, q: r2(y, p)),
        "rmse": Metric(lambda y, p, q: float(((y - p) ** 2).mean() ** 0.5), higher_is_better=False),
        "mae": mean_of(lambda y, p, q: abs(y - p)),
        "median_absolute_error": Metric(lambda y, p, q: median(abs(y - p)), higher_is_better=False),
    },
}
TASKS = tuple(METRICS)

# Metrics that are computed only if `evaluate.metrics` names them, under the names of scikit-learn.
MORE: dict[str, dict[str, Metric]] = {
    "binary": {
        "balanced_accuracy": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (hit, true, true > 0))),
        "matthews_corrcoef": Metric(lambda y, p, q: matthews(y, p)),
        "cohen_kappa": Metric(lambda y, p, q: kappa(y, p)),
        "jaccard": Metric(lambda y, p, q: from_counts(y, p, lambda tp, fp, fn: (tp, tp + fp + fn))),
    },
    "multiclass": {
        "matthews_corrcoef": Metric(lambda y, p, q: matthews(y, p)),
        "cohen_kappa": Metric(lambda y, p, q: kappa(y, p)),
        "precision_macro": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (hit, of, true + of > 0))),
        "recall_macro": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (hit, true, true + of > 0))),
        "precision_weighted": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (hit, of, true))),
        "f1_weighted": Metric(lambda y, p, q: class_mean(y, p, lambda hit, true, of: (2 * hit, true + of, true))),
    },
    "regression": {
        "mean_absolute_percentage_error": mean_of(lambda y, p, q: relative(y, p)),
        "root_mean_squared_log_error": Metric(lambda y, p, q: log_errors(y, p), higher_is_better=False),
        "max_error": Metric(lambda y, p, q: float(abs(y - p).max()), higher_is_better=False, whole=True),
        "explained_variance": Metric(lambda y, p, q: explained(y, p)),
        "mean_poisson_deviance": mean_of(lambda y, p, q: poisson(y, p)),
        "mean_gamma_deviance": mean_of(lambda y, p, q: gamma(y, p)),
    },
}


@dataclass(frozen=True)
class Family:
    """Metrics with a number in their names."""

    pattern: str  # pattern of the name; its group is the number
    example: str
    make: Callable[[float], Metric]
    below: float = float("inf")  # the number is above 0 and below this


NUMBER, WHOLE = r"((?:0|[1-9]\d*)(?:\.\d+)?)", r"([1-9]\d*)"
FAMILIES: dict[str, tuple[Family, ...]] = {
    "binary": (
        Family(f"f{NUMBER}", "f2", lambda beta: Metric(lambda y, p, q: f_beta(y, p, beta))),
        Family(f"precision_at_{WHOLE}", "precision_at_100", lambda k: _at_top(lambda rows: k, of_positives=False)),
        Family(f"recall_at_{WHOLE}", "recall_at_100", lambda k: _at_top(lambda rows: k, of_positives=True)),
        Family(f"precision_at_{NUMBER}%", "precision_at_5%", lambda k: _at_share(k, of_positives=False), 100),
        Family(f"recall_at_{NUMBER}%", "recall_at_5%", lambda k: _at_share(k, of_positives=True), 100),
    ),
    "multiclass": (
        Family(
            f"top_{WHOLE}_accuracy",
            "top_3_accuracy",
            lambda k: Metric(
                lambda y, p, q: float((places(y, q) < k).mean()),
                of_label=False,
                losses=lambda y, p, q: places(y, q) >= k,
            ),
        ),
    ),
    "regression": (
        Family(
            f"mean_pinball_loss_{NUMBER}",
            "mean_pinball_loss_0.9",
            lambda alpha: mean_of(lambda y, p, q: pinball(y, p, alpha)),
            1,
        ),
    ),
}
# Other names of the metrics, for suggestions.
ALSO_CALLED = {
    "mcc": "matthews_corrcoef",
    "mape": "mean_absolute_percentage_error",
    "rmsle": "root_mean_squared_log_error",
    "mse": "rmse",
    "mean_squared_error": "rmse",
    "root_mean_squared_error": "rmse",
    "mean_absolute_error": "mae",
    "pinball": "mean_pinball_loss_0.9",
    "pinball_loss": "mean_pinball_loss_0.9",
    "quantile_loss": "mean_pinball_loss_0.9",
    "mean_pinball_loss": "mean_pinball_loss_0.5",
    "auc": "roc_auc",
    "pr_auc": "average_precision",
    "brier_score_loss": "brier",
    "kappa": "cohen_kappa",
    "fbeta": "f2",
    "precision_at_k": "precision_at_100",
    "recall_at_k": "recall_at_100",
    "top_k_accuracy": "top_3_accuracy",
}

# How well a model ranks rows: 1 is perfect, 0.5 is chance, 0 is reversed. A change of concept moves levels and weights,
# and with them log loss or R². It seldom reverses the ranking, but swapped labels do.
RANKING = {
    "binary": METRICS["binary"]["roc_auc"],
    "multiclass": METRICS["multiclass"]["roc_auc_ovr"],
    "regression": Metric(lambda y, p, q: concordance(y, p)),
}


def default(task: str) -> str:
    """Return the default metric for promotion."""
    return next(iter(METRICS[task]))


def find(task: str, name: str) -> Metric | None:
    """Return a metric by name, which may contain a number; None if the task has no such metric."""
    known = METRICS[task].get(name) or MORE[task].get(name)
    for family in () if known is not None else FAMILIES[task]:
        found = re.fullmatch(family.pattern, name)
        if found is not None and 0 < float(found[1]) < family.below:
            return family.make(float(found[1]))
    return known


def names(tasks: Iterable[str]) -> list[str]:
    """Return the names for these tasks, with an example for each name that contains a number."""
    found = [name for task in tasks for name in (*METRICS[task], *MORE[task], *(f.example for f in FAMILIES[task]))]
    return sorted(set(found))


def compute(metric: Metric, truth: Array, label: Array, probability: Any) -> float:
    """Compute a metric; NaN if scikit-learn has no value: a single class, a single row, a score that is not finite."""
    import numpy as np

    if not len(truth) or not np.isfinite(label if metric.of_label else probability).all():
        return float("nan")
    with np.errstate(all="ignore"):
        return float(metric.score(truth, label, probability))


def is_at_least(value: float, other: float, *, higher_is_better: bool) -> bool:
    """Return whether a value is at least as good as another, within the tolerance of a tie; False for NaN."""
    ahead = value - other if higher_is_better else other - value
    return bool(ahead >= -TIE_TOLERANCE * max(1.0, abs(other)))


def apart(value: float, other: float) -> tuple[str, str]:
    """Format two values with four decimals, or with as many more as tell them apart."""
    forms = ((f"{value:z.{digits}f}", f"{other:z.{digits}f}") for digits in range(4, 17))
    return next((form for form in forms if form[0] != form[1]), (f"{value:z.4f}", f"{other:z.4f}"))


def _at_share(percent: float, *, of_positives: bool) -> Metric:
    at = _at_top(lambda rows: max(1.0, round(rows * percent / 100)), of_positives=of_positives)
    return Metric(at.score, of_label=False)


def _at_top(size: Callable[[int], float], *, of_positives: bool) -> Metric:
    """Create precision or recall among the rows with the highest scores.

    Rows that tie for the last places count partially. NaN if there are fewer rows than places.
    """

    def score(truth: Array, label: Array, probability: Array) -> float:
        import numpy as np

        score, k = probability[:, 1], int(size(len(truth)))
        if k > len(truth):
            return float("nan")
        least = np.partition(score, len(score) - k)[len(score) - k]
        above, tied = score > least, score == least
        hits = truth[above].sum() + (k - above.sum()) * truth[tied].mean()
        whole = truth.sum() if of_positives else k
        return float(hits / whole) if whole else 0.0

    return Metric(score, of_label=False, whole=True, of_count=True)

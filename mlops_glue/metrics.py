"""The metrics by name: how each is computed, which way is better. Formulas are scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        score: `(truth, label, probability) -> float`. Class metrics take class indices of shape (rows,) and
            probabilities of shape (rows, classes); regression metrics take values and None.
        higher_is_better: which way is better.
    """

    score: Callable[[Array, Array, Any], float]
    higher_is_better: bool = True


def table(task: str, classes: int) -> dict[str, Metric]:
    """The metrics of a task. Binary metrics take class 1 as the positive one."""
    from sklearn import metrics as m

    every = list(range(classes))
    if task == "binary":
        return {
            "roc_auc": Metric(lambda y, p, q: m.roc_auc_score(y, q[:, 1])),
            "average_precision": Metric(lambda y, p, q: m.average_precision_score(y, q[:, 1])),
            "f1": Metric(lambda y, p, q: m.f1_score(y, p, zero_division=0)),
            "precision": Metric(lambda y, p, q: m.precision_score(y, p, zero_division=0)),
            "recall": Metric(lambda y, p, q: m.recall_score(y, p, zero_division=0)),
            "accuracy": Metric(lambda y, p, q: m.accuracy_score(y, p)),
            "log_loss": Metric(lambda y, p, q: m.log_loss(y, q, labels=every), False),
            "brier": Metric(lambda y, p, q: m.brier_score_loss(y, q[:, 1]), False),
        }
    if task == "multiclass":
        return {
            "log_loss": Metric(lambda y, p, q: m.log_loss(y, q, labels=every), False),
            "accuracy": Metric(lambda y, p, q: m.accuracy_score(y, p)),
            "balanced_accuracy": Metric(lambda y, p, q: m.recall_score(y, p, average="macro", zero_division=0)),
            "f1_macro": Metric(lambda y, p, q: m.f1_score(y, p, average="macro", zero_division=0)),
            "roc_auc_ovr": Metric(lambda y, p, q: m.roc_auc_score(y, q, multi_class="ovr", labels=every)),
        }
    return {
        "r2": Metric(lambda y, p, q: m.r2_score(y, p)),
        "rmse": Metric(lambda y, p, q: m.root_mean_squared_error(y, p), False),
        "mae": Metric(lambda y, p, q: m.mean_absolute_error(y, p), False),
        "median_absolute_error": Metric(lambda y, p, q: m.median_absolute_error(y, p), False),
    }


def compute(metric: Metric, truth: Array, label: Array, probability: Any) -> float:
    """The metric's value; NaN where it is not defined (one class only, one row only)."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where the value is NaN; NaN is told by the report
        try:
            return float(metric.score(truth, label, probability))
        except ValueError:
            return float("nan")


def bootstrap(metric: Metric, truth: Array, label: Array, probability: Any, seed: int) -> tuple[float, float]:
    """95 % percentile interval (Efron 1979) from resampled rows: 200 times, fewer on large holdouts, at least 40."""
    rng = np.random.default_rng(seed)
    rows = len(truth)
    draws = int(np.clip(2_000_000 // max(rows, 1), 40, 200))
    values = []
    for _ in range(draws):
        at = rng.integers(0, rows, rows)
        values.append(compute(metric, truth[at], label[at], None if probability is None else probability[at]))
    kept = [v for v in values if not np.isnan(v)]
    return (float(np.quantile(kept, 0.025)), float(np.quantile(kept, 0.975))) if kept else (float("nan"),) * 2

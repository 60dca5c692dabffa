"""The metrics of each task: how each is computed, and which way is better. The values are scikit-learn's.

scikit-learn's own functions spend most of a bootstrap's time on checking types: five metrics on 100 samples take 2.7 s
there and 0.15 s here.

Importing this module imports nothing: the configuration asks it for names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MIN_ROWS = 20  # with fewer rows, a measurement is chance
MIN_FRESH_ROWS = 50  # that a retrained model is judged by
TIE_TOLERANCE = 1e-6  # float32: the same model in ONNX and in skops differs by this much


@dataclass(frozen=True)
class Metric:
    """A function of truth, label and probability.

    Class metrics take class indices of shape (rows,) and probabilities of shape (rows, classes); regression metrics
    take values and None.
    """

    score: Callable[[Array, Array, Any], float]
    higher_is_better: bool = True
    of_label: bool = True  # does it use the label? Otherwise it uses the probabilities alone


# By task; the first is the default to promote by. Binary metrics take class 1 as the positive one. A new metric changes
# what `evaluate` writes where `evaluate.metrics` names none: raise `stages.FORMAT`. Where it is a mean over rows, its
# loss may stand in `paired.ROW_LOSSES`; else the interval of a difference is bootstrapped.
METRICS: dict[str, dict[str, Metric]] = {
    "binary": {
        "roc_auc": Metric(lambda y, p, q: _roc_auc(y == 1, q[:, 1]), of_label=False),
        "average_precision": Metric(lambda y, p, q: _average_precision(y, q[:, 1]), of_label=False),
        "f1": Metric(lambda y, p, q: _from_counts(y, p, lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn))),
        "precision": Metric(lambda y, p, q: _from_counts(y, p, lambda tp, fp, fn: (tp, tp + fp))),
        "recall": Metric(lambda y, p, q: _from_counts(y, p, lambda tp, fp, fn: (tp, tp + fn))),
        "accuracy": Metric(lambda y, p, q: float((y == p).mean())),
        "log_loss": Metric(lambda y, p, q: _log_loss(y, q), higher_is_better=False, of_label=False),
        "brier": Metric(lambda y, p, q: _brier(y, q[:, 1]), higher_is_better=False, of_label=False),
    },
    "multiclass": {
        "log_loss": Metric(lambda y, p, q: _log_loss(y, q), higher_is_better=False, of_label=False),
        "accuracy": Metric(lambda y, p, q: float((y == p).mean())),
        "balanced_accuracy": Metric(lambda y, p, q: _class_mean(y, p, lambda hit, true, of: (hit, true))),
        "f1_macro": Metric(lambda y, p, q: _class_mean(y, p, lambda hit, true, of: (2 * hit, true + of))),
        "roc_auc_ovr": Metric(lambda y, p, q: _roc_auc_ovr(y, q), of_label=False),
    },
    "regression": {
        "r2": Metric(lambda y, p, q: _r2(y, p)),
        "rmse": Metric(lambda y, p, q: float(((y - p) ** 2).mean() ** 0.5), higher_is_better=False),
        "mae": Metric(lambda y, p, q: float(abs(y - p).mean()), higher_is_better=False),
        "median_absolute_error": Metric(lambda y, p, q: _median(abs(y - p)), higher_is_better=False),
    },
}
TASKS = tuple(METRICS)
NAMES = sorted({name for metrics in METRICS.values() for name in metrics})

# How well a model orders rows: 1 is perfect, 0.5 is chance, 0 is the reverse. A concept that changes moves levels and
# weights, and with them log loss or R². It seldom reverses the order of rows; labels that were swapped do.
RANKING = {
    "binary": METRICS["binary"]["roc_auc"],
    "multiclass": METRICS["multiclass"]["roc_auc_ovr"],
    "regression": Metric(lambda y, p, q: _concordance(y, p)),
}


def default(task: str) -> str:
    """The metric to promote by, where the configuration names none."""
    return next(iter(METRICS[task]))


def compute(metric: Metric, truth: Array, label: Array, probability: Any) -> float:
    """The metric's value; NaN where scikit-learn has none: one class only, one row only, a score that is not finite."""
    import numpy as np

    if not len(truth) or not np.isfinite(label if metric.of_label else probability).all():
        return float("nan")
    with np.errstate(all="ignore"):
        return float(metric.score(truth, label, probability))


def is_at_least(value: float, other: float, *, higher_is_better: bool) -> bool:
    """Is a metric's value as good as another one, within the tolerance of a tie? NaN is not."""
    ahead = value - other if higher_is_better else other - value
    return bool(ahead >= -TIE_TOLERANCE * max(1.0, abs(other)))


def _from_counts(truth: Array, label: Array, share: Callable[[int, int, int], tuple[int, int]]) -> float:
    """A share of the true positives, false positives and false negatives; 0 where it is 0 of 0."""
    import numpy as np

    _, false_positive, false_negative, true_positive = np.bincount(2 * truth + label, minlength=4)
    part, whole = share(true_positive, false_positive, false_negative)
    return float(part / whole) if whole else 0.0


def confusion(truth: Array, label: Array, classes: int) -> Array:
    """Counts of shape (classes, classes): rows are true, columns predicted."""
    import numpy as np

    return np.bincount(classes * truth + label, minlength=classes**2).reshape(classes, classes)


def _class_mean(truth: Array, label: Array, share: Callable[[Array, Array, Array], tuple[Array, Array]]) -> float:
    """The mean over classes of a share of the hits, the true rows and the predicted rows.

    A class whose share is 0 of 0 is left out: recall needs a true row, F1 a true or a predicted one.
    """
    counts = confusion(truth, label, 1 + max(truth.max(), label.max()))
    part, whole = share(counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0))
    return float((part[whole > 0] / whole[whole > 0]).mean())


def ranks(values: Array) -> Array:
    """Ranks from 1, equal values share their mean."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]  # type: ignore[no-any-return]


def _roc_auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney 1947), ties count half; NaN where a class is missing."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    wins = ranks(score)[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def _roc_auc_ovr(truth: Array, probability: Array) -> float:
    """The mean over classes of the area of each against all others; NaN where a class has no row."""
    import numpy as np

    if not np.allclose(1, probability.sum(axis=1)):
        return float("nan")  # scikit-learn refuses what are not probabilities
    return float(np.mean([_roc_auc(truth == k, score) for k, score in enumerate(probability.T)]))


def _average_precision(truth: Array, score: Array) -> float:
    """The sum of precisions weighted by the gains in recall, ties taken together; 0 where nothing is positive."""
    import numpy as np

    order = np.argsort(-score)
    last = np.append(np.nonzero(np.diff(score[order]))[0], len(order) - 1)  # of each run of equal scores
    hits = np.cumsum(truth[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1]) if hits[-1] else 0.0


def _log_loss(truth: Array, probability: Array) -> float:
    """Clipped by the precision of the probabilities' type."""
    import numpy as np

    if not _are_probabilities(probability):
        return float("nan")
    least = np.finfo(probability.dtype).eps
    return float(-np.mean(np.log(np.clip(probability[np.arange(len(truth)), truth], least, 1 - least))))


def _brier(truth: Array, probability: Array) -> float:
    return float(((probability - truth) ** 2).mean()) if _are_probabilities(probability) else float("nan")


def _are_probabilities(values: Array) -> bool:
    return bool(values.min() >= 0 and values.max() <= 1)


def _r2(truth: Array, predicted: Array) -> float:
    """The share of the variance that is explained; of a constant 1 where all is right, else 0."""
    if len(truth) < 2:
        return float("nan")
    left, variance = ((truth - predicted) ** 2).sum(), ((truth - truth.mean()) ** 2).sum()
    return float(1 - left / variance) if variance else float(left == 0)


def _median(values: Array) -> float:
    import numpy as np

    return float(np.median(values))


def _concordance(truth: Array, predicted: Array) -> float:
    """Spearman's correlation, moved from -1 … 1 to 0 … 1; NaN for a constant."""
    import numpy as np

    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(1 + np.corrcoef(ranks(truth), ranks(predicted))[0, 1]) / 2

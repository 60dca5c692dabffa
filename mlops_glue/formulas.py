"""The formulas behind `metrics`, with scikit-learn's values. Classes are indices, probabilities are (rows, classes).

Importing this module imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def from_counts(truth: Array, label: Array, share: Callable[[int, int, int], tuple[float, float]]) -> float:
    """Return a share of true positives, false positives and false negatives; 0 if it is 0 of 0."""
    import numpy as np

    _, false_positive, false_negative, true_positive = np.bincount(2 * truth + label, minlength=4)
    part, whole = share(true_positive, false_positive, false_negative)
    return float(part / whole) if whole else 0.0


def confusion(truth: Array, label: Array, classes: int) -> Array:
    """Return counts of shape (classes, classes): rows are true classes, columns predicted ones."""
    import numpy as np

    return np.bincount(classes * truth + label, minlength=classes**2).reshape(classes, classes)


def class_mean(truth: Array, label: Array, share: Callable[[Array, Array, Array], tuple[Array, ...]]) -> float:
    """Return the weighted mean over classes of a share of hits, true rows and predicted rows.

    A class of weight 0 is left out: it is neither true nor predicted or, for recall, has no true row.
    """
    import numpy as np

    counts = confusion(truth, label, 1 + max(truth.max(), label.max()))
    part, whole, weight = share(counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0))
    counted = weight > 0
    weights = None if weight.dtype == bool else weight[counted]
    return float(np.average((part / np.maximum(whole, 1))[counted], weights=weights))


def f_beta(truth: Array, label: Array, beta: float) -> float:
    """Return the weighted harmonic mean of precision and recall, in which recall counts `beta` times as much."""
    square = beta**2
    return from_counts(truth, label, lambda tp, fp, fn: ((1 + square) * tp, (1 + square) * tp + fp + square * fn))


def matthews(truth: Array, label: Array) -> float:
    """Return the correlation of true and predicted classes (Gorodkin 2004); 0 if one of them is constant."""
    counts = confusion(truth, label, 1 + max(truth.max(), label.max())).astype(float)
    true, predicted, rows = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    spread = ((rows**2 - predicted @ predicted) * (rows**2 - true @ true)) ** 0.5
    return float((counts.trace() * rows - true @ predicted) / spread) if spread else 0.0


def kappa(truth: Array, label: Array) -> float:
    """Return the agreement beyond chance (Cohen 1960); NaN if both have the same single class."""
    counts = confusion(truth, label, 1 + max(truth.max(), label.max())).astype(float)
    rows = counts.sum()
    chance = counts.sum(axis=1) @ counts.sum(axis=0) / rows**2
    return float((counts.trace() / rows - chance) / (1 - chance)) if chance < 1 else float("nan")


def places(truth: Array, probability: Array) -> Array:
    """Return how many classes rank before the true class, shape (rows,); among ties the last class ranks first."""
    import numpy as np

    own = probability[np.arange(len(truth)), truth][:, None]
    later = np.arange(probability.shape[1]) > truth[:, None]
    places: Array = ((probability > own) | ((probability == own) & later)).sum(axis=1)
    return places


def ranks(values: Array) -> Array:
    """Return ranks from 1; equal values share their mean rank."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]  # type: ignore[no-any-return]


def roc_auc(positive: Array, score: Array) -> float:
    """Return the area under the ROC curve (Mann and Whitney 1947); ties count half. NaN if a class is missing."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    wins = ranks(score)[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def roc_auc_ovr(truth: Array, probability: Array) -> float:
    """Return the mean over classes of the area of each class against all others; NaN if a class has no row."""
    import numpy as np

    if not np.allclose(1, probability.sum(axis=1)):
        return float("nan")  # scikit-learn refuses values that are not probabilities
    return float(np.mean([roc_auc(truth == k, score) for k, score in enumerate(probability.T)]))


def average_precision(truth: Array, score: Array) -> float:
    """Return the sum of precisions weighted by the gains in recall, with ties together; 0 without a positive row."""
    import numpy as np

    order = np.argsort(-score)
    last = np.append(np.nonzero(np.diff(score[order]))[0], len(order) - 1)  # row of each run of equal scores
    hits = np.cumsum(truth[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1]) if hits[-1] else 0.0


def log_losses(truth: Array, probability: Array) -> Array:
    """Return the log loss of each row, clipped by the precision of the probabilities' type."""
    import numpy as np

    if not are_probabilities(probability):
        return np.full(len(truth), np.nan)
    least = np.finfo(probability.dtype).eps
    return np.asarray(-np.log(np.clip(probability[np.arange(len(truth)), truth], least, 1 - least)))


def squares(truth: Array, probability: Array) -> Array:
    """Return the squared error of each probability; NaN if any value is not a probability."""
    import numpy as np

    return (probability - truth) ** 2 if are_probabilities(probability) else np.full(len(truth), np.nan)


def are_probabilities(values: Array) -> bool:
    """Are all values between 0 and 1?"""
    return bool(values.min() >= 0 and values.max() <= 1)


def r2(truth: Array, predicted: Array) -> float:
    """Return the share of the variance that is explained; for a constant truth, 1 if all are right, else 0."""
    if len(truth) < 2:
        return float("nan")
    left, variance = ((truth - predicted) ** 2).sum(), ((truth - truth.mean()) ** 2).sum()
    return float(1 - left / variance) if variance else float(left == 0)


def explained(truth: Array, predicted: Array) -> float:
    """Return R² of the errors without their mean."""
    left, variance = (truth - predicted).var(), truth.var()
    return float(1 - left / variance) if variance else float(left == 0)


def relative(truth: Array, predicted: Array) -> Array:
    """Return the error as a share of the truth; for a truth of 0 it is very large, as in scikit-learn."""
    import numpy as np

    losses: Array = abs(truth - predicted) / np.maximum(abs(truth), np.finfo(np.float64).eps)
    return losses


def log_errors(truth: Array, predicted: Array) -> float:
    """Return the root mean squared logarithmic error; NaN if a value is -1 or less."""
    import numpy as np

    if min(truth.min(), predicted.min()) <= -1:
        return float("nan")
    return float(((np.log1p(truth) - np.log1p(predicted)) ** 2).mean() ** 0.5)


def pinball(truth: Array, predicted: Array, alpha: float) -> Array:
    """Return the loss whose mean is least for the `alpha` quantile (Koenker and Bassett 1978)."""
    import numpy as np

    return np.asarray(np.where(truth >= predicted, alpha, alpha - 1) * (truth - predicted))


def poisson(truth: Array, predicted: Array) -> Array:
    """Return the Poisson deviance of each row; NaN if a count is below 0 or a prediction is not above 0."""
    import numpy as np

    if truth.min() < 0 or predicted.min() <= 0:
        return np.full(len(truth), np.nan)
    logs = truth * np.log(np.where(truth > 0, truth, 1) / np.where(truth > 0, predicted, 1))
    return np.asarray(2 * (logs - truth + predicted))


def gamma(truth: Array, predicted: Array) -> Array:
    """Return the gamma deviance of each row; NaN if a value is not above 0."""
    import numpy as np

    if min(truth.min(), predicted.min()) <= 0:
        return np.full(len(truth), np.nan)
    return np.asarray(2 * (np.log(predicted / truth) + truth / predicted - 1))


def median(values: Array) -> float:
    """Return the median."""
    import numpy as np

    return float(np.median(values))


def concordance(truth: Array, predicted: Array) -> float:
    """Return Spearman's correlation, scaled from -1 … 1 to 0 … 1; NaN for a constant."""
    import numpy as np

    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(1 + np.corrcoef(ranks(truth), ranks(predicted))[0, 1]) / 2

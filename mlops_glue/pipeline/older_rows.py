"""Choose the older rows that a retraining learns from: after concept drift, rows from before may do harm."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
Estimator = Any  # of scikit-learn, which has no types
Fit = Callable[[Estimator, "pd.DataFrame", Array], Estimator]
FOLDS = 3
MAX_ROWS = 50_000  # with more rows, or if older rows help, one fold is enough to decide
MAX_BATCHES = 3  # the training rows may start with any of this number of latest retrainings
MIN_PROBABILITY = 1e-6  # in a logarithm


def first_batch(
    model: Estimator, features: pd.DataFrame, target: Array, batch: Array, fit: Fit, seed: int
) -> tuple[int, dict[str, float]]:
    """Return the oldest batch whose rows are learned from; 0 means all rows.

    Each part of the latest batch is predicted by models trained on the other parts and on more or fewer older batches.
    The largest number of batches is chosen whose loss exceeds the smallest loss by no more than the standard error of
    the difference. `batch` is the result of `split.batches`.

    Returns:
        The batch, and the mean loss by batch (logarithmic for classes, else squared).
    """
    last = int(batch.max())
    fresh = np.flatnonzero(batch == last)
    fold = np.random.default_rng(seed).permutation(len(fresh)) % FOLDS

    def losses_of(first: int, number: int) -> Array:
        held = np.zeros(len(batch), bool)
        held[fresh[fold == number]] = True
        rows, those = np.flatnonzero((batch >= first) & ~held), np.flatnonzero(held)
        try:
            fitted = fit(copy.deepcopy(model), features.iloc[rows], target[rows])
            return loss(fitted, features.iloc[those], target[those])
        except Exception:
            if first == 0:
                raise
            return np.full(len(those), np.inf)  # too few rows for the model, perhaps of one class only

    starts = [0, *range(max(1, last - MAX_BATCHES + 1), last + 1)]
    losses = {first: losses_of(first, 0) for first in starts}
    if min(losses, key=lambda first: losses[first].mean()) != 0 and len(batch) <= MAX_ROWS:
        more = {first: [losses_of(first, number) for number in range(1, FOLDS)] for first in starts}
        losses = {first: np.concatenate([losses[first], *more[first]]) for first in starts}
    losses = {first: values for first, values in losses.items() if np.isfinite(values).all()}
    best = min(losses, key=lambda first: losses[first].mean())
    for first in sorted(losses):  # more rows are better, unless they are clearly worse
        lost = losses[first] - losses[best]
        if lost.mean() <= lost.std() / np.sqrt(len(lost)):
            break
    return first, {str(first): float(values.mean()) for first, values in losses.items()}


def loss(model: Estimator, features: pd.DataFrame, target: Array) -> Array:
    """Return the loss of each row: minus the log probability of its class, 0 or 1 without probabilities, or squared."""
    if not hasattr(model, "classes_"):
        return np.asarray((model.predict(features) - target) ** 2, np.float64)
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(features) != target, np.float64)
    probability = model.predict_proba(features)
    known = target[:, None] == np.asarray(model.classes_)[None, :]
    return np.asarray(-np.log(np.clip((probability * known).sum(axis=1), MIN_PROBABILITY, 1.0)))

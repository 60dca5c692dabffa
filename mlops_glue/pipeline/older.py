"""Which older rows a retraining learns from: after a change of what holds, those of before may do more harm."""

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
FOLDS, MOST_ROWS = 3, 50_000  # one fold tells as surely of more rows, and where older rows do good
LATEST = 3  # retrainings back, from any of which on rows may be learned from
LEAST = 1e-6  # probability, in a logarithm


def begin(
    model: Estimator, features: pd.DataFrame, target: Array, batch: Array, fit: Fit, seed: int
) -> tuple[int, dict[str, float]]:
    """The batch from which on rows are learned from: 0 is all of them.

    Parts of the latest batch are predicted in turn by models that were trained on the others and on older batches, or
    not on these. As many are learned from as can be while the loss is not above the least one by more than the standard
    error of the difference.

    Args:
        model: is fitted anew, a copy for each part.
        features: frame of the training rows.
        target: shape (rows,).
        batch: which of `split.batches` each row is of, shape (rows,).
        fit: gives the fitted model.
        seed: of the folds.

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
            return np.full(len(those), np.inf)  # so few rows are not enough for it: one class, perhaps

    starts = [0, *range(max(1, last - LATEST + 1), last + 1)]
    losses = {first: losses_of(first, 0) for first in starts}
    if min(losses, key=lambda first: losses[first].mean()) != 0 and len(batch) <= MOST_ROWS:
        more = {first: [losses_of(first, number) for number in range(1, FOLDS)] for first in starts}
        losses = {first: np.concatenate([losses[first], *more[first]]) for first in starts}
    losses = {first: values for first, values in losses.items() if np.isfinite(values).all()}
    best = min(losses, key=lambda first: losses[first].mean())
    for first in sorted(losses):  # the more rows the better, where that is no surely worse
        lost = losses[first] - losses[best]
        if lost.mean() <= lost.std() / np.sqrt(len(lost)):
            break
    return first, {str(first): float(values.mean()) for first, values in losses.items()}


def loss(model: Estimator, features: pd.DataFrame, target: Array) -> Array:
    """Of each row: minus the logarithm of its class's probability, 0 or 1 without probabilities, or a squared error."""
    if not hasattr(model, "classes_"):
        return np.asarray((model.predict(features) - target) ** 2, np.float64)
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(features) != target, np.float64)
    probability = model.predict_proba(features)
    known = target[:, None] == np.asarray(model.classes_)[None, :]
    return np.asarray(-np.log(np.clip((probability * known).sum(axis=1), LEAST, 1.0)))

"""Permutation importances of a fitted model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
MAX_CELLS = 4_000_000  # of permuted rows that the model scores together


def importances(features: pd.DataFrame, score: Callable[[pd.DataFrame, int], Array], repeats: int, seed: int) -> Array:
    """Permutation importances (Breiman 2001): mean and standard deviation of the loss in score, shape (columns, 2).

    The numbers are those of scikit-learn's `permutation_importance`, which asks the model for one permutation at a
    time: with a thousand rows, most of its time goes to the calls.

    Args:
        features: a frame of shape (rows, columns).
        score: `(frame, copies) -> float array of shape (copies,)`, higher is better; the frame holds that many
            copies of the rows, one below the other.
        repeats: permutations of each column.
        seed: of the permutations.
    """
    rows, count = features.shape
    # scikit-learn draws a seed from the seed
    rng = np.random.RandomState(np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1))
    shuffle, orders = np.arange(rows), [np.arange(rows)]
    for _ in range(repeats):
        rng.shuffle(shuffle)
        orders.append(orders[-1][shuffle])  # each permutation continues the last one
    shuffled = np.concatenate(orders[1:])
    whole = float(score(features, 1)[0])
    several = max(1, MAX_CELLS // max(repeats * features.size, 1))  # columns at a time
    out = np.empty((count, 2))
    for first in range(0, count, several):
        columns = range(first, min(first + several, count))
        copies = len(columns) * repeats
        stacked = features.iloc[np.tile(np.arange(rows), copies)].reset_index(drop=True)
        for at, column in enumerate(columns):
            part = slice(at * repeats * rows, (at + 1) * repeats * rows)
            stacked.iloc[part, column] = features.iloc[:, column].take(shuffled).to_numpy()
        lost = whole - score(stacked, copies).reshape(len(columns), repeats)
        out[columns] = np.column_stack([lost.mean(axis=1), lost.std(axis=1)])
    return out

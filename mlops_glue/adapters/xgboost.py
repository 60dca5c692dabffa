"""Train XGBoost on rows that arrive in pieces: its matrix needs one or two bytes per value and keeps no copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pieces = Callable[[], Iterable[tuple[Array, Array]]]


def fit_in_pieces(estimator: Any, pieces: Pieces, classes: int | None) -> None:
    """Fit an `XGBClassifier` or `XGBRegressor` as its own `fit` would on all rows together.

    Args:
        estimator: the unfitted estimator.
        pieces: returns the features, float of shape (rows, columns), and the target of each piece; it is called
            several times.
        classes: number of classes of a classifier, whose target is 0 … classes - 1; None: a regressor.
    """
    import xgboost as xgb

    class Rows(xgb.DataIter):
        """The iterator that XGBoost reads the pieces from, several times."""

        def __init__(self) -> None:
            self._left: Iterator[tuple[Array, Array]] = iter(pieces())
            super().__init__()

        def next(self, input_data: Callable[..., Any]) -> bool:
            piece = next(self._left, None)
            if piece is not None:
                input_data(data=piece[0], label=piece[1])
            return piece is not None

        def reset(self) -> None:
            self._left = iter(pieces())

    params = estimator.get_xgb_params()
    if classes is not None and classes > 2:
        params |= {"objective": "multi:softprob", "num_class": classes}
    matrix = xgb.QuantileDMatrix(Rows(), max_bin=estimator.max_bin, nthread=estimator.n_jobs, missing=estimator.missing)
    booster = xgb.train(params, matrix, estimator.get_num_boosting_rounds(), verbose_eval=False)
    estimator.load_model(bytearray(booster.save_raw()))

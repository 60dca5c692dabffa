"""The curves of a classifier: ROC, precision and recall, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MAX_POINTS = 300  # of a curve
ISOTONIC_ROWS = 1000  # with at least this many rows the calibration is isotonic
MAX_LOGIT = 12.0


def curves(truth: Array, probability: Array, classes: int) -> dict[str, dict[int, tuple[Array, Array]]]:
    """Return the points of `roc`, `precision_recall` and `calibration` by class index, thinned to 300.

    A binary task has only the curve of class 1. Calibration has ten bins with equal numbers of rows. Classes that the
    holdout lacks have no curve.
    """
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve

    out: dict[str, dict[int, tuple[Array, Array]]] = {"roc": {}, "precision_recall": {}, "calibration": {}}
    for at in [1] if classes == 2 else range(classes):
        is_it, score = truth == at, probability[:, at]
        if (found := roc(is_it, score)) is None:
            continue
        precision, recall, _ = precision_recall_curve(is_it, score)
        happened, predicted = calibration_curve(is_it, np.clip(score, 0, 1), n_bins=10, strategy="quantile")
        out["roc"][at] = found
        out["precision_recall"][at] = _thin(recall, precision)
        out["calibration"][at] = predicted, happened
    return out


def roc(is_it: Array, score: Array) -> tuple[Array, Array] | None:
    """Return false and true positive rate at every threshold, thinned to 300; None if all rows have one class."""
    from sklearn.metrics import roc_curve

    if is_it.all() or not is_it.any():
        return None
    false_positive, true_positive, _ = roc_curve(is_it, score)
    return _thin(false_positive, true_positive)


def within(error: Array) -> tuple[Array, Array]:
    """Return the share of rows by absolute error, thinned to 300 (the REC curve of Bi and Bennett 2003)."""
    size = np.sort(np.abs(error[np.isfinite(error)]))
    scale = float(size[-1]) if len(size) and size[-1] else 1.0  # so that it weighs as much as the share
    across, up = _thin(size / scale, np.arange(1, len(size) + 1) / len(error))
    return across * scale, up


def by_threshold(truth: Array, score: Array, costs: list[list[float]] | None) -> dict[str, tuple[Array, Array]]:
    """Return the points of `precision`, `recall` and, if costs are known, `cost` by threshold, about 300 each.

    The truth has class indices, and the score is that of class 1; the cost is the mean cost of a row.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # of each run of equal scores
    at, hits = score[order][last], np.cumsum(truth[order])[last]
    predicted, positives, rows = last + 1, int(truth.sum()), len(truth)
    out = {"precision": _thin(at, hits / predicted), "recall": _thin(at, hits / max(positives, 1))}
    if costs is not None:
        (neither, false_positive), (false_negative, both) = costs
        wrong = predicted - hits
        total = both * hits + false_positive * wrong + false_negative * (positives - hits)
        total = total + neither * (rows - positives - wrong)
        span = float(np.ptp(total)) or 1.0  # so that it weighs as much as a share
        across, up = _thin(at, total / span)
        out["cost"] = across, up * span / rows
    return out


def _thin(across: Array, up: Array, most: int = MAX_POINTS) -> tuple[Array, Array]:
    """Return points evenly spaced along the curve, so that a steep part keeps its shape."""
    path = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    at = np.unique(np.searchsorted(path, np.linspace(0, path[-1], most)))
    return across[at], up[at]


def calibration(happened: Array, score: Array) -> tuple[Array, Array]:
    """Return points that map a score to the observed share of rows with that score; apply them with `np.interp`.

    With at least 1,000 rows it is isotonic regression (Zadrozny and Elkan 2002), with fewer a sigmoid (Platt 1999), as
    scikit-learn's guide recommends. If it happened always or never, the score stays unchanged.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    if happened.all() or not happened.any():
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    if len(score) >= ISOTONIC_ROWS:
        fitted = IsotonicRegression().fit(score, happened)
        return fitted.X_thresholds_, fitted.y_thresholds_
    across = np.linspace(-MAX_LOGIT, MAX_LOGIT, 201)
    sigmoid = LogisticRegression().fit(_logit(score)[:, None], happened)
    return 1 / (1 + np.exp(-across)), sigmoid.predict_proba(across[:, None])[:, 1]


def _logit(score: Array) -> Array:
    least = 1 / (1 + np.exp(MAX_LOGIT))
    clipped = np.clip(score.astype(float), least, 1 - least)
    return np.asarray(np.log(clipped / (1 - clipped)))

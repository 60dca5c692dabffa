"""The metrics by name: how each is computed, which way is better. Values are scikit-learn's."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DRAWS, DRAW_ROWS = 100, 5000
ISOTONIC_ROWS, MOST_LOGIT = 1000, 12.0
MOST_CELLS = 4_000_000  # of permuted rows, asked together
FEW = 20  # rows, with fewer of which what is measured is chance
ENOUGH = 50  # fresh rows that a retraining is judged by, at least
TIE = 1e-6  # the same model in ONNX and in skops differs by so much: float32


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        score: `(truth, label, probability) -> float`. Class metrics take class indices of shape (rows,) and
            probabilities of shape (rows, classes); regression metrics take values and None.
        higher_is_better: which way is better.
        of_label: does it take the label? One that does not is of the probabilities alone.
    """

    score: Callable[[Array, Array, Any], float]
    higher_is_better: bool = True
    of_label: bool = True


def table(task: str, classes: int) -> dict[str, Metric]:
    """The metrics of a task. Binary metrics take class 1 as the positive one."""
    from sklearn import metrics as m

    if task == "binary":
        return {
            # scikit-learn's own functions spend most of the bootstrap's time on looking at types
            "roc_auc": Metric(lambda y, p, q: _auc(y == 1, q[:, 1]), of_label=False),
            "average_precision": Metric(lambda y, p, q: _average_precision(y, q[:, 1]), of_label=False),
            "f1": Metric(lambda y, p, q: _of_counts(y, p, lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn))),
            "precision": Metric(lambda y, p, q: _of_counts(y, p, lambda tp, fp, fn: (tp, tp + fp))),
            "recall": Metric(lambda y, p, q: _of_counts(y, p, lambda tp, fp, fn: (tp, tp + fn))),
            "accuracy": Metric(lambda y, p, q: float(np.mean(y == p))),
            "log_loss": Metric(lambda y, p, q: _log_loss(y, q), False, of_label=False),
            "brier": Metric(lambda y, p, q: _brier(y, q[:, 1]), False, of_label=False),
        }
    if task == "multiclass":
        return {
            "log_loss": Metric(lambda y, p, q: _log_loss(y, q), False, of_label=False),
            "accuracy": Metric(lambda y, p, q: float(np.mean(y == p))),
            "balanced_accuracy": Metric(lambda y, p, q: _macro(y, p, classes, lambda hit, true, of: (hit, true))),
            "f1_macro": Metric(lambda y, p, q: _macro(y, p, classes, lambda hit, true, of: (2 * hit, true + of))),
            "roc_auc_ovr": Metric(lambda y, p, q: _auc_ovr(y, q), of_label=False),
        }
    return {
        "r2": Metric(lambda y, p, q: m.r2_score(y, p)),
        "rmse": Metric(lambda y, p, q: m.root_mean_squared_error(y, p), False),
        "mae": Metric(lambda y, p, q: m.mean_absolute_error(y, p), False),
        "median_absolute_error": Metric(lambda y, p, q: m.median_absolute_error(y, p), False),
    }


def _of_counts(truth: Array, label: Array, share: Callable[[int, int, int], tuple[int, int]]) -> float:
    """A share of the true positives, false positives and false negatives; 0 where it is 0 of 0."""
    _, false_positive, false_negative, true_positive = np.bincount(2 * truth + label, minlength=4)
    part, whole = share(true_positive, false_positive, false_negative)
    return float(part / whole) if whole else 0.0


def _macro(
    truth: Array, label: Array, classes: int, share: Callable[[Array, Array, Array], tuple[Array, Array]]
) -> float:
    """The mean over classes of a share of the hits, the true rows and the predicted rows.

    A class whose share is 0 of 0 is left out: recall needs a true row, F1 a true or a predicted one.
    """
    counts = np.bincount(classes * truth + label, minlength=classes**2).reshape(classes, classes)
    part, whole = share(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0))
    return float((part[whole > 0] / whole[whole > 0]).mean())


def _auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney 1947), ties count half; NaN where a class is missing."""
    many, rest = int(positive.sum()), int((~positive).sum())
    if not many or not rest:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # of equal scores the mean
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * rest))


def _auc_ovr(truth: Array, probability: Array) -> float:
    """The mean over classes of the area of each against all others; NaN where no row is of one of them."""
    if not np.allclose(1, probability.sum(axis=1)):
        return float("nan")  # scikit-learn refuses what are no probabilities
    return float(np.mean([_auc(truth == k, one) for k, one in enumerate(probability.T)]))


def _average_precision(truth: Array, score: Array) -> float:
    """The sum of precisions weighted by the gains in recall, ties taken together; 0 where nothing is positive."""
    order = np.argsort(-score)
    last = np.append(np.nonzero(np.diff(score[order]))[0], len(order) - 1)  # of each run of equal scores
    hits = np.cumsum(truth[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1]) if hits[-1] else 0.0


def _log_loss(truth: Array, probability: Array) -> float:
    """Clipped by the precision of the probabilities' type."""
    if not _are_probabilities(probability):
        return float("nan")
    least = np.finfo(probability.dtype).eps
    return float(-np.mean(np.log(np.clip(probability[np.arange(len(truth)), truth], least, 1 - least))))


def _brier(truth: Array, probability: Array) -> float:
    return float(np.mean((probability - truth) ** 2)) if _are_probabilities(probability) else float("nan")


def _are_probabilities(values: Array) -> bool:
    return bool(values.min() >= 0 and values.max() <= 1)


def compute(metric: Metric, truth: Array, label: Array, probability: Any) -> float:
    """The metric's value; NaN where scikit-learn has none (one class only, one row only, a score that is no number)."""
    with _quick():
        return _score(metric, truth, label, probability)


def draws(metric: Metric, truth: Array, label: Array, probability: Any, seed: int) -> Array:
    """The metric on 100 bootstrap samples, shape (100,); the same seed and rows give the same samples.

    A sample has as many rows as there are, at most 5,000 (the m-out-of-n bootstrap of Bickel, Götze and van Zwet 1997).
    """
    rng = np.random.default_rng(seed)
    rows = len(truth)
    out = []
    with _quick():
        for _ in range(DRAWS):
            at = rng.integers(0, rows, drawn_rows(rows))
            out.append(_score(metric, truth[at], label[at], None if probability is None else probability[at]))
    return np.array(out)


def drawn_rows(rows: int) -> int:
    """How many rows a bootstrap sample of so many has."""
    return min(rows, DRAW_ROWS)


def interval(value: float, drawn: Array, rows: int, level: float = 0.95) -> tuple[float, float]:
    """The bootstrap's percentile interval (Efron 1979), narrowed to `rows` where the samples had fewer.

    It holds the value itself: samples that lack a rare class move a mean over classes to one side.
    """
    kept = drawn[~np.isnan(drawn)]
    if not len(kept) or np.isnan(value):
        return float("nan"), float("nan")
    scale = min(1.0, (DRAW_ROWS / rows) ** 0.5)
    low, high = value + scale * (np.quantile(kept, [(1 - level) / 2, (1 + level) / 2]) - value)
    return min(float(low), value), max(float(high), value)


def order(task: str, classes: int) -> Metric:
    """How well a model puts rows in order: 1 is perfect, 0.5 is chance, 0 is the reverse.

    A concept that changes moves levels and weights, and with them log loss or R². It seldom reverses the order of rows;
    labels that were turned round do. It is the area under the ROC curve, the mean over classes of it, or for numbers
    Spearman's correlation, moved from -1 … 1 to 0 … 1.
    """
    if task == "regression":
        return Metric(lambda truth, said, _: _concordance(truth, said))
    return table(task, classes)["roc_auc" if task == "binary" else "roc_auc_ovr"]


def _concordance(truth: Array, said: Array) -> float:
    import pandas as pd

    if np.ptp(truth) == 0 or np.ptp(said) == 0:
        return float("nan")
    return float(1 + np.corrcoef(pd.Series(truth).rank(), pd.Series(said).rank())[0, 1]) / 2


def ordered(task: str, classes: int, said: tuple[Any, Any, Any], seed: int) -> dict[str, Any]:
    """`order` of truth, label and probability, with a 95 % interval, and of how many rows each is."""
    metric, rows = order(task, classes), len(said[0])
    value = compute(metric, *said)
    low, high = interval(value, draws(metric, *said, seed), rows)
    return {"rows": rows, "value": value, "low": low, "high": high, "drawn_rows": drawn_rows(rows)}


def is_at_least(value: float, other: float, *, higher_is_better: bool) -> bool:
    """Is a metric's value as good as another one, but for the width of a tie? NaN is not."""
    ahead = value - other if higher_is_better else other - value
    return bool(ahead >= -TIE * max(1.0, abs(other)))


def curves(truth: Array, probability: Array, classes: int) -> dict[str, dict[int, tuple[Array, Array]]]:
    """The points of `roc`, `precision_recall` and `calibration` by class index (binary: of class 1), thinned to 300.

    Calibration has ten bins of equally many rows. Classes that the holdout lacks have no curve.
    """
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve, roc_curve

    out: dict[str, dict[int, tuple[Array, Array]]] = {"roc": {}, "precision_recall": {}, "calibration": {}}
    for at in [1] if classes == 2 else range(classes):
        is_it, score = truth == at, probability[:, at]
        if is_it.all() or not is_it.any():
            continue
        false_positive, true_positive, _ = roc_curve(is_it, score)
        precision, recall, _ = precision_recall_curve(is_it, score)
        happened, predicted = calibration_curve(is_it, np.clip(score, 0, 1), n_bins=10, strategy="quantile")
        out["roc"][at] = _thin(false_positive, true_positive)
        out["precision_recall"][at] = _thin(recall, precision)
        out["calibration"][at] = predicted, happened
    return out


def calibration(happened: Array, score: Array) -> tuple[Array, Array]:
    """Points of the map from a score to the share of rows with that score in which it happened; apply with `np.interp`.

    From 1,000 rows on isotonic regression (Zadrozny and Elkan 2002), below a sigmoid (Platt 1999), as scikit-learn's
    guide recommends. Where it always or never happened there is nothing to learn: the score as it is.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    if happened.all() or not happened.any():
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    if len(score) >= ISOTONIC_ROWS:
        fitted = IsotonicRegression().fit(score, happened)
        return fitted.X_thresholds_, fitted.y_thresholds_
    across = np.linspace(-MOST_LOGIT, MOST_LOGIT, 201)
    sigmoid = LogisticRegression().fit(_logit(score)[:, None], happened)
    return 1 / (1 + np.exp(-across)), sigmoid.predict_proba(across[:, None])[:, 1]


def _logit(score: Array) -> Array:
    least = 1 / (1 + np.exp(MOST_LOGIT))
    clipped = np.clip(score.astype(float), least, 1 - least)
    return np.asarray(np.log(clipped / (1 - clipped)))


def confusion(truth: Array, label: Array, classes: int) -> Array:
    """Counts of shape (classes, classes): rows are true, columns predicted."""
    from sklearn.metrics import confusion_matrix

    return np.asarray(confusion_matrix(truth, label, labels=list(range(classes))))


def importances(features: Any, score: Callable[[Any, int], Array], repeats: int, seed: int) -> Array:
    """Permutation importances (Breiman 2001): mean and standard deviation of the loss in score, shape (columns, 2).

    The numbers are those of scikit-learn's `permutation_importance`, which asks the model for one permutation at a
    time: of a thousand rows most of its time goes to being asked.

    Args:
        features: a frame of shape (rows, columns).
        score: of `(frame, copies) -> float array of shape (copies,)`, higher is better: the frame holds so many copies
            of the rows, one below the other.
        repeats: permutations of each column.
        seed: of the permutations.
    """
    from sklearn.utils import check_random_state

    rows, count = features.shape
    draw = check_random_state(check_random_state(seed).randint(np.iinfo(np.int32).max + 1))
    shuffle, orders = np.arange(rows), [np.arange(rows)]
    for _ in range(repeats):
        draw.shuffle(shuffle)
        orders.append(orders[-1][shuffle])  # what was shuffled is shuffled on
    shuffled = np.concatenate(orders[1:])
    whole = float(score(features, 1)[0])
    several = max(1, MOST_CELLS // max(repeats * features.size, 1))  # columns at a time
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


def _thin(across: Array, up: Array, most: int = 300) -> tuple[Array, Array]:
    """Points evenly spaced along the curve, so that a steep part keeps its shape."""
    path = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    at = np.unique(np.searchsorted(path, np.linspace(0, path[-1], most)))
    return across[at], up[at]


def _score(metric: Metric, truth: Array, label: Array, probability: Any) -> float:
    """The metric where scikit-learn has a value; NaN where it warns of none, or refuses what it is given."""
    if not len(truth) or not np.isfinite(label if metric.of_label else probability).all():
        return float("nan")
    return float(metric.score(truth, label, probability))


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """No warnings (scikit-learn warns where the value is NaN; the report tells NaN), no checks of finite values."""
    import sklearn

    with warnings.catch_warnings(), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore")
        yield

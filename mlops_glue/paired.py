"""Compares two models on the same rows: the gain of one over the other, and its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from mlops_glue.formulas import ranks
from mlops_glue.metrics import METRICS, Metric, compute

Array = np.ndarray[Any, Any]
Outcome = tuple[Array, Array, Any]  # truth, label and probability, as `metrics` takes them
SAMPLES = 1000
MAX_ROWS = 5000
POWER_Z = 0.8416  # quantile of the normal distribution at 80 %
TOO_SMALL = 0.02  # a holdout that cannot show a loss of this size is too small; for metrics from 0 to 1, best at 1
MAX_SLICES = 50  # values of a column
SLICE_ROWS, SLICE_CLASS_ROWS = 50, 10  # fewest rows of a judged slice, and of each class of a binary target in it
SLICE_SAMPLES = 200  # of the bootstrap of a slice, which give its standard error to within 5 %


@dataclass(frozen=True)
class Difference:
    """The gain of a model over another in units of the metric. Positive is better, whether the metric is high or low.

    Attributes:
        value: the difference on these rows; NaN if the metric is not defined on them.
        se: its standard error.
        low: the lower end of the two-sided interval at `level`.
        high: the upper end of the interval.
        level: the confidence level, usually 0.9.
        rows: the number of rows.
        method: how the standard error was computed.
    """

    value: float
    se: float
    low: float
    high: float
    level: float
    rows: int
    method: str

    @property
    def noticeable(self) -> float:
        """The smallest loss that these rows would show with a probability of 80 %."""
        quantile = (self.value - self.low) / self.se if self.se else 0.0
        return self.se * (quantile + POWER_Z)


class SliceGain(TypedDict):
    """The gain of a model over another on the rows with one value of a column."""

    column: str
    value: str | None
    rows: int
    gain: float
    low: float  # of an interval that is widened for the number of judged slices
    high: float


def groups(values: Array) -> Iterator[tuple[str | None, Array, int]]:
    """Yield each value (a text, empty for null) in order; if there are many, only the values with the most rows.

    Yields:
        The value, the positions of its rows, and the number of values.
    """
    found, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    for code in sorted(np.argsort(-counts, kind="stable")[:MAX_SLICES]):
        yield found[code] or None, np.flatnonzero(codes == code), len(found)


def difference(
    metric: Metric, mine: Outcome, theirs: Outcome, seed: int, level: float = 0.9, samples: int = SAMPLES
) -> Difference:
    """Compare two models on the same rows.

    For the area under the ROC curve, DeLong's method is used (DeLong, DeLong and Clarke-Pearson 1988; by ranks, Sun and
    Xu 2014). For a metric that is a mean over rows, it is the t interval of the rows' differences. For any other metric
    it is 1,000 bootstrap samples, with the same rows for both models, of at most 5,000 rows (the m-out-of-n bootstrap
    of Bickel, Götze and van Zwet 1997).

    Args:
        metric: the metric to compare.
        mine: the first model's outcome.
        theirs: the second model's outcome.
        seed: the seed of the bootstrap.
        level: the level of the interval.
        samples: the number of bootstrap samples.
    """
    from scipy.special import ndtri, stdtrit  # scipy.stats takes half a second to import

    rows, tail = len(mine[0]), (1 + level) / 2
    sign = 1 if metric.higher_is_better else -1
    value = sign * (compute(metric, *mine) - compute(metric, *theirs))
    if np.isnan(value) or rows < 2:
        nan = float("nan")
        return Difference(nan, nan, nan, nan, level, rows, "none")
    quantile = float(ndtri(tail))
    if metric is METRICS["binary"]["roc_auc"]:
        se, method = _delong_se(mine[0] == 1, mine[2][:, 1], theirs[2][:, 1]), "DeLong"
    elif metric.losses is not None:
        gained = metric.losses(*theirs) - metric.losses(*mine).astype(float)
        se, method, quantile = float(gained.std(ddof=1)) / rows**0.5, "paired t", float(stdtrit(rows - 1, tail))
    else:
        few = f" of {MAX_ROWS:,} of the {rows:,} rows" if rows > MAX_ROWS and not metric.whole else ""
        se, method = _bootstrap_se(metric, mine, theirs, seed, samples), f"{samples:,} bootstrap samples{few}"
    return Difference(value, se, value - quantile * se, value + quantile * se, level, rows, method)


def _delong_se(positive: Array, mine: Array, theirs: Array) -> float:
    """Return the standard error of the difference of two areas under the ROC curve on the same rows."""
    components = []
    for score in (mine, theirs):
        place, hits, misses = ranks(score), ranks(score[positive]), ranks(score[~positive])
        components.append(((place[positive] - hits) / len(misses), 1 - (place[~positive] - misses) / len(hits)))
    (mine_hits, mine_misses), (their_hits, their_misses) = components
    parts = (mine_hits - their_hits, mine_misses - their_misses)
    return float(np.sqrt(math.fsum(part.var(ddof=1) / len(part) for part in parts if len(part) > 1)))


def _bootstrap_se(metric: Metric, mine: Outcome, theirs: Outcome, seed: int, samples: int) -> float:
    rng, rows = np.random.default_rng(seed), len(mine[0])
    size = rows if metric.whole else min(rows, MAX_ROWS)
    drawn = []
    for _ in range(samples):
        at = rng.integers(0, rows, size)
        scores = [
            compute(metric, truth[at], label[at], None if probability is None else probability[at])
            for truth, label, probability in (mine, theirs)
        ]
        drawn.append(scores[0] - scores[1])
    return float(np.nanstd(drawn, ddof=1) * np.sqrt(size / rows))


def finding(gain: Difference, slack: float) -> str:
    """Return `better`, `worse` or `no difference shown`; a gain that cannot be measured counts as worse.

    Args:
        gain: the candidate's.
        slack: the loss, in units of the metric, that does not count: on many rows, a significance test would otherwise
            refuse a candidate for a loss that nobody would notice.
    """
    if np.isnan(gain.value) or gain.high < -slack:
        return "worse"
    return "better" if gain.low > 0 else "no difference shown"


def by_slice(
    task: str,
    metric: Metric,
    values: Mapping[str, Array],
    mine: Outcome,
    theirs: Outcome,
    seed: int,
    level: float = 0.9,
) -> list[SliceGain]:
    """Compare two models on the rows of each slice that has enough rows.

    The intervals use Bonferroni's correction: with k slices, each has the level 1 - (1 - level) / k. The probability
    that chance alone makes any slice look worse is then that of the whole holdout.

    Args:
        task: binary, multiclass or regression.
        metric: the metric to compare.
        values: the values of each slice column, as for `groups`.
        mine: the first model's outcome.
        theirs: the second model's outcome.
        seed: the seed of the bootstrap.
        level: the level of the interval on the whole holdout.
    """
    enough = [
        (column, value, at)
        for column, of_column in values.items()
        for value, at, _ in groups(of_column)
        if len(at) >= SLICE_ROWS
        and (task != "binary" or np.bincount(mine[0][at], minlength=2).min() >= SLICE_CLASS_ROWS)
    ]
    each = 1 - (1 - level) / max(len(enough), 1)
    found: list[SliceGain] = []
    for column, value, at in enough:
        pair = [(y[at], p[at], None if q is None else q[at]) for y, p, q in (mine, theirs)]
        gain = difference(metric, pair[0], pair[1], seed, each, SLICE_SAMPLES)
        if not np.isnan(gain.value):
            part = {"gain": gain.value, "low": gain.low, "high": gain.high}
            found.append({"column": column, "value": value, "rows": len(at), **part})  # type: ignore[typeddict-item]
    return found


def is_too_small(task: str, metric: Metric, noticeable: float) -> bool:
    """Would the holdout miss a loss that matters? Only for metrics from 0 to 1: others have no common scale."""
    is_share = task != "regression" and metric.higher_is_better and not metric.whole
    return is_share and noticeable > TOO_SMALL

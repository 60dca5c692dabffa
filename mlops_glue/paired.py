"""How much better one model is than another on the same rows, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_glue.metrics import METRICS, Metric, compute, ranks

Array = np.ndarray[Any, Any]
Outcome = tuple[Array, Array, Any]  # truth, label and probability, as `metrics` takes them
SAMPLES = 1000
MAX_ROWS = 5000
POWER_Z = 0.8416  # quantile of the normal distribution at 80 %

# The loss of each row where the metric is the mean of one over rows.
ROW_LOSSES: dict[str, Callable[[Array, Array, Any], Array]] = {
    "accuracy": lambda y, p, q: y != p,
    "log_loss": lambda y, p, q: -np.log(np.clip(q[np.arange(len(y)), y], np.finfo(q.dtype).eps, None)),
    "brier": lambda y, p, q: (q[:, 1] - y) ** 2,
    "mae": lambda y, p, q: abs(y - p),
}


@dataclass(frozen=True)
class Difference:
    """What a model gains on another, in units of the metric; a positive value is better whichever way the metric runs.

    Attributes:
        value: of the difference on these rows; NaN where the metric is not defined on them.
        se: its standard error.
        low: of the two-sided interval at `level`.
        high: of the interval.
        level: 0.9, as a rule.
        rows: how many there are.
        method: how the standard error was found.
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
        """The smallest loss that these rows show in four of five trials."""
        quantile = (self.value - self.low) / self.se if self.se else 0.0
        return self.se * (quantile + POWER_Z)


def difference(task: str, name: str, mine: Outcome, theirs: Outcome, seed: int, level: float = 0.9) -> Difference:
    """Compare two models on the same rows.

    The area under the ROC curve by DeLong's method (DeLong, DeLong and Clarke-Pearson 1988; by ranks as Sun and Xu
    2014); a metric that is a mean over rows by the t interval of the rows' differences; every other one by 1,000
    bootstrap samples of the same rows for both, of at most 5,000 rows (the m-out-of-n bootstrap of Bickel, Götze and
    van Zwet 1997).

    Args:
        task: binary, multiclass or regression.
        name: of the metric.
        mine: what the first model makes of the rows.
        theirs: what the second makes of them.
        seed: of the bootstrap.
        level: of the interval.
    """
    from scipy.special import ndtri, stdtrit  # scipy.stats takes half a second to import

    metric, rows, tail = METRICS[task][name], len(mine[0]), (1 + level) / 2
    sign = 1 if metric.higher_is_better else -1
    value = sign * (compute(metric, *mine) - compute(metric, *theirs))
    if np.isnan(value) or rows < 2:
        nan = float("nan")
        return Difference(nan, nan, nan, nan, level, rows, "none")
    quantile = float(ndtri(tail))
    if name == "roc_auc":
        se, method = _delong_se(mine[0] == 1, mine[2][:, 1], theirs[2][:, 1]), "DeLong"
    elif name in ROW_LOSSES:
        gained = ROW_LOSSES[name](*theirs) - ROW_LOSSES[name](*mine).astype(float)
        se, method, quantile = float(gained.std(ddof=1)) / rows**0.5, "paired t", float(stdtrit(rows - 1, tail))
    else:
        few = f" of {MAX_ROWS:,} of the {rows:,} rows" if rows > MAX_ROWS else ""
        se, method = _bootstrap_se(metric, mine, theirs, seed), f"{SAMPLES:,} bootstrap samples{few}"
    return Difference(value, se, value - quantile * se, value + quantile * se, level, rows, method)


def _delong_se(positive: Array, mine: Array, theirs: Array) -> float:
    """The standard error of the difference of two areas under the ROC curve on the same rows."""
    components = []
    for score in (mine, theirs):
        place, hits, misses = ranks(score), ranks(score[positive]), ranks(score[~positive])
        components.append(((place[positive] - hits) / len(misses), 1 - (place[~positive] - misses) / len(hits)))
    (mine_hits, mine_misses), (their_hits, their_misses) = components
    parts = (mine_hits - their_hits, mine_misses - their_misses)
    return float(np.sqrt(math.fsum(part.var(ddof=1) / len(part) for part in parts if len(part) > 1)))


def _bootstrap_se(metric: Metric, mine: Outcome, theirs: Outcome, seed: int) -> float:
    rng, rows = np.random.default_rng(seed), len(mine[0])
    size = min(rows, MAX_ROWS)
    drawn = []
    for _ in range(SAMPLES):
        at = rng.integers(0, rows, size)
        scores = [
            compute(metric, truth[at], label[at], None if probability is None else probability[at])
            for truth, label, probability in (mine, theirs)
        ]
        drawn.append(scores[0] - scores[1])
    return float(np.nanstd(drawn, ddof=1) * np.sqrt(size / rows))


def finding(gain: Difference, slack: float) -> str:
    """What the rows show: `better`, `worse` or `no difference shown`; what cannot be measured counts as worse.

    Args:
        gain: of the candidate.
        slack: a loss up to this much is none, in units of the metric: a significance test on many rows would otherwise
            refuse what nobody would notice.
    """
    if np.isnan(gain.value) or gain.high < -slack:
        return "worse"
    return "better" if gain.low > 0 else "no difference shown"

"""The uncertainty of a metric: bootstrap samples and the intervals computed from them."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

from mlops_glue.metrics import RANKING, Metric, compute

Array = np.ndarray[Any, Any]
SAMPLES = 100
MAX_ROWS = 5000


def bootstrap(metric: Metric, truth: Array, label: Array, probability: Any, seed: int) -> Array:
    """Compute the metric on 100 bootstrap samples, shape (100,); the same seed and rows yield the same samples.

    A sample has as many rows as the table, but at most 5,000 (the m-out-of-n bootstrap of Bickel, Götze and van Zwet
    1997), unless the metric needs the complete table.
    """
    rng, rows = np.random.default_rng(seed), len(truth)
    out = []
    for _ in range(SAMPLES):
        at = rng.integers(0, rows, rows if metric.whole else sample_rows(rows))
        out.append(compute(metric, truth[at], label[at], None if probability is None else probability[at]))
    return np.array(out)


def sample_rows(rows: int) -> int:
    """Return the size of a bootstrap sample of a table with `rows` rows."""
    return min(rows, MAX_ROWS)


def interval(
    value: float, samples: Array, rows: int, level: float = 0.95, *, whole: bool = False
) -> tuple[float, float]:
    """Return the bootstrap's percentile interval (Efron 1979), narrowed if the samples had fewer than `rows` rows.

    With `whole`, samples have all rows, and the interval is not narrowed. The interval always contains the value:
    samples that lack a rare class would bias a mean over classes.
    """
    valid = samples[~np.isnan(samples)]
    if not len(valid) or np.isnan(value):
        return float("nan"), float("nan")
    scale = 1.0 if whole else min(1.0, (MAX_ROWS / rows) ** 0.5)
    low, high = value + scale * (np.quantile(valid, [(1 - level) / 2, (1 + level) / 2]) - value)
    return min(float(low), value), max(float(high), value)


class Ranking(TypedDict):
    """How well a model ranks rows, and the uncertainty of that."""

    rows: int
    value: float | None
    low: float | None
    high: float | None
    drawn_rows: int  # rows of each sample


def ranking(task: str, outcome: tuple[Any, Any, Any], seed: int) -> Ranking:
    """Compute `metrics.RANKING` from truth, label and probability, with a 95 % interval and the numbers of rows."""
    metric, rows = RANKING[task], len(outcome[0])
    value = compute(metric, *outcome)
    low, high = interval(value, bootstrap(metric, *outcome, seed), rows)
    return {"rows": rows, "value": value, "low": low, "high": high, "drawn_rows": sample_rows(rows)}

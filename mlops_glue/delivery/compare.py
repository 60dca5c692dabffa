"""Comparison of a candidate with the champion on the same holdout rows, with confidence intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa

from mlops_glue import bootstrap, layout, measures, metrics, paired, row_groups, tables
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.rows import version_rows
from mlops_glue.errors import GlueError, brief
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_glue.config import Config
    from mlops_glue.delivery.conditions import Candidate
    from mlops_glue.pipeline.evaluation import Evaluation
    from mlops_glue.schema import Schema

Array = np.ndarray[Any, Any]
CALLS, FEWEST_CALLS, LONGEST_S = 200, 5, 0.5  # limits of a latency measurement


class Measured(TypedDict):
    """A candidate compared with another model on the same rows."""

    metric: str
    candidate: float
    champion: float  # the other model's score
    gain: float  # of the candidate; positive is better, also if a lower metric is better
    low: float  # of the gain's interval
    high: float
    confidence: float  # of the interval
    method: str  # for computing the interval
    slack: float  # the largest loss that is tolerated
    noticeable: float  # the smallest loss that these rows detect with a probability of 80 %
    too_small: NotRequired[bool]  # there are too few rows to detect a loss that matters
    finding: str  # worse: the interval ends below -slack, or the score is undefined; better: it begins above 0
    rows: int


class Comparison(Measured):
    """A candidate compared with the champion."""

    version: int  # of the champion
    seen: int | None  # excluded rows, which the champion was trained on; None: unknown
    order: bootstrap.Ranking | None  # the champion's ranking of fresh rows
    anchor: NotRequired[Comparison]  # with the anchor, if it is not the champion


@dataclass(frozen=True)
class Pair:
    """Two models scored on the same rows, and their comparison."""

    comparison: Comparison
    mine: paired.Outcome
    theirs: paired.Outcome
    raw: pa.Table  # the rows


class TooFew(GlueError):
    """The champion was trained on too many of the holdout's rows."""


class Incomparable(GlueError):
    """The two models have different tasks or classes."""


def compare(candidate: Candidate, champion: int, other: Bundle) -> Pair:
    """Compare both models on the same raw rows of the holdout.

    Raises:
        TooFew: too few rows remain without those that the champion was trained on.
        Incomparable: the champion has other classes or another task.
        GlueError: the champion cannot be scored.
    """
    config, root, bundle = candidate.config, candidate.root, candidate.model
    schema = bundle.schema
    holdout = tables.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    seen = _trained_on(candidate, champion, holdout.column(layout.ROW).to_numpy())
    rows = holdout if seen is None else holdout.filter(~seen)
    raw = row_groups.take(root / config.rows, rows.column(layout.ROW).to_numpy())
    truth = rows.column(f"target:{schema.target}").to_numpy()
    if other.schema.class_order != schema.class_order or other.schema.task != schema.task:
        raise Incomparable(f"it predicts {other.schema.task} {other.schema.labels or ''}")
    completed = with_features(config, root, other, raw, "holdout", as_defined_now=True)
    mine, theirs = predicted(bundle, raw, truth), predicted(other, completed, truth)
    order = bootstrap.ranking(schema.task, theirs, config.train.seed) if config.split.fresh_after else None
    found = measured(config, root, schema, candidate.evaluation, (mine, theirs))
    comparison: Comparison = {
        **found,  # type: ignore[typeddict-item]  # mypy asks for keys that need not be there
        "version": champion,
        "seen": None if seen is None else holdout.num_rows - len(truth),
        "order": order,
    }
    return Pair(comparison, mine, theirs, raw)


def measured(
    config: Config,
    root: Path,
    schema: Schema,
    evaluation: Evaluation,
    pair: tuple[paired.Outcome, paired.Outcome],
    name: str | None = None,
) -> Measured:
    """Compare two models by a metric.

    Args:
        config: the config.
        root: the project's folder.
        schema: the first model's schema.
        evaluation: the first model's evaluation.
        pair: the outcomes of both models on the same rows.
        name: the metric; None: the promotion metric.
    """
    name = name or measures.main_metric(config, schema.task)
    metric = measures.find(config, schema, root, name, f"{layout.CONFIG} promote.metric")
    gain = paired.difference(metric, *pair, config.train.seed, config.promote.confidence)
    score, other_score = (metrics.compute(metric, *outcome) for outcome in pair)
    slack = config.promote.slack * _skill(evaluation, name, other_score, higher=metric.higher_is_better)
    return {
        "metric": name,
        "candidate": score,
        "champion": other_score,
        "gain": gain.value,
        "low": gain.low,
        "high": gain.high,
        "confidence": gain.level,
        "method": gain.method,
        "slack": slack,
        "noticeable": gain.noticeable,
        "too_small": paired.is_too_small(schema.task, metric, gain.noticeable),
        "finding": paired.finding(gain, slack),
        "rows": gain.rows,
    }


def latencies_ms(models: Sequence[Bundle]) -> list[float]:
    """Measure each model's median time for one encoded row of zeros and empty texts, in this process.

    The models are called in turn, at most 200 times and for half a second, but at least five times. Request overhead is
    not included.

    Raises:
        GlueError: the model does not accept the row.
    """
    rows = [_blank_row(model.schema) for model in models]
    durations: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + LONGEST_S
    while len(durations[0]) < FEWEST_CALLS or (len(durations[0]) < CALLS and time.perf_counter() < end):
        for model, inputs, times in zip(models, rows, durations, strict=True):
            start = time.perf_counter()
            try:
                model.score(inputs)
            except Exception as error:  # an estimator's own code may raise anything
                raise GlueError(f"the model does not accept a blank row: {brief(error)}") from error
            times.append(time.perf_counter() - start)
    return [float(np.median(times)) * 1e3 for times in durations]


def _blank_row(schema: Schema) -> dict[str, Array]:
    inputs = {"number": np.zeros((1, len(schema.numeric)), np.float32)} if schema.numeric else {}
    return inputs | ({"text": np.full((1, len(schema.text)), "", object)} if schema.text else {})


def _skill(evaluation: Evaluation, name: str, champion: float, *, higher: bool) -> float:
    """Return the champion's gain over a trivial predictor, in units of the metric; 0 if it is unknown."""
    score = evaluation["metrics"].get(name)
    if score is None or score["trivial"] is None or np.isnan(champion):
        return 0.0
    return max(0.0, champion - score["trivial"] if higher else score["trivial"] - champion)


def _trained_on(candidate: Candidate, champion: int, holdout: Array) -> Array | None:
    """Return for each holdout row whether the champion was trained on it; None if this is unknown."""
    of_champion = version_rows(candidate.store, candidate.config.model_name, champion)
    found = None if of_champion is None else of_champion.seen(candidate.root / layout.TABLE)
    if found is None:
        return None
    seen = found[holdout]
    if seen.any() and (left := int(np.sum(~seen))) < metrics.MIN_ROWS:
        problem = f"v{champion} was trained on {seen.sum():,} of the {len(seen):,} rows of this holdout"
        raise TooFew(f"{problem}, and the other {left:,} are too few for a comparison")
    return seen


def predicted(bundle: Bundle, raw: pa.Table, truth: Array) -> tuple[Array, Array, Array | None]:
    """Return truth, label and probability in the form that `metrics` expects."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)

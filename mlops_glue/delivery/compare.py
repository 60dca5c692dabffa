"""A candidate and the champion on the same rows of the holdout: what those rows show, and how surely."""

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
CALLS, FEWEST_CALLS, LONGEST_S = 200, 5, 0.5  # by which a latency is measured


class Measured(TypedDict):
    """A candidate beside another model on the same rows."""

    metric: str
    candidate: float
    champion: float  # the other one's
    gain: float  # of the candidate, positive where it is better, whichever way the metric runs
    low: float  # of the gain's interval
    high: float
    confidence: float  # of the interval
    method: str  # how the interval was found
    slack: float  # a loss up to this is none
    noticeable: float  # the smallest loss that these rows show in four of five trials
    too_small: NotRequired[bool]  # there are too few rows to show a loss that matters
    finding: str  # worse: the interval ends below -slack, or there is no value; better: it begins above 0
    rows: int


class Comparison(Measured):
    """A candidate beside the champion."""

    version: int  # of the champion
    seen: int | None  # rows that the champion was trained on, and that are left out; None: it is not known
    order: bootstrap.Ranking | None  # in which the champion puts fresh rows
    anchor: NotRequired[Comparison]  # with the anchor, where that is not the champion


@dataclass(frozen=True)
class Pair:
    """Two models that were scored on the same rows, and what those rows show."""

    comparison: Comparison
    mine: paired.Outcome
    theirs: paired.Outcome
    raw: pa.Table  # the rows


class TooFew(GlueError):
    """The champion was trained on the rows that it would be compared on."""


class Incomparable(GlueError):
    """The two models do not predict the same."""


def compare(candidate: Candidate, champion: int, other: Bundle) -> Pair:
    """Both models on the same raw rows of the holdout.

    Raises:
        TooFew: the champion was trained on so many of them that the others are too few to judge by.
        Incomparable: it has other classes, or another task.
        GlueError: the champion cannot be scored.
    """
    config, root, bundle = candidate.config, candidate.root, candidate.model
    schema = bundle.schema
    held = tables.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    seen = _trained_on(candidate, champion, held.column(layout.ROW).to_numpy())
    rows = held if seen is None else held.filter(~seen)
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
        "seen": None if seen is None else held.num_rows - len(truth),
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
    """What the rows show of two models by a metric, by default the one that is promoted by.

    `evaluation` is of the first one.
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
    """The median time of each model for one encoded row, of zeros and empty texts; in turns, in this process.

    At most 200 calls of each and half a second; what is slow is called five times. The way of a request is not counted.

    Raises:
        GlueError: the model does not take it.
    """
    given = [_blank_row(model.schema) for model in models]
    took: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + LONGEST_S
    while len(took[0]) < FEWEST_CALLS or (len(took[0]) < CALLS and time.perf_counter() < end):
        for model, inputs, times in zip(models, given, took, strict=True):
            start = time.perf_counter()
            try:
                model.score(inputs)
            except Exception as error:  # an estimator's own code may raise anything
                raise GlueError(f"the model does not take a blank row: {brief(error)}") from error
            times.append(time.perf_counter() - start)
    return [float(np.median(times)) * 1e3 for times in took]


def _blank_row(schema: Schema) -> dict[str, Array]:
    inputs = {"number": np.zeros((1, len(schema.numeric)), np.float32)} if schema.numeric else {}
    return inputs | ({"text": np.full((1, len(schema.text)), "", object)} if schema.text else {})


def _skill(evaluation: Evaluation, name: str, champion: float, *, higher: bool) -> float:
    """What the champion gains over a trivial predictor, in units of the metric; 0 where that is not known."""
    score = evaluation["metrics"].get(name)
    if score is None or score["trivial"] is None or np.isnan(champion):
        return 0.0
    return max(0.0, champion - score["trivial"] if higher else score["trivial"] - champion)


def _trained_on(candidate: Candidate, champion: int, holdout: Array) -> Array | None:
    """For each row of the holdout whether the champion was trained on it; None where that is not known."""
    of_champion = version_rows(candidate.store, candidate.config.model_name, champion)
    found = None if of_champion is None else of_champion.seen(candidate.root / layout.TABLE)
    if found is None:
        return None
    seen = found[holdout]
    if seen.any() and (left := int(np.sum(~seen))) < metrics.MIN_ROWS:
        problem = f"v{champion} was trained on {seen.sum():,} of the {len(seen):,} rows of this holdout"
        raise TooFew(f"{problem}, and {left:,} are too few to compare on")
    return seen


def predicted(bundle: Bundle, raw: pa.Table, truth: Array) -> tuple[Array, Array, Array | None]:
    """Truth, label and probability in the form that `metrics` takes."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)

"""A candidate and the champion on the same rows of the holdout: what those rows show, and how surely."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from mlops_glue import bootstrap, layout, metrics, paired, tables
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.rows import version_rows
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import GlueError
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.delivery.conditions import Candidate


Array = np.ndarray[Any, Any]


class Comparison(TypedDict):
    """A candidate beside the champion."""

    version: int  # of the champion
    metric: str
    candidate: float
    champion: float
    gain: float  # of the candidate, positive where it is better, whichever way the metric runs
    low: float  # of the gain's interval
    high: float
    confidence: float  # of the interval
    method: str  # how the interval was found
    slack: float  # a loss up to this is none
    noticeable: float  # the smallest loss that these rows show in four of five trials
    finding: str  # worse: the interval ends below -slack, or there is no value; better: it begins above 0
    rows: int
    seen: int | None  # rows that the champion was trained on, and that are left out; None: it is not known
    order: bootstrap.Ranking | None  # in which the champion puts fresh rows
    anchor: NotRequired[Comparison]  # with the anchor, where that is not the champion


class TooFew(GlueError):
    """The champion was trained on the rows that it would be compared on."""


def compare(candidate: Candidate, champion: int) -> Comparison:
    """Both models on the same raw rows of the holdout.

    Raises:
        TooFew: the champion was trained on so many of them that the others are too few to judge by.
        GlueError: the champion cannot be scored.
    """
    config, root, bundle = candidate.config, candidate.root, Bundle(candidate.bundle)
    schema = bundle.schema
    held = tables.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    seen = _trained_on(candidate, champion, held.column(layout.ROW).to_numpy())
    rows = held if seen is None else held.filter(~seen)
    raw = tables.read_parquet(root / config.rows).take(rows.column(layout.ROW))
    truth = rows.column(f"target:{schema.target}").to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        other = Bundle(brought(candidate.store, root, config.model_name, champion, Path(folder)))
    if other.schema.class_order != schema.class_order or other.schema.task != schema.task:
        raise GlueError(f"it predicts {other.schema.task} {other.schema.labels or ''}")
    name = config.promote.metric or metrics.default(schema.task)
    completed = with_features(config, root, other, raw, "holdout", as_defined_now=True)
    mine, theirs = _predicted(bundle, raw, truth), _predicted(other, completed, truth)
    gain = paired.difference(schema.task, name, mine, theirs, config.train.seed, config.promote.confidence)
    metric = metrics.METRICS[schema.task][name]
    score, other_score = (metrics.compute(metric, *outcome) for outcome in (mine, theirs))
    slack = config.promote.slack * _skill(candidate, name, other_score, higher=metric.higher_is_better)
    return {
        "version": champion,
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
        "finding": paired.finding(gain, slack),
        "rows": gain.rows,
        "seen": None if seen is None else held.num_rows - len(truth),
        "order": bootstrap.ranking(schema.task, theirs, config.train.seed) if config.split.fresh_after else None,
    }


def _skill(candidate: Candidate, name: str, champion: float, *, higher: bool) -> float:
    """What the champion gains over a trivial predictor, in units of the metric; 0 where that is not known."""
    score = candidate.evaluation["metrics"].get(name)
    if score is None or score["trivial"] is None or np.isnan(champion):
        return 0.0
    return max(0.0, champion - score["trivial"] if higher else score["trivial"] - champion)


def _trained_on(candidate: Candidate, champion: int, holdout: Array) -> Array | None:
    """For each row of the holdout whether the champion was trained on it; None where that is not known."""
    of_champion = version_rows(candidate.store, candidate.config.model_name, champion)
    found = None if of_champion is None else of_champion.seen(tables.read_parquet(candidate.root / layout.TABLE))
    if found is None:
        return None
    seen = found[holdout]
    if seen.any() and (left := int(np.sum(~seen))) < metrics.MIN_ROWS:
        problem = f"v{champion} was trained on {seen.sum():,} of the {len(seen):,} rows of this holdout"
        raise TooFew(f"{problem}, and {left:,} are too few to compare on")
    return seen


def _predicted(bundle: Bundle, raw: pa.Table, truth: Array) -> tuple[Array, Array, Array | None]:
    """Truth, label and probability in the form that `metrics` takes."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)

"""A candidate and the champion on the same rows of the holdout; the difference has a paired bootstrap interval."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import bootstrap, layout, metrics, tables
from mlops_glue.adapters.mlflow import Store
from mlops_glue.config import Config
from mlops_glue.dates import timestamps_utc
from mlops_glue.delivery.rows import version_rows
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import GlueError
from mlops_glue.scoring import Bundle


class TooFew(GlueError):
    """The champion was trained on the rows that it would be compared on."""


def compare(config: Config, root: Path, store: Store, champion: int, mine_in: Path) -> dict[str, Any]:
    """Both models on the same raw rows of the holdout; the difference has a paired bootstrap interval."""
    candidate = Bundle(mine_in)
    schema = candidate.schema
    rows = tables.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    held, seen = rows.num_rows, _trained_on(config, root, store, champion, rows.column(layout.ROW).to_numpy())
    if seen is not None:
        rows = rows.filter(~seen)
    raw = tables.read_parquet(root / config.rows).take(rows.column(layout.ROW))
    truth = rows.column(f"target:{schema.target}").to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        other = Bundle(brought(store, root, config.model_name, champion, Path(folder)))
    if other.schema.class_order != schema.class_order or other.schema.task != schema.task:
        raise GlueError(f"it predicts {other.schema.task} {other.schema.labels or ''}")
    name = config.promote.metric or metrics.default(schema.task)
    metric = metrics.METRICS[schema.task][name]
    rows_of = [raw, with_its_features(config, root, other, raw)]
    outcomes = [_predicted(bundle, rows, truth) for bundle, rows in zip((candidate, other), rows_of, strict=True)]
    mine, theirs = (metrics.compute(metric, *outcome) for outcome in outcomes)
    drawn = [
        bootstrap.bootstrap(metric, *outcome, config.train.seed) for outcome in outcomes
    ]  # of the same rows, so paired
    low, high = bootstrap.interval(mine - theirs, drawn[0] - drawn[1], len(truth), config.promote.confidence)
    return {
        "version": champion,
        "metric": name,
        "candidate": mine,
        "champion": theirs,
        "low": low,
        "high": high,
        "confidence": config.promote.confidence,
        "rows": len(truth),
        "drawn_rows": bootstrap.sample_rows(len(truth)),
        "seen": None if seen is None else held - len(truth),
        "order": bootstrap.ranking(schema.task, outcomes[1], config.train.seed) if config.split.fresh_after else None,
        "at_least_as_good": metrics.is_at_least(mine, theirs, higher_is_better=metric.higher_is_better),
    }


def _trained_on(config: Config, root: Path, store: Store, champion: int, holdout: Any) -> Any:
    """For each row of the holdout whether the champion was trained on it; None where that is not known.

    Raises:
        TooFew: it was, on so many that the others are too few to judge by.
    """
    of_champion = version_rows(store, config.model_name, champion)
    found = None if of_champion is None else of_champion.seen(tables.read_parquet(root / layout.TABLE))
    if found is None:
        return None
    seen = found[holdout]
    if seen.any() and (left := int(np.sum(~seen))) < metrics.MIN_ROWS:
        problem = f"v{champion} was trained on {seen.sum():,} of the {len(seen):,} rows of this holdout"
        raise TooFew(f"{problem}, and {left:,} are too few to compare on")
    return seen


def with_its_features(config: Config, root: Path, bundle: Bundle, raw: Any) -> Any:
    """The rows with those features that only the champion takes, as they are defined now."""
    if bundle.features is None or not bundle.lacks(raw):
        return raw
    from mlops_glue import features

    taken = [name for name in raw.column_names if name not in bundle.features.columns]
    when = timestamps_utc(raw, config.source.timestamps, bundle.features.day_first)
    return features.with_features(config, root, bundle.features, raw.select(taken), when, as_defined_now=True)


def _predicted(bundle: Bundle, raw: Any, truth: Any) -> tuple[Any, Any, Any]:
    """Truth, label and probability in the form that `metrics` takes."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)

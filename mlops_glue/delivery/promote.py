"""promote: the alias `champion` goes to a candidate that meets every condition, and to no other."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue import io, layout, metrics
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store
from mlops_glue.config import METRICS, Config
from mlops_glue.errors import GlueError
from mlops_glue.records import FeatureList
from mlops_glue.schema import moments
from mlops_glue.scoring import Bundle

TIE = 1e-6  # the same model in ONNX and in skops differs by so much: float32


@dataclass(frozen=True)
class Verdict:
    """What became of a candidate."""

    version: int
    champion: int | None  # after the decision
    previous: int | None
    refused: list[str] = field(default_factory=list)
    comparison: dict[str, Any] | None = None  # with the champion, on the same holdout


def promote(config: Config, root: Path, store: Store, version: int) -> Verdict:
    """Move the alias to the candidate where every condition holds.

    Every threshold is met; the ONNX model is faithful, or the model is kept in skops form; the version has a signature;
    its bundle is the one that was registered; the online store gives what it was trained on; its score is at least the
    champion's, on the candidate's holdout.
    """
    name = config.model_name
    champion = store.champion(name)
    if champion == version:
        return Verdict(version, champion, champion)
    report = io.read_json(root / layout.EVALUATION / "evaluation.json")
    parity = io.read_json(root / layout.BUNDLE / "parity.json")
    refused = [_missed(t) for t in report["thresholds"] if not t["met"]]
    if not parity["faithful"] and parity["format"] == "onnx":
        refused.append(f"parity: {parity['reason']}")
    if not store.has_signature(name, version):
        refused.append("signature: the version has none")
    if store.tags(name, version).get(BUNDLE_DIGEST) != io.digest(root / layout.BUNDLE):
        refused.append("bundle: its digest is not the one that was registered")
    if config.features.use:
        refused += _skewed(config, root, store, version)
    compared: dict[str, Any] | None = None
    if champion is not None:
        try:
            compared = _compare(config, root, store, champion)
        except GlueError as error:  # a comparison that could not run has not passed
            refused.append(f"champion v{champion} could not be scored on this holdout: {error.message}")
        else:
            if not compared["at_least_as_good"]:
                refused.append(
                    f"{compared['metric']} {compared['candidate']:.4f} is worse than champion v{champion}'s "
                    f"{compared['champion']:.4f} on the same holdout"
                )
    said = {f"glue.compared_{key}": str(value) for key, value in (compared or {}).items()}
    store.tag(name, version, said | ({"glue.refused": "; ".join(refused)[:4000]} if refused else {}))
    if refused:
        return Verdict(version, champion, champion, refused, compared)
    store.set_champion(name, version)
    return Verdict(version, version, champion, [], compared)


def _skewed(config: Config, root: Path, store: Store, version: int) -> list[str]:
    """What would be served otherwise than it was trained on; a replay that could not run has not passed."""
    from mlops_glue.delivery.skew import replay

    try:
        rows, found = replay(config, root, FeatureList.from_dict(io.read_json(root / layout.FEATURE_LIST)))
    except GlueError as error:
        return [f"skew: the replay of the online store could not run: {error.message}"]
    if not rows:
        return ["skew: no row of the holdout has all its keys, so nothing could be replayed"]
    store.tag(config.model_name, version, {"glue.skew": f"{len(found)} differences in {rows} rows"})
    return found[:3] + ([f"skew: and {len(found) - 3} more differences"] if len(found) > 3 else [])


def _missed(threshold: dict[str, Any]) -> str:
    limit = f"min {threshold['min']}" if threshold["min"] is not None else f"max {threshold['max']}"
    value = threshold["value"]
    if value is None:
        return f"{threshold['metric']} is not defined on this holdout, so threshold {limit} is not met"
    return f"{threshold['metric']} {value:.4f} misses threshold {limit}"


def _compare(config: Config, root: Path, store: Store, champion: int) -> dict[str, Any]:
    """Both models on the same raw rows of the holdout; the difference has a paired bootstrap interval."""
    candidate = Bundle(root / layout.BUNDLE)
    schema = candidate.schema
    rows = io.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    raw = io.read_parquet(root / config.rows).take(rows.column(layout.ROW))
    truth = rows.column(f"target:{schema.target}").to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        other = Bundle(store.bundle(config.model_name, champion, Path(folder)))
    if other.schema.order != schema.order or other.schema.task != schema.task:
        raise GlueError(f"it predicts {other.schema.task} {other.schema.labels or ''}")
    name = config.promote.metric or METRICS[schema.task][0]
    metric = metrics.table(schema.task, len(schema.order))[name]
    rows_of = [raw, _with_its_features(config, root, other, raw)]
    outcomes = [_outcome(bundle, one, truth) for bundle, one in zip((candidate, other), rows_of, strict=True)]
    mine, theirs = (metrics.compute(metric, *one) for one in outcomes)
    drawn = [metrics.draws(metric, *one, config.train.seed) for one in outcomes]  # of the same rows, so paired
    low, high = metrics.interval(mine - theirs, drawn[0] - drawn[1], len(truth), config.promote.confidence)
    ahead = mine - theirs if metric.higher_is_better else theirs - mine
    good = ahead >= -TIE * max(1.0, abs(theirs))  # NaN is not good
    return {
        "version": champion,
        "metric": name,
        "candidate": mine,
        "champion": theirs,
        "low": low,
        "high": high,
        "confidence": config.promote.confidence,
        "at_least_as_good": bool(good),
    }


def _with_its_features(config: Config, root: Path, bundle: Bundle, raw: Any) -> Any:
    """The rows with those features that only the champion takes, as they are defined now."""
    if bundle.features is None or not bundle.lacks(raw):
        return raw
    from mlops_glue import features

    taken = [name for name in raw.column_names if name not in bundle.features.columns]
    when = moments(raw, config.source.timestamps, bundle.features.day_first)
    return features.with_features(config, root, bundle.features, raw.select(taken), when, as_defined_now=True)


def _outcome(bundle: Bundle, raw: Any, truth: Any) -> tuple[Any, Any, Any]:
    """Truth, label and probability in the form that `metrics` takes."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)

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
from mlops_glue.scoring import Bundle


@dataclass(frozen=True)
class Verdict:
    """What became of a candidate."""

    version: int
    champion: int | None  # after the decision
    previous: int | None
    refused: list[str] = field(default_factory=list)
    metric: str = ""
    candidate_score: float | None = None
    champion_score: float | None = None


def promote(config: Config, root: Path, store: Store, version: int) -> Verdict:
    """Compare a candidate with the champion on the candidate's holdout and move the alias where it may."""
    name = config.model_name
    champion = store.champion(name)
    report = io.read_json(root / layout.EVALUATION / "evaluation.json")
    parity = io.read_json(root / layout.BUNDLE / "parity.json")
    if champion == version:
        return Verdict(version, champion, champion)
    refused = [_missed(t) for t in report["thresholds"] if not t["met"]]
    if not parity["faithful"] and parity["format"] == "onnx":
        refused.append(f"parity: {parity['reason']}")
    if store.tags(name, version).get(BUNDLE_DIGEST) != io.digest(root / layout.BUNDLE):
        refused.append("bundle: its digest is not the one that was registered")
    bundle = Bundle(root / layout.BUNDLE)
    task = bundle.schema.task
    metric = config.promote.metric or METRICS[task][0]
    mine: float | None = None
    theirs: float | None = None
    if champion is not None:
        try:
            mine, theirs = _scores(config, root, store, champion, bundle, metric)
        except GlueError as error:  # a comparison that could not run has not passed
            refused.append(f"champion v{champion} could not be scored on this holdout: {error.message}")
        else:
            higher = metrics.table(task, len(bundle.schema.labels or []))[metric].higher_is_better
            if not (mine >= theirs if higher else mine <= theirs):  # NaN is refused too
                refused.append(f"{metric} {mine:.4f} is worse than champion v{champion}'s {theirs:.4f}")
    if refused:
        store.tag(name, version, {"glue.refused": "; ".join(refused)[:4000]})
        return Verdict(version, champion, champion, refused, metric, mine, theirs)
    store.set_champion(name, version)
    return Verdict(version, version, champion, [], metric, mine, theirs)


def _missed(threshold: dict[str, Any]) -> str:
    limit = f"min {threshold['min']}" if threshold["min"] is not None else f"max {threshold['max']}"
    value = threshold["value"]
    return f"{threshold['metric']} {'is not defined' if value != value else f'{value:.4f}'} misses threshold {limit}"


def _scores(
    config: Config, root: Path, store: Store, champion: int, candidate: Bundle, metric: str
) -> tuple[float, float]:
    """The metric of the candidate and of the champion, on the same raw rows of the holdout."""
    rows = io.read_parquet(root / layout.TEST, [layout.ROW, f"target:{candidate.schema.target}"])
    raw = io.read_parquet(root / layout.TABLE).take(rows.column(layout.ROW))
    truth = rows.column(f"target:{candidate.schema.target}").to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        kept = store.bundle(config.model_name, champion, Path(folder))
        if store.tags(config.model_name, champion).get(BUNDLE_DIGEST) != io.digest(kept):
            raise GlueError("its bundle is not the one that was registered")
        other = Bundle(kept)
        if other.schema.labels != candidate.schema.labels or other.schema.task != candidate.schema.task:
            raise GlueError(f"it predicts other classes: {other.schema.labels}")
        return _score(candidate, raw, truth, metric), _score(other, raw, truth, metric)


def _score(bundle: Bundle, raw: Any, truth: Any, metric: str) -> float:
    import numpy as np

    value, probability = bundle.predict(raw, where="holdout")
    known = metrics.table(bundle.schema.task, len(bundle.schema.labels or []))[metric]
    if bundle.schema.labels is None:
        return metrics.compute(known, truth, value, None)
    order = {label: at for at, label in enumerate(bundle.schema.labels)}
    label, probability = bundle.indices(value, probability)
    return metrics.compute(known, np.array([order[t] for t in truth.tolist()]), label, probability)

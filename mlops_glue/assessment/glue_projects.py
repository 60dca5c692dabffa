"""Evidence from projects made by glue: what was run counts; a key of glue.yaml alone is a hint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml.error import YAMLError

from mlops_glue import files, layout
from mlops_glue.assessment.evidence import Evidence
from mlops_glue.errors import DamagedError

# a key of glue.yaml, the capability, and the stage of dvc.lock that used it
STAGES = (
    ("train", "training", "train"),
    ("train", "pipeline", "train"),
    ("train.seed", "seed", "train"),
    ("train.params", "parameters", "train"),
    ("validation", "data_validation", "validate"),
    ("evaluate.metrics", "evaluation", "evaluate"),
    ("evaluate.thresholds", "gate", "evaluate"),
    ("evaluate.slices", "slices", "evaluate"),
    ("features.use", "feature_store", "featurize"),
)


def collect(evidence: Evidence) -> None:
    """Record what was run in each glue project of the repository."""
    for path in evidence.tree.files:
        if PurePosixPath(path).name == layout.CONFIG:
            _project(evidence, path)


def _project(evidence: Evidence, path: str) -> None:
    base = PurePosixPath(path).parent
    root = evidence.tree.root / base
    try:
        config = files.read_yaml(root / layout.CONFIG)
        ran = (files.read_yaml(root / "dvc.lock") if (root / "dvc.lock").is_file() else {}).get("stages", {})
    except (YAMLError, OSError, ValueError, RecursionError, AttributeError):
        evidence.unread.append(path)
        return
    # glue wrote dvc.yaml: a pipeline of its stages counts once it has run
    for name in ("pipeline", "parameters"):
        evidence.found[name] = [seen for seen in evidence.found.get(name, ()) if seen.path != str(base / "dvc.yaml")]
    deeds = [(capability, key, f"stage {stage} ran", "dvc.lock", stage in ran) for key, capability, stage in STAGES]
    for capability, key, what, place, is_done in [*deeds, *_after_the_run(evidence, base, config)]:
        if _at(config, key) and is_done:
            evidence.see(capability, str(base / place), 0, what)
        elif _at(config, key):
            evidence.see(capability, path, 0, f"glue.yaml {key}", "not run yet")
    evidence.facts["glue"] = path


def _after_the_run(evidence: Evidence, base: PurePosixPath, config: Any) -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield the capability, the key of glue.yaml, what was done, the file that shows it, and whether it was done."""
    delivery, latest = (_json(evidence.tree.root / base / file) for file in (layout.DELIVERY, layout.LATEST))
    version, champion = delivery.get("version"), delivery.get("champion")
    if version:
        evidence.facts["registry"] = f"version {version} of {delivery.get('model')} is registered"
    versions = [version for version in latest.get("versions", ()) if isinstance(version, dict)]
    measured = any(version.get("performance") for version in versions)
    retrained = (evidence.tree.root / base / layout.APPENDED).is_file()
    yield "data_remote", "data.remote", "data.remote", layout.CONFIG, True
    yield "alerts", "monitor.alerts", "monitor.alerts", layout.CONFIG, True
    yield "tracking", "train", f"version {version}", layout.DELIVERY, bool(version)
    yield "registry", "train", f"version {version}", layout.DELIVERY, bool(version)
    yield "promotion", "train", f"version {champion}", layout.DELIVERY, bool(champion)
    yield "online_features", "features.use", "features are online", layout.DELIVERY, bool(delivery.get("online"))
    yield "endpoint", "serve", "a prediction log", layout.CONFIG, _has_served(evidence, base, config)
    yield "drift", "monitor", "glue monitor ran", layout.LATEST, bool(latest)
    yield "performance", "monitor.labels", "measured on labels", layout.LATEST, measured
    if "retrain" in (_at(config, "monitor.on_alert") or ()):
        yield "retraining", "monitor.on_alert", "glue monitor has retrained", layout.APPENDED, retrained


def _has_served(evidence: Evidence, base: PurePosixPath, config: dict[str, Any]) -> bool:
    """Return whether the prediction log, or the spool for it, has a row. A log at a URL is not read."""
    log = str(_at(config, "serve.prediction_log") or "data/predictions")
    folders = [evidence.tree.root / base / folder for folder in (log, layout.SPOOL) if "://" not in folder]
    return any(file.is_file() and file.stat().st_size > 0 for folder in folders for file in folder.rglob("*"))


def _at(config: Any, key: str) -> Any:
    """Return the value of a key; None if it is empty or missing."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config or None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = files.read_json(path)
    except (DamagedError, OSError):
        return {}
    return found if isinstance(found, dict) else {}

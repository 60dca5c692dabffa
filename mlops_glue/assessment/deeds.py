"""glue's own projects, by what was done in them: a key of glue.yaml alone is a hint."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mlops_glue import layout
from mlops_glue.assessment.evidence import Evidence

# a key of glue.yaml, the capability, the stage of dvc.lock that did it, and what to type where it was not done
KEYS = (
    ("train", "training", "train"),
    ("train", "pipeline", "train"),
    ("train.seed", "seed", "train"),
    ("validation", "data_validation", "validate"),
    ("evaluate.metrics", "evaluation", "evaluate"),
    ("evaluate.thresholds", "gate", "evaluate"),
    ("evaluate.slices", "slices", "evaluate"),
    ("features.use", "feature_store", "featurize"),
)


def of_glue(evidence: Evidence) -> None:
    """Take down the deeds of each project of glue's in the repository."""
    for path in evidence.tree.files:
        if PurePosixPath(path).name == layout.CONFIG:
            _project(evidence, path)


def _project(evidence: Evidence, path: str) -> None:
    root, base = evidence.tree.root / PurePosixPath(path).parent, PurePosixPath(path).parent
    config, lines = _settings(root / layout.CONFIG), _lines(root / layout.CONFIG)
    if config is None:
        evidence.notes.append(f"{path} cannot be read: what glue did here is not looked at")
        return
    # what glue wrote is no evidence by itself: a pipeline of its stages counts once it has run
    for name in ("pipeline", "parameters"):
        kept = [one for one in evidence.found.get(name, ()) if one.path != str(base / "dvc.yaml")]
        evidence.found[name] = kept
    locked = _lines(root / "dvc.lock")
    ran = {found[1]: n for n, line in enumerate(locked, 1) if (found := re.match(r"  (\w+):\s*$", line))}
    for key, capability, stage in KEYS:
        if not _at(config, key):
            continue
        if stage in ran:
            evidence.see(capability, str(base / "dvc.lock"), ran[stage], f"stage {stage} ran")
        else:
            evidence.see(capability, path, _line(lines, key), f"glue.yaml {key}", "not run yet")
    if "train" in ran and _at(config, "train.params"):
        evidence.see("parameters", path, _line(lines, "train.params"), "train.params")
    if _at(config, "data.remote"):
        evidence.see("data_remote", path, _line(lines, "data.remote"), "data.remote")
    if _at(config, "monitor.alerts"):
        evidence.see("alerts", path, _line(lines, "monitor.alerts"), "monitor.alerts")
    _delivered(evidence, path, root, bool(_at(config, "train")))
    _served(evidence, path, root, config, lines)
    evidence.facts["glue"] = path


def _delivered(evidence: Evidence, path: str, root: Path, trains: bool) -> None:
    told, place = _json(root / layout.DELIVERY), str(PurePosixPath(path).parent / layout.DELIVERY)
    for capability, key in (("tracking", "version"), ("registry", "version"), ("promotion", "champion")):
        if told.get(key):
            evidence.see(capability, place, 0, f"version {told[key]}")
        elif trains:
            evidence.see(capability, path, 1, "glue.yaml", "no version is registered yet")
    if told.get("version"):
        evidence.facts["registry"] = f"version {told['version']} of {told.get('model')} is registered"
    if told.get("online"):
        evidence.see("online_features", place, 0, "features are in the online store")


def _served(evidence: Evidence, path: str, root: Path, config: dict[str, Any], lines: list[str]) -> None:
    base = PurePosixPath(path).parent
    log = str(_at(config, "serve.prediction_log") or "data/predictions")
    folders = [root / log, root / layout.SPOOL] if "://" not in log else [root / layout.SPOOL]
    rows = sum(file.is_file() and file.stat().st_size > 0 for folder in folders for file in folder.rglob("*"))
    if rows:
        evidence.see("endpoint", str(base / log), 0, "a log of what was served")
    elif _at(config, "serve"):
        evidence.see("endpoint", path, _line(lines, "serve"), "glue.yaml serve", "nothing was served yet")
    latest, place = _json(root / layout.LATEST), str(base / layout.LATEST)
    if latest:
        evidence.see("drift", place, 0, "glue monitor ran")
        versions = [one for one in latest.get("versions", ()) if isinstance(one, dict)]
        if any(one.get("performance") for one in versions):
            evidence.see("performance", place, 0, "measured on labels")
    elif _at(config, "monitor"):
        evidence.see("drift", path, _line(lines, "monitor"), "glue.yaml monitor", "glue monitor has not run yet")
    if _at(config, "monitor.labels"):
        evidence.see(
            "performance", path, _line(lines, "monitor.labels"), "monitor.labels", "no labels were compared yet"
        )
    if "retrain" in (_at(config, "monitor.on_alert") or ()):
        done = "" if (root / layout.RETRAIN).is_file() else "it has not retrained yet"
        evidence.see("retraining", path, _line(lines, "monitor.on_alert"), "monitor.on_alert", done)


def _settings(path: Path) -> dict[str, Any] | None:
    from ruamel.yaml.error import YAMLError

    from mlops_glue import files

    try:
        found = files.read_yaml(path)
    except (YAMLError, OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _at(config: dict[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if value not in (None, [], {}, "") else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _line(lines: list[str], key: str) -> int:
    """Where a key of one or two parts stands."""
    first, _, second = key.partition(".")
    at = next((n for n, line in enumerate(lines, 1) if line.startswith(f"{first}:")), 1)
    return next(
        (n for n, line in enumerate(lines[at:], at + 1) if second and line.strip().startswith(f"{second}:")), at
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""Identify a result of the pipeline: by DVC's hashes, and by the packages that computed it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_glue.adapters import dvc
from mlops_glue.config import Config
from mlops_glue.modules import code_of, versions
from mlops_glue.pipeline.stages import NAMES, feature_repo, import_paths


def fingerprint(root: Path) -> str:
    """Return the SHA-256 of the `dvc.lock` entries of glue's stages: outputs, inputs and parameters.

    For the raw tables only the content counts, not the path, which may differ between environments.
    """
    return of_lock(dvc.locked(root))


def of_lock(stages: Mapping[str, Any]) -> str:
    """Return the fingerprint of the stages of any `dvc.lock`."""
    entries = {name: stages.get(name) for name in NAMES}
    if raw := entries[NAMES[0]]:
        entries[NAMES[0]] = {**raw, "deps": sorted(map(_without_place, raw.get("deps", [])))}
    return hashlib.sha256(json.dumps(entries, sort_keys=True, default=str).encode()).hexdigest()


def _without_place(dep: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in dep.items() if key != "path"}, sort_keys=True, default=str)


def hashes(root: Path) -> dict[str, str]:
    """Return the MD5 of every file that `dvc.lock` names, by path."""
    entries = [e for s in dvc.locked(root).values() for e in (*s.get("deps", []), *s.get("outs", []))]
    return {e["path"]: str(e.get("md5", "")) for e in entries}


def packages(config: Config, root: Path) -> dict[str, str]:
    """Return the installed versions of the packages that the stages compute with."""
    paths = import_paths(config)
    return versions(paths, code_of(paths, feature_repo(config), root), root)

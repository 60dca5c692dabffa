"""What tells one result of the pipeline from another: the hashes that DVC keeps, and the packages that computed it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mlops_glue.adapters import dvc
from mlops_glue.config import Config
from mlops_glue.modules import code_of, versions
from mlops_glue.pipeline.stages import NAMES, feature_repo, import_paths


def fingerprint(root: Path) -> str:
    """SHA-256 over the `dvc.lock` entries of glue's stages: what was computed, from what, with which parameters."""
    lock = dvc.locked(root)
    entries = {name: lock[name] for name in NAMES}
    return hashlib.sha256(json.dumps(entries, sort_keys=True, default=str).encode()).hexdigest()


def packages(config: Config, root: Path) -> dict[str, str]:
    """The installed versions of the packages that the stages compute with."""
    paths = import_paths(config)
    return versions(paths, code_of(paths, feature_repo(config), root), root)

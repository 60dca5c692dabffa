"""`dvc.lock`, read without DVC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_glue.errors import ToolError, first_line
from mlops_glue.files import read_yaml

REGENERATE_LOCK = "rm dvc.lock; glue run: what stands in the cache is restored"
REGENERATE_STAGES = "rm dvc.yaml; glue run: glue's own stages are written anew"


def locked(root: Path) -> dict[str, Any]:
    """The stages of `dvc.lock`; none if there is no such file.

    Raises:
        ToolError: it is broken.
    """
    from ruamel.yaml.error import YAMLError

    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    problem = "it does not have the stages of a run"
    try:
        lock = read_yaml(path)
    except (YAMLError, UnicodeDecodeError) as error:
        lock, problem = None, first_line(error)
    stages = lock.get("stages") if isinstance(lock, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise ToolError(f"dvc.lock: cannot be read: {problem}", hint=f"git checkout dvc.lock, or: {REGENERATE_LOCK}")
    return stages

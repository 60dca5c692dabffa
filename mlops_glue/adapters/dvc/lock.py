"""`dvc.lock`, read without DVC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_glue.errors import ToolError, first_line
from mlops_glue.files import read_yaml

REGENERATE_LOCK = "rm dvc.lock; glue run: results in the cache are restored"
REGENERATE_STAGES = "rm dvc.yaml; glue run: glue's own stages are written again"


def locked(root: Path) -> dict[str, Any]:
    """Read the stages of `dvc.lock`; none if there is no such file.

    Raises:
        ToolError: the file is invalid.
    """
    from ruamel.yaml.error import YAMLError

    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    problem = "it does not contain the stages of a run"
    try:
        lock = read_yaml(path)
    except (YAMLError, UnicodeDecodeError) as error:
        lock, problem = None, first_line(error)
    stages = lock.get("stages") if isinstance(lock, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise ToolError(f"dvc.lock: cannot be read: {problem}", hint=f"git checkout dvc.lock, or: {REGENERATE_LOCK}")
    return stages

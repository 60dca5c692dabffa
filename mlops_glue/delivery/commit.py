"""The git commit of a version, and the files that determine its result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import layout
from mlops_glue.adapters import dvc, git

if TYPE_CHECKING:
    from mlops_glue.config import Config

WRITTEN = {"dvc.lock", ".dvc/config", layout.GENERATED, layout.SCHEMA}  # by glue; they do not affect a result


def revision(config: Config, root: Path) -> tuple[str | None, bool]:
    """Return the commit, and whether the last run used uncommitted changes; (None, True) if there is no commit.

    Files that glue writes do not count as changes, so a run in a clean clone belongs to its commit.
    """
    commit = git.commit_hash(root, "HEAD")
    if commit is None:
        return None, True
    changed = git.changed_files(root, inputs(root))
    if "dvc.yaml" in changed and _follows(config, root):
        changed.remove("dvc.yaml")
    return commit, bool(changed - WRITTEN)


def inputs(root: Path) -> set[str]:
    """Return the files that the stages read and no stage writes, and their `.dvc` files."""
    stages = dvc.locked(root).values()
    made = {out["path"] for stage in stages for out in stage.get("outs", [])}
    read = {dep["path"] for stage in stages for dep in stage.get("deps", [])} - made
    return {layout.CONFIG, "dvc.yaml", *read, *(f"{path}.dvc" for path in read)}


def _follows(config: Config, root: Path) -> bool:
    """Whether `dvc.yaml` is what glue generates from the committed one."""
    from mlops_glue.pipeline import dvc_yaml

    return dvc_yaml.is_current(config, root, git.show(root, "HEAD", "dvc.yaml"))

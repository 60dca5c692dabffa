"""Which commit a version is of, and the files that decide it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import layout
from mlops_glue.adapters import dvc, git

if TYPE_CHECKING:
    from mlops_glue.config import Config

WRITTEN = {"dvc.lock", ".dvc/config", layout.GENERATED, layout.SCHEMA}  # by glue; no result comes from them


def revision(config: Config, root: Path) -> tuple[str | None, bool]:
    """The commit, and whether the last run was made of anything else; (None, True) where there is none.

    What glue itself writes is nothing else: a run of a clean clone is of its commit.
    """
    commit = git.commit_hash(root, "HEAD")
    if commit is None:
        return None, True
    changed = git.changed_files(root, inputs(root))
    if "dvc.yaml" in changed and _follows(config, root):
        changed.remove("dvc.yaml")
    return commit, bool(changed - WRITTEN)


def inputs(root: Path) -> set[str]:
    """The files that the stages read and no stage makes, and those by which DVC has them."""
    stages = dvc.locked(root).values()
    made = {out["path"] for stage in stages for out in stage.get("outs", [])}
    read = {dep["path"] for stage in stages for dep in stage.get("deps", [])} - made
    return {layout.CONFIG, "dvc.yaml", *read, *(f"{path}.dvc" for path in read)}


def _follows(config: Config, root: Path) -> bool:
    """Is `dvc.yaml` what glue makes of the one in the commit?"""
    from mlops_glue.pipeline import dvc_yaml

    return dvc_yaml.is_current(config, root, git.show(root, "HEAD", "dvc.yaml"))

"""What git has of a project: which commit a version is of, and whether one is due."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import layout
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import GlueError

if TYPE_CHECKING:
    from mlops_glue.config import Config

WRITTEN = {"dvc.lock", ".dvc/config", layout.GENERATED, layout.SCHEMA}  # by glue; no result comes from them
OF_DVC = {".dvc/.gitignore", ".dvcignore"}


def revision(config: Config, root: Path) -> tuple[str | None, bool]:
    """The commit, and whether the last run was made of anything else; (None, True) where there is none.

    What glue itself writes is nothing else: a run of a clean clone is of its commit.
    """
    commit = git.commit(root, "HEAD")
    if commit is None:
        return None, True
    inputs = _inputs(root)
    changed = git.changed(root, inputs)
    if "dvc.yaml" in changed and _follows(config, root):
        changed.remove("dvc.yaml")
    return commit, bool(changed - WRITTEN)


def _inputs(root: Path) -> set[str]:
    """The files that the stages read and no stage makes, and those by which DVC has them."""
    stages = dvc.locked(root).values()
    made = {out["path"] for stage in stages for out in stage.get("outs", [])}
    read = {dep["path"] for stage in stages for dep in stage.get("deps", [])} - made
    return {layout.CONFIG, "dvc.yaml", *read, *(f"{path}.dvc" for path in read)}


def _follows(config: Config, root: Path) -> bool:
    """Is `dvc.yaml` what glue makes of the one in the commit?"""
    from mlops_glue.pipeline import runner

    return runner.is_defined(config, root, git.show(root, "HEAD", "dvc.yaml"))


def due(root: Path, message: str, written: Iterable[str] = ()) -> str | None:
    """What to type, where the project has something that a commit lacks; None outside git.

    A file that git does not have is named only where it is known to be the project's.

    Args:
        root: the project folder.
        message: of the commit.
        written: files that glue has just written.
    """
    entries = git.uncommitted(root)
    if not entries:
        return None
    from mlops_glue.scaffold import manifest

    known = {*WRITTEN, *OF_DVC, *_inputs(root), *written}
    with contextlib.suppress(GlueError):  # another command tells of a record that cannot be read
        known |= {path for part in manifest.load(root).values() for path in part.files}
    known |= {f"{Path(path).parent.as_posix()}/.gitignore" for path in known if path.endswith(".dvc")}
    ours = [path for path, new in entries.items() if not new or any(_holds(path, one) for one in known)]
    if not ours:
        return None
    named = ["."] if len(ours) == len(entries) else sorted(ours)
    return f"git add {' '.join(map(shlex.quote, named))} && git commit -m {shlex.quote(message)}"


def undo(root: Path) -> str | None:
    """What to type to have the commit's files and results again; None where that takes more than git."""
    if git.show(root, "HEAD", "dvc.lock") is None:
        return None
    ours = {*WRITTEN, *_inputs(root)}
    changed = sorted(path for path, new in git.uncommitted(root).items() if path in ours and not new)
    if not changed or any(path.endswith(".dvc") or git.show(root, "HEAD", path) is None for path in changed):
        return None
    return f"git checkout HEAD -- {' '.join(map(shlex.quote, changed))} && glue run"


def _holds(path: str, file: str) -> bool:
    """Is it the file, or a folder that it is in?"""
    return file == path or (path.endswith("/") and file.startswith(path))

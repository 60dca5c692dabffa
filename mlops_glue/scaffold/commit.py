"""Find whether a commit is due, and the commands to commit or undo the changes since the last commit."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable
from pathlib import Path

from mlops_glue.adapters import git
from mlops_glue.delivery import commit
from mlops_glue.delivery.commit import WRITTEN
from mlops_glue.errors import GlueError

OF_DVC = {".dvc/.gitignore", ".dvcignore"}


def due(root: Path, message: str, written: Iterable[str] = (), inputs: Iterable[str] | None = None) -> str | None:
    """Return the command that commits the project's changes; None if there are none, or outside git.

    An untracked file is named only if it is known to be the project's.

    Args:
        root: the project folder.
        message: the commit message.
        written: files that the command has just written.
        inputs: the result of `delivery.commit.inputs`, if the caller has it: reading `dvc.lock` is the slow part here.
    """
    entries = git.uncommitted(root)
    if not entries:
        return None
    from mlops_glue.scaffold import manifest

    known = {*WRITTEN, *OF_DVC, *(commit.inputs(root) if inputs is None else inputs), *written}
    with contextlib.suppress(GlueError):  # another command reports a record that cannot be read
        known |= {path for part in manifest.load(root).values() for path in part.files}
    known |= {f"{Path(path).parent.as_posix()}/.gitignore" for path in known if path.endswith(".dvc")}
    ours = [path for path, new in entries.items() if not new or _is_known(path, known)]
    if not ours:
        return None
    named = ["."] if len(ours) == len(entries) else sorted(ours)
    return f"git add {' '.join(map(shlex.quote, named))} && git commit -m {shlex.quote(message)}"


def undo(root: Path, inputs: Iterable[str] | None = None) -> str | None:
    """Return the command that restores the commit's files and results; None if that takes more than git."""
    if git.show(root, "HEAD", "dvc.lock") is None:
        return None
    ours = {*WRITTEN, *(commit.inputs(root) if inputs is None else inputs)}
    changed = sorted(path for path, new in git.uncommitted(root).items() if path in ours and not new)
    if not changed or any(path.endswith(".dvc") or git.show(root, "HEAD", path) is None for path in changed):
        return None
    return f"git checkout HEAD -- {' '.join(map(shlex.quote, changed))} && glue run"


def _is_known(path: str, known: set[str]) -> bool:
    """Return whether a path is a file of the project, or an untracked folder (ending with a slash) that has one."""
    return path in known or (path.endswith("/") and any(file.startswith(path) for file in known))

"""Whether a commit is due, and what to type for it or to undo what was done since the last one."""

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
    """What to type, where the project has something that a commit lacks; None outside git.

    A file that git does not have is named only where it is known to be the project's, or was just `written`. Who has
    the `inputs` of `delivery.commit` gives them: `dvc.lock` takes longer to read than all else here.
    """
    entries = git.uncommitted(root)
    if not entries:
        return None
    from mlops_glue.scaffold import manifest

    known = {*WRITTEN, *OF_DVC, *(commit.inputs(root) if inputs is None else inputs), *written}
    with contextlib.suppress(GlueError):  # another command tells of a record that cannot be read
        known |= {path for part in manifest.load(root).values() for path in part.files}
    known |= {f"{Path(path).parent.as_posix()}/.gitignore" for path in known if path.endswith(".dvc")}
    ours = [path for path, new in entries.items() if not new or _is_known(path, known)]
    if not ours:
        return None
    named = ["."] if len(ours) == len(entries) else sorted(ours)
    return f"git add {' '.join(map(shlex.quote, named))} && git commit -m {shlex.quote(message)}"


def undo(root: Path, inputs: Iterable[str] | None = None) -> str | None:
    """What to type to have the commit's files and results again; None where that takes more than git."""
    if git.show(root, "HEAD", "dvc.lock") is None:
        return None
    ours = {*WRITTEN, *(commit.inputs(root) if inputs is None else inputs)}
    changed = sorted(path for path, new in git.uncommitted(root).items() if path in ours and not new)
    if not changed or any(path.endswith(".dvc") or git.show(root, "HEAD", path) is None for path in changed):
        return None
    return f"git checkout HEAD -- {' '.join(map(shlex.quote, changed))} && glue run"


def _is_known(path: str, known: set[str]) -> bool:
    """Is it a file of the project, or an untracked folder with one, which ends in a slash?"""
    return path in known or (path.endswith("/") and any(file.startswith(path) for file in known))

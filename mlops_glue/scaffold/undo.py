"""Check a repository before a command writes into it, and restore it if the command fails."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from mlops_glue import files
from mlops_glue.adapters import git
from mlops_glue.errors import UsageError

KEPT_BYTES = 32 << 20  # of a file; a larger file is a table, which `dvc add` may replace but does not change

log = logging.getLogger(__name__)


def check(root: Path, paths: Iterable[str]) -> None:
    """Check that files can be written at these paths of a folder, which need not exist, and that git ignores none.

    Raises:
        UsageError: a file cannot be written, or git ignores it.
    """
    check_places(root, paths)
    check_committed(root, list(paths))


def check_places(root: Path, paths: Iterable[str]) -> None:
    """Check that no path is a folder, and no parent of a path is a file.

    Raises:
        UsageError: something is in the way.
    """
    for path in paths:
        place = root / path
        files = [folder for folder in place.parents if folder.exists() and not folder.is_dir()]
        if files or place.is_dir():
            what = f"{files[0]}: is a file" if files else f"{place}: is a folder"
            raise UsageError(f"{what}, so {path} cannot be written", hint="move it")


def check_committed(root: Path, paths: list[str]) -> None:
    """Check that git ignores none of the files, as a clone needs them.

    Raises:
        UsageError: git ignores a file.
    """
    found = git.ignored(root, paths)
    if found:
        path, (place, rule) = next(iter(found.items()))
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise UsageError(
            f"{path}{more}: git ignores it by {place}: {rule}, but a clone needs it",
            hint=f"edit that line; then check with: git check-ignore -v {shlex.quote(path)}",
        )


@contextlib.contextmanager
def undone_on_failure(root: Path, paths: list[str]) -> Iterator[None]:
    """Restore the project and git's index if the block fails.

    Args:
        root: the project folder.
        paths: what the block may write in it, in addition to the files of git and DVC.
    """
    tools = [".git", ".dvc", ".dvc/config", ".dvcignore", "dvc.yaml"]
    near = {f"{Path(path).parent.as_posix()}/.gitignore" for path in paths}  # where `dvc add` lists what it tracks
    places = [root / path for path in (*tools, *paths, *near)]
    index = git.index(root)
    named = {*places, *([index] if index is not None else [])}
    # for a file that does not exist yet, the outermost new folder is removed with everything in it
    missing = {next((p for p in (*reversed(path.parents), path) if not os.path.lexists(p)), path) for path in named}
    missing = {path for path in missing if not os.path.lexists(path)}
    before = _files_of_dvc(root, places)
    with contextlib.ExitStack() as stack:
        kept = {path: (_content(path, stack), path.stat()) for path in named if path.is_file()}
        try:
            yield
        except BaseException:
            for path in [*missing, *sorted(_files_of_dvc(root, places) - before, reverse=True)]:
                _remove(path)
            for path, (content, about) in kept.items():
                try:
                    _restore(path, content, about)
                except OSError as error:  # raise the original error, not this one
                    log.warning("%s could not be restored: %s", path, error.strerror)
            raise


def _content(path: Path, stack: contextlib.ExitStack) -> BinaryIO:
    if path.stat().st_size > KEPT_BYTES:
        return stack.enter_context(path.open("rb"))  # an open file keeps its content, even if another takes its name
    return io.BytesIO(path.read_bytes())


def _restore(path: Path, content: BinaryIO, about: os.stat_result) -> None:
    now = path.stat() if path.is_file() else None
    if now is None or (now.st_size, now.st_mtime_ns) != (about.st_size, about.st_mtime_ns):
        with files.atomic(path) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(content, file)
    path.chmod(stat.S_IMODE(about.st_mode))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def _files_of_dvc(root: Path, places: list[Path]) -> set[Path]:
    """Return the files that DVC may add: those in its own folder, and temporary files next to what it tracks."""
    return {*(root / ".dvc").rglob("*"), *(file for place in places for file in place.parent.glob(".*.tmp"))}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()

"""A command that writes into a repository: what is checked before, and what is taken back where it fails."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlops_glue import files
from mlops_glue.adapters import git
from mlops_glue.errors import UsageError

KEPT_BYTES = 32 << 20  # of a file; a greater one is a table, of which `dvc add` makes another file but no other content

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """A file as it was."""

    held: bytes | BinaryIO
    about: os.stat_result

    @classmethod
    def of(cls, path: Path, stack: contextlib.ExitStack) -> _State:
        about = path.stat()
        great = about.st_size > KEPT_BYTES  # what is open stays, whatever becomes of its name
        return cls(stack.enter_context(path.open("rb")) if great else path.read_bytes(), about)

    def restore(self, path: Path) -> None:
        if isinstance(self.held, bytes):
            as_it_was = path.is_file() and path.read_bytes() == self.held
        else:
            as_it_was = path.is_file() and path.stat().st_size == self.about.st_size
        if not as_it_was:
            with files.atomic(path) as temporary, temporary.open("wb") as file:
                if isinstance(self.held, bytes):
                    file.write(self.held)
                else:
                    shutil.copyfileobj(self.held, file)
        if path.stat().st_mode != self.about.st_mode:
            path.chmod(stat.S_IMODE(self.about.st_mode))
        os.utime(path, ns=(self.about.st_atime_ns, self.about.st_mtime_ns))


def check(root: Path, files: Mapping[str, str], paths: list[str]) -> None:
    """Can these be written, and be committed then?

    Args:
        root: the project folder, there or not.
        files: the texts that are to be written, by path from there.
        paths: what else is.

    Raises:
        UsageError: one of them cannot.
    """
    for path in (*files, *paths):
        place = root / path
        for folder in place.parents:
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder}: is a file, and {path} is to be in a folder of that name", hint="move it")
        if place.is_dir():
            raise UsageError(f"{place}: is a folder, and a file of that name is to be written", hint="move it")
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
    check_committed(root, [*files, *paths])


def check_committed(root: Path, paths: list[str]) -> None:
    """Git would take each of the files, which a clone is to have.

    Raises:
        UsageError: it ignores one.
    """
    found = git.ignored(root, paths)
    if found:
        path, (place, rule) = next(iter(found.items()))
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise UsageError(
            f"{path}{more}: git ignores it by {place}: {rule}, and a clone is to have it",
            hint=f"edit that line; what git thinks then: git check-ignore -v {shlex.quote(path)}",
        )


@contextlib.contextmanager
def undone_on_failure(root: Path, paths: list[str]) -> Iterator[None]:
    """Where the block does not end well, the project and git's index are as they were.

    Args:
        root: the project folder.
        paths: what the block may write in it, beside what git and DVC write.
    """
    tools = [".git", ".dvc", ".dvc/config", ".dvcignore", "dvc.yaml"]
    near = {f"{Path(path).parent.as_posix()}/.gitignore" for path in paths}  # where `dvc add` writes what it tracks
    places = [root / path for path in (*tools, *paths, *near)]
    index = git.index(root)
    named = {*places, *([index] if index is not None else [])}
    # the outermost of the folders that are not there yet goes, and all that is in it
    made = {next((p for p in (*reversed(path.parents), path) if not os.path.lexists(p)), None) for path in places}
    before = _inside(root, places)
    with contextlib.ExitStack() as stack:
        kept = {path: _State.of(path, stack) for path in named if path.is_file()}
        try:
            yield
        except BaseException:
            for path in made - {None}:
                _remove(path)
            if index is not None and index not in kept:
                _remove(index)
            for path in sorted(_inside(root, places) - before, reverse=True):
                _remove(path)
            for path, state in kept.items():
                try:
                    state.restore(path)
                except OSError as error:  # the error that led here is the one to raise
                    log.warning("%s is not as it was: %s", path, error.strerror)
            raise


def _inside(root: Path, places: list[Path]) -> set[Path]:
    """What DVC may add to: its own folder, and temporary files beside what it tracks."""
    return {*(root / ".dvc").rglob("*"), *(file for place in places for file in place.parent.glob(".*.tmp"))}


def _remove(path: Path | None) -> None:
    assert path is not None
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()

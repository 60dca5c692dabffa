"""git, by its command line."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mlops_glue.errors import ToolError


def _run(root: Path, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str] | None:
    command = ["git", "--no-optional-locks", *words]  # who only asks does not write git's index
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False, input=given)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None


def _git(root: Path, *words: str) -> str | None:
    done = _run(root, *words)
    return done.stdout.strip() if done is not None and done.returncode == 0 else None


def inside(root: Path) -> bool:
    """Is the folder in a git work tree?"""
    return _git(root, "rev-parse", "--is-inside-work-tree") == "true"


def top(root: Path) -> Path | None:
    """The folder of the repository that the folder is in; None outside git."""
    found = _git(root, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def there() -> bool:
    """Is git installed?"""
    return _git(Path.cwd(), "--version") is not None


def init(root: Path) -> bool:
    """`git init`; False where there is no git.

    Raises:
        ToolError: git is there and fails.
    """
    if not there():
        return False
    if _alone(root) and _git(root, "init", "--quiet", "--initial-branch=main") is None:
        raise ToolError(f"git init failed in {root}")
    return True


def _alone(root: Path) -> bool:
    """Is it in no repository, or ignored by the one around it, which DVC refuses? Then it gets one of its own."""
    near = _near(root)
    config = os.path.relpath(root / ".dvc" / "config", near)
    return not inside(near) or _git(near, "check-ignore", "--quiet", config) is not None


def _near(root: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(folder for folder in (root, *root.parents) if folder.is_dir())


def ignoring(root: Path, paths: list[str]) -> dict[str, tuple[str, str]]:
    """Of the paths in a folder, there or not, those that git would leave out of a commit: by which line, and its rule.

    Where the folder would get a repository of its own, as that would.

    Raises:
        ToolError: git cannot tell.
    """
    with tempfile.TemporaryDirectory() as scratch:
        near = _near(root)
        where, words = near, []
        if _alone(root):
            if _git(Path(scratch), "init", "--quiet") is None:
                return {}
            where = root if root.is_dir() else Path(scratch)
            words = [f"--git-dir={scratch}/.git", f"--work-tree={where}"]
        prefix = os.path.relpath(root, near) if where == near else "."
        named = {os.path.normpath(f"{prefix}/{path}"): path for path in paths}
        done = _run(where, *words, "check-ignore", "-v", "-z", "--stdin", given="\0".join(named))
    if done is None or done.returncode > 1:
        raise ToolError(f"git check-ignore: {done.stderr.strip() if done is not None else 'does not end'}")
    found = done.stdout.split("\0")
    rules = [found[at : at + 4] for at in range(0, len(found) - 3, 4)]  # file, line, rule, path
    return {named[path]: (f"{file}:{line}", rule) for file, line, rule, path in rules if not rule.startswith("!")}


def index(root: Path) -> Path | None:
    """The file of git's index; None outside git."""
    near = _near(root)
    found = _git(near, "rev-parse", "--git-path", "index")
    return near / found if found else None


def tracks(root: Path, path: str) -> bool:
    """Is this file in git's index?"""
    return _git(root, "ls-files", "--error-unmatch", path) is not None


def commit(root: Path, name: str) -> str | None:
    """The hash of the commit that a name stands for; None where git knows none."""
    return None if name.startswith("-") else _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def lacks_branch(root: Path, name: str) -> bool:
    """Is there another branch, here or at the remote, and not this one?"""
    found = (_git(root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes") or "").splitlines()
    return bool(found) and not any(one.endswith(f"/{name}") for one in found)


def show(root: Path, name: str, path: str) -> str | None:
    """The text of a file of the folder in a commit; None where it has none."""
    return _git(root, "show", f"{name}:./{path}")


def is_shallow(root: Path) -> bool:
    """Does the clone lack the older commits?"""
    return _git(root, "rev-parse", "--is-shallow-repository") == "true"


def has_remote(root: Path) -> bool:
    """Is there another repository to fetch from?"""
    return bool(_git(root, "remote"))


def differs(root: Path, path: str) -> bool:
    """Is a file that git tracks other than in the last commit?"""
    return bool(_git(root, "status", "--porcelain", "--", path))


def changed(root: Path, paths: Iterable[str]) -> set[str]:
    """The files that are other than in the last commit: of those that git tracks all, of the others those of `paths`.

    In the folder they are named from there; outside it, from the top of the repository.
    """
    words = ("ls-files", "--others", "--exclude-standard", "-z", "--", *paths)  # without paths they would be all
    new = (_git(root, *words) if words[-1] != "--" else None) or ""
    return {*_status(root, "--untracked-files=no"), *new.split("\0")} - {""}


def uncommitted(root: Path) -> dict[str, bool]:
    """What of a folder a commit lacks, and whether git does not have it at all; a new folder ends in a slash."""
    found = _status(root, "--untracked-files=normal", "--", ".")
    return found if "" not in found else _status(root, "--untracked-files=all", "--", ".")  # the folder itself is new


def _status(root: Path, *words: str) -> dict[str, bool]:
    done = _run(root, "status", "--porcelain", "-z", "--no-renames", *words)
    said = done.stdout.split("\0") if done is not None and done.returncode == 0 else []
    here = (_git(root, "rev-parse", "--show-prefix") or "") if any(said) else ""
    return {line[3:].removeprefix(here): line.startswith("??") for line in said if line}


def forget(root: Path) -> None:
    """Take a folder out of git's index, where a tool had put files of it; the files stay."""
    _git(root, "rm", "-r", "--cached", "--force", "--quiet", "--ignore-unmatch", ".")


def merge_file(ours: bytes, base: bytes, theirs: bytes, labels: tuple[str, str, str]) -> tuple[bytes, bool]:
    """Three texts in one, as `git merge` does it, and whether it holds conflicts; needs no repository.

    Args:
        ours: the text as it is.
        base: what both others come from.
        theirs: the text to bring in.
        labels: how the marks of a conflict call each of the three.

    Raises:
        ToolError: git is not installed, or cannot merge these: they are no text.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            (Path(folder) / name).write_bytes(text)
        words = [word for label in labels for word in ("-L", label)]
        try:
            done = subprocess.run(
                ["git", "merge-file", "-p", "--quiet", *words, "ours", "base", "theirs"],
                cwd=folder,
                capture_output=True,
                timeout=60,
                check=False,
            )
        except FileNotFoundError:
            raise ToolError("git is not installed, and it does the merging", hint="install git") from None
    if done.returncode > 127:  # else it is the number of conflicts
        raise ToolError(f"git merge-file: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout, done.returncode > 0

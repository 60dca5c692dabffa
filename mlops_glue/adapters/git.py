"""git, by its command line."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from mlops_glue.errors import ToolError


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
    # a folder that the repository around it ignores gets one of its own: DVC refuses to be ignored
    alone = not inside(root) or _git(root, "check-ignore", "--quiet", ".dvc/config") is not None
    if alone and _git(root, "init", "--quiet", "--initial-branch=main") is None:
        raise ToolError(f"git init failed in {root}")
    return True


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


def differs(root: Path, path: str) -> bool:
    """Is a file that git tracks other than in the last commit?"""
    return bool(_git(root, "status", "--porcelain", "--", path))


def revision(root: Path) -> tuple[str | None, bool]:
    """The commit and whether the work tree differs from it; (None, True) outside git or before the first commit."""
    commit = _git(root, "rev-parse", "HEAD")
    return commit, commit is None or bool(_git(root, "status", "--porcelain", "--untracked-files=no"))


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

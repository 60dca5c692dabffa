"""git, by its command line: questions about a repository, and what init, ci and upgrade need of it.

`code` keeps and restores the code that ran, `ref` a text in a ref of its own; all run git by `command`.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from mlops_glue.adapters.git import command
from mlops_glue.errors import ToolError


def _run(root: Path, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str] | None:
    try:
        return command.run(root, *words, stdin=stdin)
    except ToolError:
        return None


def _git(root: Path, *words: str) -> str | None:
    done = _run(root, *words)
    return done.stdout.strip() if done is not None and done.returncode == 0 else None


def is_work_tree(root: Path) -> bool:
    """Is the folder in a git work tree?"""
    return _git(root, "rev-parse", "--is-inside-work-tree") == "true"


def top(root: Path) -> Path | None:
    """The folder of the repository that the folder is in; None outside git."""
    found = _git(root, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def is_installed() -> bool:
    """Is git installed?"""
    return _git(Path.cwd(), "--version") is not None


def init(root: Path) -> bool:
    """`git init`, unless a repository that takes the project is around it; False if git is not installed.

    Raises:
        ToolError: git fails.
    """
    if not is_installed():
        return False
    if _needs_own_repository(root) and _git(root, "init", "--quiet", "--initial-branch=main") is None:
        raise ToolError(f"git init failed in {root}")
    return True


def _needs_own_repository(root: Path) -> bool:
    """Is it in no repository, or ignored by the one around it, which DVC refuses?"""
    near = _nearest_folder(root)
    config = os.path.relpath(root / ".dvc" / "config", near)
    return not is_work_tree(near) or _git(near, "check-ignore", "--quiet", config) is not None


def _nearest_folder(root: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(folder for folder in (root, *root.parents) if folder.is_dir())


def ignored(root: Path, paths: list[str]) -> dict[str, tuple[str, str]]:
    """Which paths of a folder git would leave out of a commit; neither the paths nor the folder need exist.

    If the folder would get a repository of its own, the answer is that repository's. For each path it has the line of
    the ignore file that decides, like `.gitignore:3`, and its rule.

    Raises:
        ToolError: git fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        near = _nearest_folder(root)
        where, words = near, []
        if _needs_own_repository(root):
            if _git(Path(scratch), "init", "--quiet") is None:
                return {}
            where = root if root.is_dir() else Path(scratch)
            words = [f"--git-dir={scratch}/.git", f"--work-tree={where}"]
        prefix = os.path.relpath(root, near) if where == near else "."
        named = {os.path.normpath(f"{prefix}/{path}"): path for path in paths}
        done = _run(where, *words, "check-ignore", "-v", "-z", "--stdin", stdin="\0".join(named))
    if done is None or done.returncode > 1:
        raise ToolError(f"git check-ignore: {done.stderr.strip() if done is not None else 'it does not end'}")
    fields = done.stdout.split("\0")
    rules = [fields[start : start + 4] for start in range(0, len(fields) - 3, 4)]  # file, line, rule, path
    return {named[path]: (f"{file}:{line}", rule) for file, line, rule, path in rules if not rule.startswith("!")}


def index(root: Path) -> Path | None:
    """The file of git's index; None outside git."""
    near = _nearest_folder(root)
    found = _git(near, "rev-parse", "--git-path", "index")
    return near / found if found else None


def is_tracked(root: Path, path: str) -> bool:
    """Is this file in git's index?"""
    return _git(root, "ls-files", "--error-unmatch", path) is not None


def tracked_files(root: Path) -> set[str] | None:
    """The files of a folder that are in git's index, relative to it; None outside git. No hook of its is run."""
    found = _git(root, "-c", "core.fsmonitor=false", "ls-files", "-z")
    return None if found is None else set(found.split("\0"))


def commit_hash(root: Path, name: str) -> str | None:
    """The hash of the commit that a name stands for; None if git knows none."""
    return None if name.startswith("-") else _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def commit_time(root: Path, commit: str) -> datetime | None:
    """When a commit was made, by its hash; None if git does not have it."""
    found = commit_hash(root, commit) and _git(root, "show", "--no-patch", "--format=%cI", f"{commit}^{{commit}}")
    return datetime.fromisoformat(found) if found else None


def names(root: Path) -> list[str]:
    """The branches and tags, those of remotes included."""
    places = ("refs/heads", "refs/tags", "refs/remotes")
    return (_git(root, "for-each-ref", "--format=%(refname:short)", *places) or "").splitlines()


def commit_with(root: Path, path: str, text: str) -> str | None:
    """The first commit of any branch in which a file of the folder has this text; None where there is none."""
    blob = _run(root, "hash-object", "--stdin", stdin=text)
    if blob is None or blob.returncode:
        return None
    name = blob.stdout.strip()
    found = (_git(root, "log", "--all", "--reverse", "--format=%H", f"--find-object={name}", "--", path) or "").split()
    return next((commit for commit in found if _git(root, "rev-parse", f"{commit}:./{path}") == name), None)


def lacks_branch(root: Path, name: str) -> bool:
    """Does the repository have branches, here or at the remote, but none of this name?"""
    found = (_git(root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes") or "").splitlines()
    return bool(found) and not any(branch.endswith(f"/{name}") for branch in found)


def show(root: Path, name: str, path: str) -> str | None:
    """The text of a file of the folder in a commit; None if the commit does not have it."""
    return _git(root, "show", f"{name}:./{path}")


def remote_url(root: Path) -> str | None:
    """The URL of `origin`, without a user and password; None where there is none."""
    found = setting(root, "remote.origin.url")
    return re.sub(r"(?<=://)[^/@]*@", "", found) if found else None


def setting(root: Path, name: str) -> str | None:
    """A value of git's configuration, such as `user.name`."""
    return _git(root, "config", "--get", name)


def changed_files(root: Path, paths: Collection[str] = ()) -> set[str]:
    """The files that differ from the last commit, untracked ones only among `paths`.

    Files in the folder are named from there, others from the top of the repository.
    """
    new = _status(root, "--untracked-files=all", "--", *paths) if paths else {}
    return {*_status(root, "--untracked-files=no"), *new}


def uncommitted(root: Path) -> dict[str, bool]:
    """The files of a folder that differ from the last commit, and whether each is untracked.

    An untracked folder is one entry, which ends in a slash.
    """
    found = _status(root, "--untracked-files=normal", "--", ".")
    return found if "" not in found else _status(root, "--untracked-files=all", "--", ".")  # the folder itself is new


def _status(root: Path, *words: str) -> dict[str, bool]:
    done = _run(root, "status", "--porcelain", "-z", "--no-renames", *words)
    lines = done.stdout.split("\0") if done is not None and done.returncode == 0 else []
    here = (_git(root, "rev-parse", "--show-prefix") or "") if any(lines) else ""
    return {line[3:].removeprefix(here): line.startswith("??") for line in lines if line}


def untrack(root: Path) -> None:
    """Take a folder out of git's index, where a tool had put files of it; the files themselves stay."""
    _git(root, "rm", "-r", "--cached", "--force", "--quiet", "--ignore-unmatch", ".")


def merge_file(ours: bytes, base: bytes, theirs: bytes, labels: tuple[str, str, str]) -> tuple[bytes, bool]:
    """Merge three texts as `git merge` does, without a repository; the merged text, and whether it holds conflicts.

    The labels name the three in the marks of a conflict.

    Raises:
        ToolError: git is not installed, or the contents are not text.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            (Path(folder) / name).write_bytes(text)
        words = [word for label in labels for word in ("-L", label)]
        try:
            done = command.run(
                Path(folder), "merge-file", "-p", "--quiet", *words, "ours", "base", "theirs", text=False
            )
        except ToolError as error:
            raise ToolError(f"{error.message}, and it does the merging", hint=error.hint) from None
    if done.returncode > 127:  # else it is the number of conflicts
        raise ToolError(f"git merge-file: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout, done.returncode > 0

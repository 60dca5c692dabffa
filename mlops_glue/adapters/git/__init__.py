"""Query a git repository through the command line, and run the git commands that init, ci and upgrade need.

`code` records and restores the code that ran, `ref` keeps a text in a separate ref; all run git through `command`.
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
    """Check whether the folder is in a git work tree."""
    return _git(root, "rev-parse", "--is-inside-work-tree") == "true"


def top(root: Path) -> Path | None:
    """Return the top folder of the repository that contains `root`; None outside git."""
    found = _git(root, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def is_installed() -> bool:
    """Check whether git is installed."""
    return _git(Path.cwd(), "--version") is not None


def init(root: Path) -> bool:
    """Run `git init` unless the project is in a repository that does not ignore it; return False without git.

    Raises:
        ToolError: git fails.
    """
    if not is_installed():
        return False
    if _needs_own_repository(root) and _git(root, "init", "--quiet", "--initial-branch=main") is None:
        raise ToolError(f"git init failed in {root}")
    return True


def _needs_own_repository(root: Path) -> bool:
    """Check whether the project is in no repository, or ignored by the enclosing one, which DVC refuses."""
    near = _nearest_folder(root)
    config = os.path.relpath(root / ".dvc" / "config", near)
    return not is_work_tree(near) or _git(near, "check-ignore", "--quiet", config) is not None


def _nearest_folder(root: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(folder for folder in (root, *root.parents) if folder.is_dir())


def ignored(root: Path, paths: list[str]) -> dict[str, tuple[str, str]]:
    """Find the paths of a folder that git would ignore; neither the paths nor the folder need to exist.

    If the folder would get its own repository, the rules of that repository apply.

    Returns:
        For each ignored path the deciding line of the ignore file, such as `.gitignore:3`, and its rule.

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
        raise ToolError(f"git check-ignore: {done.stderr.strip() if done is not None else 'it did not finish'}")
    fields = done.stdout.split("\0")
    rules = [fields[start : start + 4] for start in range(0, len(fields) - 3, 4)]  # file, line, rule, path
    return {named[path]: (f"{file}:{line}", rule) for file, line, rule, path in rules if not rule.startswith("!")}


def index(root: Path) -> Path | None:
    """Return the path of git's index file; None outside git."""
    near = _nearest_folder(root)
    found = _git(near, "rev-parse", "--git-path", "index")
    return near / found if found else None


def is_tracked(root: Path, path: str) -> bool:
    """Check whether the file is in git's index."""
    return _git(root, "ls-files", "--error-unmatch", path) is not None


def tracked_files(root: Path) -> set[str] | None:
    """Return the folder's files in git's index, relative to the folder; None outside git. It runs no hooks."""
    found = _git(root, "-c", "core.fsmonitor=false", "ls-files", "-z")
    return None if found is None else set(found.split("\0"))


def commit_hash(root: Path, name: str) -> str | None:
    """Return the hash of the commit that a name refers to; None if there is none."""
    return None if name.startswith("-") else _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def commit_time(root: Path, commit: str) -> datetime | None:
    """Return the time of a commit, given by its hash; None if git does not have the commit."""
    found = commit_hash(root, commit) and _git(root, "show", "--no-patch", "--format=%cI", f"{commit}^{{commit}}")
    return datetime.fromisoformat(found) if found else None


def names(root: Path) -> list[str]:
    """Return all branches and tags, including remote branches."""
    places = ("refs/heads", "refs/tags", "refs/remotes")
    return (_git(root, "for-each-ref", "--format=%(refname:short)", *places) or "").splitlines()


def commit_with(root: Path, path: str, text: str) -> str | None:
    """Return the first commit on any branch in which a file of the folder has this text; None if there is none."""
    blob = _run(root, "hash-object", "--stdin", stdin=text)
    if blob is None or blob.returncode:
        return None
    name = blob.stdout.strip()
    every = ("log", "--exclude=refs/stash", "--all", "-m", "--reverse", "--format=%H")  # -m: also in merge commits
    found = (_git(root, *every, f"--find-object={name}", "--", path) or "").split()
    return next((commit for commit in found if _git(root, "rev-parse", f"{commit}:./{path}") == name), None)


def lacks_branch(root: Path, name: str) -> bool:
    """Check whether the repository has local or remote branches, but none with this name."""
    found = (_git(root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes") or "").splitlines()
    return bool(found) and not any(branch.endswith(f"/{name}") for branch in found)


def show(root: Path, name: str, path: str) -> str | None:
    """Return the text of one of the folder's files in a commit; None if the commit does not have the file."""
    return _git(root, "show", f"{name}:./{path}")


def remote_url(root: Path) -> str | None:
    """Return the URL of `origin` without user and password; None if there is no such remote."""
    found = setting(root, "remote.origin.url")
    return re.sub(r"(?<=://)[^/@]*@", "", found) if found else None


def setting(root: Path, name: str) -> str | None:
    """Return a value of git's configuration, such as `user.name`."""
    return _git(root, "config", "--get", name)


def changed_files(root: Path, paths: Collection[str] = ()) -> set[str]:
    """Return the files that differ from the last commit; untracked files only if they are in `paths`.

    Paths in the folder are relative to it, other paths to the top of the repository.
    """
    new = _status(root, "--untracked-files=all", "--", *paths) if paths else {}
    return {*_status(root, "--untracked-files=no"), *new}


def uncommitted(root: Path) -> dict[str, bool]:
    """Return the files of a folder that differ from the last commit, and whether each is untracked.

    An untracked folder is one entry that ends in a slash.
    """
    found = _status(root, "--untracked-files=normal", "--", ".")
    return found if "" not in found else _status(root, "--untracked-files=all", "--", ".")  # the folder itself is new


def _status(root: Path, *words: str) -> dict[str, bool]:
    done = _run(root, "status", "--porcelain", "-z", "--no-renames", *words)
    lines = done.stdout.split("\0") if done is not None and done.returncode == 0 else []
    here = (_git(root, "rev-parse", "--show-prefix") or "") if any(lines) else ""
    return {line[3:].removeprefix(here): line.startswith("??") for line in lines if line}


def untrack(root: Path) -> None:
    """Remove a folder from git's index after a tool has staged files of it; the files themselves stay."""
    _git(root, "rm", "-r", "--cached", "--force", "--quiet", "--ignore-unmatch", ".")


def merge_file(ours: bytes, base: bytes, theirs: bytes, labels: tuple[str, str, str]) -> tuple[bytes, bool]:
    """Merge three texts like `git merge`, without a repository.

    The labels name the three texts in conflict markers.

    Returns:
        The merged text, and whether it contains conflicts.

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
            raise ToolError(f"{error.message}; merging needs it", hint=error.hint) from None
    if done.returncode > 127:  # otherwise it is the number of conflicts
        raise ToolError(f"git merge-file: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout, done.returncode > 0

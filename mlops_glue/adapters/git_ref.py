"""A text that is kept in a git ref of its own: appended to by compare-and-set, shared by fetch and push.

The user's branches, index and working tree stay as they are.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mlops_glue.errors import ToolError

RETRIES = 30
NAME = "entries.jsonl"  # of the one file in the ref's tree
AUTHOR = ("-c", "user.name=glue", "-c", "user.email=glue@localhost", "-c", "commit.gpgSign=false")


def read(root: Path, ref: str) -> str:
    """The text; empty where the ref is not there."""
    tip = _tip(root, ref)
    return _text(root, tip) if tip else ""


def append(
    root: Path, ref: str, add: Callable[[str], str], merge: Callable[[str, str], str], remote: str | None = None
) -> None:
    """Change the text, whoever else changes it meanwhile.

    Args:
        root: any folder of the repository.
        ref: like `refs/glue/audit`.
        add: makes the new text from the present one.
        merge: makes one text from the remote's and ours, where both have changed.
        remote: where the text is shared; None: it stays in this repository.

    Raises:
        ToolError: git fails, or the remote cannot be reached. The text is kept here all the same.
    """
    added = False
    for attempt in range(RETRIES):
        time.sleep(attempt and random.uniform(0, 0.05 * attempt))  # noqa: S311 - so that rivals do not stay in step
        ours = _tip(root, ref)
        theirs = _fetched(root, ref, remote) if remote else None
        parent, text = _joined(root, ours, theirs, merge)
        tip = ours if added and parent == ours else _commit(root, parent, text if added else add(text))
        if tip is not None and tip != ours and _git(root, "update-ref", ref, tip, ours or "0" * 40).returncode:
            continue  # another process was faster
        added = True
        if remote is None or _git(root, "push", "--quiet", "--no-verify", remote, f"{tip}:{ref}").returncode == 0:
            return
    raise ToolError(f"{ref} cannot be pushed to {remote}" if remote else f"{ref} is changed by others all the time")


def pull(root: Path, ref: str, merge: Callable[[str, str], str], remote: str) -> None:
    """Take what the remote has.

    Raises:
        ToolError: it cannot be reached.
    """
    ours, theirs = _tip(root, ref), _fetched(root, ref, remote)
    parent, text = _joined(root, ours, theirs, merge)
    if parent is not None and parent != ours:
        tip = parent if text == _text(root, parent) else _commit(root, parent, text)
        _done(root, "update-ref", ref, tip, ours or "0" * 40)


def _joined(
    root: Path, ours: str | None, theirs: str | None, merge: Callable[[str, str], str]
) -> tuple[str | None, str]:
    """The commit to go on from, and the text there: ours, theirs, or theirs with what only we have."""
    if theirs is None or ours == theirs:
        return ours, _text(root, ours) if ours else ""
    if ours is None or _is_before(root, ours, theirs):
        return theirs, _text(root, theirs)
    if _is_before(root, theirs, ours):
        return ours, _text(root, ours)
    return theirs, merge(_text(root, theirs), _text(root, ours))


def _is_before(root: Path, first: str, second: str) -> bool:
    return _git(root, "merge-base", "--is-ancestor", first, second).returncode == 0


def _tip(root: Path, ref: str) -> str | None:
    found = _git(root, "rev-parse", "--verify", "--quiet", ref)
    return found.stdout.strip() if found.returncode == 0 else None


def _text(root: Path, commit: str) -> str:
    return _done(root, "cat-file", "blob", f"{commit}:{NAME}")


def _fetched(root: Path, ref: str, remote: str) -> str | None:
    """The remote's commit; None where it has no such ref."""
    listed = _done(root, "ls-remote", remote, ref)
    if not listed:
        return None
    _done(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, ref)
    return listed.split()[0]


def _commit(root: Path, parent: str | None, text: str) -> str:
    blob = _done(root, "hash-object", "-w", "--stdin", stdin=text).strip()
    tree = _done(root, "mktree", stdin=f"100644 blob {blob}\t{NAME}\n").strip()
    parents = ["-p", parent] if parent else []
    return _done(root, *AUTHOR, "commit-tree", tree, *parents, "-m", "entries").strip()


def _done(root: Path, *words: str, stdin: str | None = None) -> str:
    done = _git(root, *words, stdin=stdin)
    if done.returncode:
        name = next(word for word in words if not word.startswith("-") and "=" not in word)
        raise ToolError(f"git {name}: {done.stderr.strip()}")
    return done.stdout


def _git(root: Path, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False, input=stdin, timeout=120
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"git {words[0]}: {type(error).__name__}") from error

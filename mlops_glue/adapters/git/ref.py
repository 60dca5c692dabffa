"""Keep a text in a separate git ref: append to it with compare-and-set, share it with fetch and push.

The user's branches, index and working tree stay unchanged.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops_glue.adapters.git.command import output, run
from mlops_glue.errors import ToolError

RETRIES = 30
ANSWER_S = 120.0  # limit for a remote
NONE = "0" * 40  # old value of a ref that does not exist
NAME = "entries.jsonl"  # the only file in the ref's tree
AUTHOR = ("-c", "user.name=glue", "-c", "user.email=glue@localhost", "-c", "commit.gpgSign=false")


def read(root: Path, ref: str) -> str:
    """Return the text; empty if the ref does not exist."""
    tip = _tip(root, ref)
    return _text(root, tip) if tip else ""


def append(root: Path, ref: str, add: Callable[[str], str]) -> None:
    """Change the text safely, even if other processes change it at the same time.

    Args:
        root: any folder of the repository.
        ref: a ref such as `refs/glue/audit`.
        add: returns the new text for the current one; it may be called several times.

    Raises:
        ToolError: git fails.
    """
    for _ in _attempts():
        tip = _tip(root, ref)
        made = _commit(root, tip, add(_text(root, tip) if tip else ""))
        if _git(root, "update-ref", ref, made, tip or NONE).returncode == 0:
            return
    raise ToolError(f"{ref}: other processes kept changing it; gave up after {RETRIES} attempts")


def share(root: Path, ref: str, merge: Callable[[str, str], str], remote: str) -> None:
    """Synchronise the text with a remote, so that both have the same.

    Args:
        root: any folder of the repository.
        ref: a ref such as `refs/glue/audit`.
        merge: returns one text for the remote's and ours, if both have changed.
        remote: the name or URL of the remote.

    Raises:
        ToolError: the remote cannot be reached, or refuses the push.
    """
    problem = ""
    for _ in _attempts():
        ours, theirs = _tip(root, ref), _fetched(root, ref, remote)
        tip, text = _joined(root, ours, theirs, merge)
        if tip is None:
            return
        if text is not None:
            tip = _commit(root, tip, text)
        if tip != ours and _git(root, "update-ref", ref, tip, ours or NONE).returncode:
            continue  # another process was faster
        if tip == theirs:
            return
        done = _git(root, "push", "--quiet", "--no-verify", remote, f"{tip}:{ref}")
        if done.returncode == 0:
            return
        problem = done.stderr.strip()
    raise ToolError(f"{ref} cannot be pushed to {remote}: {problem}")


def _attempts() -> Iterator[int]:
    """Yield `RETRIES` attempts with growing random pauses, so that competing processes do not stay in step."""
    for attempt in range(RETRIES):
        time.sleep(attempt and random.uniform(0, 0.05 * attempt))  # noqa: S311
        yield attempt


def _joined(
    root: Path, ours: str | None, theirs: str | None, merge: Callable[[str, str], str]
) -> tuple[str | None, str | None]:
    """Return the commit to continue from (ours or theirs), and the merged text if both have changed."""
    if theirs is None or ours == theirs or (ours is not None and _is_before(root, theirs, ours)):
        return ours, None
    if ours is None or _is_before(root, ours, theirs):
        return theirs, None
    return theirs, merge(_text(root, theirs), _text(root, ours))


def _is_before(root: Path, first: str, second: str) -> bool:
    return _git(root, "merge-base", "--is-ancestor", first, second).returncode == 0


def _tip(root: Path, ref: str) -> str | None:
    found = _git(root, "rev-parse", "--verify", "--quiet", ref)
    return found.stdout.strip() if found.returncode == 0 else None


def _text(root: Path, commit: str) -> str:
    return _done(root, "cat-file", "blob", f"{commit}:{NAME}")


def _fetched(root: Path, ref: str, remote: str) -> str | None:
    """Fetch the remote's commit; None if the remote does not have the ref."""
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
    done: str = output(root, *words, stdin=stdin, timeout_s=ANSWER_S)
    return done


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(root, *words, timeout_s=ANSWER_S)

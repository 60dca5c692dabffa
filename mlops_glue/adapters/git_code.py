"""The code exactly as it ran, also where it was never committed: kept as a patch, and restored beside the user's files.

Nothing here changes the user's index, working tree, branches or object store.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlops_glue.errors import ToolError

MAX_FILE_BYTES = 1 << 20  # a bigger file is named, with its hash, and not kept


@dataclass(frozen=True)
class Code:
    """What ran.

    Attributes:
        commit: that HEAD was at; None where there was none.
        tree: hash of git's tree of the commit with the files that ran: what a restored worktree must have.
        patch: from the commit to the tree, as `git apply --binary` reads it; empty where the commit is what ran.
        changed: the files that differ from the commit, relative to the repository.
        left_out: SHA-256 of files that are too big to be kept, or lie outside the repository, by path from the project.
    """

    commit: str | None
    tree: str
    patch: bytes
    changed: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


UNKNOWN = Code(None, "", b"")


def snapshot(root: Path, paths: Iterable[str]) -> Code:
    """Record the code of a project.

    Args:
        root: the project folder, which need not be in git.
        paths: the files and folders that ran, relative to it. Those that are gone are recorded as gone.

    Raises:
        ToolError: git fails.
    """
    kept, left_out, top = [], {}, _top(root)
    for path in sorted({*paths}):
        file = root / path
        outside = not file.resolve().is_relative_to(top)
        if file.is_file() and (outside or file.stat().st_size > MAX_FILE_BYTES):
            left_out[path] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif not outside:
            kept.append(path)
    with _private(root) as (env, commit):
        git = _Git(root, env)
        empty = git("hash-object", "-t", "tree", "--stdin", stdin=b"").strip().decode()
        git("read-tree", commit or empty)
        git("add", "--all", "--force", "--", *(path for path in kept if _known(git, root, path)))
        tree = git("write-tree").strip().decode()
        patch = git(
            "diff", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", commit or empty, tree
        )
        changed = git("diff", "--name-only", "-z", "--no-renames", "--no-relative", commit or empty, tree)
    return Code(commit, tree, patch, changed.decode().split("\0")[:-1], left_out)


@contextmanager
def restored(root: Path, code: Code) -> Iterator[Path]:
    """A worktree of the code in a temporary folder; it is removed with the block.

    Args:
        root: any folder of the repository.
        code: what ran.

    Raises:
        ToolError: the commit is not in the repository, or what is restored is not what ran.
    """
    if not code.tree:
        raise ToolError("the code was not recorded: git was not installed then")
    with tempfile.TemporaryDirectory(prefix="glue-code-") as scratch:
        into = Path(scratch) / "tree"
        git = _Git(root, {})
        if code.commit is None:
            into.mkdir()
            git("init", "--quiet", str(into))
        else:
            if not git.knows(code.commit):
                raise ToolError(
                    f"commit {code.commit} is not in this repository", hint="git fetch --all --tags --unshallow"
                )
            git("worktree", "add", "--quiet", "--detach", str(into), code.commit)
        try:
            there = _Git(into, {})
            if code.patch:
                there("apply", "--index", "--binary", "--whitespace=nowarn", "-", stdin=code.patch)
            tree = there("write-tree").strip().decode()
            if tree != code.tree:
                raise ToolError(f"the code that is restored is tree {tree}, and {code.tree} ran")
            yield into
        finally:
            if code.commit is not None:
                git("worktree", "remove", "--force", str(into))


class _Git:
    """git in one folder, without its hooks; a failure is an error."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder, self._env = folder, {**os.environ, **env}

    def __call__(self, *words: str, stdin: bytes | None = None) -> bytes:
        command = ["git", "--no-optional-locks", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *words]
        try:
            done = subprocess.run(
                command, cwd=self._folder, env=self._env, input=stdin, capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise ToolError("git is not installed") from error
        if done.returncode:
            raise ToolError(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def knows(self, commit: str) -> bool:
        """Is the commit in the repository?"""
        try:
            self("cat-file", "-e", f"{commit}^{{commit}}")
        except ToolError:
            return False
        return True


def _top(root: Path) -> Path:
    """The folder of the repository; the project itself where it is in none."""
    try:
        return Path(_Git(root, {})("rev-parse", "--show-toplevel").decode().strip()).resolve()
    except ToolError:
        return root.resolve()


def _known(git: _Git, root: Path, path: str) -> bool:
    """Is there something to add: a file that is there, or one that the commit has?"""
    return (root / path).exists() or bool(git("ls-files", "--", path))


@contextmanager
def _private(root: Path) -> Iterator[tuple[dict[str, str], str | None]]:
    """An index and an object folder of our own, and the commit of HEAD."""
    with tempfile.TemporaryDirectory(prefix="glue-code-") as scratch:
        index, objects = f"{scratch}/index", Path(scratch, "objects")
        objects.mkdir()
        env = {"GIT_INDEX_FILE": index, "GIT_OBJECT_DIRECTORY": str(objects)}
        plain = _Git(root, {})
        try:
            theirs = plain("rev-parse", "--path-format=absolute", "--git-path", "objects").decode().strip()
        except ToolError:  # not in git
            plain("init", "--quiet", "--bare", f"{scratch}/git")
            yield env | {"GIT_DIR": f"{scratch}/git", "GIT_WORK_TREE": str(root)}, None
            return
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = theirs
        try:
            commit = plain("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
        except ToolError:  # no commit yet
            commit = ""
        yield env, commit or None

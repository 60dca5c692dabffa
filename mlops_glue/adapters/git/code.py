"""Record the code exactly as it ran, committed or not, as a commit and a patch; restore it in a separate folder.

Nothing here changes the user's index, working tree, branches or object store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlops_glue import files
from mlops_glue.adapters.git.command import output, run
from mlops_glue.errors import ToolError

MAX_FILE_BYTES = 1 << 20  # of a larger file only the name and the hash are recorded
PREFIX, WORKTREE = "glue-code-", "tree"  # prefix of temporary folders, and the worktree inside one
SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


@dataclass(frozen=True)
class Code:
    """The code that ran.

    Attributes:
        commit: the commit of HEAD; None if there was none.
        tree: hash of the git tree of the commit with the files that ran; a restored worktree must have the same.
        patch: from the commit to the tree, for `git apply --binary`; empty if exactly the commit ran.
        changed: the files that differ from the commit, relative to the repository.
        left_out: SHA-256 of the files that are in neither the commit nor the patch, by path from the project: files
            that are too large, outside the repository, or in a repository inside it (a submodule).
        prefix: the project's folder in the repository.
    """

    commit: str | None
    tree: str
    patch: bytes
    changed: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    prefix: str = "."


UNKNOWN = Code(None, "", b"")


def snapshot(root: Path, paths: Iterable[str]) -> Code:
    """Record the code of a project.

    Args:
        root: the project folder, which need not be in git.
        paths: the files and folders that ran, relative to the project. Missing ones are recorded as deleted.

    Raises:
        ToolError: git fails.
    """
    there, gone, left_out, top = list[str](), list[str](), dict[str, str](), _top(root)
    for path in sorted({*paths}):
        file = root / path
        if not _is_of(file.resolve(), top):
            left_out |= {path: files.sha256(file)} if file.is_file() else {}
        elif not (file.is_file() and file.stat().st_size > MAX_FILE_BYTES):
            (there if file.exists() else gone).append(path)
        elif not _is_committed(root, path):
            left_out[path] = files.sha256(file)
    with _private(root) as (env, commit):
        empty = _git(root, "hash-object", "-t", "tree", "--stdin", env=env, stdin=b"").decode().strip()
        _git(root, "read-tree", commit or empty, env=env)
        known = _git(root, "ls-files", "-z", "--", *gone, env=env) if gone else b""  # those that are in the commit
        if paths := [*there, *known.decode().split("\0")[:-1]]:  # without paths, git would add everything
            _git(root, "add", "--all", "--force", "--", *paths, env=env)
        tree = _word(root, "write-tree", env=env)
        between = ("diff", "--no-renames", commit or empty, tree)
        patch = _git(root, *between, "--binary", "--full-index", "--no-ext-diff", "--no-textconv", env=env)
        changed = _git(root, *between, "--name-only", "-z", "--no-relative", env=env)
    prefix = root.resolve().relative_to(top).as_posix()
    return Code(commit, tree, patch, changed.decode().split("\0")[:-1], left_out, prefix)


def changes(root: Path, before: Code, after: Code) -> str:
    """Return the output of `git diff --stat` between two recorded codes, including uncommitted changes.

    Raises:
        ToolError: a commit is not in the repository, or the code was not recorded.
    """
    with _private(root) as (env, _):
        trees = [_tree(root, code, env) for code in (before, after)]
        between = ("--stat=100", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
        return _git(root, "diff", *between, *trees, env=env).decode(errors="replace").rstrip()


def _tree(root: Path, code: Code, env: Mapping[str, str]) -> str:
    """Return the tree of a code; if the repository does not have it, it is built in the index of `env`."""
    if _has_tree(root, code):
        return code.tree
    if code.commit is None and not code.patch:
        raise ToolError("the code was not recorded")
    _git(root, "read-tree", _there(root, code.commit) if code.commit else "--empty", env=env)
    if code.patch:
        _git(_top(root), "apply", "--cached", "--binary", "--whitespace=nowarn", "-", env=env, stdin=code.patch)
    return _word(root, "write-tree", env=env)


def _has_tree(root: Path, code: Code) -> bool:
    """Check whether the repository has exactly the code that ran, for instance because it was committed afterwards."""
    return bool(code.tree) and run(root, "cat-file", "-e", f"{code.tree}^{{tree}}").returncode == 0


def _has_commit(root: Path, commit: str) -> bool:
    return bool(run(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0)


def _there(root: Path, commit: str) -> str:
    """Return a commit after checking that the repository has it.

    Raises:
        ToolError: the repository does not have it.
    """
    if not _has_commit(root, commit):
        problem = f"commit {commit} is not in this repository"
        remote = run(root, "remote").stdout.partition("\n")[0] or "A_CLONE_THAT_HAS_IT"
        raise ToolError(problem, hint=f"git fetch {remote} {commit}")  # also if no branch of the remote has it any more
    return commit


@contextmanager
def restored(root: Path, code: Code) -> Iterator[Path]:
    """Restore the code to a worktree in a temporary folder, which is removed at the end of the block.

    Args:
        root: any folder of the repository.
        code: the recorded code.

    Raises:
        ToolError: neither the commit nor the tree is in the repository, or the restored code differs from the code
            that ran.
    """
    if not code.tree:
        raise ToolError("the code was not recorded: git was not installed at the time")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as scratch:
        into, rewritten = Path(scratch) / WORKTREE, False
        if code.commit is None:
            into.mkdir()
            _git(root, "init", "--quiet", str(into))
        else:
            rewritten = not _has_commit(root, code.commit) and _has_tree(root, code)
            there = "HEAD" if rewritten else _there(root, code.commit)
            _forget_killed(root)
            _git(root, "worktree", "add", "--quiet", "--detach", str(into), there)
        try:
            if rewritten:  # a rebase or a squash has replaced the commit, but another one has the same files
                _git(into, "read-tree", "-u", "--reset", code.tree)
            elif code.patch:
                _git(into, "apply", "--index", "--binary", "--whitespace=nowarn", "-", stdin=code.patch)
            tree = _word(into, "write-tree")
            if tree != code.tree:
                raise ToolError(f"the restored code is tree {tree}, but the code that ran was tree {code.tree}")
            yield into
        finally:
            if code.commit is not None:
                _git(root, "worktree", "remove", "--force", str(into))


def _forget_killed(root: Path) -> None:
    """Remove glue's worktrees whose folder no longer exists, left by killed processes; others stay as they are."""
    listed = _git(root, "worktree", "list", "--porcelain").decode().splitlines()
    for path in (Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")):
        if path.name == WORKTREE and path.parent.name.startswith(PREFIX) and not path.exists():
            run(root, "worktree", "remove", "--force", str(path))  # another process may be faster


def _git(folder: Path, *words: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> bytes:
    """Return git's output in a folder, without running hooks; raise ToolError if git fails."""
    done: bytes = output(folder, *SAFE, *words, env=env, stdin=stdin, text=False, timeout_s=None)
    return done


def _word(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Return git's output of one line, stripped."""
    return _git(folder, *words, env=env).decode().strip()


def _top(root: Path) -> Path:
    """Return the top folder of the repository; the project itself outside git."""
    try:
        return Path(_word(root, "rev-parse", "--show-toplevel")).resolve()
    except ToolError:
        return root.resolve()


def _is_of(file: Path, top: Path) -> bool:
    """Check whether git treats a file as part of this repository, and not of a submodule or clone inside it."""
    between = [folder for folder in file.parents if folder != top and folder.is_relative_to(top)]
    return file.is_relative_to(top) and not any((folder / ".git").exists() for folder in between)


def _is_committed(root: Path, path: str) -> bool:
    """Check whether the commit contains the file unchanged."""
    committed = run(root, "rev-parse", "--verify", "--quiet", f"HEAD:./{path}")
    return not committed.returncode and _word(root, "hash-object", "--", path) == committed.stdout.strip()


@contextmanager
def _private(root: Path) -> Iterator[tuple[dict[str, str], str | None]]:
    """Yield the environment of a private index and object folder, and the commit of HEAD."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as scratch:
        index, objects = f"{scratch}/index", Path(scratch, "objects")
        objects.mkdir()
        env = {"GIT_INDEX_FILE": index, "GIT_OBJECT_DIRECTORY": str(objects)}
        try:
            theirs = _word(root, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        except ToolError:  # not in git
            _git(root, "init", "--quiet", "--bare", f"{scratch}/git")
            yield env | {"GIT_DIR": f"{scratch}/git", "GIT_WORK_TREE": str(root)}, None
            return
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = theirs
        commit = run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").stdout.strip()
        yield env, commit or None  # there may be no commit yet

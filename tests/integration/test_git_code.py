"""The code as it ran is kept and restored, and the user's repository stays as it was."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mlops_glue.adapters.git import code as git_code
from mlops_glue.errors import ToolError


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def state(root: Path) -> tuple[str, ...]:
    index = (root / ".git/index").read_bytes().hex() if (root / ".git/index").exists() else ""
    objects = git(root, "count-objects", "-v")
    return (
        index,
        objects,
        git(root, "--no-optional-locks", "status", "--porcelain"),
        git(root, "for-each-ref"),
        git(root, "worktree", "list"),
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "r"
    (root / "sub").mkdir(parents=True)
    git(tmp_path, "init", "-q", str(root))
    (root / "sub/a.py").write_text("a = 1\n")
    (root / "sub/b.py").write_text("b = 1\n")
    (root / "sub/gone.py").write_text("c = 1\n")
    (root / "other.txt").write_text("x\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


def test_what_was_not_committed_is_restored_as_it_ran(repository: Path) -> None:
    (repository / "sub/a.py").write_text("a = 2\r\n")  # changed, with other line ends
    (repository / "sub/new é.py").write_bytes(b"\x00\xff binary")
    (repository / "sub/gone.py").unlink()
    (repository / "other.txt").write_text("unrelated, and not of what ran\n")
    git(repository, "add", "other.txt")
    (repository / ".gitignore").write_text("ignored.py\n")
    (repository / "sub/ignored.py").write_text("used all the same\n")
    before = state(repository)
    paths = ["a.py", "b.py", "gone.py", "new é.py", "ignored.py", "never_was.py"]
    code = git_code.snapshot(repository / "sub", paths)
    assert state(repository) == before
    assert code.changed == ["sub/a.py", "sub/gone.py", "sub/ignored.py", "sub/new é.py"]
    (repository / "sub/a.py").write_text("a = 3\n")  # what happens later does not matter
    with git_code.restored(repository, code) as tree:
        assert (tree / "sub/a.py").read_bytes() == b"a = 2\r\n"
        assert (tree / "sub/new é.py").read_bytes() == b"\x00\xff binary"
        assert not (tree / "sub/gone.py").exists()
        assert (tree / "other.txt").read_text() == "x\n"
        assert (tree / "sub/ignored.py").is_file()
    assert not tree.exists()
    assert "glue-code" not in git(repository, "worktree", "list")


def test_a_clean_commit_needs_no_patch(repository: Path) -> None:
    code = git_code.snapshot(repository, ["sub"])
    assert (code.patch, code.changed) == (b"", [])
    assert code.commit == git(repository, "rev-parse", "HEAD").strip()
    assert code.tree == git(repository, "rev-parse", "HEAD^{tree}").strip()


@pytest.mark.parametrize("in_git", [True, False])
def test_without_a_commit_everything_that_ran_is_in_the_patch(tmp_path: Path, in_git: bool) -> None:
    root = tmp_path / "p"
    root.mkdir()
    if in_git:
        git(root, "init", "-q", ".")
    (root / "glue.yaml").write_text("glue: 1\n")
    code = git_code.snapshot(root, ["glue.yaml"])
    assert code.commit is None
    with git_code.restored(root, code) as tree:
        assert (tree / "glue.yaml").read_text() == "glue: 1\n"


def test_a_project_below_the_top_of_a_repository_without_a_commit(tmp_path: Path) -> None:
    """As `glue adopt` leaves one: the project's folder in the restored tree is the recorded one."""
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue/glue.yaml").write_text("glue: 1\n")
    code = git_code.snapshot(tmp_path / "glue", ["glue.yaml"])
    assert (code.commit, code.prefix) == (None, "glue")
    with git_code.restored(tmp_path / "glue", code) as tree:
        assert (tree / code.prefix / "glue.yaml").read_text() == "glue: 1\n"


def test_a_big_file_is_named_and_not_kept(repository: Path) -> None:
    (repository / "big.py").write_bytes(b"#" * (git_code.MAX_FILE_BYTES + 1))
    code = git_code.snapshot(repository, ["big.py", "sub/a.py"])
    assert list(code.left_out) == ["big.py"] and len(code.left_out["big.py"]) == 64
    assert code.patch == b""


def test_it_works_while_git_is_busy_and_without_hooks(repository: Path) -> None:
    (repository / ".git/index.lock").touch()
    hook = repository / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    hook.chmod(0o755)
    (repository / "sub/a.py").write_text("a = 2\n")
    code = git_code.snapshot(repository, ["sub/a.py"])
    with git_code.restored(repository, code):
        pass
    assert not (repository / "ran").exists()


def test_what_cannot_be_restored_is_said(repository: Path, tmp_path: Path) -> None:
    (repository / "sub/a.py").write_text("a = 2\n")
    code = git_code.snapshot(repository, ["sub/a.py"])
    wrong = git_code.Code(code.commit, "0" * 40, code.patch)
    with pytest.raises(ToolError, match="that ran was tree 0000"), git_code.restored(repository, wrong):
        pass
    with pytest.raises(ToolError, match="was not recorded"), git_code.restored(repository, git_code.UNKNOWN):
        pass
    git(tmp_path, "init", "-q", "elsewhere")
    with pytest.raises(ToolError, match="is not in this repository"), git_code.restored(tmp_path / "elsewhere", code):
        pass
    assert "glue-code" not in git(repository, "worktree", "list")


def test_the_hint_for_a_commit_that_is_not_here_brings_it(repository: Path, tmp_path: Path) -> None:
    """From a shallow clone, and from a complete one, after the branch was rewritten or deleted on the remote."""
    code = git_code.snapshot(repository, ["other.txt"])
    (repository / "other.txt").write_text("y\n")
    git(repository, "commit", "-qa", "--amend", "-m", "rewritten")
    for name, depth in {"shallow": ["--depth=1"], "complete": []}.items():
        git(tmp_path, "clone", "-q", *depth, f"file://{repository}", name)
        with pytest.raises(ToolError) as caught, git_code.restored(tmp_path / name, code):
            pass
        git(tmp_path / name, *str(caught.value.hint).split()[1:])
        with git_code.restored(tmp_path / name, code):
            pass
    git(tmp_path, "init", "-q", "alone")
    with pytest.raises(ToolError) as caught, git_code.restored(tmp_path / "alone", code):
        pass
    assert caught.value.hint == f"git fetch A_CLONE_THAT_HAS_IT {code.commit}"


def test_after_a_rewritten_history_the_same_files_in_another_commit_will_do(repository: Path, tmp_path: Path) -> None:
    (repository / "sub/a.py").write_text("a = 2\n")
    (repository / "sub/gone.py").unlink()
    code = git_code.snapshot(repository / "sub", ["a.py", "gone.py"])
    git(repository, "commit", "-qam", "its results")
    git(repository, "checkout", "-q", "--orphan", "squashed")
    git(repository, "commit", "-qm", "all in one")
    (repository / "sub/a.py").write_text("a = 3\n")
    git(repository, "commit", "-qam", "later")
    git(tmp_path, "clone", "-q", "--single-branch", f"file://{repository}", "later")
    with pytest.raises(subprocess.CalledProcessError):  # the commit itself is not here
        git(tmp_path / "later", "cat-file", "-e", str(code.commit))
    before = state(tmp_path / "later")
    with git_code.restored(tmp_path / "later", code) as tree:
        assert (tree / "sub/a.py").read_text() == "a = 2\n" and not (tree / "sub/gone.py").exists()
    later = git_code.snapshot(tmp_path / "later/sub", ["a.py"])
    assert "sub/a.py | 2 +-" in git_code.changes(tmp_path / "later", code, later)
    assert state(tmp_path / "later") == before


def test_what_another_repository_inside_has_is_left_out_by_name(repository: Path, tmp_path: Path) -> None:
    """A submodule, and a clone that lies there: git refuses or drops their files."""
    git(tmp_path, "clone", "-q", str(repository), "lib")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "lib"), "sub/lib")
    git(repository, "commit", "-qm", "two")
    git(repository / "sub", "clone", "-q", str(tmp_path / "lib"), "clone")
    inside = ["lib/sub/a.py", "clone/sub/b.py"]
    code = git_code.snapshot(repository / "sub", ["a.py", *inside])
    assert sorted(code.left_out) == sorted(inside) and code.changed == []
    of_submodule = git_code.snapshot(repository / "sub/lib/sub", ["a.py"])  # the project itself may lie in one
    with git_code.restored(repository / "sub/lib", of_submodule) as tree:
        assert (tree / "sub/a.py").is_file()


def test_a_big_file_that_the_commit_has_is_not_left_out(repository: Path) -> None:
    big = repository / "sub/big.csv"
    big.write_text("1\n" * git_code.MAX_FILE_BYTES)
    assert list(git_code.snapshot(repository / "sub", ["big.csv"]).left_out) == ["big.csv"]
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    assert not git_code.snapshot(repository / "sub", ["big.csv"]).left_out
    big.write_text("2\n" * git_code.MAX_FILE_BYTES)
    assert list(git_code.snapshot(repository / "sub", ["big.csv"]).left_out) == ["big.csv"]


def test_what_a_killed_one_left_is_forgotten_and_nothing_of_others(repository: Path, tmp_path: Path) -> None:
    for folder in (f"{git_code.PREFIX}killed/tree", f"{git_code.PREFIX}alive/tree", "theirs/tree"):
        git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / folder))
    shutil.rmtree(tmp_path / f"{git_code.PREFIX}killed")
    shutil.rmtree(tmp_path / "theirs")  # on a disk that is not mounted, maybe
    with git_code.restored(repository, git_code.snapshot(repository, ["other.txt"])):
        pass
    listed = git(repository, "worktree", "list")
    assert "code-killed" not in listed and "alive" in listed and "theirs" in listed


def test_two_codes_are_compared_as_they_ran(repository: Path) -> None:
    committed = git_code.snapshot(repository / "sub", ["a.py", "b.py"])
    (repository / "sub/a.py").write_text("a = 2\n")
    (repository / "sub/new.py").write_text("n = 1\n")
    changed = git_code.snapshot(repository / "sub", ["a.py", "b.py", "new.py"])
    (repository / "sub/a.py").write_text("a = 3\n")
    later = git_code.snapshot(repository / "sub", ["a.py", "b.py", "new.py"])
    before = state(repository)
    found = [line.split("|")[0].strip() for line in git_code.changes(repository / "sub", committed, later).splitlines()]
    assert found[:2] == ["sub/a.py", "sub/new.py"] and found[2].startswith("2 files changed")
    lines = git_code.changes(repository / "sub", changed, later).splitlines()
    assert len(lines) == 2 and lines[0].startswith(" sub/a.py | 2 +-")
    assert git_code.changes(repository / "sub", later, later) == ""
    assert state(repository) == before
    with pytest.raises(ToolError, match=r"commit ffff.* is not in this repository"):
        git_code.changes(repository, git_code.Code("f" * 40, "", b""), later)
    with pytest.raises(ToolError, match="was not recorded"):
        git_code.changes(repository, git_code.UNKNOWN, later)

"""Raw tables from DVC's cache or its remote, by hash, wherever the project keeps the two; and sent there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from mlops_glue.adapters import dvc
from mlops_glue.errors import ToolError

OLD, NEW = b"a,b\n1,2\n", b"a,b\n3,4\n"
WANTED = {"data/t.csv": hashlib.md5(OLD).hexdigest()}


def sh(root: Path, command: str) -> None:
    subprocess.run(command.split(), cwd=root, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A table that was tracked, and then another in its place; no commit names either."""
    root = tmp_path / "p"
    (root / "data").mkdir(parents=True)
    sh(root, "git init -q")
    sh(root, "dvc init -q")
    return root


def track(root: Path) -> None:
    for content in (OLD, NEW):
        (root / "data/t.csv").unlink(missing_ok=True)
        (root / "data/t.csv").write_bytes(content)
        sh(root, "dvc add -q data/t.csv")


def restored(root: Path, remote: str | None = None) -> tuple[dict[str, str], bytes | None]:
    into = root.parent / "into"
    into.mkdir()
    missing = dvc.restore(root, into, WANTED, remote, root.parent / "scratch")
    there = into / "data/t.csv"
    return missing, there.read_bytes() if there.is_file() else None


def cached(root: Path) -> Path:
    md5 = WANTED["data/t.csv"]
    return next(
        path for path in root.parent.rglob(md5[2:]) if path.parent.name == md5[:2] and "store" not in path.parts
    )


@pytest.mark.parametrize("level", ["--local", "--project"])
def test_a_cache_elsewhere_is_found(project: Path, level: str) -> None:
    sh(project, f"dvc cache dir {level} {project.parent / 'elsewhere'}")
    track(project)
    assert restored(project) == ({}, OLD)


@pytest.mark.parametrize("level", ["--local", "--project"])
def test_a_remote_that_dvc_alone_knows_is_asked(project: Path, level: str) -> None:
    track(project)
    sh(project, f"dvc remote add -q --default {level} mine {project.parent / 'store'}")
    assert dvc.send(project, WANTED, None) == str(project.parent / "store")
    cached(project).unlink()
    assert restored(project) == ({}, OLD)
    assert not list((project / ".dvc/cache").rglob(WANTED["data/t.csv"][2:]))  # the cache is only read


def test_the_remote_of_the_configuration_comes_first(project: Path) -> None:
    track(project)
    sh(project, f"dvc remote add -q --default mine {project.parent / 'empty'}")
    dvc.send(project, WANTED, "../store")
    cached(project).unlink()
    assert restored(project, "../store") == ({}, OLD)


def test_what_cannot_be_had_is_said(project: Path) -> None:
    track(project)
    cached(project).unlink()
    assert restored(project) == ({"data/t.csv": "not in DVC's cache, and DVC has no remote"}, None)
    with pytest.raises(ToolError, match="DVC has no remote"):
        dvc.send(project, WANTED, None)
    with pytest.raises(ToolError, match=r"data/t\.csv: neither in DVC's cache nor in its remote .*store"):
        dvc.send(project, WANTED, "../store")


def test_a_remote_without_it_or_without_an_answer(project: Path) -> None:
    track(project)
    cached(project).unlink()
    assert restored(project, "../store")[0] == {"data/t.csv": "neither in DVC's cache nor in its remote"}
    (project.parent / "into" / "data").rmdir()
    there = dvc.restore(project, project.parent / "into", WANTED, "nosuch://x/y", project.parent / "scratch")
    assert there["data/t.csv"].startswith("not in DVC's cache, and the remote does not answer: ")

"""Which commit a version is of, and when one is due: by the real git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlops_glue import config as configs
from mlops_glue import files
from mlops_glue.adapters import git
from mlops_glue.commands.report import report_change
from mlops_glue.delivery.commit import revision
from mlops_glue.errors import UsageError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.scaffold.commit import due, undo

CONFIG = """
glue: 1
project: p
data:
  sources: {t: {path: data/t.csv}}
  labels: {source: t, target: y}
train: {estimator: "model:build"}
"""


def sh(root: Path, command: str) -> str:
    command = command.replace("git commit", "git -c user.name=A -c user.email=a@b.c commit")
    return subprocess.run(["bash", "-ec", command], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder of a repository, of which git has all but what a run writes."""
    root = tmp_path / "a b"
    for path, text in {"glue.yaml": CONFIG, "model.py": "def build(): ...\n", "data/t.csv.dvc": "outs: []\n"}.items():
        files.write_text(root / path, text)
    files.write_text(root / "data/.gitignore", "/t.csv\n")
    files.write_text(root / "data/t.csv", "x,y\n1,2\n")
    dvc_yaml.sync(configs.load(root, tables=False), root)
    sh(tmp_path, "git init -q && git add . && git commit -qm first")
    return root


def ran(root: Path) -> None:
    """What a run writes."""
    config = configs.load(root, tables=False)
    dvc_yaml.sync(config, root)
    deps: list[Any] = [{"path": path, "md5": "1"} for path in ("data/t.csv", "model.py", "made.parquet")]
    files.write_text(root / "dvc.lock", json.dumps({"stages": {"train": {"deps": deps, "outs": deps[2:]}}}))


def seen(root: Path) -> tuple[str | None, bool]:
    return revision(configs.load(root, tables=False), root)


def test_a_run_of_a_clean_clone_is_of_its_commit(project: Path) -> None:
    ran(project)
    commit = sh(project, "git rev-parse HEAD").strip()
    assert seen(project) == (commit, False)
    sh(project, "git add . && git commit -qm second && echo >> dvc.lock")
    (project / "notes.txt").write_text("mine")
    assert not seen(project)[1] and git.changed_files(project, []) == {"dvc.lock"}
    (project / "helper.py").write_text("x = 1\n")
    (project / "model.py").write_text("import helper\ndef build(): ...\n")
    sh(project, "git add model.py helper.py && git commit -qm third")
    ran(project)  # dvc.yaml follows from the commit: the helper is in it now
    assert "helper.py" in (project / "dvc.yaml").read_text() and not seen(project)[1]


@pytest.mark.parametrize(
    "change",
    [
        "echo '# other' >> model.py",
        "echo 'split: {test_size: 0.3}' >> glue.yaml",
        "git rm -q --cached model.py && git commit -qm gone",  # what was trained with is in no commit
        "echo '  mine: {cmd: echo}' >> dvc.yaml",
        "echo x >> data/t.csv.dvc",
        "cd .. && touch other && git add other",
    ],
)
def test_what_the_commit_lacks_makes_a_version_dirty(project: Path, change: str) -> None:
    ran(project)
    sh(project, change)
    assert seen(project)[1]


def test_without_a_commit_there_is_none(tmp_path: Path, project: Path) -> None:
    sh(tmp_path, "rm -rf .git")
    assert seen(project) == (None, True) and due(project, "m") is None and git.uncommitted(project) == {}
    sh(tmp_path, "git init -q")
    assert seen(project) == (None, True) and due(project, "m") == "git add dvc.yaml glue.yaml && git commit -m m"


def test_a_commit_is_due_where_the_project_has_what_git_has_not(project: Path) -> None:
    assert due(project, "m") is None
    (project / ".env").write_text("TOKEN=1")
    (project / "notes.ipynb").write_text("{}")
    assert due(project, "p v1") is None  # not known to be the project's
    ran(project)
    command = due(project, "p v1")
    assert command == "git add dvc.lock && git commit -m 'p v1'"
    sh(project, command)
    assert due(project, "p v2") is None
    (project / "model.py").write_text("def build(x): ...\n")
    (project / "new.py").write_text("")
    assert due(project, "p v2", ["new.py"]) == "git add model.py new.py && git commit -m 'p v2'"
    (project / ".env").unlink()
    (project / "notes.ipynb").unlink()
    assert due(project, "p v2", ["new.py"]) == "git add . && git commit -m 'p v2'"


def test_what_takes_back_a_change_is_what_can_be_typed(project: Path) -> None:
    assert undo(project) is None  # no commit has a result
    ran(project)
    sh(project, "git add . && git commit -qm second")
    assert undo(project) is None
    sh(project, "echo '# more' | tee -a glue.yaml model.py notes.md && git add glue.yaml notes.md && echo >> dvc.lock")
    assert undo(project) == "git checkout HEAD -- dvc.lock glue.yaml model.py && glue run"
    sh(project, str(undo(project)).removesuffix(" && glue run"))
    assert undo(project) is None and (project / "notes.md").exists()
    sh(project, "echo >> glue.yaml && echo >> data/t.csv.dvc")  # the table itself is another one
    assert undo(project) is None


def test_where_a_commit_to_compare_with_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(UsageError, match="--base nope: git has no such commit") as caught:
        report_change(base="nope")
    assert "git fetch --unshallow" in str(caught.value.hint)


def test_a_lock_is_found_in_a_merge_commit_but_not_in_a_stash(project: Path) -> None:
    """Two branches changed it: one takes a side, runs, and commits the merge (docs/team.md)."""

    def locked(text: str) -> None:
        (project / "dvc.lock").write_text(text)

    def head() -> str:
        return sh(project, "git rev-parse HEAD").strip()

    locked("base\n")
    sh(project, "git add . && git commit -qm base && git checkout -qb side")
    locked("side\n")
    sh(project, "git commit -qam side && git checkout -q -")
    locked("main\n")
    sh(project, "git commit -qam main && ! git merge -q side")
    locked("merged\n")
    sh(project, "git commit -qam merge")
    assert git.commit_with(project, "dvc.lock", "merged\n") == head()
    assert git.commit_with(project, "dvc.lock", "side\n") == sh(project, "git rev-parse side").strip()
    locked("never committed\n")
    sh(project, "git -c user.name=A -c user.email=a@b.c stash -q")
    assert git.commit_with(project, "dvc.lock", "never committed\n") is None

"""`glue assess` as a user calls it: its forms, its strategy page, and folders of every kind."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlops_glue.assessment import tree
from mlops_glue.assessment.capabilities import CAPABILITIES, RUBRIC
from mlops_glue.assessment.scan import collect
from tests.support.project import Glue

TRAIN = """import mlflow
from sklearn.metrics import accuracy_score
from sklearn.svm import SVC

mlflow.autolog()
model = SVC(random_state=1).fit(X, y)
model.fit(X, y)
score = accuracy_score(y, model.predict(X))
"""
WORKFLOW = "name: test\non: [push, pull_request]\njobs:\n  test:\n    steps:\n      - run: pytest -q\n"
TEAM = {
    "src/train.py": TRAIN,
    "tests/test_train.py": "from src.train import model\n\ndef test_model():\n    assert model is not None\n",
    "requirements.txt": "scikit-learn==1.7.0\nmlflow==3.1.0\n",
    ".github/workflows/test.yml": WORKFLOW,
    "data/train.csv": "a,y\n1,0\n",
    "app.py": "from fastapi import FastAPI\napp = FastAPI()\n",
}


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=folder, check=True)


def committed(folder: Path) -> Path:
    git(folder, "init", "-q")
    git(folder, "remote", "add", "origin", "https://user:s3cret@example.com/x.git")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def told(folder: Path, glue: Glue) -> dict[str, Any]:
    out: dict[str, Any] = json.loads(glue("assess", "--json", str(folder), cwd=folder.parent).stdout)
    return out


def by_name(page: dict[str, Any], answer: str) -> set[str]:
    return {one["capability"] for one in page["capabilities"] if one["answer"] == answer}


def test_a_repository_of_a_team(tmp_path: Path, glue: Glue) -> None:
    folder = committed(make(tmp_path / "team", TEAM))
    before = {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in folder.rglob("*")}
    page = told(folder, glue)
    assert page["format"] == 2
    assert by_name(page, "found") == {
        *(
            "version_control",
            "tests",
            "pins",
            "training",
            "seed",
            "tracking",
            "evaluation",
            "endpoint",
            "ci",
            "ci_tests",
        )
    }
    assert [one["capability"] for one in page["capabilities"]] == list(CAPABILITIES)
    tracking = next(one for one in page["capabilities"] if one["capability"] == "tracking")
    assert (tracking["file"], tracking["line"], tracking["what"]) == ("src/train.py", 5, "mlflow.autolog")
    assert [(one["model"], one["level"], one["at_least"]) for one in page["levels"]] == [
        ("Google", 0, 0),
        ("Microsoft", 1, 1),
    ]
    steps = [step["capability"] for step in page["next_steps"]]
    assert steps == ["pipeline", "data_versioning", "data_validation", "gate", "registry"]
    assert page["next_steps"][0]["command"] == "glue adopt"
    assert page["facts"]["tests"] == "1 tests in 1 files"
    text = glue("assess", "team", cwd=tmp_path).stdout
    assert "  + runs are tracked                                   src/train.py:5\n" in text
    assert "  - the steps are a pipeline\n" in text
    assert "Microsoft MLOps level (0 to 4): 1, DevOps but no MLOps; level 2 needs: the steps are a pipeline" in text
    assert "1. Make the steps a pipeline that one command runs\n     glue adopt\n" in text
    table = glue("assess", "team", "--markdown", cwd=tmp_path).stdout
    assert "| training | runs are tracked | found | src/train.py:5 |" in table
    assert "s3cret" not in json.dumps(page) + text + table
    assert {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in folder.rglob("*")} == before


def test_what_is_not_committed_runs_nowhere(tmp_path: Path, glue: Glue) -> None:
    workflow = {".github/workflows/test.yml": WORKFLOW}
    folder = committed(make(tmp_path / "p", {**TEAM, ".github/workflows/test.yml": "on: {}\n"}))
    make(folder, {".github/workflows/other.yml": WORKFLOW})
    assert {"ci", "ci_tests"} <= by_name(told(folder, glue), "hint")
    new = make(tmp_path / "new", {"train.py": TRAIN, **workflow})
    git(new, "init", "-q")
    page = told(new, glue)
    assert {"version_control", "ci_tests"} <= by_name(page, "hint")
    assert page["next_steps"][0]["command"] == 'git add -A && git commit -m "first version"'


def test_a_new_project_of_glue_is_told_to_commit_and_to_run(penguins: Path, glue: Glue) -> None:
    page = told(penguins, glue)
    assert by_name(page, "found") == {"tests", "seed", "data_versioning"}  # its table is in DVC
    commands = [step["command"] for step in page["next_steps"]]
    assert commands == ['git add -A && git commit -m "first version"', "glue run"]


def test_the_strategy_page_is_written_once(tmp_path: Path, glue: Glue) -> None:
    committed(make(tmp_path / "p", TEAM))
    glue("assess", "p", "--write", cwd=tmp_path)
    page = (tmp_path / "mlops_strategy.md").read_text()
    assert page.count("\n* [") == sum(len(tests) for tests in RUBRIC.values()) == 28
    assert "* [x] 2. Model specs are unit tested; there are tests: found (tests/test_train.py:3)\n" in page
    assert "* [ ] 3. No feature's cost is too much: fill in\n" in page
    row = "| 2 | Version the data | `dvc init && git rm -q --cached --ignore-unmatch data/train.csv && dvc add"
    assert row in page
    assert "| share of models whose data is known | not found | fill in | fill in | fill in |" in page
    assert "…" not in page
    done = glue("assess", "p", "--write", cwd=tmp_path, code=2)
    assert "--output OTHER.md" in done.stderr
    glue("assess", "p", "--output", "other.md", cwd=tmp_path)
    assert (tmp_path / "other.md").read_text() == page


@pytest.mark.usefixtures("quick_path")
def test_the_commands_of_its_steps_work(tmp_path: Path, glue: Glue) -> None:
    folder = make(tmp_path / "p", {"train.py": "import torch\nloss.backward()\n", "data/train.csv": "a\n1\n"})
    for _ in range(2):
        steps = {step["capability"]: step["command"] for step in told(folder, glue)["next_steps"]}
        name = next(name for name in ("version_control", "pipeline", "data_versioning") if name in steps)
        subprocess.run(
            steps[name], shell=True, cwd=folder, check=True, capture_output=True, env={**os.environ, **WHO}
        )  # fmt: skip
        assert name in by_name(told(folder, glue), "found")
    assert (folder / "dvc.yaml").is_file()
    steps = {step["capability"]: step["command"] for step in told(folder, glue)["next_steps"]}
    assert steps["data_versioning"].startswith("git rm")  # DVC is there now
    subprocess.run(steps["data_versioning"], shell=True, cwd=folder, check=True, capture_output=True)
    assert "data_versioning" in by_name(told(folder, glue), "found")


WHO = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def test_a_folder_with_everything_that_is_odd(tmp_path: Path, glue: Glue) -> None:
    folder = make(tmp_path / "p", {"deep/train.py": TRAIN, "outside.txt": ""})
    (folder / "loop").symlink_to(folder)
    (tmp_path / "secret.py").write_text("import evidently\nevidently.Report()\n")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    (folder / "binary.py").write_bytes(b"\0\1import mlflow\nmlflow.register_model()\n")
    (folder / "big.py").write_text("import evidently\nevidently.Report()\n" + "#" * (1 << 20))
    (folder / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nimport feast\nfeast.FeatureView(name='\xe9')\n")
    (folder / "deepest.py").write_text("import mlflow\nx = " + "(" * 5000 + ")" * 5000)
    (folder / "bomb.yaml").write_text("apiVersion: 1\na: &a [x,x]\n" + "b: [*a,*a]\n" * 9)
    (folder / "broken.ipynb").write_text("{")
    (folder / "list.ipynb").write_text('{"cells": [1, {"cell_type": "code"}]} sklearn')
    (folder / "dvc.yaml").write_text("stages: [\n")
    (folder / "glue.yaml").write_text("train: [\n")
    targets = (f"t{n}: t{n + 1} t{n + 2}\n\tmake t{n + 1}\n" for n in range(200))
    (folder / "Makefile").write_text("all: all\n\tmake all\n" + "".join(targets))
    (folder / "long.yaml").write_text("schemas/" * 20_000)
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/a.yml").write_text("on: push\n- {\nrun: make t0\n  - - -\n" + " if: false\n" * 999)
    os.mkfifo(folder / "pipe.py")
    (folder / "new\nline\x1b[31m.py").write_text("import nannyml\nnannyml.CBPE()\n")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.py")).write_text("from alibi_detect.cd import KSDrift\nKSDrift()\n")
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0)
    try:
        done = glue("assess", str(folder), cwd=tmp_path)
    finally:
        (folder / "closed").chmod(0o700)
    assert "\x1b" not in done.stdout
    for text in ("deep/train.py:", "latin.py:3", "read here: broken.ipynb", "beyond the limits", "\\xff.py:2"):
        assert text in done.stdout
    assert "glue.yaml" in done.stdout
    assert "link.py" not in done.stdout and "big.py" not in done.stdout
    glue("assess", "--markdown", str(folder), cwd=tmp_path)
    told(folder, glue)


def test_beyond_the_bounds_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {f"d{n}/train.py": TRAIN for n in range(9)})
    monkeypatch.setattr(tree, "TEXTS", 3)
    evidence = collect(tmp_path)
    assert len(evidence.tree.files) == 9
    assert len(evidence.shows) == 3
    assert evidence.tree.left_out == 6


def test_an_empty_folder_is_told_where_to_begin(tmp_path: Path, glue: Glue) -> None:
    (tmp_path / "p").mkdir()
    page = told(tmp_path / "p", glue)
    assert by_name(page, "not_found") == set(CAPABILITIES)
    assert [one["level"] for one in page["levels"]] == [None, None]
    assert page["next_steps"][0]["capability"] == "version_control"
    assert list((tmp_path / "p").iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path, glue: Glue) -> None:
    assert "no such folder" in glue("assess", "nowhere", cwd=tmp_path, code=2).stderr

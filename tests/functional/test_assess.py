"""`glue assess`: five repositories ranked as a person would, words that are not deeds, and folders of every kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mlops_glue.assessment import rules, signals
from mlops_glue.assessment.collect import collect
from mlops_glue.assessment.score import assess
from mlops_glue.cli import glue as group
from tests.conftest import Glue

TRAIN = """import joblib
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
{imports}
table = pd.read_csv("data.csv")
X, y = table.drop(columns="churn"), table["churn"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
{before}
model = RandomForestClassifier(n_estimators=50)
model.fit(X_train, y_train)
score = accuracy_score(y_test, model.predict(X_test))
{after}
"""
NOTEBOOK = json.dumps(
    {
        "cells": [
            {"cell_type": "markdown", "source": ["We use MLflow, DVC, Feast and Evidently."]},
            {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip install mlflow\n"]},
            {"cell_type": "code", "source": ["from sklearn.svm import SVC\n", "SVC().fit(X, y)\n"]},
        ],
        "nbformat": 4,
    },
    indent=1,
)
TESTS = "from src.train import train\n\ndef test_train():\n    assert train([1], [2]) is not None\n"
TRACKED = {
    "imports": "import mlflow",
    "before": 'mlflow.set_tracking_uri("https://tracking.example.com")\nmlflow.start_run()',
    "after": (
        'mlflow.log_params({"n": 50})\nmlflow.log_metric("accuracy", score)\n'
        "if score < 0.8:\n    raise SystemExit(1)\n"
        'mlflow.sklearn.log_model(model, name="m", registered_model_name="churn")\n'
    ),
}
DVC = """stages:
  validate:
    cmd: python src/validate.py
    deps: [data.csv]
  train:
    cmd: python src/train.py
    deps: [data.csv, src/train.py]
    params: [n]
"""
LOCK = (
    "schema: '2.0'\nstages:\n  train:\n    cmd: python src/train.py\n    deps:\n    - path: data.csv\n      md5: abc\n"
)
VALIDATE = "import pandera as pa\nschema = pa.DataFrameSchema({'a': pa.Column(int)})\nschema.validate(frame)\n"
APP = """from fastapi import FastAPI
from prometheus_client import Counter
import mlflow
app = FastAPI()
seen = Counter("seen", "requests")
model = mlflow.pyfunc.load_model("models:/churn@champion")

@app.get("/health")
def health():
    return {}
"""
DRIFT = """from evidently import Report
from evidently.presets import DataDriftPreset, ClassificationPreset
Report([DataDriftPreset(), ClassificationPreset()]).run(current, reference)
"""
TEST_CI = """name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: |
          pip install -r requirements.txt
          python -m pytest -q
"""
TRAIN_CI = """name: train
on:
  push: {branches: [main]}
  schedule: [{cron: "0 3 * * 1"}]
jobs:
  train:
    runs-on: ubuntu-latest
    steps:
      - run: dvc pull && dvc repro
      - run: python src/drift.py
  deploy:
    needs: train
    environment: production
    steps:
      - uses: docker/build-push-action@v6
        with: {push: true}
      - run: kubectl apply -f k8s
"""
K8S = """apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
        - name: model
          readinessProbe: {httpGet: {path: /health}}
"""
FEAST = "from feast import FeatureView, Entity\nview = FeatureView(name='v', entities=[])\n"

PLAIN = {"imports": "", "before": "", "after": 'joblib.dump(model, "model.pkl")'}
NOTHING = {"analysis.ipynb": NOTEBOOK, "data.csv": "a,churn\n1,0\n", "README.md": "# Churn\nWith mlflow and dvc.\n"}
SCRIPT = {"train.py": TRAIN.format(**PLAIN), "requirements.txt": "scikit-learn\npandas\n", ".git": "commit"}
DEVOPS = {
    **SCRIPT,
    ".git": "remote",
    "src/train.py": "from sklearn.svm import SVC\ndef train(X, y):\n    return SVC().fit(X, y)\n",
    "tests/test_train.py": TESTS,
    ".github/workflows/test.yml": TEST_CI,
    "Makefile": "train:\n\tpython train.py\n",
    "Dockerfile": 'FROM python:3.12-slim\nCMD ["uvicorn", "app:app"]\n',
    "app.py": "from flask import Flask\napp = Flask(__name__)\n",
}
AUTOMATED = {
    **DEVOPS,
    "src/train.py": TRAIN.format(**TRACKED) + "def train(X, y):\n    return model\n",
    "src/validate.py": VALIDATE,
    "dvc.yaml": DVC,
    "dvc.lock": LOCK,
    ".dvc/config": "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket\n",
    "requirements.txt": "scikit-learn==1.7.0\npandas==2.3.0\n",
}
FULL = {
    **AUTOMATED,
    "app.py": APP,
    "src/drift.py": DRIFT,
    ".github/workflows/train.yml": TRAIN_CI,
    "k8s/deployment.yaml": K8S,
    "feature_repo/definitions.py": FEAST,
    "feature_repo/feature_store.yaml": "project: churn\nonline_store: {type: redis}\n",
    ".github/dependabot.yml": "version: 2\n",
    "rules.yml": "groups:\n  - name: model\n    rules:\n      - alert: Slow\n        expr: up == 0\n",
}
FIVE = {"nothing": NOTHING, "script": SCRIPT, "devops": DEVOPS, "automated": AUTOMATED, "full": FULL}


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        if name == ".git":
            subprocess.run(["git", "init", "-q", folder], check=True)
            words = ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "first"]
            subprocess.run(["git", *words], cwd=folder, check=True)
            if text == "remote":
                url = "https://user:s3cret@example.com/x.git"
                subprocess.run(["git", "remote", "add", "origin", url], cwd=folder, check=True)
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def judged(folder: Path, glue: Glue) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(glue("assess", "--json", str(folder), cwd=folder.parent).stdout)
    return told


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in folder.rglob("*")}


def met(told: dict[str, Any]) -> set[str]:
    return {one["check"] for checks in told["areas"].values() for one in checks if one["evidence"]}


def test_five_repositories_are_ranked_as_a_person_would(tmp_path: Path, glue: Glue) -> None:
    told = {}
    for name, files in FIVE.items():
        folder = make(tmp_path / name, files)
        before = state(folder)
        told[name] = judged(folder, glue)
        assert state(folder) == before
    levels = {name: [one["level"] for one in told[name]["levels"]] for name in FIVE}
    assert levels == {"nothing": [0, 0], "script": [0, 0], "devops": [0, 1], "automated": [0, 2], "full": [2, 4]}
    ranks = [told[name]["checks_met"] for name in FIVE]
    assert ranks == sorted(set(ranks))
    scores = [told[name]["ml_test_score"]["at_least"] for name in FIVE]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] == 0
    assert "s3cret" not in json.dumps(told)


def test_every_finding_names_a_file_and_a_line_that_is_there(tmp_path: Path, glue: Glue) -> None:
    folder = make(tmp_path / "full", FULL)
    told = judged(folder, glue)
    seen = [one["evidence"] for checks in told["areas"].values() for one in checks if one["evidence"]]
    seen += [one["evidence"] for one in told["ml_test_score"]["tests"] if one["evidence"]]
    assert len(seen) > 30
    for place in seen:
        lines = (folder / place["file"]).read_text().splitlines()
        assert place["line"] is None or lines[place["line"] - 1].strip()
    by_check = {one["check"]: one["evidence"] for checks in told["areas"].values() for one in checks}
    train = (folder / "src/train.py").read_text().splitlines()
    assert "registered_model_name" in train[by_check["registered"]["line"] - 1]
    assert "score < 0.8" in train[by_check["gate"]["line"] - 1]


def test_words_are_no_deeds(tmp_path: Path, glue: Glue) -> None:
    said = "mlflow.register_model dvc repro evidently pytest feast docker push glue run"
    files = {
        "README.md": f"# We have\n{said}\n```\nmlflow models serve\n```\n",
        "notes.py": f'"""{said}"""\n# import mlflow; mlflow.register_model("a", "b")\nprint("{said}")\n',
        "dead.py": "import mlflow, sklearn, evidently, feast\n",
        "mine.py": "from collections import Counter\nfrom mine2 import Report\nCounter()\nReport()\n",
        "run.sh": f"#!/bin/sh\n# dvc repro\necho '{said}'\ncat <<EOF\ndocker push x\nEOF\n",
        "Makefile": "# test:\n#\tpytest\nhelp:\n\t@echo make train runs dvc repro\n",
        "docs/example.py": "import mlflow\nmlflow.register_model('a', 'b')\n",
        "examples/train.py": TRAIN.format(**TRACKED),
        ".venv/pyvenv.cfg": "",
        ".venv/lib/train.py": TRAIN.format(**TRACKED),
        "node_modules/x/train.py": TRAIN.format(**TRACKED),
        "requirements.txt": "# mlflow==3\nmlflow\ndvc\nevidently\n",
        "dvc.yaml": "# stages:\n#   train:\n#     cmd: python train.py\nstages: {}\n",
        "feature_store.yaml": "# project: x\n",
        ".github/workflows/test.yml": "on: workflow_dispatch\njobs:\n  a:\n    steps:\n      - run: echo pytest\n",
        "deploy.yaml": "# kind: Deployment\ndescription: kind Deployment, alert, readinessProbe, apiVersion\n",
        "tests/test_nothing.py": "def test_nothing():\n    pass\n",
        "tests/test_other.py": "import mlflow\ndef test_a():\n    mlflow.register_model('a', 'b')\n",
    }
    assert met(judged(make(tmp_path / "p", files), glue)) == set()


@pytest.mark.parametrize(
    "step",
    ["run: pytest || true", "run: pytest\n        continue-on-error: true", "run: pytest\n        if: false"],
)
def test_a_check_that_cannot_fail_counts_for_nothing(tmp_path: Path, glue: Glue, step: str) -> None:
    text = TEST_CI.replace("run: |\n          pip install -r requirements.txt\n          python -m pytest -q", step)
    assert step in text
    told = judged(make(tmp_path / "p", {**DEVOPS, ".github/workflows/test.yml": text}), glue)
    assert "ci_tests" not in met(told)
    if "false" not in step:
        assert any("cannot fail" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("files", "shows"),
    [
        (
            {".gitlab-ci.yml": "test:\n  script:\n    - make check\n", "Makefile": "check: t\nt:\n\tCI=1 tox -q\n"},
            "ci_tests",
        ),
        ({"Jenkinsfile": "pipeline { steps { sh 'python3 -m pytest' } }"}, "ci_tests"),
        ({".circleci/config.yml": "jobs:\n  a:\n    steps:\n      - run: {command: uv run pytest}\n"}, "ci_tests"),
        (
            {
                ".github/workflows/a.yml": "on: push\njobs:\n  a:\n    steps:\n      - run: ./ci.sh\n",
                "ci.sh": "pytest\n",
            },
            "ci_tests",
        ),
        ({"flow.py": "from prefect import flow\n@flow\ndef main():\n    pass\n"}, "pipeline"),
        ({"dag.py": "from airflow.decorators import dag\n@dag(schedule='@daily')\ndef main(): ...\n"}, "retrained"),
        ({"a.py": "from metaflow import FlowSpec\nclass A(FlowSpec): ...\n"}, "pipeline"),
        (
            {"a.py": "import mlflow\ndef f(client):\n    client.set_registered_model_alias('m', 'champion', 1)\n"},
            "promoted",
        ),
        ({"a.py": "import wandb\nrun = wandb.init(config={})\nrun.log({'a': 1})\n"}, "tracked"),
        ({".gitattributes": "*.csv filter=lfs diff=lfs merge=lfs -text\n"}, "data_versioned"),
        ({"data.csv.dvc": "outs:\n- md5: abc\n  path: data.csv\n"}, "data_versioned"),
        ({"gx/expectations/s.json": '{"expectations": [{"type": "expect_column_to_exist"}]}'}, "expectations"),
        (
            {"compose.yaml": "services:\n  a:\n    environment:\n      MLFLOW_TRACKING_URI: http://mlflow:5000\n"},
            "central",
        ),
        ({"uv.lock": "version = 1\n"}, "pinned"),
        ({"pipeline.ipynb": NOTEBOOK.replace("SVC().fit(X, y)", "SVC(random_state=1).fit(X, y)")}, "seeded"),
    ],
)
def test_one_thing_at_a_time(tmp_path: Path, glue: Glue, files: dict[str, str], shows: str) -> None:
    assert shows in met(judged(make(tmp_path / "p", files), glue))


def test_a_folder_with_everything_that_is_odd(tmp_path: Path, glue: Glue) -> None:
    folder = make(tmp_path / "p", {"deep/train.py": TRAIN.format(**TRACKED), "outside.txt": ""})
    (folder / "loop").symlink_to(folder)
    (folder / "deep" / "up").symlink_to("..")
    (tmp_path / "secret.py").write_text("import evidently\nevidently.Report()\n")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    (folder / "binary.py").write_bytes(b"\0\1import mlflow\nmlflow.register_model()\n")
    (folder / "big.py").write_text("import evidently\nevidently.Report()\n" + "#" * (1 << 20))
    (folder / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nimport feast\nfeast.FeatureView(name='\xe9')\n")
    (folder / "two.py").write_text("exec 'mlflow'\n")
    (folder / "deepest.py").write_text("import mlflow\nx = " + "(" * 5000 + ")" * 5000)
    (folder / "bomb.yaml").write_text(
        "apiVersion: 1\na: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    )
    (folder / "broken.ipynb").write_text("{")
    (folder / "list.ipynb").write_text('{"cells": [1, {"cell_type": "code"}]} sklearn')
    (folder / "dvc.yaml").write_text("stages: [\n")
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
    assert "deep/train.py:" in done.stdout
    assert "latin.py:3" in done.stdout
    assert "two.py is no Python" in done.stdout
    assert "beyond the bounds" in done.stdout
    assert "evidently" not in done.stdout
    assert "(\\xff.py:2)" in done.stdout
    glue("assess", "--markdown", str(folder), cwd=tmp_path)
    judged(folder, glue)


def test_an_empty_folder_is_at_the_bottom_and_told_where_to_begin(tmp_path: Path, glue: Glue) -> None:
    (tmp_path / "p").mkdir()
    told = judged(tmp_path / "p", glue)
    assert [one["level"] for one in told["levels"]] == [0, 0]
    assert (told["checks_met"], told["ml_test_score"]["at_least"], told["files"]) == (0, 0, 0)
    assert told["next_steps"][0]["command"].startswith("glue init")
    assert list((tmp_path / "p").iterdir()) == []


def test_a_project_of_glue(penguins: Path, glue: Glue) -> None:
    told = judged(penguins, glue)
    assert {"pipeline", "tracked", "registered", "expectations", "validated", "gate", "endpoint"} <= met(told)
    assert all(step["command"].startswith("glue ") for step in told["next_steps"])


def test_a_hundred_thousand_files_in_ten_seconds(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"d{folder}").mkdir()
        for number in range(1000):
            kind = (".py", ".yaml", ".txt", ".png", ".ipynb")[number % 5]
            (tmp_path / f"d{folder}" / f"f{number}{kind}").write_text("import sklearn\nmodel.fit(1)\n")
    started = time.perf_counter()
    found = assess(collect(tmp_path), frozenset(group.commands))
    assert time.perf_counter() - started < 10
    assert found.files == 100_000


def test_the_strategy_page_is_written_once(tmp_path: Path, glue: Glue) -> None:
    make(tmp_path / "p", AUTOMATED)
    glue("assess", "p", "--write", cwd=tmp_path)
    page = (tmp_path / "mlops_strategy.md").read_text()
    assert all(f"| {area} |" in page for area in rules.AREAS)
    assert page.count("| … |") >= len(rules.AREAS)
    assert page.count("* [ ]") == sum(not t.seen for tests in rules.RUBRIC.values() for t in tests)
    done = glue("assess", "p", "--write", cwd=tmp_path, code=2)
    assert "--output OTHER.md" in done.stderr
    glue("assess", "p", "--write", "--output", "other.md", cwd=tmp_path)
    glue("assess", "p", "--output", "third.md", cwd=tmp_path)
    assert (tmp_path / "third.md").read_text() == (tmp_path / "other.md").read_text()
    assert (tmp_path / "other.md").read_text() == page


def test_a_folder_that_is_not_there(tmp_path: Path, glue: Glue) -> None:
    assert "no such folder" in glue("assess", "nowhere", cwd=tmp_path, code=2).stderr


def test_the_tables_are_sound() -> None:
    """Every signal that a rule names is one that something sees, and every check that a level names is one."""
    checks = {check.name for area in rules.AREAS.values() for check in area}
    for levels in rules.LEVELS.values():
        for level in levels:
            assert set(level.needs) <= checks
    assert {name for step in rules.STEPS for name in step.missing} <= checks
    assert [len(tests) for tests in rules.RUBRIC.values()] == [7, 7, 7, 7]
    package = Path(rules.__file__).parent
    code = "".join((package / name).read_text() for name in ("collect.py", "files.py", "signals.py"))
    named = {s for area in rules.AREAS.values() for check in area for s in check.any_of}
    named |= {s for tests in rules.RUBRIC.values() for t in tests for g in (*t.seen, t.repeated) for s in g}
    for signal in named:
        bare = re.sub(r"^tests_of_(training|endpoint|expectations)$", r"\1", signal.rpartition(":")[2])
        assert re.search(rf"[\"{{:]{bare}[\"}}]", code) or bare in signals.CALLS, signal
    unknown = {step.command.split()[1] for step in rules.STEPS} - set(group.commands)
    assert unknown <= {"ci", "monitor", "adopt"}  # written beside this; a step without its command is not proposed

"""What `glue assess` reads from small repositories, one trait at a time: found, only a hint, or not found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlops_glue.assessment import capabilities, ci, judge
from mlops_glue.assessment.evidence import Answer, Evidence
from mlops_glue.assessment.scan import collect

FIT = "from sklearn.svm import SVC\nmodel = SVC(random_state=1)\nmodel.fit(X, y)\n"
ON_PUSH = "on: push\njobs:\n  a:\n    steps:\n      - run: {}\n"


def notebook(*cells: str) -> str:
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": code, "nbformat": 4}, indent=1)


def read(root: Path, files: dict[str, str]) -> Evidence:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return collect(root)


def answers(root: Path, files: dict[str, str]) -> dict[str, Answer]:
    return read(root, files).answers()


def found(root: Path, files: dict[str, str]) -> set[str]:
    return {name for name, one in answers(root, files).items() if one.answer == "found"}


@pytest.mark.parametrize(
    ("shows", "name", "text"),
    [
        ("training", "src/train.py", FIT),
        ("training", "a.py", "import sklearn.ensemble as ske\nske.RandomForestClassifier().fit(x, y)\n"),
        (
            "training",
            "two.py",
            "from sklearn.svm import SVC\nprint 'hello'\nmodel = SVC()\nexec 'a'\nmodel.fit(x, y)\n",
        ),
        (
            "training",
            "{{ c.name }}/m.py.tmpl",
            "import lightgbm as lgb\nfrom {{ c.name }}.a import b\nlgb.train(p, d)\n",
        ),
        ("pipeline", "flow.py", "from metaflow import FlowSpec\nclass A(FlowSpec): ...\n"),
        ("pipeline", "dag.py", "from airflow import DAG\nwith DAG('a'): ...\n"),
        ("pipeline", "nodes.py", "from kedro.pipeline import node\nnode(f, 'a', 'b')\n"),
        ("pipeline", "dvc.yaml", "stages:\n  train:\n    cmd: python train.py\n"),
        ("tracking", "a.py", "import mlflow\nmlflow.log_metric('a', 1)\n"),
        ("tracking", "a.py", "import mlflow as m\ndef f(client):\n    client.log_params({})\n"),
        ("tracking", "a.py", "import wandb\nwandb.init()\n"),
        ("tracking", "a.ipynb", notebook("%%bash\nls", "import mlflow\nmlflow.autolog()")),
        ("registry", "a.py", "import mlflow\nmlflow.sklearn.log_model(m, registered_model_name='a')\n"),
        ("registry", "dvc.yaml", "artifacts:\n  a:\n    type: model\n"),
        ("promotion", "a.py", "import mlflow\nmlflow.pyfunc.load_model('models:/churn@champion')\n"),
        ("parameters", "params.yaml", "train:\n  n: 1\n"),
        ("parameters", "conf/base/parameters_model.yml", "n: 1\n"),
        ("parameters", "pkg/config.yaml", "model: a\ntest_size: 0.2\n"),
        ("tuning", "a.py", "import optuna\nstudy = optuna.create_study()\n"),
        ("distributed", "a.py", "import ray\nray.init()\n"),
        ("seed", "a.py", "from sklearn.model_selection import train_test_split\ntrain_test_split(x, random_state=0)\n"),
        ("evaluation", "a.py", "from sklearn import metrics\nmetrics.roc_auc_score(y, p)\n"),
        ("slices", "a.py", "from snorkel.slicing import slicing_function\n@slicing_function()\ndef short(x): ...\n"),
        ("data_versioning", "data.csv.dvc", "outs:\n- md5: abc\n  path: data.csv\n"),
        ("data_versioning", ".gitattributes", "*.csv filter=lfs diff=lfs merge=lfs -text\n"),
        ("data_remote", ".dvc/config", "['remote \"s3\"']\n    url = s3://bucket\n"),
        ("data_validation", "a.py", "import pandera as pa\npa.DataFrameSchema({})\n"),
        ("data_validation", "gx/expectations/a.json", '{"expectations": [\n{"type": "expect_column_to_exist"}]}'),
        (
            "data_validation",
            "tests/data/test_data.py",
            "import great_expectations as ge\nge.dataset.PandasDataset(t)\n",
        ),
        ("feature_store", "views.py", "from feast import FeatureView\nv = FeatureView(name='v')\n"),
        ("online_features", "a.py", "import feast\nfs = feast.FeatureStore()\nfs.get_online_features()\n"),
        ("online_features", "a.ipynb", notebook("!cd repo && feast materialize-incremental 2022-01-01")),
        ("endpoint", "app.py", "from fastapi import FastAPI\napp = FastAPI()\n"),
        ("endpoint", "serve.sh", "exec mlflow models serve -m models:/a/1\n"),
        ("endpoint", "k8s/a.yaml", "kind: InferenceService\n"),
        ("container", "Dockerfile", 'FROM python\nCMD ["python", "train.py"]\n'),
        ("infrastructure", "main.tf", 'resource "aws_s3_bucket" "a" {}\n'),
        ("infrastructure", "charts/a/templates/d.yaml", "kind: Deployment\nmetadata: {name: {{ .Values.name }}}\n"),
        ("drift", "a.py", "from evidently import Report\nReport([])\n"),
        ("service_metrics", "a.py", "from prometheus_client import Counter\nCounter('a', 'b')\n"),
        ("alerts", "rules.yml", "groups:\n- rules:\n  - alert: Slow\n"),
        ("retraining", "dag.py", "from airflow import DAG\nDAG('training', schedule='@daily')\n"),
        ("model_card", "MODEL_CARD.md", "# Model\n"),
        ("pins", "requirements.txt", "a==1.0\nb==2.1\n"),
        ("pins", "uv.lock", "version = 1\n"),
        ("lint", "pyproject.toml", "[tool.ruff]\n"),
        ("tests", "tests/test_a.py", "def test_a():\n    assert f() == 1\n"),
        ("dependency_updates", ".github/dependabot.yml", "version: 2\n"),
    ],
)
def test_one_thing_shows_one_capability(tmp_path: Path, shows: str, name: str, text: str) -> None:
    one = answers(tmp_path, {name: text})[shows]
    assert one.answer == "found", one
    assert one.seen is not None and one.seen.path == name
    lines = text.splitlines()
    assert one.seen.line == 0 or lines[one.seen.line - 1].strip()


@pytest.mark.parametrize(
    ("hinted", "name", "text", "why"),
    [
        ("tracking", "requirements.txt", "mlflow\n", "only required"),
        ("tracking", "a.py", "import mlflow\n", "only imported"),
        ("tracking", "tests/test_a.py", "import mlflow\nmlflow.autolog()\n", "only in tests"),
        ("tracking", "examples/a.py", "import mlflow\nmlflow.autolog()\n", "only in an example"),
        ("training", "demo_model.py", FIT, "only in an example"),
        ("training", "a.ipynb", notebook("print 'python 2'", FIT), "only in a notebook"),
        ("container", ".devcontainer/Dockerfile", "FROM python\nCMD bash\n", "a development image"),
        ("container", "setup/Dockerfile", "FROM python\nCOPY ci.yml /\n", "an image that starts nothing"),
        ("pins", "requirements.txt", "a==1.0\nb\nc>=2\n", "1 of 3 packages are pinned"),
        ("gate", "src/evaluate_model.py", f"# {'long' * 60}\nassert auc > 0.8\n", "by its name"),
        (
            "retraining",
            "dag.py",
            "from airflow import DAG\nDAG('weather', schedule='@daily')\n",
            "a schedule, perhaps not",
        ),
    ],
)
def test_what_is_only_a_hint_says_why(tmp_path: Path, hinted: str, name: str, text: str, why: str) -> None:
    one = answers(tmp_path, {name: text})[hinted]
    assert one.answer == "hint" and one.seen is not None
    assert one.seen.hint.startswith(why)


WORDS = "mlflow.register_model dvc repro evidently pytest feast docker push glue run"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", f"# We have\n```\n{WORDS}\n```\n"),
        ("docs/train.py", FIT),
        ("notes.py", f'"""{WORDS}"""\n# import mlflow; mlflow.register_model("a", "b")\nprint("{WORDS}")\n'),
        ("mine.py", "from mine2 import Report, pipeline\nReport()\npipeline()\n"),
        ("clean.py", "from sklearn.preprocessing import StandardScaler\nStandardScaler().fit(x)\n"),
        (
            "once.py",
            "from airflow import DAG\nDAG('train', schedule=None)\nDAG('train', schedule='@once')\n".replace("D", "d"),
        ),
        ("uri.py", "TRACKING_URI = 'sqlite:///mlflow.db'\n"),
        ("check.py", "assert accuracy > 0.9\n"),
        ("dvc.yaml", "# stages:\n#   train:\n#     cmd: python train.py\nstages: {}\n"),
        ("feature_store.yaml", "# project: x\n"),
        ("deploy.yaml", "# kind: Deployment\ndescription: kind Deployment, alert, apiVersion\n"),
        ("requirements.txt", "# mlflow==3\n-r base.txt\n"),
        ("node_modules/x/train.py", FIT),
        (".venv/lib/train.py", FIT),
        ("run.sh", f"# dvc repro\necho '{WORDS}'\n"),
    ],
)
def test_words_are_no_evidence(tmp_path: Path, name: str, text: str) -> None:
    assert found(tmp_path, {name: text}) == set()


PANDERA = "import pandera as pa\npa.DataFrameSchema({})\n"
ACTION = "runs:\n  steps:\n    - run: pytest\n"
SUBMITTED = {  # a job that the workflow submits runs a script, which trains by a module that it imports
    "deploy/job.yaml": "entrypoint: bash deploy/job.sh\n",
    "deploy/job.sh": "python pkg/run.py \\\n  --n 1\n",
    "pkg/run.py": "from pkg import model\nmodel.go()\n",
    "pkg/model.py": FIT,
}
PUSHES = "ls\n      - uses: docker/build-push-action@v6\n        with:\n          push: {}"


@pytest.mark.parametrize(
    ("shows", "step", "more"),
    [
        ("ci_tests", "uv run --frozen pytest -q", {}),
        ("ci_tests", "./ci.sh", {"ci.sh": "set -e\npytest\n"}),
        ("ci_tests", "make check", {"Makefile": "check: t\nt:\n\tCI=1 tox\n"}),
        ("ci_tests", "ls\n      - uses: ./.github/actions/t", {".github/actions/t/action.yml": ACTION}),
        (
            "ci_tests",
            "poetry run invoke checks",
            {"tasks/checks.py": "def a(c):\n    c.run('poetry run pytest tests')\n"},
        ),
        ("ci_tests", "nox", {"noxfile.py": "def a(session):\n    session.run('pytest', '-q')\n"}),
        ("ci_trains", "python -m src.train --n 1", {"src/train.py": FIT}),
        ("ci_trains", "anyscale jobs submit deploy/job.yaml --wait", SUBMITTED),
        ("ci_trains", "dvc pull && dvc repro", {}),
        ("ci_validation", "pytest tests/data", {"tests/data/conftest.py": PANDERA}),
        ("ci_lint", "ruff check .", {}),
        ("lint", "flake8", {}),
        ("ci_deploys", "helm upgrade a chart", {}),
        ("ci_deploys", PUSHES.format("true"), {}),
    ],
)
def test_what_ci_does_by_itself_or_by_what_it_calls(
    tmp_path: Path, shows: str, step: str, more: dict[str, str]
) -> None:
    assert shows in found(tmp_path, {".github/workflows/a.yml": ON_PUSH.format(step), **more})


TEMPLATED = {"t.yml": "steps:\n- script: pytest\n", "a.yml": "pr: [main]\nsteps:\n- template: t.yml\n"}


@pytest.mark.parametrize(
    "files",
    [
        {".gitlab-ci.yml": "test:\n  script:\n    - pytest\n"},
        {"Jenkinsfile": "pipeline { steps {\n sh 'python3 -m pytest'\n} }"},
        {".circleci/config.yml": "jobs:\n  a:\n    steps:\n      - run:\n          command: pytest\n"},
        {"azure-pipelines.yml": "trigger: [main]\nsteps:\n- script: |\n    pytest\n"},
        {f".pipelines/{name}": text for name, text in TEMPLATED.items()},
    ],
)
def test_other_systems_of_ci(tmp_path: Path, files: dict[str, str]) -> None:
    assert {"ci", "ci_tests"} <= found(tmp_path, files)


def test_a_schedule_that_trains_is_retraining(tmp_path: Path) -> None:
    nightly = "on:\n  schedule:\n    - cron: '0 3 * * 1'\n" + ON_PUSH.partition("\n")[2]
    assert "retraining" not in found(tmp_path, {".github/workflows/a.yml": nightly.format("pytest")})
    assert "retraining" in found(tmp_path, {".github/workflows/a.yml": nightly.format("dvc repro")})


@pytest.mark.parametrize(
    "text",
    [
        ON_PUSH.format("pytest || true"),
        ON_PUSH.format("pytest\n        continue-on-error: true"),
        ON_PUSH.format("pytest\n        if: false"),
        ON_PUSH.format("echo pytest"),
        ON_PUSH.format("pip install pytest"),
        ON_PUSH.format("|\n          cat <<EOF > a.md\n          pytest\n          EOF"),
        ON_PUSH.format("ls").replace("run: ls", "name: pytest"),
        "on:\n  push:\n    paths:\n      - pytest\njobs: {}\n",
        ON_PUSH.format("pytest").replace("on: push", "on: workflow_dispatch"),
        ON_PUSH.format("pytest").replace("on: push", "on: workflow_call"),
        "# " + ON_PUSH.format("pytest").replace("\n", "\n# "),
        ON_PUSH.format("kubectl apply -f k8s --dry-run=server"),
        ON_PUSH.format(PUSHES.format("false")),
    ],
)
def test_what_ci_does_not_do(tmp_path: Path, text: str) -> None:
    assert not {"ci_tests", "ci_deploys"} & found(tmp_path, {".github/workflows/a.yml": text})


def test_the_place_of_a_command_is_its_first_line(tmp_path: Path) -> None:
    files = {".github/workflows/a.yml": ON_PUSH.format("|\n          ls\n          pytest \\\n            -q")}
    seen = answers(tmp_path, files)["ci_tests"].seen
    assert seen is not None and seen.line == 7


def test_a_reader_is_led_to_the_project_before_examples_notebooks_and_tests(tmp_path: Path) -> None:
    files = dict.fromkeys(("demo_a.py", "deep/down/train.py", "a.py", "tests/test_train.py"), FIT)
    one = answers(tmp_path, {**files, "train.ipynb": notebook(FIT)})["training"]
    assert one.seen is not None and one.seen.path == "deep/down/train.py"
    assert one.more == 1


def test_of_a_bad_cell_the_others_are_read_at_their_line(tmp_path: Path) -> None:
    text = notebook("%%sql\nselect 1", "!pip install \\\n  mlflow", "def (:", "import mlflow\nmlflow.autolog()")
    seen = answers(tmp_path, {"a.ipynb": text})["tracking"].seen
    assert seen is not None and "mlflow.autolog()" in text.splitlines()[seen.line - 1]


def levels(root: Path, files: dict[str, str]) -> dict[str, tuple[int, bool]]:
    return {one.model: (one.level, one.decided) for one in judge.levels(answers(root, files))}


def test_levels_are_decided_only_where_the_files_decide_them(tmp_path: Path) -> None:
    assert levels(tmp_path, {}) == {"Google": (0, False), "Microsoft": (0, False)}  # is there a model at all?
    assert levels(tmp_path, {"train.py": FIT}) == {"Google": (0, True), "Microsoft": (0, True)}
    pipeline = {"dvc.yaml": "stages:\n  train:\n    cmd: python train.py\n"}
    assert levels(tmp_path, pipeline)["Google"] == (0, False)  # a trigger may lie outside


def test_steps_begin_with_what_is_worth_most_and_name_nothing_that_is_there(tmp_path: Path) -> None:
    files = {"train.py": FIT, "data.csv": "a\n1\n", "requirements.txt": "scikit-learn\n"}
    evidence = read(tmp_path, files)
    steps = judge.steps(evidence, evidence.answers())
    assert [step.capability for step in steps[:3]] == ["version_control", "pipeline", "tests"]
    assert steps[0].command == 'git init && git add -A && git commit -m "first version"'
    assert steps[1].command == "glue adopt"
    by_name = {step.capability: step for step in steps}
    assert by_name["pins"].command == "uv pip compile requirements.txt -o requirements.lock"
    assert by_name["pins"].now == "0 of 1 packages of requirements.txt pinned"
    assert not by_name.keys() & {"training", "seed", "drift"}  # there; and nothing is served that could drift
    assert all("glue run" not in step.command for step in steps)


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("a.py", "import torch\nloss.backward()\n", "dvc init && dvc stage add --name train --deps a.py python a.py"),
        ("a b.ipynb", notebook(FIT), "jupyter nbconvert --to script 'a b.ipynb'"),
    ],
)
def test_commands_are_of_this_repository(tmp_path: Path, name: str, text: str, command: str) -> None:
    evidence = read(tmp_path, {name: text})
    assert command in [step.command for step in judge.steps(evidence, evidence.answers())]


def test_without_a_model_nothing_is_proposed_that_needs_one(tmp_path: Path) -> None:
    evidence = read(tmp_path, {"README.md": "# Hello\n"})
    steps = {step.capability for step in judge.steps(evidence, evidence.answers())}
    assert steps == capabilities.WITHOUT_TRAINING


GLUE = (
    "glue: 1\nproject: p\ntrain: {estimator: a.B}\nserve: {port: 8000}\nmonitor:\n  last: 7d\n  # labels: {path: a}\n"
)


def test_of_a_project_of_glue_only_deeds_count(tmp_path: Path) -> None:
    files = {"glue.yaml": GLUE, "dvc.yaml": "stages:\n  train:\n    cmd: glue stage train\n"}
    evidence = read(tmp_path, files)
    new = evidence.answers()
    assert not {name for name, one in new.items() if one.answer == "found"}
    assert {new[name].answer for name in ("training", "pipeline", "registry", "endpoint", "drift")} == {"hint"}
    assert new["performance"].answer == "not_found"  # labels stands in a comment
    assert [step.command for step in judge.steps(evidence, new)][1:] == ["glue run"]
    lock = "stages:\n  train:\n    cmd: glue stage train\n    deps:\n    - path: a\n      md5: b\n"
    done = {"dvc.lock": lock, ".glue/delivery.json": '{"version": 2, "model": "p", "champion": 1}'}
    ran = answers(tmp_path, done)
    assert {"training", "pipeline", "data_versioning", "tracking", "registry", "promotion"} == {
        name for name, one in ran.items() if one.answer == "found"
    }
    assert ran["training"].seen is not None and ran["training"].seen.place == "dvc.lock"
    assert ran["endpoint"].answer == "hint"
    served = answers(tmp_path, {"data/predictions/a.parquet": "rows", "monitoring/latest.json": '{"versions": []}'})
    assert served["endpoint"].answer == served["drift"].answer == "found"


def test_the_tables_are_sound() -> None:
    known = capabilities.CAPABILITIES.keys()
    uses = [use for rules in capabilities.USES.values() for use in rules]
    named = {use.capability for use in uses} | {name for name, _ in capabilities.NAMED}
    named |= {row.capability for row in [*capabilities.FILES, *capabilities.PROPOSALS]}
    assert named | {*capabilities.HINTS.values()} <= known
    assert all(use.name and use.libraries for use in uses)
    assert all(row.what for row in capabilities.FILES)
    assert {f"ci_{name}" for name, _ in capabilities.COMMANDS if name != "approval"} <= known
    for levels in capabilities.LEVELS.values():
        for level in levels:
            assert {*level.shows} <= {*level.needs} <= known
    assert [len(rows) for rows in capabilities.RUBRIC.values()] == [7, 7, 7, 7]
    assert {name for rows in capabilities.RUBRIC.values() for _, names in rows for name in names} <= known
    assert ci.inner("t/{{ a }}/b.yml.tmpl") == "b.yml"

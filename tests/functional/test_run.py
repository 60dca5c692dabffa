"""`glue run`: what is refused, what is done once, and the same however it is run."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.support.project import Glue


def edit(project: Path, old: str, new: str) -> None:
    text = (project / "glue.yaml").read_text()
    assert old in text
    (project / "glue.yaml").write_text(text.replace(old, new, 1))


def query(project: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(project / "mlflow.db") as store:
        return store.execute(sql).fetchall()


def test_each_distinct_result_is_one_run_and_one_version_and_a_worse_one_is_refused(penguins: Path, glue: Glue) -> None:
    first = json.loads(glue("run", "--json", cwd=penguins).stdout)
    delivered = penguins / ".glue" / "delivery.json"
    now = first["packages"]["scikit-learn"]
    delivered.write_text(json.dumps(json.loads(delivered.read_text()) | {"packages": {"scikit-learn": "0.1"}}))
    warning = (
        f"warning: the model was built with scikit-learn 0.1, but {now} is installed: glue run --force rebuilds it"
    )
    done = glue("run", cwd=penguins)
    assert warning in done.stderr and "executed" not in done.stderr
    done = glue("run", "--json", "--force", cwd=penguins)
    assert warning not in done.stderr
    again = json.loads(done.stdout)
    assert {s["outcome"] for s in again["stages"]} == {"executed"}
    assert (again["version"], again["new"], again["fingerprint"]) == (1, False, first["fingerprint"])

    delivered.unlink()
    worse = ["--set", "train.estimator=sklearn.tree.DecisionTreeClassifier", "--set", "train.params={max_depth: 1}"]
    told = json.loads(glue("run", "--json", *worse, cwd=penguins, code=1).stdout)
    assert (told["version"], told["champion"]) == (2, 1)
    compared = told["comparison"]
    assert compared["candidate"] > compared["champion"]  # log loss
    assert compared["finding"] == "worse" and compared["gain"] < 0
    said = glue("run", cwd=penguins, code=1).stdout
    assert f"log_loss {compared['candidate']:.4f}, champion v1 {compared['champion']:.4f} on the same holdout" in said
    assert "v1 stays champion" in said
    assert query(penguins, "select count(*) from model_versions") == [(2,)]
    assert query(penguins, "select status, count(*) from runs group by status") == [("FINISHED", 2)]
    assert query(penguins, "select alias, version from registered_model_aliases") == [("champion", 1)]
    said = glue("predict", "data/raw/penguins.csv", "out.parquet", cwd=penguins).stderr  # with the champion still
    assert "v1" in said and "warning" not in said
    done = glue("predict", "data/raw/penguins.csv", "out.csv", "--version", "2", cwd=penguins)
    assert "v2" in done.stderr
    glue("predict", "data/raw/penguins.csv", "out.csv", "--version", "3", cwd=penguins, code=2)


def test_predict_tells_of_columns_that_hold_what_training_did_not_have(ran_penguins: Path, glue: Glue) -> None:
    other = pd.read_csv(ran_penguins / "data/raw/penguins.csv")
    other["body_mass_g"] /= 1000
    other["sex"] = other.sex.str.upper()
    other.loc[:10, "island"] = "Atlantis"  # few
    other.to_csv(ran_penguins / "other.csv", index=False)
    said = glue("predict", "other.csv", "out.csv", cwd=ran_penguins).stderr.splitlines()
    mass, sex = other.body_mass_g.count(), other.sex.count()
    assert said[:-1] == [
        f"warning: other.csv: column 'body_mass_g': {mass} of {len(other)} values do not occur in the training data "
        "(which has 2,700 to 6,300)",
        f"warning: other.csv: column 'sex': {sex} of {len(other)} values do not occur in the training data "
        "(which has female, male)",
    ]
    assert len(pd.read_csv(ran_penguins / "out.csv")) == len(other)


def test_what_is_written_takes_the_place_of_nothing_that_the_project_has(ran_penguins: Path, glue: Glue) -> None:
    for out in ("data/raw/penguins.csv", "artifacts/split/test.parquet", ".glue/x.csv", "mlartifacts/x.csv"):
        before = (ran_penguins / out).read_bytes() if (ran_penguins / out).is_file() else None
        said = glue("predict", "../penguins.csv", out, cwd=ran_penguins, code=2).stderr
        assert said.startswith(f"error: {out}: belongs to the project, and is not overwritten\n")
        assert ((ran_penguins / out).read_bytes() if (ran_penguins / out).is_file() else None) == before
    who = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*who, "commit", "-qm", "all", "--allow-empty"], cwd=ran_penguins, check=True)
    for out in ("glue.yaml", "data/raw/penguins.csv", "mlflow.db"):
        before = (ran_penguins / out).read_bytes()
        for more in ([], ["--pr", "--base", "HEAD"]):
            assert (
                f"error: {out}: belongs to the project"
                in glue("report", *more, "--output", out, cwd=ran_penguins, code=2).stderr
            )
        assert (ran_penguins / out).read_bytes() == before
    glue("predict", "../penguins.csv", "data/raw/scored.csv", cwd=ran_penguins)
    glue("predict", "../penguins.csv", "data/raw/scored.csv", cwd=ran_penguins)  # its own it may write again


def test_in_subprocesses_and_by_dvc_it_is_the_same(penguins: Path, glue: Glue, quick_path: None) -> None:
    """Each stage's own process is a quick one; DVC's is not."""
    glue("run", "--no-publish", cwd=penguins)
    lock = (penguins / "dvc.lock").read_bytes()
    told = json.loads(glue("run", "--until", "split", "--force", "--subprocess", "--json", cwd=penguins).stdout)
    assert {s["outcome"] for s in told["stages"]} == {"executed"}
    assert (penguins / "dvc.lock").read_bytes() == lock
    words = [str(Path(sys.executable).with_name("dvc")), "repro", "--force", "--downstream", "train"]
    done = subprocess.run(words, cwd=penguins, capture_output=True, text=True, check=True)
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ["train", "evaluate", "package"]
    assert (penguins / "dvc.lock").read_bytes() == lock


def test_a_dvc_without_the_internal_names_falls_back_with_one_warning(penguins: Path) -> None:
    code = (
        "from mlops_glue.adapters import dvc\ndvc.in_process_supported = lambda: False\n"
        "from mlops_glue.cli import main\nmain(['run', '--no-publish', '--until', 'ingest'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=penguins, capture_output=True, text=True, check=True)
    assert done.stderr.count("warning: this DVC lacks") == 1
    assert "executed" in done.stderr


def test_until_and_no_publish_stop_there(penguins: Path, glue: Glue) -> None:
    (penguins / "mlflow.db").unlink()
    told = json.loads(glue("run", "--until", "split", "--json", cwd=penguins).stdout)
    assert [s["stage"] for s in told["stages"]] == ["ingest", "validate", "featurize", "split"]
    glue("run", "--no-publish", cwd=penguins)
    assert not (penguins / "mlflow.db").exists()
    assert "no stage 'spilt'" in glue("run", "--until", "spilt", cwd=penguins, code=2).stderr


def test_a_model_that_onnx_cannot_express(penguins: Path, glue: Glue) -> None:
    edit(
        penguins,
        "estimator: model:build",
        "estimator: sklearn.semi_supervised.LabelSpreading",
    )
    done = glue("run", cwd=penguins)
    assert "the model is stored in skops format: " in done.stdout
    said = glue("predict", "data/raw/penguins.csv", "out.csv", cwd=penguins).stderr
    assert "(skops)" in said
    edit(penguins, "require: null", "require: onnx")
    done = glue("run", cwd=penguins, code=1)
    assert "package.require is onnx, and ONNX is not faithful" in done.stderr
    assert "the results before package are kept" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("params: {}", "params: {max_itre: 3}", 2, "max_itre: build does not take it (did you mean 'max_iter'?)"),
        ("params: {}", "params: {max_iter: -3}", 4, "max_iter"),
        ("target: species", "target: specie", 2, "did you mean 'species'?"),
        ("- island", "- iland", 2, "features.category.0: no column 'iland'"),
        ("path: data/raw/penguins.csv", "path: data/raw/penguin.csv", 2, "did you mean 'penguins.csv'?"),
        ("{column: island, value_set", "{column: iland, value_set", 1, "(did you mean 'island'?)"),
        ("{column: island, value_set", "{colum: island, value_set", 2, "column: field required; colum: "),
        ("{column: island, mostly", "{column: island, severity: fatal, mostly", 2, "'fatal' is not one of critical"),
        ("min_value: 34", "min_value: 34000", 1, "expect_table_row_count_to_be_between"),
        (
            "slices: [",
            "slices: [iland, ",
            2,
            "evaluate.slices.0: no column 'iland' in data/raw/penguins.csv (did you mean 'island'?)",
        ),
    ],
)
def test_what_is_wrong_stops_the_run_with_a_line_that_says_it(
    penguins: Path, glue: Glue, old: str, new: str, code: int, said: str
) -> None:
    edit(penguins, old, new)
    done = glue("run", "--no-publish", cwd=penguins, code=code)
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert said in "\n".join(errors)
    assert len(errors) <= 3


def test_an_expectation_of_severity_warning_is_told_and_does_not_stop(penguins: Path, glue: Glue) -> None:
    edit(penguins, "min_value: 34", "severity: warning, min_value: 34000")
    done = glue("run", "--until", "validate", cwd=penguins)
    said = "penguins: the table does not meet expect_table_row_count_to_be_between (min_value 34000): 344"
    assert f"warning: {said}" in done.stderr


def test_set_writes_the_file_and_keeps_its_comments(penguins: Path, glue: Glue) -> None:
    before = (penguins / "glue.yaml").read_text()
    glue("run", "--until", "ingest", "--set", "train.params.max_iter=7", cwd=penguins)
    after = (penguins / "glue.yaml").read_text()
    assert re.search(r"max_iter: 7", after)
    assert re.findall(r"# .*", before) == re.findall(r"# .*", after)
    assert "unknown key" in glue("run", "--set", "train.parms.max_iter=7", cwd=penguins, code=2).stderr
    assert "should be KEY=VALUE" in glue("run", "--set", "train.params", cwd=penguins, code=2).stderr
    assert (penguins / "glue.yaml").read_text() == after


@pytest.mark.parametrize("wrong", ["data.labels.target=zz", "split.by=time", "split.test_size=2", "nothing.here=1"])
def test_set_that_is_refused_leaves_the_file(penguins: Path, glue: Glue, wrong: str) -> None:
    before = (penguins / "glue.yaml").read_bytes()
    glue("run", "--set", "train.seed=3", "--set", wrong, cwd=penguins, code=2)
    assert (penguins / "glue.yaml").read_bytes() == before
    (penguins / "dvc.yaml").write_text("- 1\n")
    glue("run", "--set", "train.seed=3", cwd=penguins, code=2)
    assert (penguins / "glue.yaml").read_bytes() == before


def test_outside_a_project(tmp_path: Path, glue: Glue) -> None:
    for words in (["run"], ["status"], ["why", "train"]):
        assert "no glue.yaml" in glue(*words, cwd=tmp_path, code=2).stderr


def test_a_user_function_builds_the_whole_pipeline(penguins: Path, glue: Glue) -> None:
    (penguins / "mine.py").write_text(
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.impute import SimpleImputer\n"
        "from sklearn.compose import ColumnTransformer\nfrom sklearn.pipeline import make_pipeline\n\n"
        "def model(C=1.0, random_state=None):\n"
        "    numbers = ColumnTransformer([('n', SimpleImputer(), slice(0, 4))])\n"
        "    return make_pipeline(numbers, LogisticRegression(C=C, max_iter=20, random_state=random_state))\n"
    )
    edit(penguins, "estimator: model:build", "estimator: mine:model")
    done = glue("run", "--set", "train.params.C=0.5", cwd=penguins)
    assert "warning: ConvergenceWarning: lbfgs failed to converge" in done.stderr
    assert "FutureWarning" not in done.stderr
    assert "is champion" in done.stdout


def test_no_secret_of_a_tracking_uri_is_told(penguins: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLUE_TEST_URI", "http://someone:canary-password@127.0.0.1:9")
    text = (penguins / "glue.yaml").read_text()
    (penguins / "glue.yaml").write_text(text + "\ntracking:\n  uri: ${GLUE_TEST_URI}\n")
    done = glue("predict", "data/raw/penguins.csv", "out.csv", cwd=penguins, code=4)
    assert "error: MLflow: ${GLUE_TEST_URI} does not answer: Connection refused\n" in done.stderr
    assert "canary" not in done.stdout + done.stderr
    written = [p for p in penguins.rglob("*") if p.is_file() and b"canary-password" in p.read_bytes()]
    assert written == []


@pytest.mark.parametrize("uri", ["databricks", "htp://h", "mysql+nowhere://h/d", "${GLUE_TEST_URI}"])
def test_a_registry_that_cannot_be_used_is_told_before_the_first_stage(penguins: Path, glue: Glue, uri: str) -> None:
    done = glue("run", "--set", f"tracking.uri={uri}", "--set", "train.params.max_iter=7", cwd=penguins, code=2)
    assert done.stderr.startswith("error: glue.yaml tracking.uri: ") and done.stderr.count("\n") == 2
    assert "tracking" not in (penguins / "glue.yaml").read_text()
    glue("run", "--set", f"tracking.uri={uri}", "--no-publish", "--until", "ingest", cwd=penguins)


@pytest.mark.parametrize(
    "after", ["", "train", *(pytest.param(one, marks=pytest.mark.long) for one in ("ingest", "validate"))]
)
def test_an_interrupted_run_says_so_and_the_next_one_goes_on(penguins: Path, glue: Glue, after: str) -> None:
    """Right after a stage's line DVC writes down what it made."""
    words = ["glue", "run"]
    with subprocess.Popen(words, cwd=penguins, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        if after:
            next(line for line in process.stderr if after in line)
        else:
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted; completed work is kept")
    assert "Traceback" not in said
    assert json.loads(glue("run", "--json", cwd=penguins).stdout)["champion"] == 1


@pytest.mark.parametrize("ending", ["except BaseException: pass", "finally: raise ValueError('on the way out')"])
def test_an_interrupt_that_a_library_swallows_is_one_all_the_same(penguins: Path, glue: Glue, ending: str) -> None:
    (penguins / "mine.py").write_text(
        "import os, signal, time\nfrom sklearn.dummy import DummyClassifier\n\n"
        "def model(random_state=None):\n"
        f"    try: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n    {ending}\n"
        "    return DummyClassifier()\n"
    )
    edit(penguins, "estimator: model:build", "estimator: mine:model")
    done = glue("run", cwd=penguins, code=130)
    assert done.stderr.splitlines()[-1] == "interrupted; completed work is kept"
    assert "Traceback" not in done.stderr

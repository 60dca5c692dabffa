"""`glue adopt --tracking` and `glue track`: a repository's own command as an MLflow run, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_glue.delivery import tracked_run
from mlops_glue.errors import UsageError
from tests.support.project import Glue, contents

SCRIPT = """\
import json, os, sys
json.dump({"auc": 0.9, "f1": {"macro": 0.7}, "name": "x"}, open("metrics.json", "w"))
json.dump({"rmse": 2}, open("scores.json", "w"))
open("run.txt", "w").write(os.environ["MLFLOW_RUN_CONTEXT"])
sys.exit(int(sys.argv[1]))
"""


def test_a_command_is_tracked(tmp_path: Path, glue: Glue, empty_store: Path) -> None:
    from mlflow import MlflowClient

    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "params.yaml").write_text("train:\n  depth: 3\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  t:\n    cmd: x\n    metrics: [scores.json: {cache: false}]\n")
    before = contents(tmp_path)
    glue("adopt", "--tracking", "--yes", cwd=tmp_path)
    assert {path: text for path, text in contents(tmp_path).items() if not path.startswith("glue/")} == before
    shutil.copy(empty_store, tmp_path / "glue")
    client = MlflowClient(f"sqlite:///{tmp_path}/glue/mlflow.db")
    for code, status in ((0, "FINISHED"), (3, "FAILED")):
        glue("track", "--", "python", "train.py", str(code), cwd=tmp_path, code=code)
        run = client.get_run(json.loads((tmp_path / "run.txt").read_text())["glue.tracked_by"])
        assert run.info.status == status
        assert run.data.params == {"train.depth": "3"}
        assert run.data.metrics == {"auc": 0.9, "f1.macro": 0.7, "rmse": 2.0}
        assert run.data.tags["glue.command"] == f"python train.py {code}"
    assert "hint: glue adopt --tracking" in glue("track", "--", "true", cwd=tmp_path.parent, code=2).stderr
    (tmp_path / "train.py").write_text("")
    done = glue("track", "--metrics", "scores.json", "--", "python", "train.py", cwd=tmp_path)
    assert "--metrics scores.json: the command did not write it" in done.stderr
    assert "no such command" in glue("track", "--", "pyhton", "train.py", cwd=tmp_path, code=2).stderr
    assert "train.py: cannot be run" in glue("track", "--", "./train.py", cwd=tmp_path, code=2).stderr
    glue("report", cwd=tmp_path / "glue")
    assert "This project only tracks" in (tmp_path / "glue/reports/index.html").read_text()
    for words in ("run", "why train", "ci", "monitor", "serve", "promote"):
        said = glue(*words.split(), cwd=tmp_path / "glue", code=2).stderr
        assert "this project only tracks" in said and "hint: glue track -- python train.py" in said
    assert "this project only tracks. Next: glue track" in glue("status", cwd=tmp_path / "glue").stdout
    runs = client.search_runs([run.info.experiment_id])
    assert [len(one.data.metrics) for one in runs] == [0, 3, 3]  # what an earlier run measured is not of the last
    for lost in (
        "rm",
        "echo no database >",
    ):  # the store fails while the command runs: its exit code is the one to tell
        kept = (tmp_path / "glue/mlflow.db").read_bytes()
        done = glue("track", "--", "sh", "-c", f"{lost} glue/mlflow.db; exit 7", cwd=tmp_path, code=7)
        assert "was not logged completely: " in done.stderr and "a bug in glue" not in done.stderr
        (tmp_path / "glue/mlflow.db").write_bytes(kept)


LOGS = """\
import json, mlflow, os
assert os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") is None  # glue's own settings of MLflow are not the command's
with mlflow.start_run():
    mlflow.log_param("alpha", 1)
mlflow.set_experiment("theirs")
with mlflow.start_run() as outer:
    mlflow.log_param("alpha", 2)
    with mlflow.start_run(nested=True):
        mlflow.log_param("alpha", 3)
with mlflow.start_run(run_id=outer.info.run_id):
    mlflow.log_metric("again", 1)
mlflow.set_tracking_uri("sqlite:///other.db")
mlflow.set_experiment("far")
with mlflow.start_run():
    mlflow.log_metric("far", 1)
"""
ONE = """\
import json, mlflow
json.dump({"auc": 0.5, "rmse": 2}, open("metrics.json", "w"))
mlflow.set_experiment("theirs")
mlflow.log_metric("auc", 0.75)
mlflow.log_param("depth", 4)
mlflow.start_run(nested=True)
raise SystemExit(3)
"""


def test_a_script_that_logs_itself_works_as_without_glue_and_its_runs_are_children(
    tmp_path: Path, glue: Glue, empty_store: Path
) -> None:
    from mlflow import MlflowClient

    glue("adopt", "--tracking", "--yes", cwd=tmp_path)
    shutil.copy(empty_store, tmp_path / "glue")
    shutil.copy(empty_store, tmp_path / "other.db")
    (tmp_path / "logs.py").write_text(LOGS)
    (tmp_path / "one.py").write_text(ONE)
    glue("track", "--", sys.executable, "logs.py", cwd=tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/glue/mlflow.db")
    experiments = {one.name: one.experiment_id for one in client.search_experiments()}
    (project,) = set(experiments) - {"Default", "theirs"}
    runs = client.search_runs(list(experiments.values()))
    by_alpha = {run.data.params.get("alpha"): run for run in runs}
    tracked = by_alpha[None]
    above = {alpha: run.data.tags.get("mlflow.parentRunId") for alpha, run in by_alpha.items()}
    outer = by_alpha["2"].info.run_id
    assert above == {None: None, "1": tracked.info.run_id, "2": tracked.info.run_id, "3": outer}
    assert by_alpha["1"].info.experiment_id == tracked.info.experiment_id == experiments[project]
    assert by_alpha["2"].info.experiment_id == experiments["theirs"] and by_alpha["2"].data.metrics == {"again": 1.0}
    (far,) = MlflowClient(f"sqlite:///{tmp_path}/other.db").search_runs(["0", "1", "2"])
    assert (far.data.metrics, far.data.tags["glue.tracked_by"]) == ({"far": 1.0}, tracked.info.run_id)

    glue("track", "--", sys.executable, "one.py", cwd=tmp_path, code=3)
    tracked = client.search_runs([experiments[project]], max_results=1)[0]
    made = client.search_runs([experiments["theirs"]], f"tags.`glue.tracked_by` = '{tracked.info.run_id}'")
    assert sorted(run.info.status for run in made) == ["FAILED", "FINISHED"]  # MLflow itself ends the inner one
    # its one run at the top says what it measured; the file adds to it
    assert (tracked.info.status, tracked.data.params) == ("FAILED", {"depth": "4"})
    assert tracked.data.metrics == {"auc": 0.75, "rmse": 2.0}


AUTOLOGS = """\
import mlflow
from sklearn.linear_model import LinearRegression
mlflow.autolog(log_models=False)
LinearRegression(fit_intercept=False).fit([[0.0], [1.0]], [1.0, 3.0])
"""


def test_what_autolog_found_is_in_the_run_of_the_command(tmp_path: Path, glue: Glue, empty_store: Path) -> None:
    from mlflow import MlflowClient

    glue("adopt", "--tracking", "--yes", cwd=tmp_path)
    shutil.copy(empty_store, tmp_path / "glue")
    (tmp_path / "train.py").write_text(AUTOLOGS)
    glue("track", "--", sys.executable, "train.py", cwd=tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/glue/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    (tracked,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    (theirs,) = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == tracked.info.run_id]
    assert theirs.data.params["fit_intercept"] == tracked.data.params["fit_intercept"] == "False"
    assert theirs.data.metrics == tracked.data.metrics and "training_mean_squared_error" in tracked.data.metrics


def test_what_is_set_already_stays() -> None:
    ours = {"MLFLOW_TRACKING_URI": "a", "MLFLOW_EXPERIMENT_NAME": "b", "MLFLOW_RUN_CONTEXT": "{}"}
    assert tracked_run.variables_of({"X": "1"}, ours) == {"X": "1", **ours}
    assert tracked_run.variables_of({"MLFLOW_TRACKING_URI": "z"}, ours) == {**ours, "MLFLOW_TRACKING_URI": "z"}
    assert "MLFLOW_EXPERIMENT_NAME" not in tracked_run.variables_of({"MLFLOW_EXPERIMENT_ID": "3"}, ours)
    assert tracked_run.variables_of({"MLFLOW_RUN_ID": "r"}, ours) == {"MLFLOW_RUN_ID": "r"}


@pytest.mark.parametrize(
    ("command", "ended"),
    [
        (["true"], (0, "FINISHED")),
        (["sh", "-c", "exit 9"], (9, "FAILED")),
        (["sh", "-c", "kill -TERM $$"], (143, "KILLED")),
        # a signal that glue gets is the command's, which ends in its own way
        (["sh", "-c", "trap 'exit 5' TERM; kill -TERM $PPID; while :; do sleep 0.01; done"], (5, "FAILED")),
        (["sh", "-c", "trap 'exit 6' USR1; kill -USR1 $PPID; while :; do sleep 0.01; done"], (6, "FAILED")),
        # so is ^C where no terminal sends it to both
        (["sh", "-c", "trap 'exit 130' INT; kill -INT $PPID; while :; do sleep 0.01; done"], (130, "KILLED")),
    ],
)
def test_how_a_command_ends(command: list[str], ended: tuple[int, str]) -> None:
    # in a session of its own: a terminal of who runs the tests sends nothing there
    module = "import os; from mlops_glue.delivery import tracked_run"
    code = f"{module}; print(tracked_run.run_command({command!r}, dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, start_new_session=True
    )
    assert done.stdout == f"{ended!r}\n"


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes(b"\x7fELF no program")
    (tmp_path / "train").chmod(0o755)
    with pytest.raises(UsageError, match="cannot be run: Exec format error"):
        tracked_run.run_command((str(tmp_path / "train"),), dict(os.environ))


def test_metrics_wherever_dvc_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the top of dvc.yaml, of a stage, of a loop with variables, in a folder, in a dvc.yaml below."""
    files = {
        ".dvc/config": "[core]\n    no_scm = true\n",
        "dvc.yaml": "vars: [{out: eval}]\nmetrics: [eval/metrics.json, plots]\nstages:\n"
        "  a: {cmd: x, metrics: [{a.json: {cache: false}}]}\n"
        "  b: {foreach: [u, v], do: {cmd: x, outs: ['${out}/${item}.txt'], metrics: ['${out}/${item}.yaml']}}\n"
        "  c: {cmd: x, metrics: [never.json]}\n",
        "sub/dvc.yaml": "metrics: [deep.json]\n",
        "eval/metrics.json": '{"auc": 1, "kind": "x"}',
        "plots/one.json": '{"auc": 2}',
        "plots/two.json": '{"two": 2}',
        "a.json": '{"a": {"b": 3}}',
        "eval/u.yaml": "u: 4\n",
        "eval/v.yaml": "v: .nan\n",
        "sub/deep.json": '{"deep": 5}',
        "dvclive/metrics.json": '{"step": 6}',
        "old.json": '{"old": 1}',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    measured = tracked_run.measured((), {"plots/two.json": (tmp_path / "plots/two.json").stat().st_mtime_ns})
    assert measured == {"auc": 1.0, "plots/one/auc": 2.0, "a.b": 3.0, "u": 4.0, "deep": 5.0, "step": 6.0}
    (tmp_path / "dvc.yaml").write_text("stages: 3\n")
    assert tracked_run.measured((), {}) == {"step": 6.0}

"""A search for better parameters: on the training rows alone, whatever kills it, and nothing that is only luck."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config as configs
from mlops_glue.adapters.mlflow import Store
from mlops_glue.delivery import tune
from mlops_glue.errors import UsageError
from tests.support.project import Glue

TREE = "{estimator: sklearn.tree.DecisionTreeClassifier, params: {criterion: entropy}}  # a tree\n"


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A tree that learns every row by heart, of a noisy table: smaller ones are better. Run to its split."""
    folder, rng = tmp_path_factory.mktemp("tune"), np.random.default_rng(0)
    values = rng.normal(size=(600, 4))
    table = pd.DataFrame(values, columns=[f"x{at}" for at in range(4)])
    table["y"] = np.where(rng.random(600) < 1 / (1 + np.exp(-2 * values[:, 0])), "yes", "no")
    table.to_csv(folder / "noisy.csv", index=False)
    glue("init", "p", "--data", "noisy.csv", "--target", "y", cwd=folder)
    root = folder / "p"
    shutil.copy(empty_store, root)
    text = (root / "glue.yaml").read_text()
    head, tail = text.split("train:\n")
    rest = tail[tail.index("\nevaluate:") :]
    (root / "glue.yaml").write_text(f"{head}train: {TREE}{rest}\ntune: {{folds: 3}}\n")
    glue("run", "--until", "split", cwd=root)
    return root


@pytest.fixture
def project(tmp_path: Path, overfitted: Path) -> Path:
    return Path(shutil.copytree(overfitted, tmp_path / "p", symlinks=True))


def test_a_winner_is_shown_and_written_and_logged(project: Path, glue: Glue) -> None:
    before = (project / "glue.yaml").read_text()
    done = glue("tune", "--trials", "12", cwd=project)
    assert "DecisionTreeClassifier: 12 trials" in done.stdout and done.stdout.count("\ntrial ") >= 4
    assert ": better\n" in done.stdout and "\n-train: {estimator" in done.stdout
    assert (project / "glue.yaml").read_text() == before
    found = json.loads(glue("tune", "--trials", "12", "--apply", "--json", cwd=project).stdout)
    assert found["applied"] and len(found["trials"]) == 12  # what the first call tried
    changed = configs.load(project).train
    assert changed.params == {"criterion": "entropy", **found["best"]["params"]}
    assert "# a tree" in (project / "glue.yaml").read_text()
    client = Store(project, None).client
    (experiment,) = (e for e in client.search_experiments() if e.name == "p")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs if run is not parent} == {parent.info.run_id}
    assert len(runs) == 13 and parent.data.tags["glue.finding"] == "better"
    again = glue("tune", "--trials", "6", "--timeout", "5m", cwd=project)  # of what is better already
    assert "no difference shown" in again.stdout and "glue.yaml is unchanged" in again.stderr


def test_the_holdout_is_not_read(project: Path) -> None:
    (project / "artifacts/split/test.parquet").unlink()
    found = tune.tune(configs.load(project), project, tune.Options(trials=3), lambda *_: None)
    assert len(found.trials) == 3 and found.rows == 480


def test_a_killed_search_goes_on(project: Path, warm: Path) -> None:
    words = [str(warm / "glue"), "tune", "--trials", "100000", "--processes", "2"]
    process = subprocess.Popen(words, cwd=project, stdout=subprocess.DEVNULL)
    done = states(project)
    while done["COMPLETE"] + done["PRUNED"] < 3:
        assert process.poll() is None
        time.sleep(0.2)
        done = states(project)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # the kernel ends the other process
    had = states(project)
    ended = had["COMPLETE"] + had["PRUNED"]
    options = tune.Options(trials=ended + 4, processes=2)
    found = tune.tune(configs.load(project), project, options, lambda *_: None)
    assert ended + 4 <= len(found.trials) <= ended + 5  # both may have begun the last one
    assert states(project)["RUNNING"] == 0
    drawn = [trial.params for trial in found.trials]
    assert drawn[ended : ended + 3] != drawn[:3]  # the generator does not begin anew


def states(project: Path) -> Counter[str]:
    try:
        with sqlite3.connect(project / ".glue/tune.db") as database:
            return Counter(state for (state,) in database.execute("select state from trials"))
    except sqlite3.OperationalError:
        return Counter()


def test_what_cannot_be_searched(project: Path, glue: Glue) -> None:
    for words, problem in {
        ("--timeout", "soon"): "--timeout soon: should be a duration like 90s",
        ("--estimator", "sklearn.svm.NuSVC"): "--estimator sklearn.svm.NuSVC: no search space is known for it",
    }.items():
        assert problem in glue("tune", *words, cwd=project, code=2).stderr
    text = (project / "glue.yaml").read_text()
    for space, problem in {
        "{max_depth: [5, 2]}": "low 5 is not below high 2",
        "{max_depth: {low: 0, high: 5, log: true}}": "log needs a low above 0, not 0",
        "{max_depth: [1, 2, 3]}": "tune.space.max_depth: should be [low, high], {low, high, log} or {choices: [...]}",
    }.items():
        (project / "glue.yaml").write_text(text.replace("tune: {", f"tune: {{space: {space}, "))
        assert problem in glue("tune", cwd=project, code=2).stderr
    (project / "glue.yaml").write_text(text.replace("tune: {", "tune: {space: {max_dept: [2, 5]}, "))
    done = glue("tune", cwd=project, code=4)
    assert "tune: no trial could be fitted; the last: " in done.stderr and "max_dept" in done.stderr


@pytest.mark.parametrize(
    ("space", "names"),
    [
        ({}, {"max_depth", "min_samples_leaf"}),
        ({"max_depth": {"choices": [2, None]}}, {"max_depth"}),
    ],
)
def test_whose_space_is_searched(project: Path, space: dict[str, Any], names: set[str]) -> None:
    config = configs.load(project)
    config = config.model_copy(update={"tune": type(config.tune).model_validate({"space": space})})
    assert set(tune.searched(config, None, "binary")[1]) == names
    own = config.model_copy(update={"train": config.train.model_copy(update={"estimator": "model:build"})})
    if not space:
        assert tune.searched(own, None, "binary")[0].endswith("HistGradientBoostingClassifier")
    with pytest.raises(UsageError, match="no search space"):
        tune.searched(own, "model:build", "binary")

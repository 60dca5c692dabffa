"""From a table to a champion, as a user does it (`test_references.py` has more tables)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mlops_glue import telemetry
from tests.support.project import Glue, row_of
from tests.support.server import ask, serving

HOOK = """
import json, os, sys
def look(event, given):
    if event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        return
    place = given[0] if event.startswith("socket.get") else given[1]
    host = place[0] if isinstance(place, tuple) else place
    if isinstance(host, bytes):
        host = host.decode("utf-8", "replace")
    near = (None, "", "localhost", "::1", "0.0.0.0", "::")
    if host in near or str(host).startswith(("127.", "/", "\\0")):
        return
    with open(os.environ["SEEN_SOCKETS"], "a") as file:
        file.write(json.dumps([event, str(place), sys.argv[:3]]) + "\\n")
sys.addaudithook(look)
"""


@pytest.fixture
def seen_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that each new Python process adds to when it asks another machine; no variable keeps a tool from it."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    seen = tmp_path / "seen.txt"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
    monkeypatch.setenv("SEEN_SOCKETS", str(seen))
    for name in telemetry.OFF:
        monkeypatch.delenv(name, raising=False)
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert "192.0.2.1" in seen.read_text()  # it would be noticed
    seen.write_text("")
    return seen


def test_the_life_of_a_project(penguins: Path, cold_glue: Glue, glue: Glue, seen_sockets: Path) -> None:
    """Each command is a new process once, as a user's is, and the first run makes its own database.

    Nothing that glue starts asks another machine for anything, from the first run to serving and the monitor.
    """
    (penguins / "mlflow.db").unlink()
    first = json.loads(cold_glue("run", "--json", cwd=penguins).stdout)
    assert first["champion"] == 1
    _predictions_are_those_of_scikit_learn(penguins, cold_glue, glue)
    with serving(penguins, cold=True) as (url, _):
        assert ask(url, body=row_of(penguins))[0] == 200
    cold_glue("monitor", "--current", "../penguins.csv", cwd=penguins, code=None)

    again = json.loads(cold_glue("run", "--json", cwd=penguins).stdout)
    assert {s["outcome"] for s in again["stages"]} == {"unchanged"}
    assert (again["version"], again["new"]) == (1, False)
    assert "champion of project: v1" in cold_glue("status", cwd=penguins).stdout
    (penguins / "mlflow.db").rename(penguins / "kept.db")
    assert "is unknown: mlflow.db does not exist; after the last run it was v1" in glue("status", cwd=penguins).stdout
    (penguins / "kept.db").rename(penguins / "mlflow.db")

    assert "train.preprocess" not in cold_glue("why", "train", cwd=penguins).stdout
    assert seen_sockets.read_text() == ""

    quiet = {**os.environ, **telemetry.OFF}  # what DVC by itself would send is not glue's
    repro = subprocess.run(["dvc", "repro"], cwd=penguins, env=quiet, capture_output=True, text=True, check=True)
    assert "Running stage" not in repro.stdout

    subprocess.run(["rm", "-rf", "artifacts", "dvc.lock"], cwd=penguins, check=True)
    restored = json.loads(glue("run", "--json", cwd=penguins).stdout)
    assert {s["outcome"] for s in restored["stages"]} == {"restored"}
    assert restored["fingerprint"] == first["fingerprint"]

    text = (penguins / "glue.yaml").read_text()
    (penguins / "glue.yaml").write_text(text.replace("seed: 0", "seed: 0\n  preprocess: true"))
    assert "train.preprocess absent -> True" in glue("why", "train", cwd=penguins).stdout
    (penguins / "glue.yaml").write_text(text.replace("roc_auc_ovr: {min:", "roc_auc_ovr: {max: 2, min:"))
    changed = json.loads(glue("run", "--json", cwd=penguins).stdout)
    assert [s["stage"] for s in changed["stages"] if s["outcome"] == "executed"] == ["evaluate", "package"]


def _predictions_are_those_of_scikit_learn(project: Path, cold_glue: Glue, glue: Glue) -> None:
    from mlops_glue.adapters import skops
    from mlops_glue.schema import Schema

    schema = Schema.from_dict(json.loads((project / "artifacts/bundle/schema.json").read_text()))
    test = pd.read_parquet(project / "artifacts/split/test.parquet")
    model = skops.load(project / "artifacts/train/model.skops")
    cold_glue("predict", "data/raw/penguins.csv", "scored.csv", cwd=project)
    scored = pd.read_csv(project / "scored.csv")
    said = scored.loc[test["glue_row"], "prediction"].tolist()
    assert said == model.predict(test[[*schema.numeric, *schema.text]]).tolist()
    assert list(scored.columns)[-4:] == ["prediction", *(f"probability_{x}" for x in ("Adelie", "Chinstrap", "Gentoo"))]
    _contributions_add_up(project, cold_glue, glue, scored)


def _contributions_add_up(project: Path, cold_glue: Glue, glue: Glue, scored: pd.DataFrame) -> None:
    scored.drop(columns=scored.columns[-4:])[:20].to_csv(project / "some.csv", index=False)
    done = cold_glue("explain", "some.csv", "explained.csv", cwd=project)
    assert "explained.csv: 20 rows explained by project v1" in done.stderr and "warning" not in done.stderr
    explained = pd.read_csv(project / "explained.csv")
    added = explained.filter(like="contribution_").sum(axis=1) + explained["base"]
    assert abs(added - explained.filter(like="probability_").max(axis=1)).max() < 1e-5
    assert glue("explain", cwd=project).stdout.splitlines()[1].split() == ["column", "mean", "|contribution|"]
    assert "some.csv: the output file is missing" in glue("explain", "some.csv", cwd=project, code=2).stderr


def test_a_missed_threshold_is_refused(penguins: Path, glue: Glue) -> None:
    text = (penguins / "glue.yaml").read_text()
    (penguins / "glue.yaml").write_text(text.replace("roc_auc_ovr: {min: 0.55}", "accuracy: {min: 1.1}"))
    done = glue("run", cwd=penguins, code=1)
    assert "misses threshold min 1.1" in done.stdout
    assert "there is no champion" in done.stdout
    glue("predict", "data/raw/penguins.csv", "scored.csv", cwd=penguins, code=2)


def test_bad_data_stops_the_run(penguins: Path, glue: Glue) -> None:
    text = (penguins / "glue.yaml").read_text()
    (penguins / "glue.yaml").write_text(text.replace("value_set: [Adelie", "value_set: [Emperor"))
    done = glue("run", cwd=penguins, code=1)
    assert "expect_column_values_to_be_in_set" in done.stderr
    assert "FAILED" in (penguins / "artifacts/validation/report.html").read_text()
    assert not (penguins / "artifacts/train").exists()


def test_a_misspelt_expectation_is_an_error(penguins: Path, glue: Glue) -> None:
    text, name = (penguins / "glue.yaml").read_text(), "expect_column_values_to_not_be_null"
    (penguins / "glue.yaml").write_text(text.replace(name, name[:-1], 1))
    done = glue("run", cwd=penguins, code=2)
    assert f"no expectation '{name[:-1]}' (did you mean '{name}'?)" in done.stderr


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("sklearn.ensemble.RandomForrestClassifier", "did you mean 'RandomForestClassifier'?"),
        ("no_such_module.Model", "does not import"),
        ("sklearn.metrics.accuracy_score", "accuracy_score"),
    ],
)
def test_a_wrong_estimator(penguins: Path, glue: Glue, path: str, said: str) -> None:
    done = glue("run", "--set", f"train.estimator={path}", cwd=penguins, code=2)
    assert said in done.stderr


def test_a_changed_helper_trains_again(penguins: Path, glue: Glue) -> None:
    (penguins / "model.py").write_text(
        "from helper import DEPTH\nfrom sklearn.ensemble import RandomForestClassifier\n\n"
        "def build():\n    return RandomForestClassifier(5, max_depth=DEPTH, random_state=0)\n"
    )
    (penguins / "helper.py").write_text("DEPTH = 3\n")
    glue("run", "--no-publish", "--set", "train.estimator=model:build", cwd=penguins)
    (penguins / "helper.py").write_text("DEPTH = 4\n")
    assert "helper.py modified" in glue("why", "train", cwd=penguins).stdout
    assert glue("why", "split", cwd=penguins).stdout == "unchanged\n"
    said = "unchanged; would run if the output of train changes\n"
    assert glue("why", "package", cwd=penguins).stdout == said
    told = json.loads(glue("run", "--json", "--no-publish", cwd=penguins).stdout)
    assert "train" in [s["stage"] for s in told["stages"] if s["outcome"] == "executed"]


def test_a_misspelt_target(tmp_path: Path, glue: Glue) -> None:
    (tmp_path / "t.csv").write_text("a,churn\n1,0\n2,1\n")
    done = glue("init", "p", "--data", "t.csv", "--target", "chrun", cwd=tmp_path, code=2)
    assert "did you mean 'churn'?" in done.stderr
    assert not (tmp_path / "p").exists()

"""What glue leaves is the tools' own: DVC, MLflow, Great Expectations, scikit-learn and onnxruntime read it alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mlops_glue.adapters import dvc
from tests.support.feature_project import tables
from tests.support.project import Glue, on_penguins


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A project that has run, made once for this file."""
    root = on_penguins(tmp_path_factory.mktemp("lockin"), "p", glue, empty_store)
    glue("run", cwd=root)
    return root


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which there is no `glue` and importing mlops_glue fails."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("dvc", "mlflow", "git", "sh"):
        found = shutil.which(name)
        assert found is not None
        (commands / name).symlink_to(found)
    (tmp_path / "mlops_glue.py").write_text("raise ImportError('glue is not here')")
    made = {**os.environ, "PATH": str(commands), "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-c", "import mlops_glue"]
    gone = subprocess.run(words, cwd=tmp_path, env=made, capture_output=True, text=True)
    assert "glue is not here" in gone.stderr
    return made


def test_dvc(project: Path, bare: dict[str, str]) -> None:
    def dvc(*words: str) -> str:
        return subprocess.run(["dvc", *words], cwd=project, env=bare, check=True, capture_output=True, text=True).stdout

    assert "Running stage" not in dvc("repro")
    assert "package" in dvc("dag")
    assert "accuracy" in dvc("metrics", "show")
    assert json.loads(dvc("status", "--json")) == {}
    assert "index.html" in dvc("plots", "show", "-o", "plots_page")
    page = (project / "plots_page" / "index.html").read_text()
    assert "confusion" in page
    shutil.rmtree(project / "plots_page")


def test_onnxruntime(project: Path, bare: dict[str, str]) -> None:
    code = """
import json, numpy as np, onnxruntime as ort
b = "artifacts/bundle/"
rows = json.load(open(b + "input_example.json")); schema = json.load(open(b + "schema.json"))
number = [c["name"] for c in schema["columns"] if c["kind"] in ("number", "boolean")]
text = [c["name"] for c in schema["columns"] if c["kind"] == "category"]
nan = float("nan")
number = np.array([[nan if r[c] is None else r[c] for c in number] for r in rows], np.float32)
text = np.array([[r[c] or "" for c in text] for r in rows], object)
label, probability = ort.InferenceSession(b + "model.onnx").run(None, {"number": number, "text": text})
assert set(label) <= set(schema["labels"]) and probability.shape == (len(rows), 3)
"""
    subprocess.run([sys.executable, "-c", code], cwd=project, env=bare, check=True)


def test_mlflow_and_scikit_learn(project: Path, bare: dict[str, str]) -> None:
    code = """
import mlflow, pandas as pd
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.sklearn.load_model("models:/p@champion")
test = pd.read_parquet("artifacts/split/test.parquet")
said = model.predict(test[model.feature_names_in_])
assert (said == test["target:species"]).mean() > 0.9
signature = mlflow.models.get_model_info("models:/p@champion").signature
assert "bill_length_mm" in signature.inputs.input_names()
run = mlflow.search_runs(search_all_experiments=True).iloc[0]
assert run.status == "FINISHED" and run["metrics.accuracy"] > 0.9 and run["params.train.seed"] == "0"
onnx = mlflow.onnx.load_model("models:/p@champion")
assert [one.name for one in onnx.graph.input] == ["number", "text"]
"""
    subprocess.run([sys.executable, "-c", code], cwd=project, env=bare, check=True)


def test_great_expectations(project: Path, bare: dict[str, str]) -> None:
    code = """
import json, great_expectations as gx
from great_expectations.core import ExpectationSuiteValidationResult
suite = gx.ExpectationSuite(**json.load(open("artifacts/validation/suite.json")))
result = ExpectationSuiteValidationResult(**json.load(open("artifacts/validation/result.json")))
assert result.success and len(suite.expectations) == len(result.results) > 10
"""
    subprocess.run([sys.executable, "-c", code], cwd=project, env=bare, check=True)


def test_feast(tmp_path: Path, glue: Glue, bare: dict[str, str]) -> None:
    """The repository that `glue init` writes: its definitions, joins and online store, by Feast alone."""
    customers, events = tables()
    customers.to_csv(tmp_path / "customers.csv", index=False)
    events.to_csv(tmp_path / "events.csv", index=False)
    both = ["--data", "customers.csv", "--data", "events.csv", "--target", "y"]
    glue("init", "p", *both, "--entity", "customer_id", "--timestamp", "at", cwd=tmp_path)
    glue("run", "--until", "featurize", cwd=tmp_path / "p")
    here = tmp_path / "p/feature_repo"
    assert "mlops_glue" not in (here / "feature_store.yaml").read_text()

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=here, env=bare, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    code = """
import numpy as np, pandas as pd
from feast import FeatureStore
from feast.cli.cli import cli
cli(["apply"], standalone_mode=False)
store = FeatureStore(".")
assert [view.name for view in store.list_feature_views()] == ["customers"]
asked = pd.read_parquet("../artifacts/ingest/table.parquet").rename(columns={"at": "event_timestamp"})
when = pd.to_datetime(asked["event_timestamp"], utc=True) - pd.Timedelta(seconds=1)  # as `delay` in glue.yaml
rows = pd.DataFrame({"customer_id": asked["customer_id"], "event_timestamp": when, "row": np.arange(len(asked))})
got = store.get_historical_features(rows, features=["customers:balance", "customers:town"]).to_df()
got = got.sort_values("row").reset_index(drop=True)
trained = pd.read_parquet("../artifacts/featurize/joined.parquet")
assert len(got) == len(trained) == 600
for name in ("balance", "town"):
    pd.testing.assert_series_equal(got[name], trained[name], check_dtype=False)
known = pd.read_parquet("../artifacts/ingest/customers.parquet")
store.materialize(known["at"].min().to_pydatetime(), known["at"].max().to_pydatetime() + pd.Timedelta(days=1))
last = known.sort_values("at").groupby("customer_id")["balance"].last()
keys = [{"customer_id": key} for key in last.index.tolist()]
served = FeatureStore(".").get_online_features(features=["customers:balance"], entity_rows=keys).to_dict()
assert served["balance"] == last.tolist()
"""
    assert "customers" in run(sys.executable, "-c", code)


def test_what_the_page_of_mlflow_shows(project: Path) -> None:
    """A run and a version with a name, what is said of them, all parameters, the tables and how long it took."""
    import mlflow

    uri = f"sqlite:///{project}/mlflow.db"
    client = mlflow.MlflowClient(uri, uri)
    version = client.get_model_version("p", "1")
    run = client.get_run(version.run_id)
    assert run.info.run_name == "p v1" and run.data.tags["mlflow.user"]
    lock = {one["path"]: one["md5"] for stage in dvc.locked(project).values() for one in stage["outs"] + stage["deps"]}
    tables = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert {name: one.tags[0].value for name, one in tables.items()} == {
        "penguins": "training",
        "holdout": "evaluation",
    }
    assert tables["penguins"].dataset.digest == lock["data/raw/penguins.csv"]
    assert json.loads(tables["penguins"].dataset.profile) == {"num_rows": 344, "num_elements": 344 * 8}
    columns = {one["name"]: one["type"] for one in json.loads(tables["penguins"].dataset.schema)["mlflow_colspec"]}
    assert columns["bill_length_mm"] == "double" and columns["sex"] == "string"
    params = run.data.params
    assert params["train.params.max_iter"] == "10" and params["train.params.max_leaf_nodes"] == "31"
    assert params["train.params.prepare__category__handle_unknown"] and "train.params.steps" not in params
    assert params["data.penguins"] == lock["data/raw/penguins.csv"] and "bill_length_mm" in params["features"]
    took = sum(
        one["executed_s"] or 0 for one in json.loads((project / ".glue/last_run.json").read_text())["stages"][:7]
    )
    assert (run.info.end_time - run.info.start_time) / 1000 == pytest.approx(took, abs=0.05)
    metric = run.data.metrics["log_loss"]
    assert version.description.startswith(f"log_loss {metric:.4f}, trivial predictor ")
    assert "p v1 predicts `species` (multiclass)" in version.description
    assert version.description.splitlines()[-1].endswith(" UTC, glue run: **champion**")
    assert run.data.tags["mlflow.note.content"] == version.description


def test_mlflow_ui(project: Path, bare: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with subprocess.Popen(
        words, cwd=project, env=bare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            found = _ask(f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/get?name=p")
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    assert {a["alias"]: a["version"] for a in found["registered_model"]["aliases"]} == {"champion": "1"}


def _ask(url: str) -> dict[str, dict[str, list[dict[str, str]]]]:
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return json.loads(reply.read())  # type: ignore[no-any-return]
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"{url} does not answer")


def test_a_stage_of_the_users_own_runs_with_glue_and_with_dvc(penguins: Path, glue: Glue) -> None:
    text = (penguins / "dvc.yaml").read_text()
    (penguins / "dvc.yaml").write_text(
        text + "  mine:\n    # my own comment\n    cmd: cp artifacts/split/test.parquet copy.parquet\n"
        "    deps: [artifacts/split/test.parquet]\n    outs: [copy.parquet]\n"
    )
    told = json.loads(glue("run", "--json", "--no-publish", cwd=penguins).stdout)
    assert ("mine", "executed") in {(s["stage"], s["outcome"]) for s in told["stages"]}
    assert (penguins / "copy.parquet").is_file()
    assert "# my own comment" in (penguins / "dvc.yaml").read_text()
    done = subprocess.run(["dvc", "repro"], cwd=penguins, capture_output=True, text=True, check=True)
    assert "Running stage" not in done.stdout

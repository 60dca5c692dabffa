"""The Python API: the same answers as the commands give, in a notebook's own types."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mlops_glue as glue_api
from mlops_glue.errors import DataError, UsageError
from tests.support.project import Glue

HEAVY = ("pandas", "numpy", "pyarrow", "mlflow", "sklearn", "click", "dvc")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, once_run_penguins: Path) -> Path:
    """A project with one version."""
    root = tmp_path_factory.mktemp("api") / "project"
    shutil.copytree(once_run_penguins / "project", root, symlinks=True)
    return root


@pytest.fixture(scope="module")
def frame(root: Path) -> pd.DataFrame:
    """Raw rows, with an index of their own and nulls."""
    return pd.read_csv(root / "data/raw/penguins.csv").sample(40, random_state=3)


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, mlops_glue; mlops_glue.load, mlops_glue.project; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.split(".")[0] in HEAVY]
    assert [name for name in loaded if name.startswith("mlops_glue.")] == ["mlops_glue.version"]
    assert (Path(glue_api.__file__).parent / "py.typed").is_file()


def test_a_frame_is_scored_as_its_file_is(root: Path, frame: pd.DataFrame, glue: Glue, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "rows.csv", index=False)
    glue("predict", str(tmp_path / "rows.csv"), str(tmp_path / "out.csv"), cwd=root)
    glue("explain", str(tmp_path / "rows.csv"), str(tmp_path / "why.parquet"), cwd=root)
    wanted, why = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "why.parquet")
    model = glue_api.load(project=root)
    found, shares = model.predict(frame), model.predict_proba(frame)
    assert found.index.equals(frame.index) and list(found) == list(wanted["prediction"])
    labels = sorted(frame["species"].unique())
    assert list(shares.columns) == labels and shares.index.equals(frame.index)
    assert np.allclose(shares, wanted[[f"probability_{label}" for label in labels]], atol=1e-6)
    parts = model.explain(frame)
    assert np.array_equal(parts["base"], why["base"])
    assert np.array_equal(parts["island"], why["contribution_island"])
    assert np.allclose(parts.sum(axis=1), shares.max(axis=1), atol=1e-5)
    assert list(model.schema.index) == [name for name in frame.columns if name != "species"]
    assert "onnx" in repr(model) and "<table" in model._repr_html_()


def test_rows_come_in_many_forms(root: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = glue_api.load(1, root)
    wanted = list(model.predict(frame))
    frame.to_parquet(tmp_path / "rows.parquet")
    again = frame.assign(prediction=wanted, probability_Adelie=0.5)  # what was added to them before is left alone
    for rows in (
        frame.to_dict("records"),
        frame.to_dict("list"),
        pa.Table.from_pandas(frame),
        frame.astype({"island": "category"}),
        str(tmp_path / "rows.parquet"),
        again,
    ):
        assert list(model.predict(rows)) == wanted
    assert list(model.predict(frame.iloc[0].to_dict())) == wanted[:1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict(frame.assign(island="Atlantis"))
    assert "do not occur in the training data" in str(caught[0].message) and caught[0].filename == __file__


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda frame: frame.drop(columns="island"), "the rows: column 'island' is missing"),
        (lambda frame: frame.assign(body_mass_g="heavy"), "column 'body_mass_g', row 1: 'heavy' is not a number"),
        (lambda frame: pd.concat([frame, frame["year"]], axis=1), "two columns are named 'year'"),
        (lambda frame: frame.assign(sex=["x", 1] * 20), "column sex"),
        (lambda frame: [1, {"a": 2}], "the rows: "),
        (lambda frame: "nothing.csv", "nothing.csv: no such file"),
    ],
)
def test_what_is_no_row_of_the_model_is_refused(root: Path, frame: pd.DataFrame, spoil: Any, problem: str) -> None:
    with pytest.raises((DataError, UsageError)) as caught:
        glue_api.load(project=root).predict(spoil(frame))
    assert problem in caught.value.message


def test_a_version_that_is_not_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no alias 'challenger'") as caught:
        glue_api.load("challenger", root)
    # this is all that a notebook shows
    assert caught.value._render_traceback_()[1:] == ["hint: use champion, or a number"]
    with pytest.raises(UsageError, match="version 9"):
        glue_api.load(9, root)
    with pytest.raises(UsageError, match=r"no glue\.yaml"):
        glue_api.project(tmp_path)


def test_a_project_answers_as_its_commands_do(root: Path, frame: pd.DataFrame, glue: Glue) -> None:
    project = glue_api.project(root / "data")
    assert project.status() == json.loads(glue("status", "--json", cwd=root).stdout)
    first = project.run()
    assert {stage["outcome"] for stage in first["stages"]} == {"unchanged"} and first["champion"] == 1
    second = project.run(set={"train.params.max_iter": 11})
    assert second["version"] == 2 and "max_iter: 11" in (root / "glue.yaml").read_text()
    assert "log_loss" in repr(second) and "<table" in second._repr_html_()
    with pytest.raises(UsageError, match=r"train\.params is a dict, which"):
        project.run(set={"train.params": {"max_iter": object()}})
    with pytest.raises(UsageError, match="is not a mapping"):
        project.run(set="train.seed=1")  # type: ignore[arg-type]
    project.run(
        set={"card.owner": "# 1.50", "train.params.random_state": None, "train.params.max_iter": np.int64(11)},
        publish=False,
    )
    text = (root / "glue.yaml").read_text()
    assert '"# 1.50"' in text or "'# 1.50'" in text
    assert "random_state: null" in text and "max_iter: 11" in text
    versions = project.versions()
    assert list(versions.index) == [2, 1] and versions.loc[2, "log_loss"] == second["metrics"]["log_loss"]["value"]
    side = project.compare(1, 2)
    assert [one["version"] for one in side["sides"]] == [1, 2] and "Parameters that differ" in side.tables
    assert "<svg" in side._repr_html_()
    lineage = project.lineage(2)
    assert lineage["version"] == 2 and "the Python API in" in lineage["provenance"]["command"]
    assert lineage["moves"][-1]["command"] == lineage["provenance"]["command"]
    shifted = pd.concat([frame.assign(body_mass_g=frame["body_mass_g"] * 3)] * 30)
    found = project.monitor(shifted, version=1)
    assert found["verdict"] == "drift" and "body_mass_g" in repr(found)
    found = project.monitor(pd.concat([frame.assign(prediction="Adelie")] * 30), version=1)
    assert found["versions"][0]["prediction"]["why"] == "distribution"  # those of the rows, as in `--current FILE`


def test_the_notebook_of_the_docs_runs(
    tmp_path: Path, warm: Path, quick_path: None, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own `glue init` and its kernel are quick ones; MLflow's database is there, which takes seconds to make."""
    import nbformat
    from nbclient import NotebookClient

    def with_store(**_: Any) -> None:
        if not any(tmp_path.glob("*/mlflow.db")) and (tmp_path / "penguins/glue.yaml").exists():
            shutil.copy(empty_store, tmp_path / "penguins")

    (tmp_path / "jupyter/kernels/warm").mkdir(parents=True)
    kernel = {"argv": [str(warm / "kernel"), "-f", "{connection_file}"], "display_name": "", "language": "python"}
    (tmp_path / "jupyter/kernels/warm/kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook = nbformat.read(Path(__file__).parents[2] / "docs/notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=600, resources=resources, kernel_name="warm", on_cell_executed=with_store)
    client.execute()
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("is champion" in output for output in shown) and any("sha256" in output for output in shown)

"""`glue adopt --model`: a model that another program registered in MLflow is served, and nothing else is set up."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import palmerpenguins
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from mlops_glue.errors import GlueError
from mlops_glue.pipeline.convert import convert
from tests.support.project import Glue, contents

TABLE = palmerpenguins.load_penguins().dropna().reset_index(drop=True)
X, Y = TABLE[["island", "bill_length_mm", "year", "sex", "body_mass_g"]], TABLE["species"]
FAR = pd.DataFrame({"year": [1e8, 1e8 + 1]})  # float32 does not tell them apart


def columns(*texts: Any, numbers: Any) -> ColumnTransformer:
    one_hot = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("t", one_hot, list(texts)), ("n", StandardScaler(), numbers)], remainder="passthrough")


@pytest.fixture
def registered(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """A folder with MLflow's database, in which a pickled model is registered twice."""
    import mlflow
    from mlflow.models import infer_signature

    shutil.copy(empty_store, tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_registry_uri(None)  # what a test before this one has set stays, and is another's
    mlflow.create_experiment("theirs", artifact_location=(tmp_path / "mlartifacts").as_uri())
    mlflow.set_experiment("theirs")
    forest = RandomForestClassifier(20, random_state=0)
    model = make_pipeline(columns("island", "sex", numbers=["year", "body_mass_g"]), forest).fit(X, Y)
    # the second as many a script logs it: what it takes is in the model and in a table alone
    for more in ({"signature": infer_signature(X, model.predict(X)), "input_example": X.head(5)}, {}):
        mlflow.sklearn.log_model(
            model,
            **more,
            name="model",
            registered_model_name="penguins",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
        forest.set_params(random_state=1)
        model.fit(X, Y)
    mlflow.set_tracking_uri(None)
    TABLE.to_csv(tmp_path / "penguins.csv", index=False)
    return tmp_path, model


def test_a_registered_model_is_served_and_its_repository_stays_as_it_is(registered: Any, glue: Glue) -> None:
    top, model = registered
    before = contents(top)
    glue("adopt", "--model", "penguins/1", "--trust", "--yes", cwd=top)
    done = glue("adopt", "--model", "penguins/2", "--trust", "--yes", "--data", "penguins.csv", cwd=top)
    assert "faithful on 333 rows" in done.stderr
    assert "it has no signature: its inputs are taken from the columns of penguins.csv" in done.stderr
    assert "penguins v2 is champion" in done.stdout
    assert {path: text for path, text in contents(top).items() if not path.startswith("glue/")} == before
    told = json.loads(glue("serve", "--check", "--json", cwd=top).stdout)
    assert (told["version"], told["format"]) == (2, "onnx")
    glue("predict", "penguins.csv", "scored.csv", cwd=top)
    scored = pd.read_csv(top / "scored.csv")
    assert (scored["prediction"] == model.predict(X)).all()
    off = np.abs(scored[[f"probability_{c}" for c in model.classes_]].to_numpy() - model.predict_proba(X)).max(axis=1)
    assert np.mean(off > 1e-3) < 0.01
    assert "333 rows: ok" in glue("monitor", "--current", "penguins.csv", "--no-page", cwd=top).stdout
    assert "penguins v1 is champion; v2 was rolled back" in glue("rollback", cwd=top).stdout
    assert glue("status", cwd=top).stdout == "champion of penguins: v1\n"
    glue("doctor", cwd=top)
    assert "glue/reports/index.html" in glue("report", cwd=top).stdout
    for command in ("run", "ci", "materialize"):
        said = glue(command, cwd=top, code=2).stderr
        assert "this project only serves " in said and "hint: glue serve" in said
    assert "up to date with glue" in glue("upgrade", cwd=top).stdout
    shutil.rmtree(top / "glue")
    (top / "scored.csv").unlink()
    assert contents(top) == before


def test_what_cannot_be_adopted_leaves_nothing(registered: Any, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    top, _ = registered

    class Boom:
        def __reduce__(self) -> Any:
            return (Path.touch, (top / "ran",))

    (file,) = list(top.rglob("m-*/artifacts/model.pkl"))[:1]
    file.write_bytes(pickle.dumps(Boom()))
    before = contents(top)
    for words, said in {
        ("penguins",): "must be NAME/VERSION or NAME@ALIAS",
        ("penguins/1", "--target", "species"): "--model cannot be combined with --target and --task",
        ("penguins/1", "--data", "no.csv"): "no such file",
        ("penguins/1",): "stored as cloudpickle, and loading it runs any code",
        ("penguins/1", "--task", "binary"): "--model cannot be combined with --target and --task",
    }.items():
        assert said in glue("adopt", "--yes", "--model", *words, cwd=top, code=2).stderr
    elsewhere = ("--registry", f"sqlite:///{top}/no/such.db")
    assert "such.db does not exist" in glue("adopt", "--model", "penguins/1", *elsewhere, cwd=top, code=4).stderr
    assert contents(top) == before  # and so nothing of it ran


def signature(frame: pd.DataFrame | None) -> dict[str, str]:
    from mlflow.models.signature import infer_signature

    return infer_signature(frame).to_dict()


@pytest.mark.parametrize(
    "first",
    [
        columns(0, 3, numbers=[2, 4]),
        columns("island", "sex", numbers=slice(1, 3)),
        columns("island", "sex", numbers=slice("bill_length_mm", "year")),
        columns("island", "sex", numbers=[False, True, False, False, True]),
        ColumnTransformer([("t", OneHotEncoder(), ["sex"])]),
    ],
)
def test_columns_are_found_however_they_are_named(first: Any, tmp_path: Path) -> None:
    model = make_pipeline(first, LogisticRegression(max_iter=100)).fit(X, Y)
    proof = convert(model, signature(X), X, tmp_path / "bundle")
    assert proof["faithful"]
    assert proof["holdout_rows"] == len(X)


def test_a_model_of_an_array(tmp_path: Path) -> None:
    array = X[["bill_length_mm", "year"]].to_numpy()
    rows = pd.DataFrame(array, columns=["x0", "x1"])
    for model in (Ridge(), DecisionTreeRegressor()):
        model.fit(array, TABLE["body_mass_g"])
        assert convert(model, signature(array), rows, tmp_path / type(model).__name__)["faithful"]


@pytest.mark.parametrize(
    ("model", "frame", "said"),
    [
        (LinearSVC().fit(X[["year"]], Y), X[["year"]], "returns no probabilities"),
        (StandardScaler().fit(X[["year"]]), X[["year"]], "is not a classifier or regressor"),
        (Ridge().fit(X[["year"]], X[["year", "body_mass_g"]]), X[["year"]], "is not a classifier or regressor with"),
        (Ridge().fit(X[["year"]].to_numpy(), X["year"]), None, "no signature, and was fitted on 1 columns without"),
        (Ridge().fit(X[["year"]].rename(columns={"year": "month"}), X["year"]), None, "no column 'month', which"),
        (Ridge().fit(X[["year"]], X["year"]), X[["year"]].assign(at=pd.Timestamp("2024-01-01")), "'at' has type"),
        (Ridge().fit(X[["year"]], X["year"]), X[["year"]].rename(columns={"year": "month"}), "no column 'month'"),
        (LinearRegression().fit(FAR, [0, 1]), FAR, "not faithful"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(model: Any, frame: Any, said: str, tmp_path: Path) -> None:
    rows = frame if said == "not faithful" else X
    with pytest.raises(GlueError, match=said):
        convert(model, signature(frame) if frame is not None else None, rows, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()

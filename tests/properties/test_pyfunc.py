"""A logged model says of raw rows, as pandas reads them, what `glue predict` says of the file, or refuses them too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import Model
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlops_glue import files, streaming, tables
from mlops_glue.adapters import skops
from mlops_glue.adapters.mlflow.logged_model import RawRowsFlavor, signature_of
from mlops_glue.encoding import encode
from mlops_glue.errors import DataError
from mlops_glue.modules import copy_package
from mlops_glue.pipeline import reference
from mlops_glue.pipeline.package import kept
from mlops_glue.schema import Column, Schema
from mlops_glue.scoring import Bundle

ROOT = Path(tables.__file__).parents[1]
COLUMNS = [
    Column("price", "number", "double"),
    Column("count", "number", "int64"),
    Column("paid", "boolean", "string"),
    Column("open", "boolean", "bool"),
    Column("since", "datetime", "string"),
    Column("town", "category", "string"),
    Column("code", "category", "int64"),
]
MODELS: dict[str, tuple[Any, list[Any] | None]] = {
    "words": (DecisionTreeClassifier(max_depth=5, random_state=0), ["no", "yes"]),
    "booleans": (DecisionTreeClassifier(max_depth=5, random_state=0), [False, True]),
    "three": (DecisionTreeClassifier(max_depth=5, random_state=0), [1, 2, 7]),
    "no probabilities": (make_pipeline(SimpleImputer(), LinearSVC(random_state=0)), ["no", "yes"]),
    "values": (DecisionTreeRegressor(max_depth=5, random_state=0), None),
}


def rows(seed: int, nulls: float = 0.0) -> pd.DataFrame:
    """As a team's CSV has them."""
    rng, count = np.random.default_rng(seed), 60
    frame = pd.DataFrame(
        {
            "price": rng.normal(100, 40, count).round(rng.integers(0, 3)),  # without a fraction pandas reads int64
            "count": rng.integers(0, 9, count),
            "paid": rng.choice(["yes", "no"], count),
            "open": rng.random(count) < 0.4,
            "since": pd.Series(pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 9000, count), "h")).astype(
                str
            ),
            "town": rng.choice(["Ulm", "Bonn", "Kiel", "über"], count),
            "code": rng.choice([1, 20, 300], count),
        }
    )
    if seed % 3 == 0:
        frame["price"] = frame["price"].round().astype("int64")
    return frame.mask(rng.random(frame.shape) < nulls) if nulls else frame


@pytest.fixture(scope="module", params=MODELS)
def logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Bundle]:
    """A model as MLflow loads it, and its bundle."""
    estimator, labels = MODELS[request.param]
    folder = tmp_path_factory.mktemp("logged")
    task = "regression" if labels is None else "binary" if len(labels) == 2 else "multiclass"
    schema = Schema(task, "y", COLUMNS, labels)
    raw = rows(1, nulls=0.0)
    encoded = pd.DataFrame(encode(pa.Table.from_pandas(raw), schema))[[*schema.numeric, *schema.text]]
    value = (encoded["price"] + 20 * encoded["count"] + 50 * encoded["paid"]).to_numpy(float)
    truth: Any = value
    if labels is not None:
        truth = np.array(labels)[np.digitize(value, np.quantile(value, [0.5] if len(labels) == 2 else [0.3, 0.6]))]
    numbers = len(schema.numeric)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = [("n", "passthrough", list(range(numbers))), ("t", one_hot, list(range(numbers, encoded.shape[1])))]
    model = make_pipeline(ColumnTransformer(parts), estimator).fit(encoded, truth)
    skops.save(model, folder / "kept.skops")
    bundle = folder / "bundle"
    kept(model, folder / "kept.skops", schema, encoded, bundle)
    files.write_json(bundle / "schema.json", schema.to_dict())
    loader = copy_package("mlops_glue.pyfunc", ROOT, folder / "code")
    assert loader.split(".")[0] != "mlops_glue"
    signature = reference.signature(schema, probabilities=hasattr(model, "predict_proba"))
    RawRowsFlavor(bundle, folder / "code", loader).save_model(
        str(folder / "model"),
        Model(),
        sk_model=model,
        signature=signature_of(signature),
        input_example=raw.head(3),
        pip_requirements=["numpy"],
        serialization_format="skops",
        skops_trusted_types=skops.TRUSTED,
    )
    by_sklearn = mlflow.sklearn.load_model(str(folder / "model"))
    assert by_sklearn.predict(encoded).tolist() == model.predict(encoded).tolist()
    return mlflow.pyfunc.load_model(str(folder / "model")), Bundle(bundle)


def of_file(bundle: Bundle, path: Path) -> pd.DataFrame:
    """What `glue predict` adds."""
    made = []
    for typed, given in streaming.batches(path, verbatim=path.suffix == ".csv"):
        scored = bundle.scored(typed, given)
        made.append(scored.select(scored.column_names[given.num_columns :]).to_pandas())
    return pd.concat(made, ignore_index=True)


def said(model: Any, frame: pd.DataFrame, wanted: Any) -> None:
    got = model.predict(frame)
    assert list(got.columns) == list(wanted.columns) and got.index.equals(frame.index)
    assert got["prediction"].tolist() == wanted["prediction"].tolist()
    for name in got.columns[1:]:
        np.testing.assert_allclose(got[name].to_numpy(), wanted[name].to_numpy(), rtol=1e-6)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_what_a_file_says(seed: int, nulls: float, logged: tuple[Any, Bundle], tmp_path: Path) -> None:
    model, bundle = logged
    frame = rows(seed, nulls)
    frame["more"] = [["a", 1, None][at % 3] for at in range(len(frame))]  # of several types, and not of the model
    frame.drop(columns="more").to_csv(tmp_path / "t.csv", index=False)
    wanted = of_file(bundle, tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert read["count"].dtype == (np.float64 if nulls else np.int64)
    said(model, read, wanted)
    said(model, read.iloc[:, ::-1].set_index(pd.Index(range(100, 160))), wanted)
    said(model, frame, wanted)
    plain = frame.drop(columns="more").astype({"open": "boolean"} if nulls else {})
    for name in ("paid", "town"):
        plain[name] = plain[name].astype("category")
    plain["since"] = pd.to_datetime(plain["since"])
    if not nulls:
        plain["count"] = plain["count"].astype("int8")
    said(model, plain, wanted)
    plain.to_parquet(tmp_path / "t.parquet", index=False)
    said(model, pd.read_parquet(tmp_path / "t.parquet"), of_file(bundle, tmp_path / "t.parquet"))


@pytest.mark.parametrize("column", [c.name for c in COLUMNS])
def test_what_a_file_is_refused_for(column: str, logged: tuple[Any, Bundle], tmp_path: Path) -> None:
    model, bundle = logged
    for wrong in ("is missing", "a word"):
        frame = rows(5).astype(object)
        if wrong == "is missing":
            frame = frame.drop(columns=column)
        elif column in ("town", "code"):
            continue
        else:
            frame.loc[7, column] = wrong
        frame.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=f"column '{column}'"):
            of_file(bundle, tmp_path / "t.csv")
        with pytest.raises(Exception, match=f"column '{column}'") as refused:
            model.predict(pd.read_csv(tmp_path / "t.csv"))
        assert type(refused.value).__name__ == "DataError"


def test_values_of_several_types_are_refused_by_name(logged: tuple[Any, Bundle]) -> None:
    frame = rows(2).astype({"town": object})
    frame.loc[3, "town"] = 7
    with pytest.raises(Exception, match="column 'town'") as refused:
        logged[0].predict(frame)
    assert type(refused.value).__name__ == "DataError"


def test_a_copy_of_other_code_has_another_name(tmp_path: Path) -> None:
    """Models of two versions of glue are loaded in one process."""
    names = []
    for value in ("1", "2", "1"):
        (tmp_path / value / "p").mkdir(parents=True, exist_ok=True)
        interface = "def load():\n    from p import c\n"  # which the model does not call
        (tmp_path / value / "p" / "__init__.py").write_text(interface)
        (tmp_path / value / "p" / "c.py").write_text("")
        (tmp_path / value / "p" / "a.py").write_text("import q\nfrom p import b\nx = b.x\n")
        (tmp_path / value / "q.py").write_text("")  # another package of the same site-packages stays there
        (tmp_path / value / "p" / "b.py").write_text(f"x = {value}\n")
        names.append(copy_package("p.a", tmp_path / value, tmp_path / "out"))
    assert names[0] == names[2] != names[1]
    for name, value in zip(names, (1, 2), strict=False):
        package = name.split(".")[0]
        text = (tmp_path / "out" / package / "a.py").read_text()
        assert text.startswith(f"import q\nfrom {package} import b")
        assert not list((tmp_path / "out").rglob("[qc].py"))
        assert (tmp_path / "out" / package / "b.py").read_text() == f"x = {value}\n"

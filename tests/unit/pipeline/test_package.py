"""What a bundle holds, and the proof that ONNX says what scikit-learn says, also of rows that the holdout lacks."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlops_glue import files, layout, tables
from mlops_glue.adapters import onnx, skl2onnx, skops
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed
from mlops_glue.pipeline.package import awkward_rows, compare, example_rows, kept, package
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.schema import Column, Decision, Schema

RNG = np.random.default_rng(0)
ROWS = 300
NUMBERS = pd.DataFrame({name: RNG.normal(size=ROWS).astype(np.float32) for name in "ab"})
TEXTS = pd.DataFrame({"t": RNG.choice(["u", "v", "w"], ROWS).astype(object)})


def trained(features: pd.DataFrame, truth: Any, *steps: tuple[str, Any]) -> Any:
    return Pipeline([*steps, ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]).fit(features, truth)


def schema(features: pd.DataFrame, labels: list[Any]) -> Schema:
    kinds = {name: "category" if features[name].dtype == object else "number" for name in features}
    return Schema("multiclass", "y", [Column(name, kind) for name, kind in kinds.items()], labels)  # type: ignore[arg-type]


def test_two_models_that_differ_where_a_number_is_null() -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no")
    low, high = (
        trained(NUMBERS, truth, ("null", SimpleImputer(strategy="constant", fill_value=value))) for value in (-9, 9)
    )
    assert np.array_equal(low.predict(NUMBERS), high.predict(NUMBERS))
    known = schema(NUMBERS, ["no", "yes"])
    assert compare(low, skl2onnx.export(low, 2, 0), known, NUMBERS)["faithful"]
    found = compare(low, skl2onnx.export(high, 2, 0), known, NUMBERS)
    assert not found["faithful"] and found["equal_labels"] < 0.999
    assert found["rows"] > found["holdout_rows"] == ROWS


def test_two_models_that_differ_on_text_that_was_never_seen() -> None:
    truth = np.where(TEXTS["t"] == "u", "yes", "no")

    def made(unseen: str) -> Any:
        encoder: Any = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        if unseen == "first":  # all of what is not known is taken for the first value
            encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
        return trained(TEXTS, truth, ("text", ColumnTransformer([("t", encoder, [0])])))

    one, other = made("none"), made("first")
    assert np.array_equal(one.predict(TEXTS), other.predict(TEXTS))
    strange = pd.DataFrame({"t": np.array(["a value never seen"], object)})
    assert one.predict(strange) != other.predict(strange)
    known = schema(TEXTS, ["no", "yes"])
    assert compare(one, skl2onnx.export(one, 0, 1), known, TEXTS)["faithful"]
    assert not compare(one, skl2onnx.export(other, 0, 1), known, TEXTS)["faithful"]


class Shifted:
    """A model that says of one class so much more, and of another so much less, than the one it is made of."""

    def __init__(self, model: Any, shift: float) -> None:
        self._model, self._shift, self.classes_ = model, shift, model.classes_

    def predict(self, rows: Any) -> Any:
        return self._model.predict(rows)

    def predict_proba(self, rows: Any) -> Any:
        return self._model.predict_proba(rows) + np.array([0.0, self._shift, -self._shift])


@pytest.mark.parametrize(("shift", "faithful"), [(0.0, True), (0.0009, True), (0.0011, False), (-0.2, False)])
def test_of_three_classes_the_one_that_is_furthest_off_counts(shift: float, faithful: bool) -> None:
    truth = np.array(["p", "q", "r"])[np.digitize(NUMBERS["a"], [-0.5, 0.5])]
    model = trained(NUMBERS, truth)
    found = compare(Shifted(model, shift), skl2onnx.export(model, 2, 0), schema(NUMBERS, ["p", "q", "r"]), NUMBERS)
    assert found["faithful"] == faithful
    assert found["p99_probability_difference"] == pytest.approx(abs(shift), abs=1e-6)


class Off:
    """A regression that says of the first rows of what it is asked so much more than the one it is made of."""

    def __init__(self, model: Any, off: Any) -> None:
        self._model, self._off = model, off

    def predict(self, rows: Any) -> Any:
        said = np.array(self._model.predict(rows), float)
        return said + self._off(len(said), said)


def regression() -> Any:
    target = 1000 + 50 * NUMBERS["a"] + RNG.normal(size=ROWS)
    return Pipeline([("null", SimpleImputer()), ("tree", DecisionTreeRegressor(max_depth=4, random_state=0))]).fit(
        NUMBERS, target
    )


def test_a_regression_is_held_to_the_deviation_of_what_it_predicts() -> None:
    """In 99 of 100 rows, by the standard deviation over the holdout, or by the value where that is more."""
    model = regression()
    made, known = skl2onnx.export(model, 2, 0), replace(schema(NUMBERS, []), task="regression", labels=None)
    found = compare(model, made, known, NUMBERS)
    assert found["faithful"] and found["reason"] == "" and found["holdout_rows"] == ROWS
    assert found["unit"] == "standard deviations of the prediction" and found["p99_difference"] < 1e-5
    # all null, extremes, unseen text, and each number null in turn
    assert found["rows"] == ROWS + 3 * 20 + 2 and "equal_labels" not in found
    values = float(np.abs(model.predict(NUMBERS)).max())
    for share, faithful in ((0.0009, True), (0.0012, False)):  # of the value: it is more than the deviation
        found = compare(Off(model, lambda n, said, share=share: share * said), made, known, NUMBERS)
        assert found["faithful"] is faithful and found["p99_difference"] == pytest.approx(share, rel=0.01)
        assert found["reason"] == ("" if faithful else "p99 of the difference is 0.0012 standard deviations")
    few = compare(Off(model, lambda n, said: np.where(np.arange(n) < 3, values, 0)), made, known, NUMBERS)
    assert few["faithful"]  # three rows of 362
    many = compare(Off(model, lambda n, said: np.where(np.arange(n) < 5, values, 0)), made, known, NUMBERS)
    assert not many["faithful"]


def test_a_small_prediction_is_held_to_the_deviation_and_one_that_is_always_zero_to_one() -> None:
    known = replace(schema(NUMBERS, []), task="regression", labels=None)

    def fitted(target: Any) -> Any:
        return Pipeline([("null", SimpleImputer()), ("tree", DecisionTreeRegressor(max_depth=9))]).fit(NUMBERS, target)

    model = fitted(NUMBERS["a"])
    deviation = float(np.std(model.predict(NUMBERS)))
    found = compare(Off(model, lambda n, said: 0.0005 * deviation), skl2onnx.export(model, 2, 0), known, NUMBERS)
    assert found["p99_difference"] == pytest.approx(0.0005, rel=0.01) and found["faithful"]
    always = fitted(np.full(ROWS, 0.0005))
    found = compare(Off(always, lambda n, said: -said), skl2onnx.export(always, 2, 0), known, NUMBERS)
    assert found["p99_difference"] == pytest.approx(0.0005, rel=0.01) and found["faithful"]


@pytest.mark.parametrize(("wrong", "faithful"), [(0, True), (1, False), (4, False)])
def test_of_labels_nine_hundred_and_ninety_nine_of_a_thousand_are_equal(wrong: int, faithful: bool) -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no")
    model = trained(NUMBERS, truth)

    class Other:
        classes_ = model.classes_

        def predict(self, rows: Any) -> Any:
            said = model.predict(rows)
            said[:wrong] = np.where(said[:wrong] == "yes", "no", "yes")
            return said

    found = compare(Other(), skl2onnx.export(model, 2, 0), schema(NUMBERS, ["no", "yes"]), NUMBERS)
    rows = ROWS + 3 * 20 + 2
    assert found["equal_labels"] == pytest.approx(1 - wrong / rows) and found["faithful"] is faithful
    assert found["reason"] == ("" if faithful else f"{1 - wrong / rows:.4%} of the labels are equal")
    assert "p99_probability_difference" not in found


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_with_a_threshold_the_labels_that_it_decides_are_compared(share: float) -> None:
    """Ten trees give shares that are the threshold itself, which float32 has otherwise."""
    truth = np.where(NUMBERS["a"] + RNG.normal(size=ROWS) > 0, "yes", "no")
    leaves = ExtraTreesClassifier(10, random_state=0)
    model = Pipeline([("null", SimpleImputer()), ("trees", leaves)]).fit(NUMBERS, truth)
    fresh = pd.DataFrame({name: RNG.normal(size=ROWS).astype(np.float32) for name in "ab"})
    assert np.isclose(model.predict_proba(fresh)[:, 1], share).any()
    known = replace(schema(fresh, ["no", "yes"]), task="binary", decision=Decision("given", share))
    found = compare(model, skl2onnx.export(model, 2, 0), known, fresh)
    assert found["equal_labels"] == 1 and found["faithful"]
    off = Shifted(model, 0.2)
    off.predict_proba = lambda rows: model.predict_proba(rows) + np.array([-0.2, 0.2])  # type: ignore[method-assign]
    assert compare(off, skl2onnx.export(model, 2, 0), known, fresh)["equal_labels"] < 1


def test_why_probabilities_are_not_faithful_is_said() -> None:
    truth = np.array(["p", "q", "r"])[np.digitize(NUMBERS["a"], [-0.5, 0.5])]
    model = trained(NUMBERS, truth)
    found = compare(Shifted(model, 0.25), skl2onnx.export(model, 2, 0), schema(NUMBERS, ["p", "q", "r"]), NUMBERS)
    assert found["reason"] == "p99 of the difference in probability is 0.25" and found["equal_labels"] == 1.0


class Asked:
    """A model that keeps what it is asked, and refuses what it cannot take."""

    def __init__(self, refuses: Any = lambda rows: False) -> None:
        self.refuses, self.asked = refuses, list[pd.DataFrame]()

    def predict(self, rows: pd.DataFrame) -> Any:
        self.asked.append(rows)
        if self.refuses(rows):
            raise ValueError("infinity")
        return np.zeros(len(rows))


def test_awkward_rows_are_of_the_first_ones_of_the_holdout() -> None:
    features = pd.concat([NUMBERS, TEXTS], axis=1)
    kinds = schema(features, ["no", "yes"])
    null, far, unseen, *single = awkward_rows(Asked(), features, kinds)
    start = features.head(20)
    assert np.isnan(null[["a", "b"]].to_numpy()).all() and (null["t"] == "").all() and len(null) == 20
    assert (far[["a", "b"]] == np.float32(1e30)).all(axis=None) and far["t"].equals(start["t"])
    assert unseen[["a", "b"]].equals(start[["a", "b"]]) and (unseen["t"] == "a value never seen").all()
    assert len(single) == 2 and all(len(one) == 1 for one in single)
    for one, name, other in ((single[0], "a", "b"), (single[1], "b", "a")):
        assert np.isnan(one[name].iloc[0]) and one[other].iloc[0] == start[other].iloc[0]
        assert one["t"].iloc[0] == start["t"].iloc[0]
    assert features.head(20).equals(start) and far["a"].dtype == np.float32 == null["a"].dtype == single[0]["a"].dtype
    few = awkward_rows(Asked(), features.head(7), kinds)
    assert [len(part) for part in few] == [7, 7, 7, 1, 1]
    wide = pd.DataFrame(np.ones((2, 60), np.float32), columns=[f"c{n}" for n in range(60)])
    assert len(awkward_rows(Asked(), wide, schema(wide, []))) == 3 + 50


def test_what_scikit_learn_itself_refuses_is_no_proof() -> None:
    kinds = schema(NUMBERS, ["no", "yes"])
    extreme = Asked(lambda rows: bool((rows == np.float32(1e30)).any(axis=None)))
    parts = awkward_rows(extreme, NUMBERS, kinds)
    assert [len(part) for part in parts] == [20, 20, 1, 1] and not any((part > 1e29).any(axis=None) for part in parts)
    assert len(awkward_rows(Asked(), NUMBERS, kinds)) == 5


def test_a_model_is_kept_in_onnx_where_that_is_faithful_and_else_in_skops(tmp_path: Path) -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no")
    model, known = trained(NUMBERS, truth), schema(NUMBERS, ["no", "yes"])
    skops.save(model, tmp_path / "m.skops")
    for require in (None, "onnx", "onnx"):  # again into the same folder
        told = kept(model, tmp_path / "m.skops", known, NUMBERS, tmp_path / f"{require}" / "deep", require=require)
        assert told["format"] == "onnx" and told["faithful"]
        assert [path.name for path in (tmp_path / f"{require}" / "deep").iterdir()] == ["model.onnx"]
    made = onnx.runner(onnx.session(tmp_path / "None/deep/model.onnx"))
    assert np.array_equal(made({"number": NUMBERS.to_numpy(np.float32)})[0].ravel(), model.predict(NUMBERS))
    forest = ExtraTreesClassifier(2, random_state=0).fit(NUMBERS, truth)
    beyond = CalibratedClassifierCV(FrozenEstimator(forest)).fit(NUMBERS, truth)  # skl2onnx has no such converter
    skops.save(beyond, tmp_path / "o.skops")
    told = kept(beyond, tmp_path / "o.skops", known, NUMBERS, tmp_path / "other", require=None)
    assert told == {"faithful": False, "reason": told["reason"], "format": "skops"}
    assert told["reason"].startswith("ONNX export: ")
    (file,) = (tmp_path / "other").iterdir()
    assert file.name == "model.skops" and file.read_bytes() == (tmp_path / "o.skops").read_bytes()
    with pytest.raises(CheckFailed) as refused:
        kept(beyond, tmp_path / "o.skops", known, NUMBERS, tmp_path / "none", require="onnx")
    assert refused.value.message == f"package.require is onnx, and ONNX is not faithful: {told['reason']}"
    assert refused.value.hint == "use another estimator, or remove package.require to package the model as skops"
    assert not (tmp_path / "none").exists()


def test_an_example_is_written_as_a_request_writes_it() -> None:
    of = Schema(
        "binary",
        "y",
        [
            Column("n", "number", "int64"),
            Column("text", "number", "string"),
            Column("cents", "number"),
            Column("d", "datetime", day_first=True),
            Column("b", "boolean"),
            Column("c", "category"),
            Column("known", "boolean", "bool"),
        ],
        nulls=["-"],
        decimal=",",
    )
    table = pa.table(
        {
            "n": [1, None],
            "text": ["1.234,5", "-"],
            "cents": pa.array([Decimal("1.5"), None], pa.decimal128(5, 2)),
            "d": ["02/01/2024", "-"],
            "b": [" yes ", "-"],
            "c": [" as it is ", None],
            "known": [True, None],
            "key": [7, 8],
        }
    )
    one, other = example_rows(table, of)
    assert one == {
        "n": 1, "text": 1234.5, "cents": 1.5, "d": "2024-01-02T00:00:00.000000Z", "b": "yes", "c": " as it is ",
        "known": True, "key": 7,
    }  # fmt: skip
    assert isinstance(one["cents"], float) and other == dict.fromkeys(one) | {"key": 8}


def packaged(root: Path, *, labels: list[Any], truth: Any, model: Any = None, **options: Any) -> Path:
    """The bundle of a project whose table has two numbers and a key, of which the last hundred rows are held out."""
    known = schema(NUMBERS, labels) if labels else replace(schema(NUMBERS, []), task="regression", labels=None)
    tables.write_parquet(root / layout.TABLE, pa.table({**NUMBERS, "who": np.arange(ROWS), "y": pa.array(truth)}))
    files.write_json(root / layout.COLUMNS, {"schema": known.to_dict()})
    made = pa.table({layout.ROW: np.arange(ROWS), **NUMBERS, "target:y": pa.array(truth)})
    tables.write_parquet(root / layout.TRAIN, made.slice(0, 200))
    tables.write_parquet(root / layout.TEST, made.slice(200))
    fitted = (model or trained_on)(NUMBERS.head(200), truth[:200])
    (root / layout.MODEL).parent.mkdir(parents=True, exist_ok=True)
    skops.save(fitted, root / layout.MODEL)
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "trivial": 0.1}
    importances = [{"column": "a", "mean": 0.3}, {"column": "b", "mean": 0.1}]
    files.write_json(
        root / layout.EVALUATION / "evaluation.json",
        {"rows": 100, "metrics": {"f1": score}, "importances": importances},
    )
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    package(Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}} | options), root)
    return root / layout.BUNDLE


def trained_on(features: pd.DataFrame, truth: Any) -> Any:
    return trained(features, truth)


def test_all_that_a_bundle_holds(tmp_path: Path) -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no").astype(object)
    folder = packaged(tmp_path, labels=["no", "yes"], truth=truth)
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "parity.json", "schema.json", "signature.json", "input_example.json", "reference.parquet",
        "holdout.json",
    }  # fmt: skip
    assert Schema.from_dict(files.read_json(folder / "schema.json")) == schema(NUMBERS, ["no", "yes"])
    parity = files.read_json(folder / "parity.json")
    assert parity["faithful"] and parity["format"] == "onnx" and parity["holdout_rows"] == 100
    outputs = [one["name"] for one in files.read_json(folder / "signature.json")["outputs"]]
    assert outputs == ["prediction", "probability_no", "probability_yes"]
    example = files.read_json(folder / "input_example.json")
    assert example == [{name: pytest.approx(float(NUMBERS[name][at])) for name in "ab"} for at in range(3)]
    sample = tables.read_parquet(folder / "reference.parquet")
    assert (
        sample.column_names[:2] == ["a", "b"]
        and sample.column(layout.SPLIT_COLUMN).to_pylist() == ["train"] * 200 + ["test"] * 100
    )
    assert sample.column("a").to_numpy() == pytest.approx(NUMBERS["a"].to_numpy())
    assert sample.column("prediction").to_pylist() == truth.tolist() == sample.column("y").to_pylist()
    held = files.read_json(folder / "holdout.json")
    assert held["weights"] == pytest.approx({"a": 0.75, "b": 0.25})
    assert held["rows"] == 100 == held["calibration_rows"] and held["metrics"]["f1"]["high"] == 0.6


def test_a_class_that_training_did_not_have_is_one_that_the_model_does_not_know(tmp_path: Path) -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no").astype(object)
    truth[250:] = "perhaps"
    found = files.read_json(packaged(tmp_path, labels=["perhaps", "no", "yes"], truth=truth) / "schema.json")
    assert found["trained"] == ["no", "yes"] and found["labels"] == ["perhaps", "no", "yes"]


def test_a_model_without_probabilities_and_a_regression_promise_none(tmp_path: Path) -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no").astype(object)
    for name, labels, model, values in (
        ("svm", ["no", "yes"], lambda x, y: Pipeline([("svm", LinearSVC())]).fit(x, y), truth),
        ("values", [], lambda x, y: DecisionTreeRegressor(max_depth=3).fit(x, y), NUMBERS["a"].to_numpy(float)),
    ):
        (tmp_path / name).mkdir()
        folder = packaged(tmp_path / name, labels=labels, truth=values, model=model)
        assert [one["name"] for one in files.read_json(folder / "signature.json")["outputs"]] == ["prediction"]
        assert files.read_json(folder / "schema.json")["trained"] is None
        assert files.read_json(folder / "holdout.json")["calibration"] is None


def test_features_of_feast_travel_with_the_keys_that_a_request_has(tmp_path: Path) -> None:
    """`who` is asked for; `a` is a column of the model already, and asked for once."""
    listed = FeatureList(["v:b"], [FeatureView("v", {"id": "who"}, {"b": "number"}, 0.0, "", of="v")], {"b": "v:b"})
    listed = replace(listed, request=["a", "who"])
    files.write_json(tmp_path / layout.FEATURE_LIST, listed.to_dict())
    truth = np.where(NUMBERS["a"] > 0, "yes", "no").astype(object)
    tables.write_parquet(
        tmp_path / layout.JOINED, pa.table({"more": np.arange(ROWS), "who": np.arange(ROWS), **NUMBERS})
    )
    folder = packaged(tmp_path, labels=["no", "yes"], truth=truth, features={"use": ["v:b"]})
    assert FeatureList.from_dict(files.read_json(folder / "features.json")) == listed
    example = files.read_json(folder / "input_example.json")
    assert [list(row) for row in example] == [["a", "b", "who"]] * 3 and [row["who"] for row in example] == [0, 1, 2]
    assert "who" not in tables.read_parquet(folder / "reference.parquet").column_names


def test_after_a_retraining_what_was_left_out_is_no_reference(tmp_path: Path) -> None:
    truth = np.where(NUMBERS["a"] > 0, "yes", "no").astype(object)
    files.write_json(tmp_path / layout.LEARNED, {"older_left_out": 50, "after": [50], "losses": {}})
    folder = packaged(tmp_path, labels=["no", "yes"], truth=truth, split={"fresh_after": [50]})
    sample = tables.read_parquet(folder / "reference.parquet")
    assert sample.column(layout.SPLIT_COLUMN).to_pylist().count("train") == 150
    example = files.read_json(folder / "input_example.json")
    assert example[0]["a"] == pytest.approx(float(NUMBERS["a"][50]))

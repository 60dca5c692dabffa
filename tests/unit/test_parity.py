"""The proof that ONNX says what scikit-learn says sees rows that the holdout does not have, and each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from mlops_glue.adapters import onnx
from mlops_glue.pipeline.package import compare
from mlops_glue.schema import Column, Schema

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
    assert compare(low, onnx.export(low, 2, 0), known, NUMBERS)["faithful"]
    found = compare(low, onnx.export(high, 2, 0), known, NUMBERS)
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
    assert compare(one, onnx.export(one, 0, 1), known, TEXTS)["faithful"]
    assert not compare(one, onnx.export(other, 0, 1), known, TEXTS)["faithful"]


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
    found = compare(Shifted(model, shift), onnx.export(model, 2, 0), schema(NUMBERS, ["p", "q", "r"]), NUMBERS)
    assert found["faithful"] == faithful
    assert found["p99_probability_difference"] == pytest.approx(abs(shift), abs=1e-6)

"""A monotone constraint by the name of a column holds in the fitted model, whatever the preprocessing makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline import by_column
from mlops_glue.pipeline.train import build, chosen, fitted
from mlops_glue.schema import Column, Schema

ROWS = 300
NAMES = ["noise", "age"]
SCHEMA = Schema("binary", "y", [*(Column(name, "number", "double") for name in NAMES), Column("town", "category")])


def config(estimator: str, params: dict[str, Any]) -> Config:
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    train = {"estimator": estimator, "params": params}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train})


def rows() -> tuple[pd.DataFrame, Any]:
    """Age and the class go together, with waves in it that a model follows unless it is held."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 2)).astype(np.float32), columns=NAMES)
    frame["town"] = rng.choice(["Ulm", "Bonn", "Kiel"], ROWS)
    value = frame["age"] + 2 * np.sin(6 * frame["age"]) + 0.3 * rng.normal(size=ROWS)
    return frame, np.where(value > 0, "yes", "no")


def rises(model: Any) -> bool:
    """Does the probability of yes never fall, as age grows?"""
    ages = np.linspace(-3, 3, 200, dtype=np.float32)
    found = []
    for noise, town in ((0.0, "Ulm"), (-1.0, "Kiel"), (1.0, "elsewhere")):
        said = model.predict_proba(pd.DataFrame({"noise": np.float32(noise), "age": ages, "town": town}))[:, 1]
        found.append(bool((np.diff(said) >= -1e-9).all()))
    return all(found)


CASES = {
    "sklearn.ensemble.HistGradientBoostingClassifier": ("monotonic_cst", {"max_iter": 20}),
    "sklearn.ensemble.RandomForestClassifier": ("monotonic_cst", {"n_estimators": 10}),
    "xgboost.XGBClassifier": ("monotone_constraints", {"n_estimators": 20}),
    "lightgbm.LGBMClassifier": ("monotone_constraints", {"n_estimators": 20, "verbose": -1}),
    "catboost.CatBoostClassifier": ("monotone_constraints", {"iterations": 20}),
}


@pytest.mark.parametrize("given", [{"age": 1}, [0, 1]], ids=["names", "the numbers alone"])
@pytest.mark.parametrize("path", CASES)
def test_a_constraint_holds(path: str, given: Any) -> None:
    param, params = CASES[path]
    if path.startswith("xgboost") and isinstance(given, list):
        given = "(0,1)"
    frame, target = rows()
    free, _ = fitted(build(config(path, params), SCHEMA, frame), frame, target, classes=True)
    held, _ = fitted(build(config(path, params | {param: given}), SCHEMA, frame), frame, target, classes=True)
    assert not rises(free) and rises(held)
    few = frame.index[frame["town"] != "Kiel"]  # as a retraining fits what was chosen on other rows
    again, _ = fitted(clone(chosen(held)), frame.loc[few], target[few], classes=True)
    assert rises(again)


@pytest.mark.parametrize("inner", [HistGradientBoostingClassifier(max_iter=5, monotonic_cst={"age": 1})])
def test_inside_of_a_search_too(inner: Any) -> None:
    frame, target = rows()
    search = GridSearchCV(inner, {"max_leaf_nodes": [7]}, cv=2)
    model = build(config("sklearn.ensemble.RandomForestClassifier", {}), SCHEMA, frame)
    model.steps[1] = ("estimator", search)
    assert rises(chosen(fitted(model, frame, target, classes=True)[0]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"agee": 1}, "no feature 'agee' (did you mean 'age'?)"),
        ({"town": 1}, "'town' is a category, and only a number can rise or fall"),
        ({"age": 2}, "'age' must be 1 (rises), -1 (falls) or 0, not 2"),
    ],
)
def test_a_constraint_that_cannot_be_is_told_before_the_fit(given: Any, said: str) -> None:
    frame, _ = rows()
    with pytest.raises(ConfigError) as caught:
        build(config("sklearn.ensemble.RandomForestClassifier", {"monotonic_cst": given}), SCHEMA, frame)
    assert caught.value.problems == [f"glue.yaml train.params.monotonic_cst: {said}"]


def test_a_pipeline_of_the_user_s_is_let_alone() -> None:
    held = RandomForestClassifier(monotonic_cst={"nobody": 1})
    assert by_column.constraints(make_pipeline(held)) == by_column.constraints(held) == {}

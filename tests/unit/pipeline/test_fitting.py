"""What reaches `fit` besides features and target, and which estimators are refused it."""

from __future__ import annotations

from runpy import run_path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
import skops.io
from lightgbm import LGBMClassifier
from packaging.version import Version
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.pipeline import fitting
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.train import build, chosen, fitted
from mlops_glue.schema import Column, Schema

ROWS = 120


def config(train: dict[str, Any], **more: Any) -> Config:
    source = {"path": "t.csv", "entity": "who", "timestamp": "at"}
    data = {"sources": {"t": source}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train, **more})


def rows(labels: tuple[Any, Any] = (0, 1)) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 2)).astype(np.float32), columns=["a", "b"])
    return frame, np.array(labels)[(frame["a"] + 2 * rng.normal(size=ROWS) > 0).to_numpy().astype(int)]


def weighted(weight: Any) -> FitContext:
    return FitContext(config({"weight": "w"}), pa.table({layout.WEIGHT_COLUMN: np.asarray(weight, float)}))


SEARCH = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2]}, cv=2)
PIPE = make_pipeline(StandardScaler(), LogisticRegression())
TAKE = {
    "itself": DecisionTreeClassifier(max_depth=2, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=3, random_state=0),
    "xgboost": XGBClassifier(n_estimators=3),
    "lightgbm": LGBMClassifier(n_estimators=3, verbose=-1),
    "a pipeline": PIPE,
    "a search": SEARCH,
    "a search of a pipeline": GridSearchCV(PIPE, {"logisticregression__C": [1.0]}, cv=2),
    "a search in a pipeline": make_pipeline(StandardScaler(), SEARCH),
    "a vote": VotingClassifier([("a", LogisticRegression()), ("b", "drop")]),
    "a vote of pipelines": VotingClassifier([("a", PIPE)]),
    "a search among pipelines": GridSearchCV(make_pipeline(PIPE), {"pipeline": [PIPE, LogisticRegression()]}, cv=2),
    "a stack": StackingClassifier([("a", LogisticRegression())], cv=2),
    "calibrated": CalibratedClassifierCV(DecisionTreeClassifier(max_depth=2), cv=2),
    "boosted": AdaBoostClassifier(n_estimators=2),
}
if Version(sklearn.__version__) >= Version("1.8"):  # from then on it draws rows by their weights
    TAKE["of drawn rows"] = BaggingClassifier(KNeighborsClassifier(), n_estimators=2, random_state=0)
REFUSED = {
    "fit of KNeighborsClassifier takes no sample_weight": [
        KNeighborsClassifier(),
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
        GridSearchCV(KNeighborsClassifier(), {}),
        VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]),
        StackingClassifier([("a", LogisticRegression())], KNeighborsClassifier()),
        CalibratedClassifierCV(KNeighborsClassifier()),
        GridSearchCV(make_pipeline(LogisticRegression()), [{"logisticregression": [KNeighborsClassifier()]}]),
        TransformedTargetRegressor(KNeighborsClassifier()),
    ],
    "AdaBoostClassifier passes no weights to the steps of the Pipeline in it": [AdaBoostClassifier(PIPE)],
    "VotingClassifier passes no weights to the steps of the Pipeline in it": [
        VotingClassifier([("a", make_pipeline(AdaBoostClassifier()))]),
        VotingClassifier([("a", make_pipeline(LogisticRegressionCV()))]),
    ],
    "fit of OneVsRestClassifier takes no sample_weight": [OneVsRestClassifier(LogisticRegression())],
    "fit of FixedThresholdClassifier takes no sample_weight": [FixedThresholdClassifier(LogisticRegression())],
}


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes")], ids=["indices", "words"])
@pytest.mark.parametrize("model", TAKE.values(), ids=TAKE)
def test_weights_reach_the_estimator(model: Any, labels: tuple[Any, Any]) -> None:
    """Of two halves of the rows, which say the opposite, the heavy one is learned."""
    frame, target = rows(labels)
    agrees = (frame["a"] > 0) == (target == labels[1])
    clear = frame[frame["a"].abs() > 0.5]
    for heavy, (low, high) in ((agrees, labels), (~agrees, labels[::-1])):
        found, _ = fitted(clone(model), frame, target, classes=True, context=weighted(np.where(heavy, 1.0, 1e-6)))
        assert (chosen(found).predict(clear) == np.where(clear["a"] > 0, high, low)).mean() > 0.8


@pytest.mark.parametrize("reason", REFUSED)
def test_what_takes_no_weights_is_refused_with_the_reason(reason: str) -> None:
    for model in REFUSED[reason]:
        with pytest.raises(ConfigError) as caught:
            fitting.check(config({"weight": "w"}), model)
        assert caught.value.problems == [f"glue.yaml train.weight: {reason}"]
        fitting.check(config({}), model)


def test_the_models_of_init_take_weights_into_their_pipelines() -> None:
    for kind in ("classifier", "regressor"):
        build_it = run_path(str(layout.templates() / kind / "model.py"))["build"]
        assert fitting.weight_key(make_pipeline(StandardScaler(), build_it())) == fitting.ROUTED


def test_what_brings_weights_into_pipelines_is_not_kept() -> None:
    """skops cannot save it, and the scores of a search are as the user wrote them."""
    frame, target = rows()
    search = GridSearchCV(make_pipeline(PIPE), {"pipeline": [PIPE]}, scoring="f1", cv=2)
    found, _ = fitted(search, frame, target, classes=True, context=weighted(np.ones(ROWS)))
    assert search.scoring == "f1" and skops.io.dumps(chosen(found))
    assert not any("_metadata_request" in vars(part) for part in (PIPE[-1], search.best_estimator_[-1][-1]))


def test_a_pipeline_that_draws_other_rows_is_refused() -> None:
    class Sampler:
        def fit_resample(self) -> None: ...

    with pytest.raises(ConfigError, match="Sampler resamples the rows, and the new rows have no weights"):
        fitting.weight_key(make_pipeline(Sampler(), LogisticRegression()))


def test_a_target_that_is_transformed_hands_weights_on() -> None:
    assert fitting.weight_key(TransformedTargetRegressor()) == "sample_weight"
    assert fitting.weight_key(TransformedTargetRegressor(make_pipeline(Ridge()))) == "ridge__sample_weight"


def test_before_the_fit_the_project_s_own_estimator_is_looked_at() -> None:
    frame, _ = rows()
    schema = Schema("binary", "y", [Column("a", "number"), Column("b", "number")], [0, 1])
    with pytest.raises(ConfigError, match="KNeighborsClassifier takes no sample_weight"):
        build(config({"weight": "w", "estimator": "sklearn.neighbors.KNeighborsClassifier"}), schema, frame)


def test_a_part_of_the_rows_has_its_own_weights() -> None:
    frame, _ = rows()
    context = weighted(np.arange(ROWS))
    assert context.weight(frame.iloc[[5, 2]]).tolist() == [5.0, 2.0]  # type: ignore[union-attr]
    assert FitContext(config({}), pa.table({})).weight(frame) is None
    with pytest.raises(DataError, match="weight 'w' is 0 in all 1 training rows"):
        context.weight(frame.iloc[[0]])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1", "2.5", "x"], "t.csv: train.weight 'w', row 8: 'x' is not a number"),
        ([1.0, None, 2.0], "t.csv: train.weight 'w', row 6: null is not a valid weight"),
        ([1.0, 2.0, -0.5], "t.csv: train.weight 'w', row 8: -0.5 is not a valid weight"),
        ([float("inf"), 2.0, 1.0], "t.csv: train.weight 'w', row 3: inf is not a valid weight"),
        (["1", "", "2"], "t.csv: train.weight 'w', row 6: '' is not a valid weight"),
        ([0, 0, 0], "t.csv: train.weight 'w' is 0 in every row"),
        ([[1], [2], [3]], "t.csv: train.weight 'w': "),
    ],
)
def test_a_value_that_is_no_weight_is_told_with_its_row(values: list[Any], said: str) -> None:
    table = pa.table({"w": values})
    with pytest.raises(DataError) as caught:
        fitting.weights_of(table, "w", Schema("binary", "y"), "t.csv", np.array([2, 5, 7]))
    assert caught.value.message.startswith(said) and "\n" not in caught.value.message


@pytest.mark.parametrize("values", [[1, 0, 3], [1.0, 0.0, 3.0], ["1", "0", "3,0"]])
def test_weights_are_read_as_numbers_are(values: list[Any]) -> None:
    found = fitting.weights_of(pa.table({"w": values}), "w", Schema("binary", "y", decimal=","), "t.csv", np.arange(3))
    assert found.tolist() == [1.0, 0.0, 3.0]

"""A target's logarithm is taken where it is asked for, or where folds of the training rows show that it helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import GammaRegressor, Ridge

from mlops_glue import files, layout, tables
from mlops_glue.config import Config
from mlops_glue.delivery import describe
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline import log_target, score_warnings, target_scale
from mlops_glue.pipeline.evaluation import Scale, scale_in_words
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.stages import named
from mlops_glue.pipeline.train import build, fitted, kind_of
from mlops_glue.schema import Column, Schema
from tests.support.models import through

SCHEMA = Schema("regression", "y", [Column("a", "number"), Column("town", "category")])
ROWS = 300


def config(target: str, **train: Any) -> Config:
    more = {"promote": train.pop("promote", {})}
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    train = {"estimator": "sklearn.linear_model.Ridge", "target": target, **train}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train, **more})


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """A target that is skewed: most of it multiplies."""
    rng = np.random.default_rng(1)
    number, town = rng.normal(size=ROWS).astype(np.float32), rng.choice(["Ulm", "Bonn", "Kiel"], size=ROWS)
    target = np.exp(1.2 * number + (town == "Ulm") + rng.normal(0, 1, ROWS))
    weight = np.where(target < np.median(target), 5.0, 1.0)
    own = {layout.ROW: np.arange(ROWS), layout.WEIGHT_COLUMN: weight}
    return pa.table({**own, "a": number, "town": pa.array(town, pa.string()), "target:y": target})


@pytest.fixture
def root(tmp_path: Path, rows: pa.Table) -> Path:
    tables.write_parquet(tmp_path / layout.TRAIN, rows)
    files.write_json(tmp_path / layout.COLUMNS, {"schema": SCHEMA.to_dict()})
    return tmp_path


def test_the_whole_model_is_of_the_logarithm_and_says_the_target_in_onnx_too(tmp_path: Path, rows: pa.Table) -> None:
    frame, target = rows.select(["a", "town"]).to_pandas(), rows.column("target:y").to_numpy()
    made = config("log", weight="w")
    model, _ = fitted(build(made, SCHEMA, frame), frame, target, classes=False, context=FitContext(made, rows))
    plain = build(config("as_is"), SCHEMA, frame)
    weight = rows.column(layout.WEIGHT_COLUMN).to_numpy()
    plain.fit(frame, np.log1p(target), estimator__sample_weight=weight)
    np.testing.assert_allclose(model.predict(frame), np.expm1(plain.predict(frame)))
    assert kind_of(model) == "Ridge"
    parameters = describe.parameters(model)
    assert parameters["target"] == "log1p" and parameters["alpha"] == 1.0

    model, bundle = through(tmp_path, build(made, SCHEMA, frame), frame, target, SCHEMA)
    assert bundle.form == "onnx"
    inputs = {"number": frame[["a"]].to_numpy(np.float32), "text": frame[["town"]].to_numpy(object)}
    np.testing.assert_allclose(bundle.score(inputs)[0], model.predict(frame), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("metric", "taken"), [("mae", "log"), ("mean_poisson_deviance", "as_is"), (None, "as_is")])
def test_auto_takes_what_the_metric_of_promotion_shows(root: Path, metric: str | None, taken: str) -> None:
    made = config("auto", estimator="sklearn.linear_model.LinearRegression", promote={"metric": metric})
    if metric != "mae":  # the target itself is what a forest is fitted on
        made = config(
            "auto", estimator="sklearn.tree.DecisionTreeRegressor", params={"max_depth": 2}, promote={"metric": metric}
        )
    settled, scale = target_scale.settled(made, root)
    assert settled.train.target == scale["taken"] == taken
    found = scale["compared"]
    assert found["metric"] == (metric or "r2") and found["folds"] == 5
    assert (found["low"] > 0) == (taken == "log") and found["low"] < found["gain"] < found["high"]
    assert found["log_sum"] < found["as_is_sum"] == pytest.approx(1, abs=0.1)
    words = scale_in_words({**scale, "holdout_sum": 0.5})
    assert f"{found['metric']} is " in words and words.endswith("50.0% on the holdout")


def test_a_target_without_a_logarithm(root: Path, rows: pa.Table) -> None:
    target = np.append(rows.column("target:y").to_numpy()[1:], -1.0)
    tables.write_parquet(root / layout.TRAIN, rows.drop(["target:y"]).append_column("target:y", pa.array(target)))
    with pytest.raises(ConfigError, match="has -1, and log1p needs values above -1"):
        target_scale.settled(config("log"), root)
    settled, scale = target_scale.settled(config("auto"), root)
    assert settled.train.target == "as_is" and scale_in_words(scale).startswith("fitted on y as it is: 'y' has -1")


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (GammaRegressor(), "GammaRegressor already takes the logarithm"),
        (RandomForestRegressor(criterion="poisson"), None),  # how trees are split; what they say is the mean
        (TransformedTargetRegressor(Ridge()), "TransformedTargetRegressor already transforms the target"),
    ],
)
def test_what_takes_the_logarithm_itself_is_refused(estimator: Any, message: str | None) -> None:
    if message is None:
        log_target.check(config("log"), SCHEMA, estimator)
        return
    with pytest.raises(ConfigError, match=message):
        log_target.check(config("auto"), SCHEMA, estimator)


def test_an_objective_of_the_logarithm_and_classes_are_refused() -> None:
    frame = pd.DataFrame({"a": np.zeros(3, np.float32), "town": ["x"] * 3})
    asked = config("log", estimator="sklearn.ensemble.HistGradientBoostingRegressor", params={"loss": "poisson"})
    with pytest.raises(ConfigError, match="loss: poisson already takes the logarithm"):
        build(asked, SCHEMA, frame)
    with pytest.raises(ConfigError, match="'y' is the target of a binary task"):
        log_target.check(config("log"), Schema("binary", "y", [], [0, 1]), None)


def test_sums_that_are_too_low_are_told() -> None:
    scale: Scale = {"target": "y", "asked": "log", "taken": "log", "holdout_sum": 0.7}
    assert "add up to 70.0% of the truth" in next(score_warnings.low_sum(scale))
    assert not list(score_warnings.low_sum({**scale, "holdout_sum": 0.97}))
    assert not list(score_warnings.low_sum({**scale, "taken": "as_is"}))


def test_the_stages_depend_on_what_decides(tmp_path: Path) -> None:
    train, evaluate = named("train"), named("evaluate")
    plain, auto = config("as_is"), config("auto")
    assert layout.SCALE not in train.outs(plain, tmp_path) + evaluate.deps(plain, tmp_path)
    assert layout.SCALE in train.outs(auto, tmp_path) and layout.SCALE in evaluate.deps(auto, tmp_path)
    assert "promote.metric" in train.params(auto) and "promote.metric" not in train.params(config("log"))

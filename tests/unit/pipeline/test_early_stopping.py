"""Boosting stops by training rows that it is not fitted on, which are taken as the holdout is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from xgboost import XGBClassifier

from mlops_glue import layout
from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.pipeline import early_stopping, fitting
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.train import build, chosen, fitted
from mlops_glue.schema import Column, Schema

ROWS = 300
MOST = 400  # rounds, if nothing stops them
XGBOOST, LIGHTGBM, CATBOOST = "xgboost.XGBClassifier", "lightgbm.LGBMClassifier", "catboost.CatBoostClassifier"
QUIET: dict[str, dict[str, Any]] = {XGBOOST: {}, LIGHTGBM: {"verbose": -1}, CATBOOST: {"learning_rate": 0.3}}


def config(train: dict[str, Any], by: str = "random") -> Config:
    source = {"path": "t.csv", "entity": "who", "timestamp": "at"}
    data = {"sources": {"t": source}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train, "split": {"by": by}})


def rows(labels: tuple[Any, Any]) -> tuple[pd.DataFrame, Any, pa.Table, Schema]:
    """Mostly noise, so that the first rounds are the best."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 2)).astype(np.float32), columns=["a", "b"])
    frame["town"] = rng.choice(["Ulm", "Bonn"], ROWS)
    target = np.array(labels)[(frame["a"] + 2 * rng.normal(size=ROWS) > 0).to_numpy().astype(int)]
    own = {layout.ROW: np.arange(ROWS), layout.ENTITY_COLUMN: pa.array([f"e{n % 20}" for n in range(ROWS)])}
    own[layout.TIMESTAMP_COLUMN] = np.datetime64("2026-01-01", "us") + np.arange(ROWS).astype("timedelta64[h]")
    own[layout.WEIGHT_COLUMN] = np.ones(ROWS)
    columns = [Column("a", "number"), Column("b", "number"), Column("town", "category")]
    return frame, target, pa.table(own), Schema("binary", "y", columns, list(labels))


def rounds_of(model: Any) -> int:
    last = model.steps[-1][1]
    last = last.estimators_[0] if hasattr(last, "estimators_") else last
    return int(last.best_iteration_ if hasattr(last, "best_iteration_") else last.best_iteration) + 1


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes")], ids=["indices", "words"])
@pytest.mark.parametrize("path", QUIET)
def test_it_stops_and_is_kept(path: str, labels: tuple[Any, Any], weight: str | None, tmp_path: Any) -> None:
    frame, target, own, schema = rows(labels)
    train = {"estimator": path, "params": QUIET[path] | {"n_estimators": MOST}, "weight": weight}
    settings = config(train | {"early_stopping": {"rounds": 10, "share": 0.2}})
    found, _ = fitted(build(settings, schema, frame), frame, target, classes=True, context=FitContext(settings, own))
    model = chosen(found)
    assert 0 < rounds_of(model) < 100
    assert set(model.predict(frame)) == set(labels)
    skops.save(model, tmp_path / "m.skops")
    kept = skops.load(tmp_path / "m.skops")
    np.testing.assert_array_equal(kept.predict_proba(frame), model.predict_proba(frame))
    again, _ = fitted(model, frame.iloc[50:], target[50:], classes=True, context=FitContext(settings, own))
    assert rounds_of(again) < 100


def test_the_rows_apart_are_neither_fitted_on_nor_prepared_by() -> None:
    frame, target, own, schema = rows((0, 1))
    settings = config({"estimator": XGBOOST, "early_stopping": {"share": 0.2}}, "time")
    frame.loc[ROWS - 10 :, "town"] = "Kiel"
    model, _ = fitted(build(settings, schema, frame), frame, target, classes=True, context=FitContext(settings, own))
    encoder = model.steps[0][1].named_transformers_["category"]
    assert encoder.categories_[0].tolist() == ["Bonn", "Ulm"]


@pytest.mark.parametrize("by", ["time", "entity", "random"])
def test_rows_are_set_apart_as_the_holdout_is(by: str) -> None:
    _, target, own, _ = rows(("no", "yes"))
    if by != "random":
        target[-1] = "one"  # a class that would be apart alone
    apart = early_stopping.rows_apart(config({"early_stopping": {"share": 0.2}}, by), own, target, classes=True)
    assert (by == "random" or not apart[-1]) and 0.1 * ROWS < apart.sum() < 0.3 * ROWS
    if by == "time":
        assert np.flatnonzero(apart).min() >= ROWS - 60
    elif by == "entity":
        who = np.array(own.column(layout.ENTITY_COLUMN).to_pylist())
        assert set(who[:-1][apart[:-1]]).isdisjoint(who[:-1][~apart[:-1]])
    else:
        assert abs((target[apart] == "yes").mean() - (target == "yes").mean()) < 0.05


def test_too_few_entities_are_told() -> None:
    own = pa.table({layout.ROW: np.arange(9), layout.ENTITY_COLUMN: ["one"] * 9})
    with pytest.raises(DataError, match="the 9 rows for training have too few entities to set some aside"):
        early_stopping.rows_apart(config({"early_stopping": {}}, "entity"), own, np.zeros(9), classes=False)


@pytest.mark.parametrize(
    ("model", "said", "hint"),
    [
        (
            HistGradientBoostingClassifier(),
            "early_stopping: HistGradientBoostingClassifier has its own",
            "params: {early_stopping: true, n_iter_no_change: 50, validation_fraction: 0.1}",
        ),
        (make_pipeline(RandomForestClassifier()), "early_stopping: fit of RandomForestClassifier takes no", "LightGBM"),
        (GridSearchCV(XGBClassifier(), {}), "early_stopping: GridSearchCV passes no validation rows", "glue tune"),
    ],
)
def test_what_cannot_be_stopped_is_refused(model: Any, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fitting.check(config({"early_stopping": {}}), model)
    assert caught.value.problems[0].startswith(f"glue.yaml train.{said}")
    assert caught.value.hint is not None and hint in caught.value.hint


def test_rounds_without_rows_are_told_before_the_fit() -> None:
    with pytest.raises(
        ConfigError, match=r"train\.params\.early_stopping_rounds: XGBClassifier has no validation rows"
    ) as caught:
        fitting.check(config({"params": {"early_stopping_rounds": 7}}), XGBClassifier(early_stopping_rounds=7))
    assert caught.value.hint == "instead, set train: {early_stopping: {rounds: 7}}"

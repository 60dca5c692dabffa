"""A search inside the fit does not see the rows that it is judged by, nor what belongs to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.pipeline import inner_folds
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.train import chosen, fitted

ROWS = 90


def config(by: str) -> Config:
    source = {"path": "t.csv", "entity": "who", "timestamp": "at"}
    data = {"sources": {"t": source}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}, "split": {"by": by}})


def own(entities: int = 9) -> pa.Table:
    """The later a row, the smaller its number."""
    when = np.datetime64("2026-06-01", "us") - np.arange(ROWS).astype("timedelta64[h]")
    whom = pa.array([f"e{n % entities}" for n in range(ROWS)])
    return pa.table({layout.ROW: np.arange(ROWS), layout.TIMESTAMP_COLUMN: when, layout.ENTITY_COLUMN: whom})


def rows() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"number": np.arange(ROWS), "x": rng.normal(size=ROWS)}), rng.permutation(["no", "yes"] * 45)


class Recorder(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps which rows each fit has had, and each prediction."""

    seen: list[set[int]] = []  # noqa: RUF012

    def fit(self, x: Any, y: Any) -> Recorder:
        Recorder.seen.append(set(x["number"]))
        self.classes_ = np.unique(y)
        return self

    def predict(self, x: Any) -> Any:
        Recorder.seen.append(set(x["number"]))
        return np.full(len(x), "no")


def seen(cv: Any, by: str, table: pa.Table | None = None) -> list[tuple[set[int], set[int]]]:
    Recorder.seen.clear()
    frame, target = rows()
    search = GridSearchCV(Recorder(), {}, cv=cv, refit=False)
    fitted(search, frame, target, classes=True, context=FitContext(config(by), own() if table is None else table))
    assert search.cv is cv
    return list(zip(Recorder.seen[::2], Recorder.seen[1::2], strict=False))


@pytest.mark.parametrize("cv", [None, 3])
def test_a_number_of_folds_is_taken_as_the_holdout_is(cv: Any) -> None:
    later = seen(cv, "time")[: cv or 5]
    assert all(min(fitted_on) > max(judged) for fitted_on, judged in later)
    whole = seen(cv, "entity")[: cv or 5]
    assert all({n % 9 for n in fitted_on}.isdisjoint({n % 9 for n in judged}) for fitted_on, judged in whole)


def test_folds_by_chance_are_drawn_and_not_blocks_of_the_table() -> None:
    judged = [judged for _, judged in seen(3, "random")[:3]]
    assert all(max(rows) - min(rows) > ROWS / 2 for rows in judged) and judged == [j for _, j in seen(3, "random")[:3]]


@pytest.mark.parametrize("by", ["random", "time", "entity"])
def test_folds_by_group_have_the_entities_and_those_of_time_the_order(by: str) -> None:
    whole = seen(GroupKFold(3), by)[:3]
    assert all({n % 9 for n in fitted_on}.isdisjoint({n % 9 for n in judged}) for fitted_on, judged in whole)
    assert all(min(fitted_on) > max(judged) for fitted_on, judged in seen(TimeSeriesSplit(3), by)[:3])


def test_what_the_user_chose_otherwise_stays() -> None:
    other = KFold(2)
    for cv, by in ((other, "time"), ([(np.arange(5), np.arange(5, 9))], "entity")):
        assert inner_folds.as_split(config(by), own(), rows()[1], GridSearchCV(Recorder(), {}, cv=cv)) is cv


def test_a_search_that_is_fitted_on_class_indices_has_them_too() -> None:
    frame, target = rows()
    search = make_pipeline(StandardScaler(), GridSearchCV(XGBClassifier(n_estimators=2), {"max_depth": [2]}, cv=3))
    model = chosen(fitted(search, frame, target, classes=True, context=FitContext(config("time"), own()))[0])
    assert set(model.predict(frame)) <= {"no", "yes"}
    assert inner_folds.described(config("time"), search) is not None


def test_a_linear_model_that_chooses_its_penalty_is_a_search() -> None:
    frame, target = rows()
    model = LogisticRegressionCV(Cs=2, cv=3, max_iter=500)
    fitted(model, frame, target, classes=True, context=FitContext(config("entity"), own()))
    assert model.cv == 3
    said = inner_folds.described(config("entity"), model)
    assert said == "LogisticRegressionCV: its 3 folds have whole entities (split.by)"
    assert inner_folds.described(config("random"), model) is None
    assert inner_folds.described(config("time"), LogisticRegression()) is None


def test_too_few_are_told_with_what_to_do() -> None:
    search = GridSearchCV(Recorder(), {}, cv=5)
    with pytest.raises(DataError, match=r"GridSearchCV: cross-validation: 3 entities .* too few for 5") as caught:
        inner_folds.as_split(config("entity"), own(3), rows()[1], search)
    assert caught.value.hint == "use fewer folds, such as cv=2 in the search"
    with pytest.raises(DataError, match="GroupKFold needs groups, and the labels' table has no entity"):
        none = own().drop_columns([layout.ENTITY_COLUMN])
        inner_folds.as_split(config("time"), none, rows()[1], GridSearchCV(Recorder(), {}, cv=GroupKFold(2)))


def test_a_search_that_keeps_no_model_is_told_before_the_fit() -> None:
    search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, refit=False)
    for model in (search, make_pipeline(StandardScaler(), search)):
        with pytest.raises(ConfigError, match="GridSearchCV with refit=False keeps no model that can predict") as told:
            inner_folds.check(model)
        assert told.value.hint == "leave refit out, or refit=True"
    inner_folds.check(LogisticRegressionCV(refit=False))  # which keeps the mean of its folds

"""What is said of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from xgboost import XGBClassifier

from mlops_glue import files, layout, tables
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, StageError
from mlops_glue.pipeline import class_kind, train
from mlops_glue.schema import Column, Schema

ROWS = 400
BOOSTED = "sklearn.ensemble.HistGradientBoostingClassifier"


@pytest.mark.parametrize(("rare", "said"), [(1, 1), (2, 0)])
def test_a_class_of_one_row_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rare: int, said: int
) -> None:
    """Of what the model is fitted on at last, not of every part of it that is tried before."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS).astype(np.float32)
    y = np.where((x > 0) == (np.arange(ROWS) < 200), "yes", "no").astype(object)  # older rows mislead
    y[-rare:] = "seldom"  # of the fresh rows, of which each fold leaves some out
    schema = Schema("multiclass", "y", [Column("x", "number")], sorted(set(y)))
    files.write_json(tmp_path / layout.COLUMNS, {"schema": schema.to_dict()})
    tables.write_parquet(tmp_path / layout.TRAIN, pa.table({"x": x, "target:y": y, layout.ROW: np.arange(ROWS)}))
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {
                "sources": {"t": {"path": "t.csv"}},
                "labels": {"source": "t", "target": "y", "task": "multiclass"},
            },
            "split": {"by": "random", "fresh_after": [200, 300]},
            "train": {"estimator": BOOSTED, "params": {"max_iter": 3}},
        }
    )
    train.train(config, tmp_path)
    told = [one.getMessage() for one in caplog.records if "no early stopping" in one.getMessage()]
    assert len(told) == said, told
    assert all("class 'seldom' has only one training row" in one for one in told)


def test_costs_that_do_not_fit_the_labels_are_refused_before_the_fit(tmp_path: Path) -> None:
    schema = Schema("binary", "y", [Column("x", "number")], ["no", "yes"], "yes")
    files.write_json(tmp_path / layout.COLUMNS, {"schema": schema.to_dict()})  # there are no rows to be fitted on
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "evaluate": {"cost": {"no": {"yes": 1}, "yes": {"noo": 10}}},
        }
    )
    with pytest.raises(ConfigError, match=r"evaluate.cost: 'y' has no 'noo' \(did you mean 'no'\?\)"):
        train.train(config, tmp_path)


def test_where_labels_were_the_first_problem_the_other_one_is_told() -> None:
    """XGBoost refuses text; fitted on class indices, it says what is wrong with its parameters."""
    rows = pd.DataFrame({"x": np.arange(8.0)})
    target = np.array(["a", "b"] * 4, object)
    with pytest.raises(ValueError, match="at least 1 validation dataset"):
        train.fitted(XGBClassifier(early_stopping_rounds=3, n_estimators=2), rows, target, classes=True)


class Unsorted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Its labels are in the order of the table."""

    def fit(self, rows: Any, target: Any) -> Unsorted:
        self.classes_ = pd.unique(target)
        return self


class Variadic(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Its parameters have no names."""

    def __init__(self, *parts: int) -> None:
        self.parts = parts


def test_classes_of_own_code_that_scikit_learn_cannot_wrap_are_told() -> None:
    with pytest.raises(StageError, match=r"Unsorted: classes_ is \['b', 'a'\], which is not sorted") as told:
        train.fitted(Unsorted(), pd.DataFrame({"x": [1.0, 2]}), np.array(["b", "a"], object), classes=True)
    assert told.value.hint is not None and "np.unique(y)" in told.value.hint
    with pytest.raises(ConfigError, match="the parameters of Variadic cannot be read: RuntimeError"):
        class_kind.check_base(Variadic(3))

"""An estimator that knows categories is told which of its columns are, and the bundle says what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline import native
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.package import kept
from mlops_glue.pipeline.train import build, chosen, fitted
from mlops_glue.schema import Column, Schema
from mlops_glue.trusted import Trusted

ROWS = 400
HIST = "sklearn.ensemble.HistGradientBoostingClassifier"
PATHS = {
    HIST: {"max_iter": 10},
    "xgboost.XGBClassifier": {"n_estimators": 10},
    "lightgbm.LGBMClassifier": {"n_estimators": 10, "verbose": -1, "min_data_per_group": 5, "cat_smooth": 1},
    "catboost.CatBoostClassifier": {"iterations": 10},
}


def config(train: dict[str, Any]) -> Config:
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train})


def rows(codes: int = 40) -> tuple[pd.DataFrame, Any, Schema]:
    """A code of many values tells the class, in no order; a town may be null, which is the empty text."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, codes, ROWS)
    frame = pd.DataFrame({"x": rng.normal(size=ROWS).astype(np.float32), "town": rng.choice(["Ulm", "Bonn", ""], ROWS)})
    frame["code"] = [f"c{n:03}" for n in code]
    columns = [Column("x", "number", "double"), Column("town", "category"), Column("code", "category")]
    return frame, np.where((code * 7 % 11) % 2 == 0, "yes", "no"), Schema("binary", "y", columns, ["no", "yes"])


def told(model: Any) -> Any:
    last = model.steps[-1][1]
    params = (last.best_estimator_ if hasattr(last, "best_estimator_") else last).get_params()
    names = ("categorical_features", "feature_types", "categorical_column", "cat_features")
    return next(params[name] for name in names if params.get(name) is not None)


@pytest.mark.parametrize("stopping", [None, {"rounds": 5, "share": 0.2}], ids=["all rounds", "stopped"])
@pytest.mark.parametrize("path", PATHS)
def test_it_is_told_and_kept(path: str, stopping: Any, tmp_path: Path) -> None:
    if path == HIST and stopping:
        return  # it has its own
    frame, target, schema = rows()
    params = PATHS[path]
    settings = config({"estimator": path, "params": params, "categories": "native", "early_stopping": stopping})
    context = FitContext(settings, pa.table({"glue_row": np.arange(ROWS)}))
    model = build(settings, schema, frame)
    assert told(model) in ([1, 2], ["q", "c", "c"])
    model = chosen(fitted(model, frame, target, classes=True, context=context)[0])
    assert stopping or (model.predict(frame) == target).mean() > 0.8
    skops.save(model, tmp_path / "m.skops")
    parity = kept(model, tmp_path / "m.skops", schema, frame, tmp_path / "bundle", Trusted())
    assert parity["format"] == "skops", parity


def test_a_category_with_too_many_values_is_encoded() -> None:
    frame, _, schema = rows(120)
    model = build(config({"estimator": HIST, "params": {"max_bins": 50}, "categories": "native"}), schema, frame)
    assert [name for name, _, _ in model.steps[0][1].transformers] == ["number", "native", "many_values"]
    assert told(model) == [1]


def test_a_search_tells_what_it_is_for() -> None:
    search = GridSearchCV(HistGradientBoostingClassifier(max_iter=3), {"max_leaf_nodes": [7]}, cv=2)
    frame, target, schema = rows()
    model = build(config({"estimator": HIST, "categories": "native"}), schema, frame)
    native.tell(search, model.steps[0][1])
    model.steps[1] = ("estimator", search)
    assert told(fitted(model, frame, target, classes=True)[0]) == [1, 2]


def test_without_categories_there_is_nothing_to_tell() -> None:
    frame, _, _ = rows()
    schema = Schema("binary", "y", [Column("x", "number")], ["no", "yes"])
    model = build(config({"estimator": HIST, "categories": "native"}), schema, frame[["x"]])
    assert model.steps[-1][1].categorical_features == "from_dtype"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (LogisticRegression(), "LogisticRegression has no native categories"),
        (GridSearchCV(LogisticRegression(), {}), "LogisticRegression has no native categories"),
        (make_pipeline(HistGradientBoostingClassifier()), "Pipeline has its own preprocessing"),
    ],
)
def test_what_knows_no_categories_is_refused(model: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        native.form_of(model)
    assert caught.value.problems[0].startswith(f"glue.yaml train.categories: {said}")


def test_it_is_a_form_of_preprocessing() -> None:
    with pytest.raises(ValueError, match="categories: native needs preprocessing, but preprocess is false"):
        config({"categories": "native", "preprocess": False})

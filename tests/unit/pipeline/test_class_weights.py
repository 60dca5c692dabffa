"""Weights of classes go by label, and are not passed over without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.train import build, chosen, fitted
from mlops_glue.schema import Column, Schema

ROWS = 300
PATHS = {
    "sklearn.ensemble.HistGradientBoostingClassifier": ("class_weight", {"max_iter": 10}),
    "sklearn.linear_model.LogisticRegression": ("class_weight", {}),
    "lightgbm.LGBMClassifier": ("class_weight", {"n_estimators": 10, "verbose": -1}),
    "catboost.CatBoostClassifier": ("class_weights", {"iterations": 10}),
}


def model(path: str, params: dict[str, Any], labels: list[Any], frame: pd.DataFrame) -> Any:
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    train = {"estimator": path, "params": params}
    config = Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train})
    task = "binary" if len(labels) == 2 else "multiclass"
    return build(config, Schema(task, "y", [Column("a", "number"), Column("b", "number")], labels), frame)


def rows(labels: list[Any]) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 2)).astype(np.float32), columns=["a", "b"])
    return frame, np.array(labels)[(frame["a"] + rng.normal(size=ROWS) > 1.5).to_numpy().astype(int)]


@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [False, True], [3, 7]], ids=str)
@pytest.mark.parametrize("path", PATHS)
def test_a_heavy_class_is_said_more_often(path: str, labels: list[Any]) -> None:
    frame, target = rows(labels)
    param, params = PATHS[path]
    shares = []
    for weight in (1, 20):
        made = model(path, params | {param: {labels[0]: 1, labels[1]: weight}}, labels, frame)
        found = chosen(fitted(made, frame, target, classes=True)[0])
        assert set(found.predict(frame)) <= set(labels)
        shares.append((found.predict(frame) == labels[1]).mean())
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize(
    ("path", "params", "labels", "said", "hint"),
    [
        ("xgboost.XGBClassifier", {"class_weight": "balanced"}, [0, 1], "XGBClassifier ignores it", "scale_pos_we"),
        ("xgboost.XGBClassifier", {"class_weight": {0: 2}}, [0, 1, 2], "XGBClassifier ignores it", "weight: COL"),
        (
            "lightgbm.LGBMClassifier",
            {"class_weights": [1, 2]},
            [0, 1],
            "LGBMClassifier ignores it",
            "class_weight: bal",
        ),
        (
            "sklearn.linear_model.LogisticRegression",
            {"class_weight": {"no": 1, "yess": 2}},
            ["no", "yes"],
            "no class 'yess' (did you mean 'yes'?)",
            "",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(
    path: str, params: dict[str, Any], labels: list[Any], said: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        model(path, params, labels, rows([0, 1])[0])
    assert caught.value.problems[0].startswith(f"glue.yaml train.params.{next(iter(params))}: {said}")
    assert hint in (caught.value.hint or "")

"""A misspelt parameter that LightGBM or XGBoost ignores is told, with the nearest known one."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlops_glue.pipeline import unused_params

X = np.random.default_rng(0).normal(size=(60, 2))
Y = (X[:, 0] > 0).astype(int)
TOLD = "warning: LGBMClassifier does not know the parameter 'max_dpth', and ignores it (did you mean 'max_depth'?)"


def light(**params: Any) -> Any:
    return lightgbm.LGBMClassifier(**params)


@pytest.mark.parametrize(
    "model",
    [
        light(max_dpth=3),
        make_pipeline(StandardScaler(), light(max_dpth=3)),
        GridSearchCV(light(max_dpth=3), {"num_leaves": [3]}),
        StackingClassifier([("a", light(max_dpth=3)), ("b", LogisticRegression())]),
    ],
)
def test_what_lightgbm_ignores_is_told(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    unused_params.warn(model)
    assert caplog.messages == [TOLD]


@pytest.mark.parametrize(
    "model",
    [
        light(max_depth=3, num_iterations=5, min_data=3, boosting="gbdt", verbose=-1, categorical_column=[0], seed=1),
        light(lambda_l1=0.1, feature_fraction=0.5, device="cpu", linear_tree=True, sub_row=0.5),
        LogisticRegression(),
        xgboost.XGBClassifier(max_dpth=3),  # says so itself
        make_pipeline(StandardScaler(), catboost.CatBoostClassifier(depth=3)),  # refuses others, and has no hash
    ],
)
def test_what_is_known_by_any_of_its_names_is_not(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    unused_params.warn(model)
    assert not caplog.messages


def test_without_its_list_nothing_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import lightgbm.basic

    monkeypatch.delattr(lightgbm.basic, "_ConfigAliases")
    unused_params.warn(light(max_dpth=3))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"max_dpth": 3, "qqq": 1},
            "XGBClassifier does not know the parameter 'max_dpth', and ignores it (did you mean 'max_depth'?); "
            "XGBClassifier does not know the parameter 'qqq', and ignores it",
        ),
        ({"booster": "gblinear", "max_depth": 3}, "XGBClassifier does not use the parameter 'max_depth' here"),
    ],
)
def test_what_xgboost_says_is_put_into_a_line(params: dict[str, Any], said: str) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=2, **params))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        model.fit(X, Y)
    told = [unused_params.one_line(f"{one.category.__name__}: {one.message}", model) for one in caught]
    assert said in told


def test_other_warnings_stay_as_they_are() -> None:
    assert unused_params.one_line("ConvergenceWarning: lbfgs failed\nmore", LogisticRegression()) == (
        "ConvergenceWarning: lbfgs failed"
    )

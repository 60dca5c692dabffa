"""Estimators that people bring, and the form in which each is kept: the table that is tested, and of the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost
from sklearn import (
    calibration,
    compose,
    discriminant_analysis,
    ensemble,
    feature_selection,
    linear_model,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from mlops_glue.schema import Column, Schema

QUIET = {"iterations": 8, "verbose": False, "allow_writing_files": False, "random_seed": 0, "thread_count": 1}
FEW = {"n_estimators": 6, "random_state": 0}


@dataclass(frozen=True)
class Case:
    """An estimator, the form that it is kept in, and of what stays in skops form the reason.

    The form is onnx, skops, or either where it depends on the rows.
    """

    group: str
    name: str
    build: Callable[[], Any]
    form: str = "onnx"
    why: str = ""  # the words that tell it
    classes: tuple[int, ...] = (2, 3)  # how many it takes; of regressors none
    representative: bool = False  # is it in the short suite?


def cat(**how: Any) -> Any:
    return catboost.CatBoostClassifier(**{**QUIET, **how})


def cat_value(**how: Any) -> Any:
    return catboost.CatBoostRegressor(**{**QUIET, **how})


def light(**how: Any) -> Any:
    return lightgbm.LGBMClassifier(**{**FEW, "n_jobs": 1, "verbose": -1, **how})


def light_value(**how: Any) -> Any:
    return lightgbm.LGBMRegressor(**{**FEW, "n_jobs": 1, "verbose": -1, **how})


def xgb(**how: Any) -> Any:
    return xgboost.XGBClassifier(**{**FEW, "n_jobs": 1, **how})


def xgb_value(**how: Any) -> Any:
    return xgboost.XGBRegressor(**{**FEW, "n_jobs": 1, **how})


def hist(**how: Any) -> Any:
    return ensemble.HistGradientBoostingClassifier(max_iter=6, random_state=0, **how)


def hist_value(**how: Any) -> Any:
    return ensemble.HistGradientBoostingRegressor(max_iter=6, random_state=0, **how)


def logistic() -> Any:
    return linear_model.LogisticRegression()


def filled(*steps: Any) -> Any:
    """A project's own pipeline, which is used as it is."""
    return make_pipeline(compose.make_column_transformer((SimpleImputer(), ["a", "b", "flag"])), *steps)


def by_name() -> Any:
    """The columns by name, as people write it; what a project returns as a pipeline is used as it is."""
    words = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = compose.make_column_transformer((SimpleImputer(), ["a", "flag"]), (words, ["word"]), ("drop", ["b"]))
    return make_pipeline(columns, preprocessing.StandardScaler(), logistic())


def in_another_order() -> Any:
    """All numbers, but not in the order of the table; and the text by its type."""
    numbers = make_pipeline(SimpleImputer(), preprocessing.StandardScaler())
    words = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    text = compose.make_column_selector(dtype_exclude=np.number)
    columns = compose.make_column_transformer((numbers, ["flag", "b", "a"]), (words, text))
    return make_pipeline(columns, logistic())


def bag() -> Any:
    return ensemble.BaggingClassifier(tree.DecisionTreeClassifier(max_depth=3), 5, random_state=0)


def target_as(function: Any, inverse: Any, regressor: Any) -> Any:
    return compose.TransformedTargetRegressor(regressor, func=function, inverse_func=inverse)


def _boosters() -> list[Case]:
    of = "Boosters"
    return [
        Case(of, "XGBClassifier", xgb, representative=True),
        Case(of, "XGBRFClassifier of two classes", lambda: xgboost.XGBRFClassifier(**FEW, n_jobs=1), classes=(2,)),
        Case(
            of,
            "XGBRFClassifier of more",
            lambda: xgboost.XGBRFClassifier(**FEW, n_jobs=1),
            "skops",
            "use XGBClassifier",
            (3,),
        ),
        Case(of, "XGBClassifier(booster=gblinear)", lambda: xgb(booster="gblinear"), "skops", "booster: gbtree"),
        Case(of, "LGBMClassifier", light, representative=True),
        Case(of, "LGBMClassifier(boosting_type=dart)", lambda: light(boosting_type="dart")),
        Case(
            of,
            "LGBMClassifier(boosting_type=rf)",
            lambda: light(boosting_type="rf", subsample=0.5, subsample_freq=1),
            "skops",
            "use gbdt or dart",
        ),
        Case(of, "CatBoostClassifier", cat, representative=True),
        Case(
            of,
            "CatBoostClassifier(grow_policy=Lossguide)",
            lambda: cat(grow_policy="Lossguide"),
            "skops",
            "SymmetricTree",
        ),
        Case(of, "XGBRegressor", xgb_value, classes=()),
        Case(of, "XGBRegressor(objective=count:poisson)", lambda: xgb_value(objective="count:poisson"), classes=()),
        Case(
            of,
            "XGBRegressor(objective=reg:quantileerror)",
            lambda: xgb_value(objective="reg:quantileerror", quantile_alpha=0.9),
            classes=(),
        ),
        Case(of, "LGBMRegressor", light_value, classes=()),
        Case(
            of, "LGBMRegressor(objective=poisson, gamma, tweedie)", lambda: light_value(objective="tweedie"), classes=()
        ),
        Case(of, "LGBMRegressor(objective=quantile)", lambda: light_value(objective="quantile"), classes=()),
        Case(of, "CatBoostRegressor", cat_value, classes=()),
        Case(
            of,
            "CatBoostRegressor(loss_function=Poisson)",
            lambda: cat_value(loss_function="Poisson"),
            classes=(),
            representative=True,
        ),
        Case(
            of,
            "CatBoostRegressor(loss_function=Quantile)",
            lambda: cat_value(loss_function="Quantile:alpha=0.9"),
            classes=(),
        ),
    ]


def _trees() -> list[Case]:
    of = "Trees of scikit-learn"
    return [
        Case(of, "HistGradientBoostingClassifier", hist),
        Case(of, "RandomForestClassifier", lambda: ensemble.RandomForestClassifier(**FEW)),
        Case(of, "ExtraTreesClassifier", lambda: ensemble.ExtraTreesClassifier(**FEW)),
        Case(of, "GradientBoostingClassifier", lambda: ensemble.GradientBoostingClassifier(**FEW)),
        Case(of, "AdaBoostClassifier", lambda: ensemble.AdaBoostClassifier(**FEW)),
        Case(of, "DecisionTreeClassifier", lambda: tree.DecisionTreeClassifier(max_depth=3)),
        Case(of, "BaggingClassifier", bag, representative=True),
        Case(of, "HistGradientBoostingRegressor", hist_value, classes=()),
        Case(
            of,
            "HistGradientBoostingRegressor(loss=poisson)",
            lambda: hist_value(loss="poisson"),
            classes=(),
            representative=True,
        ),
        Case(of, "HistGradientBoostingRegressor(loss=gamma)", lambda: hist_value(loss="gamma"), classes=()),
        Case(
            of,
            "HistGradientBoostingRegressor(loss=quantile)",
            lambda: hist_value(loss="quantile", quantile=0.9),
            classes=(),
        ),
        Case(of, "RandomForestRegressor", lambda: ensemble.RandomForestRegressor(**FEW), classes=()),
        Case(of, "GradientBoostingRegressor", lambda: ensemble.GradientBoostingRegressor(**FEW), classes=()),
        Case(of, "BaggingRegressor", lambda: ensemble.BaggingRegressor(n_estimators=4, random_state=0), classes=()),
    ]


def _others() -> list[Case]:
    of = "Linear models, vectors, neighbours, networks"
    return [
        Case(of, "LogisticRegression", logistic),
        Case(of, "LogisticRegressionCV", lambda: linear_model.LogisticRegressionCV(Cs=3, cv=2)),
        Case(of, "LinearDiscriminantAnalysis", discriminant_analysis.LinearDiscriminantAnalysis, representative=True),
        Case(
            of,
            "SGDClassifier(loss=log_loss)",
            lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0),
            classes=(2,),
        ),
        Case(of, "SGDClassifier", lambda: linear_model.SGDClassifier(random_state=0)),
        Case(of, "RidgeClassifier", linear_model.RidgeClassifier, representative=True),
        Case(of, "Perceptron", lambda: linear_model.Perceptron(random_state=0)),
        Case(of, "LinearSVC", lambda: svm.LinearSVC(random_state=0)),
        Case(of, "SVC", lambda: svm.SVC(random_state=0)),
        Case(of, "NuSVC", lambda: svm.NuSVC(nu=0.1)),
        Case(of, "GaussianNB", naive_bayes.GaussianNB),
        Case(of, "BernoulliNB", naive_bayes.BernoulliNB),
        Case(of, "MLPClassifier", lambda: neural_network.MLPClassifier(max_iter=30, random_state=0)),
        Case(of, "KNeighborsClassifier", neighbors.KNeighborsClassifier, "either", "far away"),
        Case(of, "NearestCentroid", neighbors.NearestCentroid, "skops", "has no ONNX form; use another"),
        Case(of, "LinearRegression", linear_model.LinearRegression, classes=()),
        Case(of, "Ridge, Lasso, ElasticNet", lambda: linear_model.ElasticNet(0.01), classes=()),
        Case(of, "PoissonRegressor", linear_model.PoissonRegressor, classes=()),
        Case(of, "GammaRegressor", linear_model.GammaRegressor, classes=()),
        Case(of, "TweedieRegressor", lambda: linear_model.TweedieRegressor(power=1.5), classes=()),
        Case(of, "HuberRegressor", linear_model.HuberRegressor, classes=()),
        Case(of, "QuantileRegressor", lambda: linear_model.QuantileRegressor(alpha=0.01), classes=()),
        Case(of, "SVR", svm.SVR, classes=()),
    ]


def _of_others() -> list[Case]:
    of = "Made of others"
    some = [("h", hist()), ("f", ensemble.RandomForestClassifier(**FEW))]
    values = [("h", hist_value()), ("l", make_pipeline(SimpleImputer(), linear_model.Ridge()))]
    return [
        Case(
            of,
            "VotingClassifier(voting=soft)",
            lambda: ensemble.VotingClassifier(some, voting="soft"),
            representative=True,
        ),
        Case(of, "VotingClassifier", lambda: ensemble.VotingClassifier(some)),
        Case(of, "StackingClassifier", lambda: ensemble.StackingClassifier([*some, ("x", xgb())], cv=2)),
        Case(of, "StackingClassifier of CatBoost", lambda: ensemble.StackingClassifier([("c", cat()), *some], cv=2)),
        Case(
            of, "CalibratedClassifierCV of gradient boosting", lambda: calibration.CalibratedClassifierCV(hist(), cv=2)
        ),
        Case(of, "CalibratedClassifierCV of XGBoost", lambda: calibration.CalibratedClassifierCV(xgb(), cv=2)),
        Case(
            of,
            "CalibratedClassifierCV of LightGBM",
            lambda: calibration.CalibratedClassifierCV(light(), cv=2),
            "skops",
            "LightGBM alone",
        ),
        Case(
            of,
            "CalibratedClassifierCV(method=isotonic)",
            lambda: calibration.CalibratedClassifierCV(hist(), cv=2, method="isotonic"),
            "either",
            "use method: sigmoid",
        ),
        Case(
            of,
            "CalibratedClassifierCV(method=temperature)",
            lambda: calibration.CalibratedClassifierCV(hist(), cv=2, method="temperature"),
            "skops",
            "use method: sigmoid",
            representative=True,
        ),
        Case(
            of,
            "FixedThresholdClassifier",
            lambda: model_selection.FixedThresholdClassifier(hist(), threshold=0.3),
            classes=(2,),
            representative=True,
        ),
        Case(
            of,
            "TunedThresholdClassifierCV",
            lambda: model_selection.TunedThresholdClassifierCV(hist(), cv=2),
            classes=(2,),
        ),
        Case(of, "OneVsRestClassifier", lambda: multiclass.OneVsRestClassifier(logistic())),
        Case(of, "GridSearchCV", lambda: model_selection.GridSearchCV(xgb(), {"max_depth": [1, 2]}, cv=2)),
        Case(of, "Pipeline by column names", by_name, representative=True),
        Case(of, "Pipeline by column names in another order", in_another_order, representative=True),
        Case(of, "SelectKBest", lambda: filled(feature_selection.SelectKBest(k=2), logistic())),
        Case(
            of,
            "PolynomialFeatures",
            lambda: filled(preprocessing.PolynomialFeatures(2), preprocessing.StandardScaler(), logistic()),
        ),
        Case(
            of,
            "KBinsDiscretizer",
            lambda: filled(preprocessing.KBinsDiscretizer(3), logistic()),
            "skops",
            "onehot-dense",
        ),
        Case(
            of,
            "TransformedTargetRegressor(log1p, expm1)",
            lambda: target_as(np.log1p, np.expm1, hist_value()),
            classes=(),
            representative=True,
        ),
        Case(of, "TransformedTargetRegressor(log, exp)", lambda: target_as(np.log, np.exp, light_value()), classes=()),
        Case(
            of,
            "TransformedTargetRegressor(sqrt, square)",
            lambda: target_as(np.sqrt, np.square, hist_value()),
            classes=(),
        ),
        Case(
            of,
            "TransformedTargetRegressor(transformer=StandardScaler())",
            lambda: compose.TransformedTargetRegressor(
                linear_model.Ridge(), transformer=preprocessing.StandardScaler()
            ),
            classes=(),
        ),
        Case(
            of,
            "TransformedTargetRegressor(transformer=PowerTransformer())",
            lambda: compose.TransformedTargetRegressor(
                linear_model.Ridge(), transformer=preprocessing.PowerTransformer()
            ),
            "skops",
            "numpy.exp, expm1 or square",
            (),
        ),
        Case(of, "VotingRegressor", lambda: ensemble.VotingRegressor(values), classes=()),
        Case(
            of,
            "VotingRegressor(weights=…) with a dropped part",
            lambda: ensemble.VotingRegressor([values[0], ("d", "drop"), values[1]], weights=[1, 2, 3]),
            classes=(),
            representative=True,
        ),
        Case(
            of,
            "RFECV",
            lambda: feature_selection.RFECV(linear_model.Ridge(), cv=2),
            "skops",
            "returns 3 values per row",
            (),
            representative=True,
        ),
        Case(of, "StackingRegressor", lambda: ensemble.StackingRegressor(values, cv=2), classes=()),
    ]


CASES = {case.name: case for case in (*_boosters(), *_trees(), *_others(), *_of_others())}
TARGETS: dict[str, list[Any] | None] = {
    "words": ["no", "yes"],
    "booleans": [False, True],
    "0 and 1": [0, 1],
    "digits as text": ["0", "1.50"],
    "three": ["a b", "Ä", "🙂"],
    "numbers": None,
}


def estimator(case: str) -> Any:
    """What `train.estimator` names in the tests, with the case as its parameter."""
    return CASES[case].build()


def rows(target: str, *, unseen: bool = False, count: int = 200) -> tuple[pa.Table, Any, Schema]:
    """Raw rows, the target and the schema: numbers with nulls, a boolean, and text, of which scoring may see more."""
    rng = np.random.default_rng(5)
    value = rng.normal(size=(count, 2))
    words = np.array(["x", "Größe", "日本"])[rng.integers(0, 3, count)].astype(object)
    flag = rng.random(count) < 0.5
    score = value[:, 0] - 0.5 * value[:, 1] + 0.3 * (words == "x") + 0.2 * rng.normal(size=count)
    value[rng.random(value.shape) < 0.08] = np.nan
    words[::17] = None
    if unseen:
        words[::5] = "never seen"
        value[::7] = np.nan
    columns = [Column("a", "number", "double"), Column("b", "number", "double"), Column("flag", "boolean", "bool")]
    columns.append(Column("word", "category", "string"))
    frame = pd.DataFrame({"a": value[:, 0], "b": value[:, 1], "flag": flag, "word": words})
    labels = TARGETS[target]
    if labels is None:
        return pa.Table.from_pandas(frame), score - score.min() + 1, Schema("regression", "y", columns)
    at = np.digitize(score, [0.2] if len(labels) == 2 else [-0.5, 0.6])
    truth = np.array([labels[one] for one in at], object if isinstance(labels[0], str) else None)
    return (
        pa.Table.from_pandas(frame),
        truth,
        Schema("binary" if len(labels) == 2 else "multiclass", "y", columns, labels),
    )


def page() -> str:
    """The table of the docs, by the cases."""
    lines = []
    for group in dict.fromkeys(case.group for case in CASES.values()):
        lines += ["", f"## {group}", "", "| estimator | for | kept as |", "|---|---|---|"]
        for case in CASES.values():
            if case.group == group:
                of = {(2, 3): "classes", (2,): "two classes", (3,): "three classes or more", (): "numbers"}[
                    case.classes
                ]
                form = case.form if case.form != "either" else "onnx where that is faithful"
                lines.append(f"| {case.name} | {of} | {form} |")
    return "\n".join(lines) + "\n"

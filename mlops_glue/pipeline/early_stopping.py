"""Boosting that ends in time: the rows by which it is seen, and how each library is given them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.pipeline.split import set_apart

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Estimator = Any  # of scikit-learn, which has no types
LIBRARIES = ("xgboost", "lightgbm", "catboost")
ROUNDS = ("early_stopping_rounds", "early_stopping_round")  # what they call them


def library(estimator: Estimator) -> str | None:
    """Which of the libraries of boosting an estimator is of, or is made from; None: of none."""
    roots = {base.__module__.partition(".")[0] for base in type(estimator).__mro__}
    return next((name for name in LIBRARIES if name in roots), None)


def check(config: Config, estimator: Estimator) -> None:
    """Raise where an unfitted estimator cannot be stopped, or is to be, and there are no rows to see it by.

    Raises:
        ConfigError: says why, and what can.
    """
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    name, stopping, of = type(estimator).__name__, config.train.early_stopping, library(estimator)
    if stopping is None:
        given = next((param for param in ROUNDS if config.train.params.get(param) is not None), None)
        if of is not None and given is not None:
            problem = f"{layout.CONFIG} train.params.{given}: {name} has no rows to see by when to stop"
            rounds = config.train.params[given]
            raise ConfigError([problem], hint=f"instead of it, train: {{early_stopping: {{rounds: {rounds}}}}}")
        return
    if of is not None:
        return
    where = f"{layout.CONFIG} train.early_stopping"
    if name.startswith("HistGradientBoosting"):
        own = f"early_stopping: true, n_iter_no_change: {stopping.rounds}, validation_fraction: {stopping.share:g}"
        raise ConfigError([f"{where}: {name} has its own"], hint=f"instead of it, train: {{params: {{{own}}}}}")
    if hasattr(estimator, "cv") and hasattr(estimator, "estimator"):
        problem = f"{where}: {name} hands no rows to see it by to what it holds"
        raise ConfigError([problem], hint="the boosting as train.estimator itself; glue tune searches with it")
    raise ConfigError([f"{where}: fit of {name} takes no eval_set"], hint="XGBoost, LightGBM and CatBoost have it")


def rows_apart(config: Config, table: pa.Table, target: Array, *, classes: bool) -> Array:
    """Which rows are not fitted on but tell when to stop, shape (rows,).

    Args:
        config: `split.by` says how they are taken, as the holdout is.
        table: glue's own columns of the rows.
        target: of the rows, shape (rows,).
        classes: is it of classes? A class that would be among the rows apart alone is fitted on.

    Raises:
        DataError: there are too few rows or entities.
    """
    stopping = config.train.early_stopping
    assert stopping is not None
    try:
        apart = set_apart(config, table, target if classes else None, stopping.share)
    except ValueError:  # of scikit-learn: one side would be empty
        apart = np.zeros(len(target), bool)
    if classes:
        apart &= np.isin(target, np.unique(target[~apart]))
    if not apart.any() or apart.all():
        what = "entities" if config.split.by == "entity" else "rows"
        problem = f"train.early_stopping: the {len(target):,} rows for training have too few {what} to set some apart"
        raise DataError(problem, hint="more rows, or without train.early_stopping")
    return apart


def fit(
    estimator: Estimator, rounds: int, learned: tuple[Any, Array, Array | None], apart: tuple[Any, Array, Array | None]
) -> None:
    """Fit an estimator of `LIBRARIES` on some rows until others are predicted no better for so many rounds.

    Both are (features, target, weight or None), the features as the estimator takes them.
    """
    (features, target, weight), (some, truth, heavy) = learned, apart
    of = library(estimator)
    more: dict[str, Any] = {} if weight is None else {"sample_weight": weight}
    if of == "catboost":
        seen = importlib.import_module("catboost").Pool(
            some, truth, weight=heavy, cat_features=estimator.get_params().get("cat_features")
        )
        estimator.fit(features, target, eval_set=seen, early_stopping_rounds=rounds, use_best_model=True, **more)
        return
    if weight is not None:
        more["sample_weight_eval_set" if of == "xgboost" else "eval_sample_weight"] = [heavy]
    if of == "xgboost":
        more["verbose"] = False
    estimator.set_params(**{ROUNDS[0] if of == "xgboost" else ROUNDS[1]: rounds})
    estimator.fit(features, target, eval_set=[(some, truth)], **more)

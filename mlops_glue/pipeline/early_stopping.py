"""Early stopping of boosting: choose the validation rows, and pass them to each library."""

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
ROUNDS = ("early_stopping_rounds", "early_stopping_round")  # the libraries' names of the parameter


def library(estimator: Estimator) -> str | None:
    """Return the boosting library of an estimator, or of its base class; None if it has none."""
    roots = {base.__module__.partition(".")[0] for base in type(estimator).__mro__}
    return next((name for name in LIBRARIES if name in roots), None)


def check(config: Config, estimator: Estimator) -> None:
    """Check that an unfitted estimator can stop early if configured, and does not try to without validation rows.

    Raises:
        ConfigError: with the reason, and the estimators that can stop early.
    """
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    name, stopping, of = type(estimator).__name__, config.train.early_stopping, library(estimator)
    if stopping is None:
        given = next((param for param in ROUNDS if config.train.params.get(param) is not None), None)
        if of is not None and given is not None:
            problem = f"{layout.CONFIG} train.params.{given}: {name} has no validation rows for early stopping"
            rounds = config.train.params[given]
            raise ConfigError([problem], hint=f"instead, set train: {{early_stopping: {{rounds: {rounds}}}}}")
        return
    if of is not None:
        return
    where = f"{layout.CONFIG} train.early_stopping"
    if name.startswith("HistGradientBoosting"):
        own = f"early_stopping: true, n_iter_no_change: {stopping.rounds}, validation_fraction: {stopping.share:g}"
        problem = f"{where}: {name} has its own early stopping"
        raise ConfigError([problem], hint=f"instead, set train: {{params: {{{own}}}}}")
    if hasattr(estimator, "cv") and hasattr(estimator, "estimator"):
        problem = f"{where}: {name} passes no validation rows to the estimator inside it"
        raise ConfigError([problem], hint="make the boosting itself train.estimator; glue tune searches with it")
    problem = f"{where}: fit of {name} takes no eval_set"
    raise ConfigError([problem], hint="use XGBoost, LightGBM or CatBoost")


def rows_apart(config: Config, table: pa.Table, target: Array, *, classes: bool) -> Array:
    """Return which rows are used for early stopping and not for the fit, shape (rows,).

    Args:
        config: `split.by` defines how they are chosen, as for the holdout.
        table: glue's own columns of the rows.
        target: of the rows, shape (rows,).
        classes: whether the target has classes; rows of a class that would only be set apart are fitted on.

    Raises:
        DataError: there are too few rows or entities.
    """
    stopping = config.train.early_stopping
    assert stopping is not None
    try:
        apart = set_apart(config, table, target if classes else None, stopping.share)
    except ValueError:  # from scikit-learn: one side would be empty
        apart = np.zeros(len(target), bool)
    if classes:
        apart &= np.isin(target, np.unique(target[~apart]))
    if not apart.any() or apart.all():
        what = "entities" if config.split.by == "entity" else "rows"
        problem = f"train.early_stopping: the {len(target):,} rows for training have too few {what} to set some aside"
        raise DataError(problem, hint="add rows, or remove train.early_stopping")
    return apart


def fit(
    estimator: Estimator, rounds: int, learned: tuple[Any, Array, Array | None], apart: tuple[Any, Array, Array | None]
) -> None:
    """Fit an estimator of `LIBRARIES` on `learned` until `apart` is predicted no better for `rounds` rounds.

    Both are (features, target, weight or None), with features as the estimator takes them.
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

"""A regression that is fitted on log1p of its target: how it is put together, and where it makes no sense.

All of the model is fitted on the logarithm, the encoding of categories by the target included, and predictions are on
the scale of the target again. Weights, early stopping and constraints reach the pipeline inside as they do without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
Estimator = Any  # of scikit-learn, which has no types
WHERE = f"{layout.CONFIG} train.target"
LOSSES = ("loss", "objective", "loss_function")  # of scikit-learn, of XGBoost and LightGBM, of CatBoost
OF_LOGARITHM = ("poisson", "gamma", "tweedie", "squaredlogerror")
LINEAR = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")


def around(model: Estimator) -> Estimator:
    """An unfitted estimator that is to be fitted on log1p of the target."""
    from sklearn.compose import TransformedTargetRegressor

    return TransformedTargetRegressor(model, func=np.log1p, inverse_func=np.expm1, check_inverse=False)


def inside(model: Estimator) -> Estimator | None:
    """What `around` was given, fitted where it was; None: the model is of the target as it is."""
    if getattr(model, "func", None) is not np.log1p or not hasattr(model, "regressor"):
        return None
    return getattr(model, "regressor_", model.regressor)


def bare(model: Estimator) -> Estimator:
    """The model without what `around` put around it."""
    inner = inside(model)
    return model if inner is None else inner  # an ensemble that is not fitted has no truth value


def fitted_around(model: Estimator, features: pd.DataFrame, target: Array) -> Estimator:
    """The same of an estimator that is fitted on log1p of this target already, of shape (rows,)."""
    from sklearn.frozen import FrozenEstimator

    made = around(FrozenEstimator(model)).fit(features, target)
    made.regressor = made.regressor_ = model
    return made


def check(config: Config, schema: Schema, estimator: Estimator) -> None:
    """Raise where the logarithm of the target makes no sense, or would be taken twice.

    Raises:
        ConfigError: says why.
    """
    if config.train.target == "as_is":
        return
    if schema.task != "regression":
        problem = f"{WHERE}: a logarithm is of numbers, and {schema.target!r} is the target of a {schema.task} task"
        raise ConfigError([problem], hint="leave train.target out")
    if (taken := next(_logarithms(estimator), None)) is not None:
        raise ConfigError([f"{WHERE}: {taken} takes the logarithm itself"], hint="leave train.target out")


def _logarithms(estimator: Estimator) -> Iterator[str]:
    """What of an unfitted estimator is of the logarithm of its target already."""
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    for part in (estimator, *params.values()):
        name = type(part).__name__
        if name in LINEAR:
            yield name
        elif name == "TransformedTargetRegressor":
            yield f"{name}, or what else it makes of the target,"
    for name, value in params.items():
        param = name.rpartition("__")[2]
        if param in LOSSES and any(word in str(value).lower() for word in OF_LOGARITHM):
            yield f"{param}: {value}"


def refused(schema: Schema, target: Array) -> str | None:
    """Why log1p cannot be taken of a target of shape (rows,); None: it can."""
    least = float(target.min())
    return None if least > -1 else f"{schema.target!r} has {least:g}, and log1p takes what is above -1"

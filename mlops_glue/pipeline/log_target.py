"""Regression on log1p of the target: build the model, and check whether the logarithm makes sense.

The whole model is fitted on the logarithm, including target encoding of categories; predictions are on the target's
own scale again. Weights, early stopping and constraints reach the pipeline inside as they do without the logarithm.
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
LOSSES = ("loss", "objective", "loss_function")  # in scikit-learn; in XGBoost and LightGBM; in CatBoost
OF_LOGARITHM = ("poisson", "gamma", "tweedie", "squaredlogerror")
LINEAR = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")


def around(model: Estimator) -> Estimator:
    """Return an unfitted estimator that fits `model` on log1p of the target."""
    from sklearn.compose import TransformedTargetRegressor

    return TransformedTargetRegressor(model, func=np.log1p, inverse_func=np.expm1, check_inverse=False)


def inside(model: Estimator) -> Estimator | None:
    """Return the model inside `around`, fitted if it was fitted; None if the model is not on a logarithm."""
    if getattr(model, "func", None) is not np.log1p or not hasattr(model, "regressor"):
        return None
    return getattr(model, "regressor_", model.regressor)


def bare(model: Estimator) -> Estimator:
    """Return the model without the wrapper of `around`."""
    inner = inside(model)
    return model if inner is None else inner  # an unfitted ensemble has no truth value


def fitted_around(model: Estimator, features: pd.DataFrame, target: Array) -> Estimator:
    """Return `around` of an estimator that is already fitted on log1p of this target, shape (rows,)."""
    from sklearn.frozen import FrozenEstimator

    made = around(FrozenEstimator(model)).fit(features, target)
    made.regressor = made.regressor_ = model
    return made


def check(config: Config, schema: Schema, estimator: Estimator) -> None:
    """Check that the logarithm of the target makes sense, and is not taken twice.

    Raises:
        ConfigError: with the reason.
    """
    if config.train.target == "as_is":
        return
    if schema.task != "regression":
        problem = f"{WHERE}: a logarithm needs numbers, and {schema.target!r} is the target of a {schema.task} task"
        raise ConfigError([problem], hint="remove train.target")
    if (taken := next(_logarithms(estimator), None)) is not None:
        raise ConfigError([f"{WHERE}: {taken}"], hint="remove train.target")


def _logarithms(estimator: Estimator) -> Iterator[str]:
    """Yield why an unfitted estimator must not be fitted on the logarithm of the target, part by part."""
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    for part in (estimator, *params.values()):
        name = type(part).__name__
        if name in LINEAR:
            yield f"{name} already takes the logarithm"
        elif name == "TransformedTargetRegressor":
            yield f"{name} already transforms the target"
    for name, value in params.items():
        param = name.rpartition("__")[2]
        if param in LOSSES and any(word in str(value).lower() for word in OF_LOGARITHM):
            yield f"{param}: {value} already takes the logarithm"


def refused(schema: Schema, target: Array) -> str | None:
    """Return why log1p of a target of shape (rows,) is undefined; None if it is defined."""
    least = float(target.min())
    return None if least > -1 else f"{schema.target!r} has {least:g}, and log1p needs values above -1"

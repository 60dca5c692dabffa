"""Fit with more than features and target: row weights, validation rows for early stopping, folds of a search.

They are passed to the estimators that take them. For other estimators they are refused before the fit, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.encoding import as_numbers
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.parsing import InvalidValue
from mlops_glue.pipeline import by_column, early_stopping, inner_folds, weight_routing
from mlops_glue.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Estimator = Any  # of scikit-learn, which has no types
WEIGHT = "sample_weight"
ROUTED = "routed"  # passed to the steps of pipelines inside, which cannot take it by name


@dataclass(frozen=True)
class FitContext:
    """What a fit needs in addition to features and target.

    Attributes:
        config: defines which of it `fit` receives.
        table: the training rows. The index of a frame of features has the numbers of its rows, from 0.
    """

    config: Config
    table: pa.Table

    def of(self, features: pd.DataFrame) -> pa.Table:
        """Return glue's own columns for the rows of some features."""
        own = [name for name in self.table.column_names if name in layout.OWN_COLUMNS]
        return self.table.select(own).take(features.index.to_numpy())

    def weight(self, features: pd.DataFrame) -> Array | None:
        """Return the weight of each row of some features, float64 of shape (rows,); None if all weigh the same.

        Raises:
            DataError: all weights are 0.
        """
        column = self.config.train.weight
        if column is None:
            return None
        weight: Array = self.of(features).column(layout.WEIGHT_COLUMN).to_numpy()
        if not (weight > 0).any():
            raise DataError(f"weight {column!r} is 0 in all {len(weight):,} training rows")
        return weight


def fit(model: Estimator, features: pd.DataFrame, target: Array, context: FitContext | None) -> None:
    """Fit a model with the weights, validation rows and folds of the context."""
    search = None if context is None else inner_folds.search_in(model)
    if context is None or search is None:
        _fit(model, features, target, context)
        return
    given = search.cv
    search.set_params(cv=inner_folds.as_split(context.config, context.of(features), target, search))
    try:
        _fit(model, features, target, context)
    finally:
        search.set_params(cv=given)


def _fit(model: Estimator, features: pd.DataFrame, target: Array, context: FitContext | None) -> None:
    weight = None if context is None else context.weight(features)
    if context is not None and context.config.train.early_stopping is not None:
        _fit_until(model, features, target, context)
        return
    key = None if weight is None else weight_key(model)
    if key == ROUTED:
        with weight_routing.routed(model):
            _fit_all(model, features, target, {WEIGHT: weight})
    else:
        _fit_all(model, features, target, {} if key is None else {key: weight})


def _fit_all(model: Estimator, features: pd.DataFrame, target: Array, more: dict[str, Any]) -> None:
    if not by_column.constraints(model):
        model.fit(features, target, **more)
        return
    name, estimator = model.steps[-1]
    prepared = _prepared(model, features, target)
    estimator.fit(prepared, target, **{key.removeprefix(f"{name}__"): value for key, value in more.items()})


def _fit_until(model: Estimator, features: pd.DataFrame, target: Array, context: FitContext) -> None:
    """Fit a whole model on most of the rows; the others are for early stopping."""
    from sklearn.base import clone
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    stopping = context.config.train.early_stopping
    assert stopping is not None
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    classes = hasattr(last, "predict_proba")
    apart = early_stopping.rows_apart(context.config, context.of(features), target, classes=classes)
    rest = features[~apart]
    learned = _prepared(model, rest, target[~apart])
    seen = model[:-1].transform(features[apart]) if len(getattr(model, "steps", [])) > 1 else features[apart]
    weights = context.weight(rest), context.weight(features[apart])
    if not isinstance(last, VotingClassifier):
        rows = (learned, target[~apart], weights[0]), (seen, target[apart], weights[1])
        early_stopping.fit(last, stopping.rounds, *rows)
        return
    # a vote of one model, which encodes the labels, passes no validation rows on
    name, inner = last.estimators[0][0], clone(last.estimators[0][1])
    index = np.searchsorted(np.unique(target[~apart]), target)
    rows = (learned, index[~apart], weights[0]), (seen, index[apart], weights[1])
    early_stopping.fit(inner, stopping.rounds, *rows)
    last.set_params(estimators=[(name, FrozenEstimator(inner))])
    last.fit(learned, target[~apart])
    last.estimators = [(name, inner)]
    last.estimators_, last.named_estimators_[name] = [inner], inner


def _prepared(model: Estimator, features: pd.DataFrame, target: Array) -> Any:
    """Fit all steps of a model but the last; return the features for the last step."""
    if len(getattr(model, "steps", [])) < 2:
        return features
    before = model[:-1]
    prepared = before.fit_transform(features, target)
    model.steps[:-1] = before.steps  # with `memory` the fitted steps are other objects
    if by_column.constraints(model):
        by_column.place(model, list(features.columns), prepared.shape[1])
    return prepared


def check(config: Config, model: Estimator) -> None:
    """Check that an unfitted model can take what `train` in `glue.yaml` configures.

    Raises:
        ConfigError: with the reason why it cannot.
    """
    early_stopping.check(config, model)
    inner_folds.check(model)
    if config.train.weight is not None:
        weight_key(model)


def weight_key(model: Estimator) -> str:
    """Return the argument of `fit` that takes the weights: `sample_weight`, or `step__sample_weight` for a pipeline.

    If one estimator contains another, both have to take it. `ROUTED` means that `weight_routing` passes it on.

    Raises:
        ConfigError: the model takes no weights.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import (
        BaggingClassifier,
        BaggingRegressor,
        StackingClassifier,
        StackingRegressor,
        VotingClassifier,
        VotingRegressor,
    )
    from sklearn.utils.validation import has_fit_parameter

    if hasattr(model, "steps"):
        sampler = next((step for _, step in model.steps if hasattr(step, "fit_resample")), None)
        if sampler is not None:
            raise _refused(f"{_name(sampler)} resamples the rows, and the new rows have no weights")
        name, last = model.steps[-1]
        return _through(name, weight_key(last))
    if is_search(model):
        listed = _of_all(model, weight_routing.candidates(model))
        return ROUTED if listed == ROUTED else weight_key(model.estimator)
    if isinstance(model, TransformedTargetRegressor):
        return WEIGHT if model.regressor is None else weight_key(model.regressor)
    if isinstance(model, VotingClassifier | VotingRegressor | StackingClassifier | StackingRegressor):
        parts = [part for _, part in model.estimators if hasattr(part, "fit")]
        return _of_all(model, [*parts, getattr(model, "final_estimator", None)])
    if not has_fit_parameter(model, WEIGHT):
        raise _refused(f"fit of {_name(model)} takes no {WEIGHT}")
    draws = isinstance(model, BaggingClassifier | BaggingRegressor)  # draw rows by their weights
    return WEIGHT if draws else _of_all(model, [getattr(model, "estimator", None)])


def _through(step: str, key: str) -> str:
    return key if key == ROUTED else f"{step}__{key}"


def is_search(model: Estimator) -> bool:
    """Return whether a model is a parameter search such as `GridSearchCV`, unfitted or fitted."""
    from sklearn.model_selection import GridSearchCV

    return isinstance(model, GridSearchCV.__base__)


def _of_all(model: Estimator, parts: list[Estimator]) -> str:
    """Return `sample_weight` if all parts take it under this name, as the model passes it on; else `ROUTED`."""
    others = [part for part in parts if hasattr(part, "fit") and weight_key(part) != WEIGHT]
    if not others:
        return WEIGHT
    if not weight_routing.can_reach(model):
        raise _refused(f"{_name(model)} passes no weights to the steps of the {_name(others[0])} in it")
    return ROUTED


def _refused(reason: str) -> ConfigError:
    return ConfigError(
        [f"{layout.CONFIG} train.weight: {reason}"],
        hint="use another estimator; or remove train.weight, and list the column in features.exclude",
    )


def _name(model: Estimator) -> str:
    return type(model).__name__


def weights_of(table: pa.Table, name: str, schema: Schema, where: str, rows: Array) -> Array:
    """Return the weights in a column of a table, float64 of shape (rows,); `rows` has the number of each row, from 0.

    Raises:
        DataError: a weight is null, infinite, below 0 or not a number; or all are 0.
    """
    values = table.column(name)
    hint = "a weight is a number, 0 or more; a row with weight 0 is not learned from"
    try:
        found = as_numbers(values, Column(name, "number", str(values.type)), schema)
    except InvalidValue as error:
        found, odd, reason = np.zeros(0), error.row, error.reason
    except (ValueError, NotImplementedError) as error:  # Arrow's errors are among these
        raise DataError(f"{where}: train.weight {name!r}: {error}", hint=hint) from None
    else:
        wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
        odd, reason = (int(wrong[0]) if len(wrong) else -1), "is not a valid weight"
    if odd >= 0:
        value = values[odd].as_py()
        shown = "null" if value is None else f"{value!r:.80}"
        raise DataError(f"{where}: train.weight {name!r}, row {int(rows[odd]) + 1}: {shown} {reason}", hint=hint)
    if not (found > 0).any():
        raise DataError(f"{where}: train.weight {name!r} is 0 in every row", hint=hint)
    return found

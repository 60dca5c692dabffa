"""A fitted model's predictions of encoded rows, in the form that `metrics` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue.errors import StageError
from mlops_glue.pipeline.train import kind_of
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-4  # of a probability: some are float32


def in_pieces(predict: Callable[[Any], Any], features: pd.DataFrame | Array, schema: Schema) -> Array:
    """Return a model's predictions of encoded rows, computed in pieces to limit memory."""
    pieces = schema.pieces(len(features))
    return np.asarray(predict(features)) if len(pieces) == 1 else np.concatenate([predict(features[p]) for p in pieces])


def outcome(
    model: Any, schema: Schema, features: pd.DataFrame | Array, *, with_label: bool = True
) -> tuple[Array, Array | None]:
    """Return a model's predictions as `metrics` takes them: class indices and probabilities, or values and None.

    Without `with_label`, the class indices of a model with probabilities have no meaning.
    """
    certain = not hasattr(model, "predict_proba")
    with_label = with_label and schema.decision is None
    if with_label or certain or schema.labels is None:
        predicted = np.ravel(in_pieces(model.predict, features, schema))
        if schema.labels is None:
            return _numbers(predicted, model), None
        try:
            label = schema.class_indices(predicted)
        except KeyError as error:
            raise StageError(
                f"{kind_of(model)} predicts {error.args[0]!r}, which is not one of the target's classes",
                hint="use a classifier as train.estimator, whose predict returns labels",
            ) from None
    else:
        label = np.zeros(len(features), np.int64)
    if not hasattr(model, "classes_"):
        raise StageError(
            f"{kind_of(model)} has no classes_, its labels in the order of its probabilities",
            hint="let its fit set self.classes_ = np.unique(y)",
        )
    if certain:
        return label, np.eye(len(schema.labels))[label]  # a model without probabilities counts as certain
    probability = np.zeros((len(label), len(schema.labels)))
    returned = in_pieces(model.predict_proba, features, schema)
    probability[:, schema.class_indices(np.asarray(model.classes_))] = _probabilities(returned, model)
    return label if schema.decision is None else schema.decision.classes(probability), probability


def _numbers(values: Array, model: Any) -> Array:
    if values.dtype.kind in "fiub":
        return values
    try:
        if values.dtype.kind != "O":
            raise TypeError
        return values.astype(np.float64)
    except (TypeError, ValueError):
        problem = f"{kind_of(model)} predicts values of type {values.dtype.name}, and the task is regression"
        raise StageError(problem, hint="let its predict return numbers") from None


def _probabilities(values: Array, model: Any) -> Array:
    classes = len(model.classes_)
    if values.ndim != 2 or values.shape[1] != classes:
        problem = f"{kind_of(model)} returns probabilities of shape {values.shape} for {len(values):,} rows"
        raise StageError(f"{problem} and {classes} classes", hint="let its predict_proba return (rows, classes)")
    _check_rows(values, (values < -TOLERANCE) | (values > 1 + TOLERANCE), model)
    return values


def check_known(values: Array, probability: Array | None, model: Any) -> None:
    """Check that no value or probability of the holdout is NaN, for which no metric has a value.

    Raises:
        StageError: one is.
    """
    if probability is None:
        if count := int(np.isnan(values).sum()):
            problem = f"{kind_of(model)} predicts NaN for {count:,} of {len(values):,} rows"
            raise StageError(problem, hint="let its predict return numbers")
    else:
        _check_rows(probability, np.isnan(probability), model)


def _check_rows(values: Array, odd: Array, model: Any) -> None:
    rows = odd.any(axis=1)
    if rows.any():
        row = [float(f"{value:.4g}") for value in values[rows][0][:5]]
        problem = f"returns values that are not probabilities: {row} for {int(rows.sum()):,} of {len(values):,} rows"
        hint = "let its predict_proba return numbers from 0 to 1"
        raise StageError(f"{kind_of(model)} {problem}", hint=hint)

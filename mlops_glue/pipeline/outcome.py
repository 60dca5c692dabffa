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
            return predicted, None
        try:
            label = schema.class_indices(predicted)
        except KeyError as error:
            raise StageError(
                f"{kind_of(model)} predicts {error.args[0]!r}, which is not one of the target's classes",
                hint="use a classifier as train.estimator, whose predict returns labels",
            ) from None
    else:
        label = np.zeros(len(features), np.int64)
    if certain:
        return label, np.eye(len(schema.labels))[label]  # a model without probabilities counts as certain
    probability = np.zeros((len(label), len(schema.labels)))
    probability[:, schema.class_indices(model.classes_)] = in_pieces(model.predict_proba, features, schema)
    return label if schema.decision is None else schema.decision.classes(probability), probability

"""What a fitted model says of encoded rows, in the form that `metrics` takes."""

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
    """What a model says of encoded rows, which it is given in pieces: what it makes of them takes memory too."""
    pieces = schema.pieces(len(features))
    return np.asarray(predict(features)) if len(pieces) == 1 else np.concatenate([predict(features[p]) for p in pieces])


def outcome(
    model: Any, schema: Schema, features: pd.DataFrame | Array, *, with_label: bool = True
) -> tuple[Array, Array | None]:
    """What a model predicts, in the form that `metrics` takes: class indices and probabilities, or values and None.

    Without the label, where the model has probabilities, the class indices mean nothing.
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
                f"{kind_of(model)} predicts {error.args[0]!r}, which is none of the target's classes",
                hint="train.estimator: a classifier, whose predict gives labels",
            ) from None
    else:
        label = np.zeros(len(features), np.int64)
    if certain:
        return label, np.eye(len(schema.labels))[label]  # a model without probabilities is certain
    probability = np.zeros((len(label), len(schema.labels)))
    probability[:, schema.class_indices(model.classes_)] = in_pieces(model.predict_proba, features, schema)
    return label if schema.decision is None else schema.decision.classes(probability), probability

"""What a retraining made of its fresh rows: labels by chance, or turned round, show in the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_glue import metrics
from mlops_glue.schema import Schema

Array = np.ndarray[Any, Any]


def order(schema: Schema) -> metrics.Metric:
    """How well a model puts rows in order: 1 is perfect, 0.5 is chance, 0 is the reverse.

    A concept that changes moves levels and weights, and with them log loss or R² of the old rows. It seldom reverses
    the order of the old rows; labels that were turned round do. It is the area under the ROC curve, the mean over
    classes of it, or for numbers Spearman's correlation, moved from -1 … 1 to 0 … 1.
    """
    if schema.labels is not None:
        name = "roc_auc" if schema.task == "binary" else "roc_auc_ovr"
        return metrics.table(schema.task, len(schema.labels))[name]
    return metrics.Metric(lambda truth, said, _: _concordance(truth, said))


def _concordance(truth: Array, said: Array) -> float:
    import pandas as pd

    if np.ptp(truth) == 0 or np.ptp(said) == 0:
        return float("nan")
    return float(1 + np.corrcoef(pd.Series(truth).rank(), pd.Series(said).rank())[0, 1]) / 2


def ordered(schema: Schema, said: tuple[Any, Any, Any], seed: int) -> dict[str, Any]:
    """How well a model puts rows in order, with a 95 % interval.

    Args:
        schema: of the model.
        said: truth, label and probability in the form that `metrics` takes.
        seed: of the bootstrap.
    """
    metric, rows = order(schema), len(said[0])
    value = metrics.compute(metric, *said)
    low, high = metrics.interval(value, metrics.draws(metric, *said, seed), rows)
    return {"rows": rows, "order": value, "low": low, "high": high}

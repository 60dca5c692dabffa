"""The reference of monitoring: a sample of rows with the model's predictions, and the metrics of the holdout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, tables
from mlops_glue.drift import drift_methods, sample_part
from mlops_glue.pipeline import curves
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.pipeline.evaluation import Evaluation, Importance

Array = np.ndarray[Any, Any]
SAMPLE_ROWS = 5000  # of each part
MLFLOW_TYPES = {
    "number": "double",
    "category": "string",
    "boolean": "boolean",
    "datetime": "datetime",
    "text": "string",
}


def sample(bundle: Bundle, take: Callable[[Array], pa.Table], parts: dict[str, pa.Table]) -> pa.Table:
    """Return evenly spaced rows: raw columns, target, `glue_split` (train or test), and the columns of `glue predict`.

    Args:
        bundle: the bundle that predicts.
        take: returns the raw rows with the given numbers.
        parts: the number and the target of each row, by `train` and `test`.
    """
    import pyarrow as pa

    pieces = []
    for part, table in parts.items():
        at = tables.evenly_spaced(table.num_rows, SAMPLE_ROWS)
        chosen = table.take(at)
        rows = take(chosen.column(layout.ROW).to_numpy())
        carried = rows.append_column(bundle.schema.target, chosen.column(f"target:{bundle.schema.target}"))
        carried = carried.append_column(layout.SPLIT_COLUMN, pa.array([part] * len(at)))
        pieces.append(bundle.scored(rows, carried, where=part))
    return pa.concat_tables(pieces)


def holdout(evaluation: Evaluation, sampled: pa.Table, schema: Schema) -> dict[str, Any]:
    """Return what the monitor compares a window with.

    Returns:
        The metrics with their intervals; the weights of the columns; for each class the points of its calibration
        curve, which map the model's probability to the observed share, or None without probabilities.
    """
    scores = {
        name: {key: value for key, value in score.items() if key in ("value", "low", "high", "definition")}
        for name, score in evaluation["metrics"].items()
    }
    record: dict[str, Any] = {
        "rows": evaluation["rows"],
        "metrics": scores,
        "weights": weights(evaluation["importances"], schema),
        "calibration": None,
    }
    if schema.labels is None or f"probability_{schema.labels[0]}" not in sampled.column_names:
        return record
    rows = sample_part(sampled, "test")
    truth = schema.class_indices(rows.column(schema.target).to_numpy())
    points = []
    for at, label in enumerate(schema.class_order):
        across, up = curves.calibration(truth == at, rows.column(f"probability_{label}").to_numpy())
        points.append([np.asarray(across, float).tolist(), np.asarray(up, float).tolist()])
    return record | {"calibration": points, "calibration_rows": rows.num_rows}


def weights(importances: Sequence[Importance] | None, schema: Schema) -> dict[str, float]:
    """Return the weight of each encoded column: its share of the permutation importances; the weights sum to 1.

    Without importances, or if none is above 0, all columns have the same weight.
    """
    means = {row["column"]: max(row["mean"] or 0.0, 0.0) for row in importances or []}
    total, names = math.fsum(means.values()), list(drift_methods(schema))
    return {name: means.get(name, 0.0) / total if total else 1 / len(names) for name in names}


def signature(schema: Schema, *, probabilities: bool = True) -> dict[str, Any]:
    """Return inputs and outputs in the form of MLflow's `ModelSignature.to_dict`, with lists instead of strings."""
    inputs = [{"name": c.name, "type": MLFLOW_TYPES[c.kind], "required": not c.nullable} for c in schema.columns]
    label = "double" if schema.labels is None else {int: "long", bool: "boolean"}.get(type(schema.labels[0]), "string")
    outputs = [{"name": "prediction", "type": label, "required": True}]
    shares = (schema.labels or []) if probabilities else []
    outputs += [{"name": f"probability_{label}", "type": "double", "required": False} for label in shares]
    return {"inputs": inputs, "outputs": outputs}

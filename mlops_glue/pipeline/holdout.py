"""What the monitor holds performance against: the holdout's metrics, and what a probability of the model is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.pipeline import curves
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa


def holdout(evaluation: dict[str, Any], sampled: pa.Table, schema: Schema) -> dict[str, Any]:
    """The metrics with their intervals, and by class the points of the calibration; None without probabilities.

    Args:
        evaluation: what `evaluate` wrote.
        sampled: what `reference.sample` gives.
        schema: of the model.
    """
    import pyarrow.compute as pc

    scores = {name: {k: of[k] for k in ("value", "low", "high")} for name, of in evaluation["metrics"].items()}
    told: dict[str, Any] = {"rows": evaluation["rows"], "metrics": scores, "calibration": None}
    if schema.labels is None or f"probability_{schema.labels[0]}" not in sampled.column_names:
        return told
    rows = sampled.filter(pc.equal(sampled.column(layout.SPLIT_COLUMN), "test"))
    truth = schema.class_indices(rows.column(schema.target).to_numpy())
    points = []
    for at, label in enumerate(schema.class_order):
        across, up = curves.calibration(truth == at, rows.column(f"probability_{label}").to_numpy())
        points.append([np.asarray(across, float).tolist(), np.asarray(up, float).tolist()])
    return told | {"calibration": points, "calibration_rows": rows.num_rows}

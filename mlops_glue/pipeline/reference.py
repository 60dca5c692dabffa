"""What monitoring will compare with: the training data's profile, and a sample of rows with what the model says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 5000  # of each part
QUANTILES = [round(0.05 * at, 2) for at in range(21)]
MOST_VALUES = 100  # of a category
MLFLOW_TYPES = {"number": "double", "category": "string", "boolean": "boolean", "datetime": "datetime"}


def profile(train: pa.Table, schema: Schema) -> dict[str, Any]:
    """For each encoded column and the target: rows, share of nulls, quantiles or the counts of the frequent values."""
    names = {name: name for name in (*schema.numeric, *schema.text)} | {f"target:{schema.target}": schema.target}
    return {"rows": train.num_rows, "columns": {to: _column(train.column(name)) for name, to in names.items()}}


def _column(values: pa.ChunkedArray) -> dict[str, Any]:
    import pyarrow as pa

    if pa.types.is_floating(values.type):
        numbers = values.to_numpy()
        known = numbers[~np.isnan(numbers)]
        quantiles = np.quantile(known, QUANTILES).tolist() if len(known) else []
        return {"null_share": 1 - len(known) / max(len(numbers), 1), "quantiles": quantiles}
    counts = sorted(values.value_counts().to_pylist(), key=lambda c: (-c["counts"], str(c["values"])))
    null = sum(c["counts"] for c in counts if c["values"] == "")  # an encoded category's null
    shown = [[c["values"], c["counts"]] for c in counts if c["values"] != ""][:MOST_VALUES]
    return {"null_share": null / max(len(values), 1), "counts": shown}


def sample(bundle: Bundle, raw: pa.Table, parts: dict[str, pa.Table]) -> pa.Table:
    """Raw columns, target, `glue_split` (train or test), then what `glue predict` would add; rows spread evenly."""
    import pyarrow as pa

    pieces = []
    for part, table in parts.items():
        at = np.unique(np.linspace(0, table.num_rows - 1, min(table.num_rows, SAMPLE_ROWS)).astype(np.int64))
        chosen = table.take(at)
        rows = raw.take(chosen.column(layout.ROW))
        carried = rows.append_column(bundle.schema.target, chosen.column(f"target:{bundle.schema.target}"))
        carried = carried.append_column(layout.PART, pa.array([part] * len(at)))
        pieces.append(bundle.scored(rows, carried, where=part))
    return pa.concat_tables(pieces)


def signature(schema: Schema) -> dict[str, Any]:
    """Inputs and outputs of the raw columns in the form of MLflow's `ModelSignature.to_dict`, lists for its strings."""
    inputs = [{"name": c.name, "type": MLFLOW_TYPES[c.kind], "required": not c.nullable} for c in schema.columns]
    label = "double" if schema.labels is None else {int: "long", bool: "boolean"}.get(type(schema.labels[0]), "string")
    outputs = [{"name": "prediction", "type": label, "required": True}]
    outputs += [{"name": f"probability_{one}", "type": "double", "required": False} for one in schema.labels or []]
    return {"inputs": inputs, "outputs": outputs}

"""What monitoring will compare with: summaries of the training data, and a sample of rows with what the model says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mlops_glue import layout, tables
from mlops_glue.drift import Reference, inputs, outcome, summarised
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 5000  # of each part
MLFLOW_TYPES = {"number": "double", "category": "string", "boolean": "boolean", "datetime": "datetime"}


def reference(
    train: pa.Table, sampled: pa.Table, schema: Schema, importances: list[dict[str, Any]] | None
) -> Reference:
    """Summaries of the training rows by encoded column, and of what the model says of the holdout.

    Args:
        train: the encoded training rows.
        sampled: what `sample` gives.
        schema: of the model.
        importances: by permutation, of `evaluate`; None, or all nothing, gives each column the same weight.
    """
    import pyarrow.compute as pc

    methods = inputs(schema)
    with ThreadPoolExecutor(2) as pool:  # NumPy lets the other one work while it sorts
        columns = dict(zip(methods, pool.map(lambda n: summarised(train.column(n), methods[n]), methods), strict=True))
    said = {one["column"]: max(one["mean"] or 0.0, 0.0) for one in importances or []}
    total = sum(said.values())
    weights = {name: said.get(name, 0.0) / total if total else 1 / len(columns) for name in columns}
    holdout = sampled.filter(pc.equal(sampled.column(layout.SPLIT_COLUMN), "test"))
    told = outcome(schema, holdout.column_names)
    return Reference(columns, weights, summarised(holdout.column(told[0]), told[1]) if told else None)


def sample(bundle: Bundle, raw: pa.Table, parts: dict[str, pa.Table]) -> pa.Table:
    """Raw columns, target, `glue_split` (train or test), then what `glue predict` would add; rows spread evenly."""
    import pyarrow as pa

    pieces = []
    for part, table in parts.items():
        at = tables.evenly_spaced(table.num_rows, SAMPLE_ROWS)
        chosen = table.take(at)
        rows = raw.take(chosen.column(layout.ROW))
        carried = rows.append_column(bundle.schema.target, chosen.column(f"target:{bundle.schema.target}"))
        carried = carried.append_column(layout.SPLIT_COLUMN, pa.array([part] * len(at)))
        pieces.append(bundle.scored(rows, carried, where=part))
    return pa.concat_tables(pieces)


def signature(schema: Schema, *, probabilities: bool = True) -> dict[str, Any]:
    """Inputs and outputs of the raw columns in the form of MLflow's `ModelSignature.to_dict`, lists for its strings."""
    inputs = [{"name": c.name, "type": MLFLOW_TYPES[c.kind], "required": not c.nullable} for c in schema.columns]
    label = "double" if schema.labels is None else {int: "long", bool: "boolean"}.get(type(schema.labels[0]), "string")
    outputs = [{"name": "prediction", "type": label, "required": True}]
    shares = (schema.labels or []) if probabilities else []
    outputs += [{"name": f"probability_{one}", "type": "double", "required": False} for one in shares]
    return {"inputs": inputs, "outputs": outputs}

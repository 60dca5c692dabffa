"""Convert a fitted scikit-learn model that glue did not train into a bundle: as ONNX, with its MLflow signature."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, tables
from mlops_glue.adapters import skl2onnx
from mlops_glue.errors import CheckFailed, DataError
from mlops_glue.pipeline import reference
from mlops_glue.pipeline.package import Parity, compare, describe_bundle
from mlops_glue.schema import Column, Kind, Schema
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pandas as pd

KINDS: dict[str, tuple[Kind, str]] = {  # by MLflow's type: kind and Arrow's name
    "double": ("number", "double"),
    "float": ("number", "float"),
    "integer": ("number", "int32"),
    "long": ("number", "int64"),
    "boolean": ("boolean", "bool"),
    "string": ("category", "string"),
}


def convert(
    model: Any, signature: dict[str, Any] | None, rows: pd.DataFrame, folder: Path, *, watched: bool = False
) -> Parity:
    """Write the bundle into an empty folder, prove on the rows that it predicts what the model does, return the proof.

    The rows have the model's columns. With `watched`, they become the reference of `glue monitor`.

    Raises:
        DataError: this kind of model cannot be served.
        CheckFailed: the ONNX form is not faithful.
        ToolError: ONNX cannot express the model.
    """
    import pyarrow as pa

    columns = _columns(model, signature, rows)
    labels = np.asarray(model.classes_).tolist() if hasattr(model, "classes_") else None
    if labels is not None and not hasattr(model, "predict_proba"):
        raise DataError(f"{type(model).__name__}: returns no probabilities", hint="use a classifier with predict_proba")
    of_one = hasattr(model, "predict") and not (labels and isinstance(labels[0], list))
    frame = _typed(rows, columns)
    if not of_one or np.size(model.predict(frame.head(1))) != 1:
        raise DataError(f"{type(model).__name__}: is not a classifier or regressor with one target")
    task = "regression" if labels is None else "binary" if len(labels) == 2 else "multiclass"
    schema = Schema(task, "target", columns, labels)
    made = skl2onnx.export(_by_position(model, list(frame.columns), schema), len(schema.numeric), len(schema.text))
    parity: Parity = {**compare(model, made, schema, frame), "format": "onnx", "adopted": True}
    if not parity["faithful"]:
        raise CheckFailed(f"the ONNX form is not faithful, so it cannot be served: {parity['reason']}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(made)
    example = json.loads(frame.head(3).to_json(orient="records"))
    describe_bundle(folder, schema, parity, example, probabilities=True)
    if watched:  # the rows serve as training rows and as holdout
        raw = pa.Table.from_pandas(frame, preserve_index=False)
        scored = Bundle(folder).scored(raw, raw).take(tables.evenly_spaced(raw.num_rows, reference.SAMPLE_ROWS))
        names = (pa.array([part] * scored.num_rows) for part in ("train", "test"))
        sample = pa.concat_tables([scored.append_column(layout.SPLIT_COLUMN, name) for name in names])
        tables.write_parquet(folder / layout.SAMPLE, sample)
    return parity


def _columns(model: Any, signature: dict[str, Any] | None, rows: pd.DataFrame) -> list[Column]:
    """Return the columns by the signature, else by what the model was fitted on.

    For an array they are numbers with the names in `rows`.
    """
    listed = json.loads(signature["inputs"]) if signature and signature.get("inputs") else []
    if not listed:
        return _of_rows(model, rows)
    if listed[0]["type"] == "tensor":
        kind = listed[0]["tensor-spec"]["dtype"]
        if not kind.startswith(("float", "int", "uint")):
            raise DataError(f"the signature has a tensor of {kind}, and only numbers are supported")
        return [Column(name, "number", "double", nullable=False) for name in rows.columns]
    odd = next((entry for entry in listed if entry["type"] not in KINDS), None)
    if odd is not None:
        problem = f"column {odd['name']!r} has type {odd['type']}, which is not supported"
        raise DataError(problem, hint=f"supported types: {', '.join(KINDS)}")
    lacking = next((entry["name"] for entry in listed if entry["name"] not in rows.columns), None)
    if lacking is not None:
        raise DataError(f"the sample rows have no column {lacking!r}, which the signature has")
    # only numbers: the model received None for null text, and ONNX only has the empty string
    nullable = {entry["name"] for entry in listed if entry["type"] == "double" and not entry.get("required", True)}
    return [Column(e["name"], *KINDS[e["type"]], nullable=e["name"] in nullable) for e in listed]


def _of_rows(model: Any, rows: pd.DataFrame) -> list[Column]:
    """Return the columns of a model without a signature: the names it was fitted on, with the types of the rows.

    Raises:
        DataError: it was fitted on an array of another width, or on columns that the rows lack.
    """
    from pandas.api import types

    names = getattr(model, "feature_names_in_", None)
    if names is None:
        width = getattr(model, "n_features_in_", None)
        if width != len(rows.columns):
            problem = (
                f"the model has no signature, and was fitted on {width or 'an unknown number of'} columns without names"
            )
            raise DataError(problem, hint="--data TABLE, a table that starts with these columns in the same order")
        names = rows.columns
    lacking = next((name for name in names if name not in rows.columns), None)
    if lacking is not None:
        raise DataError(f"the sample rows have no column {lacking!r}, which the model was fitted on")

    def kind(values: Any) -> str:
        return "boolean" if types.is_bool_dtype(values) else "double" if types.is_numeric_dtype(values) else "string"

    return [Column(str(name), *KINDS[kind(rows[name])], nullable=False) for name in names]


def _typed(rows: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """Return the model's columns in its order, without rows that have a null where the model takes none."""
    frame = rows[[column.name for column in columns]]
    frame = frame.dropna(subset=[column.name for column in columns if not column.nullable]).reset_index(drop=True)
    if frame.empty:
        raise DataError("no sample row is left: each has a null where the signature allows none")
    for column in columns:
        kind = {"int": "int64", "bool": "bool"}.get(column.dtype.rstrip("0123456789"), "float64")
        try:
            given = frame[column.name]
            frame[column.name] = given.map(str) if column.kind == "category" else given.astype(np.dtype(kind))
        except (ValueError, TypeError):
            raise DataError(f"column {column.name!r} has values that are not {column.dtype}") from None
    return frame


def _by_position(model: Any, names: list[str], schema: Schema) -> Any:
    """Return a copy whose column transformer finds its columns by position in ONNX's inputs: numbers, then text."""
    order = [*schema.numeric, *schema.text]
    first = model.steps[0][1] if hasattr(model, "steps") else model
    if not hasattr(first, "transformers_"):
        if schema.numeric and schema.text:
            raise DataError("the model takes numbers and text, but its first step is not a ColumnTransformer")
        return model
    made = copy.deepcopy(model)
    first = made.steps[0][1] if hasattr(made, "steps") else made
    first.transformers_ = [(name, part, _places(which, names, order)) for name, part, which in first.transformers_]
    return made


def _places(which: Any, names: list[str], order: list[str]) -> list[int]:
    """Return the positions of columns that a ColumnTransformer has by name, position, slice or mask."""
    import pandas as pd

    if isinstance(which, str):
        problem = f"a ColumnTransformer names column {which!r} as text, not in a list"
        raise DataError(problem, hint=f"use a list: [{which!r}]")
    columns = pd.DataFrame(columns=names)
    try:
        chosen = columns.iloc[:, which]
    except (IndexError, TypeError):
        chosen = columns.loc[:, which]
    return [order.index(name) for name in chosen.columns]

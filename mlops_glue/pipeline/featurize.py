"""featurize: the columns that the model sees, encoded, with the target; one row for each row that has a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import DataError
from mlops_glue.pipeline.profile import infer_task, profile
from mlops_glue.schema import Column, Schema, as_datetime, as_text, encode

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def featurize(config: Config, root: Path) -> None:
    """Write `features.parquet` (`glue_row`, encoded features, target, entity and timestamp) and `columns.json`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = io.read_parquet(root / layout.TABLE)
    labels, source = config.data.labels, config.source
    target = table.column(labels.target)
    rows = pa.array(np.arange(table.num_rows, dtype=np.int64))
    known = pc.is_valid(target)
    if pa.types.is_floating(target.type):
        known = pc.and_(known, pc.is_finite(target))
    known = pc.fill_null(known, False)
    unlabelled = table.num_rows - int(pc.sum(known).as_py() or 0)
    table, rows = table.filter(known), rows.filter(known.combine_chunks())
    target = table.column(labels.target)
    if table.num_rows == 0:
        raise DataError(f"target {labels.target!r} has no values")
    task = labels.task or infer_task(target)
    schema = Schema(task, labels.target, choose_columns(config, table))
    if not schema.columns:
        raise DataError("no column is left to learn from", hint=f"see features in {layout.CONFIG}")
    encoded = encode(table, schema, where=source.path)
    out: dict[str, Any] = {layout.ROW: rows}
    out |= {name: encoded[name] for name in (*schema.numeric, *schema.text)}
    out[f"target:{labels.target}"] = _target(target, task)
    if source.timestamp is not None:
        out[f"timestamp:{source.timestamp}"] = as_datetime(table.column(source.timestamp))
    if source.entity is not None:
        out[f"entity:{source.entity}"] = as_text(table.column(source.entity))
    facts = [_describe(c, encoded) for c in schema.columns]
    io.write_parquet(root / layout.FEATURES, pa.table(out))
    io.write_json(
        root / layout.COLUMNS,
        {"schema": Schema(task, labels.target, facts, _classes(target, task)).to_dict(), "unlabelled": unlabelled},
    )


def choose_columns(config: Config, table: pa.Table) -> list[Column]:
    """The config's lists, or, where all are empty, every usable column by its inferred kind."""
    chosen = config.features
    kinds: dict[str, Any] = {c: k for k in ("number", "category", "boolean", "datetime") for c in getattr(chosen, k)}
    if not kinds:
        apart = {config.data.labels.target, config.source.entity, config.source.timestamp, *chosen.exclude}
        kinds = {p.name: p.kind for p in profile(table) if p.kind is not None and p.name not in apart}
    return [Column(name, kinds[name]) for name in table.column_names if name in kinds]


def _target(values: pa.ChunkedArray, task: str) -> Any:
    """Regression: float64. Classes: whole numbers as int64, booleans as they are, all else as text."""
    import pyarrow as pa

    if task == "regression":
        try:
            return values.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(f"the target holds {values.type}, not numbers") from None
    if pa.types.is_boolean(values.type):
        return values
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    return as_text(values)


def _classes(values: pa.ChunkedArray, task: str) -> list[Any] | None:
    if task == "regression":
        return None
    classes = sorted(set(_target(values, task).to_pylist()))
    if len(classes) < 2:
        raise DataError(f"the target has one class only: {classes[0]!r}", hint="a model needs two to tell apart")
    return classes


def _describe(column: Column, encoded: dict[str, np.ndarray[Any, Any]]) -> Column:
    import numpy as np

    values = encoded[column.inputs[0]]
    if column.kind == "category":
        seen = sorted(set(values) - {""})
        return Column(column.name, column.kind, bool((values == "").any()), seen if len(seen) <= 1000 else None)
    null = bool(np.isnan(values).any())
    some = not np.isnan(values).all()
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if some else (None, None)
    return Column(column.name, column.kind, null, None, low, high)

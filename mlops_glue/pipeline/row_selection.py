"""Which rows are fresh, and which rows the model of the last run was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.files import read_json
from mlops_glue.tables import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa


def training_rows(root: Path, *, fresh: bool) -> pa.Table:
    """What the last run's model was trained on; `fresh`: by a retraining, which may leave older rows out."""
    table = read_parquet(root / layout.TRAIN)
    bounds = read_json(root / layout.LEARNED)["after"] if fresh else []
    if not bounds:
        return table
    row, when = row_and_time(table)
    return table.filter(np.any([is_after(bound, row, when) for bound in bounds], axis=0))


def row_and_time(table: pa.Table) -> tuple[Any, Any]:
    """For each row of an artifact its number in the labels' table, and its time or None: arrays of shape (rows,)."""
    when = table.column(layout.TIMESTAMP_COLUMN).to_numpy() if layout.TIMESTAMP_COLUMN in table.column_names else None
    return table.column(layout.ROW).to_numpy(), when


def is_after(bound: int | str, row: Any, when: Any) -> Any:
    """Which rows come after a bound of `split.fresh_after`, a row count or a time: booleans, shape (rows,)."""
    return when > np.datetime64(bound) if isinstance(bound, str) else row >= bound

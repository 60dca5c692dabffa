"""The rows that a version was trained on, so that comparisons can exclude rows that one of the models has seen."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, row_groups, tables
from mlops_glue.parsing import as_text

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store

FOLDER, KNOWN = "split", "glue.rows"  # artifact folder of a version's run; tag of a version that has it: how many rows
FILE = "rows.parquet"
ID, TRAINED = "row", "trained"
MULTIPLY = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio (Knuth): neighbours get far apart
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of the labels table that a version was trained and evaluated with."""

    columns: list[str]  # of the table
    ids: Array  # what `identities` gives, shape (rows,)
    trained: Array  # whether each row was trained on, shape (rows,)

    def seen(self, table: pa.Table | Path) -> Array | None:
        """Return for each row of a table, or of a Parquet file, whether it was trained on.

        None if a recorded column is missing.
        """
        head = row_groups.empty(table) if isinstance(table, Path) else table
        if not set(self.columns) <= set(head.column_names):
            return None
        return np.isin(identities(table, self.columns), self.ids[self.trained])

    def begin(self, table: pa.Table) -> bool:
        """Whether a table begins with these rows, unchanged and in the same order."""
        same = set(self.columns) <= set(table.column_names) and len(self.ids) <= table.num_rows
        return same and bool((identities(table, self.columns)[: len(self.ids)] == self.ids).all())

    def write(self, path: Path) -> None:
        """Write `FILE`."""
        import pyarrow as pa

        made = pa.table({ID: self.ids, TRAINED: self.trained})
        tables.write_parquet(path, made.replace_schema_metadata(dict.fromkeys(self.columns, "")))

    @classmethod
    def read(cls, path: Path) -> Rows:
        """Read what `write` wrote."""
        table = tables.read_parquet(path)
        columns = [name.decode() for name in table.schema.metadata or {}]
        return cls(columns, table.column(ID).to_numpy(), table.column(TRAINED).to_numpy())


def of_last_run(root: Path, train: pa.Table) -> Rows:
    """Return the rows of the project's last run. `train`: the rows that were trained on."""
    path = root / layout.TABLE
    ids = identities(path)
    trained = np.zeros(len(ids), bool)
    trained[train.column(layout.ROW).to_numpy()] = True
    return Rows(row_groups.empty(path).column_names, ids, trained)


def version_rows(store: Store, model: str, version: int) -> Rows | None:
    """Read a version's rows; None if it has no record of them: it was imported, or made by an older glue."""
    if KNOWN not in store.tags(model, version):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Rows.read(store.download_artifact(model, version, FOLDER, Path(folder)) / FILE)


def identities(table: pa.Table | Path, columns: list[str] | None = None) -> Array:
    """Return a number for each row from its content, shape (rows,), uint64. Equal rows get different numbers.

    A row keeps its number if rows are added after it, even if a null in the new rows changes a column from whole
    numbers to floating-point numbers.

    Args:
        table: a table or a Parquet file.
        columns: the columns to use; None: all.
    """
    import pandas as pd

    def of(piece: pa.Table) -> Array:
        found = np.zeros(piece.num_rows, np.uint64)
        for name in piece.column_names:
            found = (found ^ pd.util.hash_array(_canonical(piece.column(name)))) * MULTIPLY
        return found

    if isinstance(table, Path):
        out = np.concatenate([np.zeros(0, np.uint64), *map(of, row_groups.pieces(table, columns))])
    else:
        out = of(table if columns is None else table.select(columns))
    return (out ^ _copies(out)) * MULTIPLY


def _copies(values: Array) -> Array:
    """Return the number of equal values before each value, shape (rows,), uint64."""
    order, at = np.argsort(values, kind="stable"), np.arange(len(values), dtype=np.uint64)
    ordered = values[order]
    is_first = np.ones(len(values), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    found = np.empty_like(at)
    found[order] = at - np.maximum.accumulate(np.where(is_first, at, np.uint64(0)))
    return found


def _canonical(values: pa.ChunkedArray) -> Array:
    """Convert values to floating-point numbers or text, whatever their type in the table."""
    import pyarrow as pa

    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if tables.is_number(values.type):
        numbers = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)) + 0.0  # no -0.0
        return np.where(np.isnan(numbers), np.nan, numbers)
    try:
        return np.asarray(as_text(values).fill_null("").to_numpy().astype(object))
    except pa.ArrowException:  # nested, or bytes: no model takes them, but they tell rows apart
        return np.array([repr(value) for value in values.to_pylist()], object)

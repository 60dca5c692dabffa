"""Columns of files in the types that feature views declare for them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast.types import Array, Bytes, from_feast_to_pyarrow_type

from mlops_glue.errors import DataError


def cast(column: pa.ChunkedArray | pa.Array, declared: Any, label: str) -> pa.ChunkedArray | pa.Array:
    """A column in the type that a view declares for it.

    Args:
        column: as the file has it.
        declared: Feast's type.
        label: how the message calls the column.

    Raises:
        DataError: it holds values that this type does not have (1.5 as Int64, text as a number).
    """
    wanted = arrow_type(declared)
    if wanted is None or column.type == wanted:
        return column
    exact = not pa.types.is_floating(wanted) and not pa.types.is_timestamp(wanted)
    if pa.types.is_floating(column.type) and pa.types.is_integer(wanted):
        column = pc.if_else(pc.is_nan(column), None, column)  # how pandas writes a missing integer
    try:
        return column.cast(wanted, safe=exact)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{label} is declared {declared} and the file has {column.type}: {error}") from error


def arrow_type(declared: Any) -> pa.DataType | None:
    """The Arrow type of a Feast type; None: it has none, and values stay as they are."""
    if declared == Bytes:  # which Feast's own table lacks
        return pa.binary()
    if isinstance(declared, Array):
        inner = arrow_type(declared.base_type)
        return None if inner is None else pa.list_(inner)
    try:
        return from_feast_to_pyarrow_type(declared)
    except ValueError:
        return None

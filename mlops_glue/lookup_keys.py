"""The columns that features are looked up by, of the types that they had in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_glue import column_types, parsing
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import as_text

if TYPE_CHECKING:
    import pyarrow as pa

WRITE_KEYS = "write keys as in training: 12 and 0012 are two"


def as_trained(table: pa.Table, key: str, kind: str) -> pa.Table:
    """A key of the type that it had in training: 17 and "17" are one customer, 17 and "017" are two."""
    values = parsing.with_nulls(table.column(key))
    if str(values.type) != kind:
        try:
            values = _key_as(values, kind)
        except ValueError as error:  # Arrow's errors are such
            said = f"holds {values.type}, and was {kind} when the model was trained"
            raise DataError(f"column {key!r} {said}: {first_line(error, 120)}", hint=WRITE_KEYS) from None
    return table.set_column(table.column_names.index(key), key, values)


def as_requested(values: pa.ChunkedArray, name: str, kind: str | None, decimal: str) -> pa.ChunkedArray:
    """Text as the type that the column had in training; where that is not kept, as the text itself says."""
    if not parsing.is_text(values.type) or kind in ("string", "large_string"):
        return values
    if kind is None:
        return column_types.parse_column(values, decimal)
    states = {arrow: state for state, arrow in column_types.ARROW_TYPES.items()}
    state = states.get(kind) or ("integer" if kind.startswith(("int", "uint")) else "float")
    made = column_types.cast_words(parsing.clean_words(values), state, decimal)
    if made is None:
        raise DataError(f"column {name!r} holds what is no {kind}, which it was when the model was trained")
    return made


def _key_as(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Keys as another type.

    Raises:
        ValueError: the type does not hold one of them as it is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if parsing.inexact_integer(values) is not None:
        raise ValueError("a float does not tell so long numbers apart")
    if not parsing.is_text(values.type):
        return as_text(values) if kind == "string" else values.cast(pa.type_for_alias(kind))
    words = parsing.clean_words(values)
    made = words.cast(pa.type_for_alias(kind))
    same = pc.fill_null(pc.equal(as_text(made), words), True)
    if not pc.all(same, min_count=0).as_py() and not pa.types.is_floating(made.type):
        at = pc.index(same, False).as_py()
        raise ValueError(f"{words[at].as_py()!r:.80} is another key than {made[at].as_py()!r}")
    return made

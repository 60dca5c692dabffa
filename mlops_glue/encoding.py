"""The encoding shared by training, batch scoring and evaluation; `serving.encoder` does the same for requests.

Numbers, booleans and dates become float32 (null is NaN), categories become text (null is the empty string), and free
text its words. ONNX has no null text, and tree exports are exact only when training saw the same float32 values. A date
column `d` becomes `d.days` (days since 1970-01-01 UTC), `d.month`, `d.weekday` (Monday is 0) and `d.hour`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops_glue import dates, parsing
from mlops_glue.errors import DataError
from mlops_glue.parsing import InvalidValue
from mlops_glue.precision import as_float32
from mlops_glue.schema import Column, Schema
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import INEXACT_INTEGER, NUMBER, canonical_category, format_number, words_of

Encoded = dict[str, NDArray[Any]]  # by name of the encoded column: shape (rows,)
NUMERIC = ("int", "uint", "double", "float", "halffloat", "decimal")  # prefixes of Arrow's names of numeric types
WRITE_WHOLE = "write it as a whole number, or as text"


def encode(
    table: pa.Table,
    schema: Schema,
    *,
    where: str = "input",
    rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    hint: str | None = None,
) -> Encoded:
    """Encode raw columns by name, each of shape (rows,): float32, or object with str.

    Errors call the table `where`. If `rows` contains the number of each row, from 0, they name the invalid row.

    Raises:
        DataError: columns are missing or have invalid values; the message lists all problems.
    """
    problems: list[str] = []
    encoded: Encoded = {}
    names = set(table.column_names)
    for column in schema.columns:
        if column.name not in names:
            problems.append(f"column {column.name!r} is missing ({did_you_mean(column.name, table.column_names)})")
            continue
        values = table.column(column.name)
        try:
            encoded.update(zip(column.inputs, _encode_column(values, column, schema), strict=True))
        except InvalidValue as error:
            row = "" if rows is None else f", row {int(rows[error.row]) + 1}"
            problems.append(f"column {column.name!r}{row}: {values[error.row].as_py()!r:.80} {error.reason}")
            hint = hint or (WRITE_WHOLE if error.reason == INEXACT_INTEGER else _how_to_write(column, schema))
        except (ValueError, NotImplementedError) as error:  # these include Arrow's errors
            problems.append(f"column {column.name!r}: {error}")
            hint = hint or _how_to_write(column, schema)
    if problems:
        raise DataError("\n".join(f"{where}: {p}" for p in problems), hint=hint)
    return encoded


def _how_to_write(column: Column, schema: Schema) -> str:
    if _unwritable_code(column) is not None:
        return f"read the column as text: dtype={{{column.name!r}: str}} in pandas"
    number = "1234.5".replace(".", schema.decimal)
    return f"write numbers and dates as in training, {number} and 2024-12-31; leave unknown values empty"


def matrices(encoded: Encoded, schema: Schema) -> Encoded:
    """Return the inputs of `model.onnx`: `number` float32 (rows, n) and `text` object (rows, m), if not empty."""
    out: Encoded = {}
    if schema.numeric:
        out["number"] = np.column_stack([encoded[n] for n in schema.numeric]).astype(np.float32, copy=False)
    if schema.text:
        out["text"] = np.column_stack([encoded[n] for n in schema.text])
    return out


def _encode_column(values: pa.ChunkedArray, column: Column, schema: Schema) -> list[NDArray[Any]]:
    if column.kind == "category":
        return [_categories(values, column, schema)]
    if column.kind == "text":
        return [np.array([words_of(text) for text in _categories(values, column, schema)], object)]
    if column.kind == "number":
        return [as_float32(as_numbers(values, column, schema), column.base)]
    if column.kind == "boolean":
        return [parsing.as_booleans(values, schema.nulls)]
    return _date_parts(dates.as_datetime(values, column.day_first, schema.nulls))


def as_numbers(values: pa.ChunkedArray, column: Column, schema: Schema) -> NDArray[np.float64]:
    """Convert a column to float64 of shape (rows,), null to NaN, as training read it.

    Text may group thousands only if training had text: otherwise, 1,234 may have a decimal comma.

    Raises:
        ValueError: a value is not a number.
    """
    if pa.types.is_boolean(values.type) and column.dtype != "bool" and values.null_count < len(values):
        least, most = column.minimum, column.maximum
        if least is not None and most is not None and (least < 0 or most > 1):  # else 0 and 1 may stand for them
            raise ValueError(f"holds booleans, and training had numbers from {least:g} to {most:g}")
    grouped = not column.dtype.startswith(NUMERIC)
    return parsing.as_numbers(values, schema.nulls, schema.decimal, grouped=grouped)


def _categories(values: pa.ChunkedArray, column: Column, schema: Schema) -> NDArray[np.object_]:
    if not parsing.is_text(values.type):
        is_integer = column.dtype.startswith(("int", "uint"))
        if is_integer and (row := parsing.inexact_integer(values)) is not None:
            raise InvalidValue(values[row].as_py(), INEXACT_INTEGER, row)
        if str(values.type).startswith(NUMERIC) and (code := _unwritable_code(column)) is not None:
            raise ValueError(
                f"contains {values.type}, but training had text such as {code!r}, which numbers cannot represent"
            )
        return pc.fill_null(parsing.as_text(values), "").to_numpy()  # type: ignore[no-any-return]
    if schema.trims:
        values = parsing.clean_words(values, schema.nulls)
    else:
        values = pc.if_else(pc.is_in(values, pa.array(schema.nulls, values.type)), None, values)
    values = pc.fill_null(values, "")
    if column.dtype in ("", "string"):
        return values.to_numpy()  # type: ignore[no-any-return]
    coded = pc.dictionary_encode(values).combine_chunks()
    names = [canonical_category(word, column.dtype) for word in coded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(coded.indices).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _unwritable_code(column: Column) -> str | None:
    """Return a category that looks like a number but that formatting a number cannot produce, such as 0012 or 1.50."""
    if column.kind != "category" or column.dtype != "string":
        return None
    numbers = [word for word in column.categories or [] if re.fullmatch(NUMBER, word)]
    return next((word for word in numbers if format_number(float(word)) != word), None)


def _date_parts(when: NDArray[np.datetime64]) -> list[NDArray[Any]]:
    """Split datetime64[us] into `DATE_PARTS`, float32; NaT becomes NaN."""
    days = when.astype("datetime64[D]").astype(np.int64)
    seconds = (when - when.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)
    month = when.astype("datetime64[M]").astype(np.int64) % 12 + 1
    parts = (days + seconds / 86400, month, (days + 3) % 7, seconds // 3600)
    return [np.where(np.isnat(when), np.nan, part).astype(np.float32) for part in parts]

"""Columns of dates: convert text in many notations, Arrow types, and date parts to microseconds in UTC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops_glue.column_types import ISO_TIMESTAMP, ISO_TIMESTAMP_UTC, cast_words
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import InvalidValue, all_match, as_numbers, clean_words, convert_words, is_text
from mlops_glue.words import NULLS, to_micros

DAY_AND_MONTH = r"^\s*(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})[-/.]\d{2,4}"
NOT_A_DATE = "is not a date"
WRITE_DATES = "write dates as 2026-11-25, with a time as 2026-11-25T12:00:00Z"


def infer_day_first(values: pa.ChunkedArray) -> bool | None:
    """Infer whether dates in text begin with the day: a part above 12 decides; otherwise, dots mean day first.

    Returns None if no date begins with day and month as numbers.
    """
    if not is_text(values.type):
        return None
    found = pc.extract_regex(values, DAY_AND_MONTH).drop_null()
    if len(found) == 0:
        return None
    first, second = (pc.max(pc.struct_field(found, part).cast(pa.int64())).as_py() for part in ("first", "second"))
    return bool(first > 12 or (second <= 12 and pc.struct_field(found, "mark")[0].as_py() == "."))


def parse_dates(values: pa.ChunkedArray, day_first: bool | None) -> NDArray[np.datetime64]:
    """Convert words to datetime64[us] in UTC; null becomes NaT.

    Raises:
        InvalidValue: a value is not a date, or has day and month in the other order.
    """
    for name, pattern in (("timestamp", ISO_TIMESTAMP), ("timestamp_utc", ISO_TIMESTAMP_UTC)):
        if all_match(values, pattern) and (quick := cast_words(values, name)) is not None:
            return np.asarray(quick.to_numpy().astype("datetime64[us]"))
    return convert_words(values, lambda word: to_micros(word, day_first), np.datetime64("NaT", "us"), NOT_A_DATE)


def as_datetime(
    values: pa.ChunkedArray, day_first: bool | None = False, nulls: Sequence[str] = NULLS
) -> NDArray[np.datetime64]:
    """Convert a column of any type to datetime64[us] in UTC; text is parsed as by `to_micros`.

    Raises:
        ValueError: a value is not a date, or has day and month in the other order.
    """
    if is_text(values.type):
        return parse_dates(clean_words(values, nulls), day_first)
    kind = values.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind)):
        raise ValueError(f"contains {kind}, not dates")
    truncate = pa.types.is_timestamp(kind) and kind.unit == "ns"  # to microseconds, as ingest does
    return np.asarray(values.cast(pa.timestamp("us"), safe=not truncate).to_numpy().astype("datetime64[us]"))


def timestamps_utc(table: pa.Table, columns: list[str], day_first: bool | None = None) -> NDArray[np.datetime64]:
    """Return the time of each row, datetime64[us] in UTC of shape (rows,), from one column or from date parts.

    The parts are year, month, day and, optionally, hour and minute. If `day_first` is None, the column decides.

    Raises:
        DataError: a value is not a date, or is null.
    """
    name = ", ".join(columns)
    try:
        if len(columns) == 1:
            values = table.column(columns[0])
            when = as_datetime(values, infer_day_first(values) if day_first is None else day_first)
        else:
            when = _from_parts([as_numbers(table.column(column)) for column in columns])
    except (ValueError, TypeError) as error:
        row = f", row {error.row + 1}" if isinstance(error, InvalidValue) else ""
        raise DataError(f"timestamp {name}{row}: {first_line(error)}", hint=WRITE_DATES) from None
    if np.isnat(when).any():
        problem = f"timestamp {name}: {int(np.isnat(when).sum())} of {len(when)} rows have no time"
        raise DataError(problem, hint="give each row a time, or remove these rows from the table")
    return when


def _from_parts(parts: list[NDArray[np.float64]]) -> NDArray[np.datetime64]:
    """Combine year, month, day and, optionally, hour and minute to timestamps; NaT if a part is null."""
    words = []
    for part, width in zip([*parts, *[np.zeros(parts[0].shape)] * (5 - len(parts))], (4, 2, 2, 2, 2), strict=True):
        numbers = pa.array(part, from_pandas=True).cast(pa.int64(), safe=False)
        words.append(pc.utf8_lpad(numbers.cast(pa.string()), width, "0"))
    day, clock = pc.binary_join_element_wise(*words[:3], "-"), pc.binary_join_element_wise(*words[3:], ":")
    return parse_dates(pa.chunked_array([pc.binary_join_element_wise(day, clock, " ")]), None)

"""Dates: text in many notations, Arrow columns and columns of year, month and day become microseconds in UTC.

Like `parsing`, this module needs NumPy and Arrow only, and Arrow only for columns: a serving worker imports it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mlops_glue.column_types import ISO_TIMESTAMP, ISO_TIMESTAMP_UTC, cast_words
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import NULLS, InvalidValue, all_match, as_numbers, clean_words, convert_words, is_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

CLOCK = (
    r"(?:[T ]\s*(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)"
    r"(?:\s*(?P<half>[AaPp][Mm]))?\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}(?::?\d{2})?)?)?"
)
NOTATIONS = [
    re.compile(rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){CLOCK}"),
    re.compile(rf"(?P<first>\d{{1,2}})[-/.](?P<second>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
    re.compile(rf"(?P<day>\d{{1,2}})[- ](?P<name>[A-Za-z]{{3,9}})\.?,?[- ](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
    re.compile(rf"(?:[A-Za-z]{{3,9}},? )?(?P<name>[A-Za-z]{{3,9}})\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}}){CLOCK}"),
]
MONTHS = ["january", "february", "march", "april", "may", "june"]
MONTHS += ["july", "august", "september", "october", "november", "december"]
DAY_AND_MONTH = r"^\s*(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})[-/.]\d{2,4}"
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
NOT_A_DATE = "is not a date"
WRITE_DATES = "write dates as 2026-11-25, with a time as 2026-11-25T12:00:00Z"


def to_micros(value: str, day_first: bool | None = False) -> int | None:
    """Microseconds from 1970-01-01 UTC to a date as text, for the years 1 to 9999; None where it is not a date.

    It is ISO 8601, or has day, month and year as numbers or with the month's name; without an offset it is UTC. Where
    `day_first` is None, training had no date such as 01/02/2024, so its order is unknown and it is refused.
    """
    value = value.strip()
    found = next((match for notation in NOTATIONS if (match := notation.fullmatch(value))), None)
    try:
        moment = datetime.fromisoformat(value if found is None else _in_iso(found.groupdict(""), day_first))
    except ValueError:
        return None
    offset = moment.utcoffset() or timedelta(0)
    return ((moment.replace(tzinfo=None) - EPOCH) - offset) // MICROSECOND


def _in_iso(part: dict[str, str], day_first: bool | None) -> str:
    """The parts of a date in ISO 8601; empty where day and month are not known, or the hour of a half day is none."""
    year, month, day = part["year"], part.get("month", ""), part.get("day", "")
    if len(year) == 2:
        year = f"{'19' if year >= '69' else '20'}{year}"  # as in POSIX, whatever the current year
    if "first" in part:
        if day_first is None:
            return ""
        day, month = (part["first"], part["second"]) if day_first else (part["second"], part["first"])
    elif name := part.get("name", "").lower():
        full = (at for at, full in enumerate(MONTHS, 1) if full.startswith(name) or name == full[:3] + "t")
        month = str(next(full, 0))
    hour, _, rest = (part["clock"] or "0:00").partition(":")
    if part["half"]:
        if not 1 <= int(hour) <= 12:
            return ""
        hour = str(int(hour) % 12 + (12 if part["half"].lower() == "pm" else 0))
    zone = "Z" if part["zone"] in ("UTC", "GMT") else part["zone"]
    return f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{rest.replace(',', '.')}{zone}"


def infer_day_first(values: pa.ChunkedArray) -> bool | None:
    """Do dates written as text begin with the day? A part above 12 decides; without one, only dots mean day first.

    None where no date begins with day and month as numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_text(values.type):
        return None
    found = pc.extract_regex(values, DAY_AND_MONTH).drop_null()
    if len(found) == 0:
        return None
    first, second = (pc.max(pc.struct_field(found, part).cast(pa.int64())).as_py() for part in ("first", "second"))
    return bool(first > 12 or (second <= 12 and pc.struct_field(found, "mark")[0].as_py() == "."))


def parse_dates(values: pa.ChunkedArray, day_first: bool | None) -> NDArray[np.datetime64]:
    """datetime64[us] in UTC from words; NaT for null.

    Raises:
        InvalidValue: a value is not a date, or has day and month the other way round.
    """
    import numpy as np

    for name, pattern in (("timestamp", ISO_TIMESTAMP), ("timestamp_utc", ISO_TIMESTAMP_UTC)):
        if all_match(values, pattern) and (quick := cast_words(values, name)) is not None:
            return np.asarray(quick.to_numpy().astype("datetime64[us]"))
    return convert_words(values, lambda word: to_micros(word, day_first), np.datetime64("NaT", "us"), NOT_A_DATE)


def as_datetime(
    values: pa.ChunkedArray, day_first: bool | None = False, nulls: Sequence[str] = NULLS
) -> NDArray[np.datetime64]:
    """datetime64[us] in UTC from a column of any type; text is read as `to_micros` does.

    Raises:
        ValueError: a value is not a date, or has day and month the other way round.
    """
    import numpy as np
    import pyarrow as pa

    if is_text(values.type):
        return parse_dates(clean_words(values, nulls), day_first)
    kind = values.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind)):
        raise ValueError(f"holds {kind}, not dates")
    truncate = pa.types.is_timestamp(kind) and kind.unit == "ns"  # to microseconds, as ingest does
    return np.asarray(values.cast(pa.timestamp("us"), safe=not truncate).to_numpy().astype("datetime64[us]"))


def timestamps_utc(table: pa.Table, columns: list[str], day_first: bool | None = None) -> NDArray[np.datetime64]:
    """When each row happened: datetime64[us] in UTC of shape (rows,), from one column or from the parts of a date.

    The parts are year, month, day and, if any, hour and minute. Where `day_first` is None, the column itself decides.

    Raises:
        DataError: a value is not a date, or is null.
    """
    import numpy as np

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
        problem = f"timestamp {name}: {int(np.isnat(when).sum())} of {len(when)} rows have none"
        raise DataError(problem, hint="give each row one, or take those rows out of the table")
    return when


def _from_parts(parts: list[NDArray[np.float64]]) -> NDArray[np.datetime64]:
    """Timestamps of year, month, day and, if any, hour and minute; NaT where a part is null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    words = []
    for part, width in zip([*parts, *[np.zeros(parts[0].shape)] * (5 - len(parts))], (4, 2, 2, 2, 2), strict=True):
        numbers = pa.array(part, from_pandas=True).cast(pa.int64(), safe=False)
        words.append(pc.utf8_lpad(numbers.cast(pa.string()), width, "0"))
    day, clock = pc.binary_join_element_wise(*words[:3], "-"), pc.binary_join_element_wise(*words[3:], ":")
    return parse_dates(pa.chunked_array([pc.binary_join_element_wise(day, clock, " ")]), None)

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
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp][Mm]))?\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}(?::?\d{2})?)?)?"
)
NOTATIONS = [
    re.compile(rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){CLOCK}"),
    re.compile(rf"(?P<first>\d{{1,2}})[-/.](?P<second_>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
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
    for notation in NOTATIONS:
        found = notation.fullmatch(value)
        if found is not None:
            return _micros_of_parts(found.groupdict(), day_first)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    offset = moment.utcoffset() or timedelta(0)
    return ((moment.replace(tzinfo=None) - EPOCH) - offset) // MICROSECOND


def _micros_of_parts(part: dict[str, str | None], day_first: bool | None) -> int | None:
    year = int(part["year"] or 0)
    if len(part["year"] or "") == 2:
        year += 1900 if year >= 69 else 2000  # as in POSIX, whatever the current year
    if part.get("first") is not None:
        if day_first is None:
            return None
        first, second = int(part["first"] or 0), int(part["second_"] or 0)
        day, month = (first, second) if day_first else (second, first)
    elif part.get("name") is not None:
        name = (part["name"] or "").lower()
        month = next((at for at, full in enumerate(MONTHS, 1) if full.startswith(name) or name == full[:3] + "t"), 0)
        day = int(part["day"] or 0)
    else:
        month, day = int(part["month"] or 0), int(part["day"] or 0)
    hour, half = int(part["hour"] or 0), (part["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        moment = datetime(year, month, day, hour, int(part["minute"] or 0), int(part["second"] or 0))
    except ValueError:
        return None
    fraction = int((part["fraction"] or "0")[:6].ljust(6, "0"))
    offset = _offset(part["zone"])
    return None if offset is None else (moment - EPOCH - offset) // MICROSECOND + fraction


def _offset(zone: str | None) -> timedelta | None:
    if zone is None or zone[0] not in "+-":
        return timedelta(0)
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return None
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


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

    known = np.isfinite(np.array(parts)).all(axis=0)
    five = [*parts, *[np.zeros(parts[0].shape)] * (5 - len(parts))]
    year, month, day, hour, minute = (np.where(known, part, 1).astype(np.int64) for part in five)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    limits = ((year, 1, 9999), (month, 1, 12), (day, 1, days), (hour, 0, 23), (minute, 0, 59))
    valid = np.all([(low <= part) & (part <= high) for part, low, high in limits], axis=0)
    if not valid.all():
        row = int(np.argmin(valid))
        raise InvalidValue("-".join(f"{part[row]:g}" for part in parts), NOT_A_DATE, row)
    clock = ((hour * 60 + minute) * 60_000_000).astype("timedelta64[us]")
    when = (months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")).astype("datetime64[us]") + clock
    return np.where(known, when, np.datetime64("NaT", "us"))

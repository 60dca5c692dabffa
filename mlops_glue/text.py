"""How text is read as values, in one place: null words, the decimal sign, booleans, dates, keys and codes.

The training table decides once (`decimal_sign`, `is_day_first`), the model's schema keeps what was decided, and the
functions here apply it to every later text: CSV, jsonl, Parquet, requests, labels. What is read is never two values
made one without a word: a code with a leading zero, of more digits than 64 bits hold, or that has an exponent beside
the same number without one, stays text; of 1.50 and 1.5, which are numbers, `alike` tells.

This module needs NumPy and Arrow only, and Arrow only for columns: a serving worker imports it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import first_line

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "<NA>", "?", "."]  # ? of UCI, . of SAS
TRUE, FALSE = {"true", "yes", "y", "t", "1", "1.0"}, {"false", "no", "n", "f", "0", "0.0"}
THOUSANDS = r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"  # a number whose commas part thousands; no such begins with a zero
PLAIN = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
CODE = r"^[-+]?0\d+$"  # 0012 is not 12
SHORT = r"^\d+[eE]\d+$"  # 12E3 may be a number, but not beside 12000
BLANKS = " \t\n\r\v\f\x1c\x1d\x1e\x1f"  # that `str.strip` takes away, of ASCII
DIGITS = r"^[-+]?\d+$"
SOME = 10_000  # values of a column
EXACT = 1 << 53  # whole numbers up to here are apart as float64
WHOLE = 1 << 63  # floats below are written as whole numbers are
UNSURE = "is a floating-point number, which from 2^53 on does not say which whole number it was"

# states of a column of text, each with the Arrow type that keeps its values apart
TYPES = {
    "null": "null",
    "whole": "int64",
    "long": "int64",
    "fraction": "double",
    "boolean": "bool",
    "date": "date32",
    "moment": "timestamp[us]",
    "moment_utc": "timestamp[us, UTC]",
    "time": "time32[s]",
    "text": "string",
}
WIDER = {
    frozenset(("whole", "long")): "long",
    frozenset(("whole", "fraction")): "fraction",
    frozenset(("date", "moment")): "moment",
}
YEAR = r"(\d{3}[1-9]|\d\d[1-9]\d|\d[1-9]\d\d|[1-9]\d{3})"  # there is no year 0
ISO_DATE = rf"^{YEAR}-\d\d-\d\d$"
ISO = YEAR.join(["^", r"-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?$"])
ISO_OFFSET = YEAR.join(["^", r"-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[-+]\d\d:\d\d)$"])
TIME = r"^\d\d:\d\d(:\d\d)?$"


def is_text(kind: pa.DataType) -> bool:
    """Is it one of Arrow's types of text?"""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def has_unsure(values: pa.ChunkedArray) -> bool:
    """Are there floats from 2^53 on, which do not say which whole number they were?"""
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pa.types.is_floating(values.type) and pc.any(pc.greater_equal(pc.abs(values), float(EXACT))).as_py())


def word(value: str, nulls: Sequence[str] = NULLS) -> str | None:
    """Text without the blanks around it; None where nothing is left, or a word for null."""
    trimmed = value.strip()
    return None if trimmed in nulls else trimmed


def words(values: pa.ChunkedArray, nulls: Sequence[str] = NULLS) -> pa.ChunkedArray:
    """`word` of a column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = _trimmed(values)
    said = pc.is_in(trimmed, pa.array(nulls, trimmed.type))
    return pc.if_else(said, None, trimmed) if pc.any(said).as_py() else trimmed


def _trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """As `str.strip` does; of ASCII eight times as fast, and most columns have no blanks."""
    import pyarrow.compute as pc

    memory = _memory(values)
    if not all(one.isascii() for one in memory):
        return pc.utf8_trim_whitespace(values)
    return pc.ascii_trim(values, BLANKS) if any(ord(b) in one for b in BLANKS for one in memory) else values


def _memory(values: pa.ChunkedArray) -> list[bytes]:
    """What a column of text is made of; slices share it, so that it may hold more than their values."""
    buffers = [chunk.buffers()[2] for chunk in values.chunks]
    return [buffer.to_pybytes() for buffer in buffers if buffer is not None]


def known(values: pa.ChunkedArray, nulls: Sequence[str] = NULLS) -> pa.ChunkedArray:
    """Text as it stands, null where it says so; blanks around it are kept, because keys may have them."""
    import pyarrow.compute as pc

    if not is_text(values.type):
        return values
    found = words(values, nulls)
    return values if found.null_count == values.null_count else pc.if_else(pc.is_null(found), None, values)


def null_words(values: pa.ChunkedArray) -> dict[str, int]:
    """How often which word was read as null; blanks are no words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = _trimmed(values)
    found = trimmed.filter(pc.is_in(trimmed, pa.array(NULLS[1:], trimmed.type))).value_counts()
    return {one["values"]: one["counts"] for one in found.to_pylist()}


def _every(values: pa.ChunkedArray, pattern: str) -> bool:
    """Does the pattern fit every value that is not null?"""
    import pyarrow.compute as pc

    fits = pc.match_substring_regex(values[:100], pattern)  # most columns are told by their first values
    if not pc.all(fits, min_count=0).as_py():
        return False
    return bool(pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py())


def _any(values: pa.ChunkedArray, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, pattern), min_count=0).as_py())


# --- numbers


def pointed(values: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Numbers as text with a decimal point, of such with the sign `decimal`: 1.234,5 becomes 1,234.5."""
    import pyarrow.compute as pc

    if decimal == ".":
        return values
    swapped = pc.replace_substring(pc.replace_substring(values, ",", "\0"), ".", ",")
    return pc.replace_substring(swapped, "\0", ".")


def are_numbers(values: pa.ChunkedArray, decimal: str, *, grouped: bool = True) -> bool:
    """Are all of them numbers, with that decimal sign?"""
    return _every(pointed(values, decimal), f"^({THOUSANDS}|{PLAIN})$" if grouped else f"^({PLAIN})$")


def numeric(values: pa.Array, decimal: str) -> pa.BooleanArray:
    """Which words are numbers?"""
    import pyarrow.compute as pc

    return pc.match_substring_regex(pointed(values, decimal), f"^({THOUSANDS}|{PLAIN})$")


def are_codes(values: pa.ChunkedArray) -> bool:
    """Do numbers among them name things: a leading zero, more digits than a float holds, 12E3 beside 12000?"""
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = values.filter(_matches(values, DIGITS))
    if len(digits) == 0:
        return False
    try:  # refuses what a float does not hold
        numbers = pc.utf8_ltrim(digits, "+").cast(pa.int64())
        pc.abs(numbers).cast(pa.float64())
    except pa.ArrowInvalid:
        return True
    if _any(digits, CODE):
        return True
    short = values.filter(_matches(values, SHORT)).cast(pa.float64())
    return bool(pc.any(pc.is_in(short, numbers.cast(pa.float64()))).as_py())


def alike(values: pa.ChunkedArray, decimal: str = ".") -> tuple[str, str] | None:
    """Two texts that are one number, such as 1.50 and 1.5; None where there are none.

    Of numbers that hardly repeat a part is looked at: they name nothing.

    Args:
        values: text, all of it numbers or null.
        decimal: sign.
    """
    import numpy as np
    import pyarrow as pa

    def distinct(values: pa.ChunkedArray) -> pa.ChunkedArray:
        return pa.chunked_array([words(pa.chunked_array([values.unique()])).unique().drop_null()])

    some = values.take(np.arange(0, len(values), 1 + len(values) // SOME))
    found = distinct(some)
    if 2 * len(found) < len(some) < len(values):
        found = distinct(values)
    of = numbers(found, decimal)
    order = np.argsort(of, kind="stable")
    same = np.flatnonzero(np.diff(of[order]) == 0)
    if len(same) == 0:
        return None
    one, other = found.take(order[same[0] : same[0] + 2]).to_pylist()
    return one, other


def _matches(values: pa.ChunkedArray, pattern: str) -> Any:
    import pyarrow.compute as pc

    return pc.fill_null(pc.match_substring_regex(values, pattern), False)


def decimal_sign(columns: Sequence[pa.ChunkedArray]) -> str:
    """The decimal sign of a table: a comma where columns are numbers only so, and none only with a point."""
    texts = [column for column in columns if is_text(column.type)]
    with_comma = [column for column in texts if any(b"," in one for one in _memory(column))]
    if not any(_only(words(column), ",", ".") for column in with_comma):
        return "."
    return "." if any(_only(words(column), ".", ",") for column in texts) else ","


def _only(values: pa.ChunkedArray, sign: str, other: str) -> bool:
    some = values.null_count < len(values)
    return some and are_numbers(values, sign) and not are_numbers(values, other)


def numbers(values: pa.ChunkedArray, decimal: str = ".", *, grouped: bool = True) -> np.ndarray[Any, Any]:
    """float64 of shape (rows,) of words: NaN for null.

    Args:
        values: as `words` gives them.
        decimal: sign.
        grouped: may signs part thousands?

    Raises:
        ValueError: a value is no number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pointed(values, decimal)
    if grouped and pc.any(pc.match_substring(values, ",")).as_py():  # any other comma stays, and is refused
        parted = pc.match_substring_regex(values, f"^{THOUSANDS}$")
        values = pc.if_else(parted, pc.replace_substring(values, ",", ""), values)
    try:
        return values.cast(pa.float64()).to_numpy()  # type: ignore[no-any-return]
    except pa.ArrowInvalid as error:
        raise ValueError(f"holds what is no number: {first_line(error, 120)}") from None


# --- what a column of text holds


def state(values: pa.ChunkedArray, decimal: str, *, key: bool = False) -> tuple[str, pa.ChunkedArray | None]:
    """What a column of words holds, as one of `TYPES`, so that its values stay apart; and its values, but of text.

    Args:
        values: as `words` gives them.
        decimal: sign.
        key: does it say whom a row is about? Then 1 and 1.0 are two.
    """
    if values.null_count == len(values):
        return "null", cast(values, "null")
    found = _whole(values) or _number(pointed(values, decimal), key=key)
    if found is not None:
        return found
    forms = (("boolean", "(?i)^(true|false)$"), ("date", ISO_DATE), ("moment", ISO), ("moment_utc", ISO_OFFSET))
    for name, pattern in (*forms, ("time", TIME)):
        if _every(values, pattern):
            made = cast(values, name)
            return ("text" if made is None else name), made
    return "text", None


def _whole(values: pa.ChunkedArray) -> tuple[str, pa.ChunkedArray] | None:
    """Whole numbers of 64 bits that, written again, are what stands there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values[:100].cast(pa.int64())  # tells of most that are none
        found = values.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.equal(found.cast(values.type), values)).as_py():
        return None
    ends = pc.min_max(found).as_py()
    return ("whole" if ends["min"] >= -EXACT and ends["max"] <= EXACT else "long"), found


def _number(values: pa.ChunkedArray, *, key: bool) -> tuple[str, pa.ChunkedArray | None] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values[:100].cast(pa.float64())
        found = values.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    whole = values.filter(pc.equal(found, pc.trunc(found)))
    if are_codes(whole):
        return "text", None
    if key and pc.count_distinct(found).as_py() < pc.count_distinct(values).as_py():
        return "text", None
    return "fraction", found


def wider(one: str, other: str) -> str:
    """The state of a column whose pieces have these, whatever the cut."""
    if "null" in (one, other) or one == other:
        return other if one == "null" else one
    return WIDER.get(frozenset((one, other)), "text")


def cast(values: pa.ChunkedArray, name: str, decimal: str = ".") -> pa.ChunkedArray | None:
    """Words as the type of a state, or None where they are not of it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name == "null":
        return pa.chunked_array([pa.nulls(len(values))])
    if name == "fraction":
        values = pointed(values, decimal)
    elif name == "boolean":
        values = pc.utf8_lower(values)
    elif name.startswith("moment"):
        values = pc.replace_substring_regex(values, r"(\.\d{6})\d+", r"\1")
    kind = {"moment_utc": pa.timestamp("us", "UTC"), "moment": pa.timestamp("us"), "time": pa.time32("s")}.get(name)
    try:
        return values.cast(kind or pa.type_for_alias(TYPES[name]))
    except pa.ArrowInvalid:
        return None


def typed(values: pa.ChunkedArray, decimal: str, *, key: bool = False, name: str | None = None) -> pa.ChunkedArray:
    """A column of text as the narrowest type that keeps its values apart; text stays as it stands, null words are null.

    Args:
        values: text as it stands in a file.
        decimal: sign.
        key: does it say whom a row is about?
        name: its state, where it is known.
    """
    found = words(values)
    if name is None:
        name, made = state(found, decimal, key=key)
    else:
        made = None if name == "text" else cast(found, name, decimal)
    return known(values) if made is None else made


def category(value: str, dtype: str) -> str:
    """A word as a category of what training had: of numbers 7.0 is 7, of booleans True is true; others stay."""
    if dtype == "bool":
        return value.lower() if value.lower() in ("true", "false") else value
    if dtype in ("double", "float", "halffloat") or dtype.startswith(("int", "uint")):
        plain = value.removeprefix("+")
        if re.fullmatch(r"-?(0|[1-9]\d*)", plain):
            return plain if dtype not in ("double", "float") else number_text(float(plain))
        return number_text(float(value)) if re.fullmatch(PLAIN, value) and not re.match(CODE, value) else value
    return value


def number_text(value: float) -> str:
    """A float as `schema.as_text` writes it: as Arrow does, and whole ones of 64 bits as whole numbers."""
    from decimal import Decimal

    if abs(value) < WHOLE and value == int(value):
        return str(int(value))
    number = Decimal(repr(value))
    sign, digits, _ = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0").rstrip("0") or "0"
    place = number.adjusted() if number else 0  # of the first digit
    if -6 <= place < 10:
        plain = f"{number:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    rest = f".{text[1:]}" if len(text) > 1 else ""
    return f"{'-' * sign}{text[0]}{rest}e{place:+d}"


# --- dates

CLOCK = (
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp][Mm]))?\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}(?::?\d{2})?)?)?"
)
FORMS = [
    re.compile(rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){CLOCK}"),
    re.compile(rf"(?P<first>\d{{1,2}})[-/.](?P<second_>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
    re.compile(rf"(?P<day>\d{{1,2}})[- ](?P<name>[A-Za-z]{{3,9}})\.?,?[- ](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
    re.compile(rf"(?:[A-Za-z]{{3,9}},? )?(?P<name>[A-Za-z]{{3,9}})\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}}){CLOCK}"),
]
MONTHS = ["january", "february", "march", "april", "may", "june"]
MONTHS += ["july", "august", "september", "october", "november", "december"]
IN_PARTS = r"^\s*(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})[-/.]\d{2,4}"
EPOCH = datetime(1970, 1, 1)
MICRO = timedelta(microseconds=1)


class NoDate(ValueError):
    """Text that is no date, and its place in the column."""

    def __init__(self, text: str, row: int) -> None:
        super().__init__(f"{text!r:.80} is no date")
        self.row = row


def micros(value: str, day_first: bool | None = False) -> int | None:
    """Microseconds from 1970-01-01 UTC to a date as text, of the years 1 to 9999; None where it is none.

    Args:
        value: ISO 8601, or day, month and year by numbers or by the month's name, perhaps with a time; without an
            offset it is UTC.
        day_first: of 01/02/2024; None: such a date is none, because training had none of which the order is known.
    """
    value = value.strip()
    for form in FORMS:
        found = form.fullmatch(value)
        if found is not None:
            return _micros(found.groupdict(), day_first)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    offset = moment.utcoffset() or timedelta(0)
    return ((moment.replace(tzinfo=None) - EPOCH) - offset) // MICRO


def _micros(part: dict[str, str | None], day_first: bool | None) -> int | None:
    year = int(part["year"] or 0)
    if len(part["year"] or "") == 2:
        year += 1900 if year >= 69 else 2000  # as POSIX has it, whatever year it is
    if part.get("first") is not None:
        if day_first is None:
            return None
        one, other = int(part["first"] or 0), int(part["second_"] or 0)
        day, month = (one, other) if day_first else (other, one)
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
    return None if offset is None else (moment - EPOCH - offset) // MICRO + fraction


def _offset(zone: str | None) -> timedelta | None:
    if zone is None or zone[0] not in "+-":
        return timedelta(0)
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return None
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def is_day_first(values: pa.ChunkedArray) -> bool | None:
    """Do dates written as text begin with the day? Told by a part over 12; where none is, only dots mean day first.

    None where there are none with day and month as numbers in front.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_text(values.type):
        return None
    found = pc.extract_regex(values, IN_PARTS).drop_null()
    if len(found) == 0:
        return None
    first, second = (pc.max(pc.struct_field(found, part).cast(pa.int64())).as_py() for part in ("first", "second"))
    return bool(first > 12 or (second <= 12 and pc.struct_field(found, "mark")[0].as_py() == "."))


def dates(values: pa.ChunkedArray, day_first: bool | None) -> np.ndarray[Any, Any]:
    """datetime64[us] in UTC of words; NaT for null.

    Raises:
        NoDate: a value is none, or has day and month the other way round.
    """
    import numpy as np
    import pyarrow.compute as pc

    for name, pattern in (("moment", ISO), ("moment_utc", ISO_OFFSET)):
        if _every(values, pattern) and (quick := cast(values, name)) is not None:
            return np.asarray(quick.to_numpy().astype("datetime64[us]"))
    coded = pc.dictionary_encode(values).combine_chunks()  # few days, perhaps, of many rows
    out = np.full(len(coded.dictionary) + 1, np.datetime64("NaT", "us"))
    places = pc.fill_null(coded.indices, len(out) - 1).to_numpy(zero_copy_only=False)
    for at, text in enumerate(coded.dictionary.to_pylist()):
        found = micros(text, day_first)
        if found is None:
            raise NoDate(text, int(np.argmax(places == at)))
        out[at] = np.datetime64(found, "us")
    return np.asarray(out[places])

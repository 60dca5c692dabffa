"""The type of a text column: the narrowest type that keeps its values distinct.

`pipeline.profile` decides whether a model takes the column as a number, a category, a boolean or a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_glue.parsing import (
    all_match,
    are_numbers,
    clean_words,
    is_text,
    matches,
    parse_numbers,
    with_nulls,
    with_point,
)
from mlops_glue.words import CODE, MAX_EXACT_INTEGER

# the types that a text column can have, with the Arrow type that keeps its values distinct
ARROW_TYPES = {
    "null": "null",
    "integer": "int64",
    "long_integer": "int64",  # beyond MAX_EXACT_INTEGER, so it must not become a float
    "float": "double",
    "boolean": "bool",
    "date": "date32",
    "timestamp": "timestamp[us]",
    "timestamp_utc": "timestamp[us, UTC]",
    "time": "time32[s]",
    "text": "string",
}
COMMON_TYPES = {
    frozenset(("integer", "long_integer")): "long_integer",
    frozenset(("integer", "float")): "float",
    frozenset(("date", "timestamp")): "timestamp",
}
YEAR = r"(\d{3}[1-9]|\d\d[1-9]\d|\d[1-9]\d\d|[1-9]\d{3})"  # there is no year 0
ISO_DATE = rf"^{YEAR}-\d\d-\d\d$"
ISO_TIMESTAMP = YEAR.join(["^", r"-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?$"])
ISO_TIMESTAMP_UTC = YEAR.join(["^", r"-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[-+]\d\d:\d\d)$"])
TIME = r"^\d\d:\d\d(:\d\d)?$"
EXPONENT = r"^\d+[eE]\d+$"  # 12E3 may be a number, but is a code if 12000 occurs too
DIGITS = r"^[-+]?\d+$"
SAMPLE_VALUES = 10_000
INDEX_KEY = b"glue.index"  # metadata of a column: the index of a pandas frame


def are_codes(values: pa.ChunkedArray) -> bool:
    """Return whether numbers are codes: a leading zero, too many digits for a float, or 12E3 next to 12000."""
    digits = values.filter(matches(values, DIGITS))
    if len(digits) == 0:
        return False
    try:  # Arrow refuses integers that a float cannot represent
        numbers = pc.utf8_ltrim(digits, "+").cast(pa.int64())
        pc.abs(numbers).cast(pa.float64())
    except pa.ArrowInvalid:
        return True
    if pc.any(matches(digits, CODE)).as_py():
        return True
    with_exponent = values.filter(matches(values, EXPONENT)).cast(pa.float64())
    return bool(pc.any(pc.is_in(with_exponent, numbers.cast(pa.float64()))).as_py())


def equal_numbers(values: pa.ChunkedArray, decimal: str = ".") -> tuple[str, str] | None:
    """Find two texts that are the same number, such as 1.50 and 1.5, in a column of numbers and nulls.

    If numbers hardly repeat, only a sample is examined, because such numbers are not codes.
    """

    def distinct(values: pa.ChunkedArray) -> pa.ChunkedArray:
        return pa.chunked_array([clean_words(pa.chunked_array([values.unique()])).unique().drop_null()])

    sample = values.take(np.arange(0, len(values), 1 + len(values) // SAMPLE_VALUES))
    found = distinct(sample)
    if 2 * len(found) < len(sample) < len(values):
        found = distinct(values)
    numbers = parse_numbers(found, decimal)
    order = np.argsort(numbers, kind="stable")
    same = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(same) == 0:
        return None
    first, second = found.take(order[same[0] : same[0] + 2]).to_pylist()
    return first, second


def decimal_sign(columns: Iterable[pa.ChunkedArray]) -> str:
    """Return the decimal sign of a table: a comma if a column is numeric only with commas, and none only with points.

    The columns are read twice if one of them may have commas.
    """

    def texts() -> Iterator[pa.ChunkedArray]:
        return (clean_words(column) for column in columns if is_text(column.type))

    with_comma = (words for words in texts() if pc.any(pc.match_substring(words, ",")).as_py())
    if not any(_are_numbers_only_with(",", words, ".") for words in with_comma):
        return "."
    return "." if any(_are_numbers_only_with(".", words, ",") for words in texts()) else ","


def _are_numbers_only_with(sign: str, values: pa.ChunkedArray, other: str) -> bool:
    return values.null_count < len(values) and are_numbers(values, sign) and not are_numbers(values, other)


def infer_type(values: pa.ChunkedArray, decimal: str, *, key: bool = False) -> tuple[str, pa.ChunkedArray | None]:
    """Return the type of `ARROW_TYPES` that keeps a column's words (see `clean_words`) distinct, and non-text values.

    In a `key`, a column that identifies the subject of a row, 1 and 1.0 are two values.
    """
    if values.null_count == len(values):
        return "null", cast_words(values, "null")
    found = _integers(values) or _floats(with_point(values, decimal), key=key)
    if found is not None:
        return found
    for name, pattern in (
        ("boolean", "(?i)^(true|false)$"),
        ("date", ISO_DATE),
        ("timestamp", ISO_TIMESTAMP),
        ("timestamp_utc", ISO_TIMESTAMP_UTC),
        ("time", TIME),
    ):
        if all_match(values, pattern):
            made = cast_words(values, name)
            return ("text" if made is None else name), made
    return "text", None


def _integers(values: pa.ChunkedArray) -> tuple[str, pa.ChunkedArray] | None:
    """Parse 64-bit integers whose text form is the original text."""
    try:
        values[:100].cast(pa.int64())  # fails for most columns that are not integers
        found = values.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.equal(found.cast(values.type), values)).as_py():
        return None
    ends = pc.min_max(found).as_py()
    exact = ends["min"] >= -MAX_EXACT_INTEGER and ends["max"] <= MAX_EXACT_INTEGER
    return ("integer" if exact else "long_integer"), found


def _floats(values: pa.ChunkedArray, *, key: bool) -> tuple[str, pa.ChunkedArray | None] | None:
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
    return "float", found


def common_type(first: str, second: str) -> str:
    """Return the type of a column whose pieces have these two types, wherever the file was split."""
    if "null" in (first, second) or first == second:
        return second if first == "null" else first
    return COMMON_TYPES.get(frozenset((first, second)), "text")


def cast_words(values: pa.ChunkedArray, name: str, decimal: str = ".") -> pa.ChunkedArray | None:
    """Cast words to a type of `ARROW_TYPES`; None if a word is not of that type."""
    if name == "null":
        return pa.chunked_array([pa.nulls(len(values))])
    if name == "float":
        values = with_point(values, decimal)
    elif name == "boolean":
        values = pc.utf8_lower(values)
    elif name.startswith("timestamp"):
        values = pc.replace_substring_regex(values, r"(\.\d{6})\d+", r"\1")
    kind = pa.timestamp("us", "UTC") if name == "timestamp_utc" else pa.type_for_alias(ARROW_TYPES[name])
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:
        return None


def parse_column(
    values: pa.ChunkedArray, decimal: str, *, key: bool = False, name: str | None = None
) -> pa.ChunkedArray:
    """Convert a text column to the type `name` of `ARROW_TYPES`, or to the type that `infer_type` finds.

    Text stays unchanged; null words become null.
    """
    words = clean_words(values)
    if name is None:
        name, made = infer_type(words, decimal, key=key)
    else:
        made = None if name == "text" else cast_words(words, name, decimal)
    return with_nulls(values) if made is None else made


def with_plain_types(table: pa.Table) -> pa.Table:
    """Convert a table to the types that Arrow can compute with, if the file has other types for the same values.

    The metadata of pandas is dropped; columns that were a frame's index are marked with `INDEX_KEY`: "when" for a
    timestamp, which may be useful, and "place" for any other index, which only numbers or names the row.
    """
    columns = [_plain(column) for column in table.columns]
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    fields = []
    for name, values in zip(table.column_names, columns, strict=True):
        use = b"when" if pa.types.is_temporal(values.type) else b"place"
        fields.append(pa.field(name, values.type, metadata={INDEX_KEY: use} if name in index else None))
    return pa.table(columns, schema=pa.schema(fields))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind, types = values.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        plain = pa.bool_() if kind.extension_name == "arrow.bool8" else kind.storage_type
    elif types.is_dictionary(kind):
        plain = kind.value_type
    elif types.is_large_string(kind) or types.is_string_view(kind):
        plain = pa.string()  # a single name for text in the model's schema
    elif types.is_float16(kind):
        plain = pa.float32()
    elif types.is_decimal32(kind) or types.is_decimal64(kind):
        plain = pa.decimal128(kind.precision, kind.scale)
    else:
        return values
    return _plain(values.cast(plain))

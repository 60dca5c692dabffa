"""Convert text columns to values: null words, the decimal sign, numbers, booleans. `dates` converts dates.

Two values never become equal silently: codes with a leading zero, with more digits than 64 bits can store, or with an
exponent if another text is the same number without it, stay text. 1.50 and 1.5 do become the same number;
`equal_numbers` reports the pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops_glue.errors import DataError, first_line
from mlops_glue.words import GROUPED_NUMBER, INT64_LIMIT, MAX_EXACT_INTEGER, NULLS, NUMBER, parse_boolean

Null = TypeVar("Null", bound=np.generic)


class InvalidValue(ValueError):
    """A value that is invalid for a column, its row, and the reason, such as "is not a number"."""

    def __init__(self, value: Any, reason: str, row: int) -> None:
        super().__init__(f"{value!r:.80} {reason}")
        self.reason, self.row = reason, row


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is one of Arrow's text types."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def inexact_integer(values: pa.ChunkedArray) -> int | None:
    """Return the row of the first float of at least 2^53, which no longer identifies a single integer."""
    if not pa.types.is_floating(values.type):
        return None
    row = pc.index(pc.greater_equal(pc.abs(values), float(MAX_EXACT_INTEGER)), True).as_py()
    return None if row < 0 else int(row)


def clean_words(values: pa.ChunkedArray, nulls: Sequence[str] = NULLS) -> pa.ChunkedArray:
    """Apply `clean_word` to a column."""
    trimmed = pc.utf8_trim_whitespace(values)
    is_null = pc.is_in(trimmed, pa.array(nulls, trimmed.type))
    return pc.if_else(is_null, None, trimmed) if pc.any(is_null).as_py() else trimmed


def with_nulls(values: pa.ChunkedArray, nulls: Sequence[str] = NULLS) -> pa.ChunkedArray:
    """Replace null words by null; keep surrounding blanks, because keys may have them."""
    if not is_text(values.type):
        return values
    found = clean_words(values, nulls)
    return values if found.null_count == values.null_count else pc.if_else(pc.is_null(found), None, values)


def count_null_words(values: pa.ChunkedArray) -> dict[str, int]:
    """Count how often each word was read as null; blanks are not words."""
    trimmed = pc.utf8_trim_whitespace(values)
    found = trimmed.filter(pc.is_in(trimmed, pa.array(NULLS[1:], trimmed.type))).value_counts()
    return {count["values"]: count["counts"] for count in found.to_pylist()}


def all_match(values: pa.ChunkedArray, pattern: str) -> bool:
    """Return whether the pattern matches every value that is not null."""
    # for most columns, the first values decide
    return all(pc.all(pc.match_substring_regex(part, pattern), min_count=0).as_py() for part in (values[:100], values))


def matches(values: pa.ChunkedArray, pattern: str) -> Any:
    """Return for each text whether it contains the pattern; False for null."""
    return pc.fill_null(pc.match_substring_regex(values, pattern), False)


def with_point(values: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Rewrite numbers with the decimal sign `decimal` to a decimal point: 1.234,5 becomes 1,234.5."""
    if decimal == ".":
        return values
    swapped = pc.replace_substring(pc.replace_substring(values, ",", "\0"), ".", ",")
    return pc.replace_substring(swapped, "\0", ".")


def are_numbers(values: pa.ChunkedArray, decimal: str) -> bool:
    """Return whether all values are numbers with this decimal sign."""
    return all_match(with_point(values, decimal), f"^({GROUPED_NUMBER}|{NUMBER})$")


def are_number_words(values: pa.Array, decimal: str) -> pa.BooleanArray:
    """Return for each word whether it is a number."""
    return pc.match_substring_regex(with_point(values, decimal), f"^({GROUPED_NUMBER}|{NUMBER})$")


def parse_numbers(values: pa.ChunkedArray, decimal: str = ".", *, grouped: bool = True) -> NDArray[np.float64]:
    """Convert `clean_words` to float64 of shape (rows,), null to NaN; 1,234.5 is a number only if `grouped`.

    Raises:
        InvalidValue: a value is not a number.
    """
    plain = with_point(values, decimal)
    if grouped and pc.any(pc.match_substring(plain, ",")).as_py():  # any other comma stays and is refused
        is_grouped = pc.match_substring_regex(plain, f"^{GROUPED_NUMBER}$")
        plain = pc.if_else(is_grouped, pc.replace_substring(plain, ",", ""), plain)
    try:
        return plain.cast(pa.float64()).to_numpy()  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        row = next(at for at, word in enumerate(plain) if not _is_number(word))
        raise InvalidValue(values[row].as_py(), "is not a number", row) from None


def _is_number(word: pa.Scalar) -> bool:
    try:
        word.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert values to strings. Floats that are 64-bit integers are written as integers: 3 and 3.0 are one category.

    Arrow would write an article number of 13 digits as 4.006381333931e+12 if it is a float.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    numbers = values.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.trunc(numbers), numbers), pc.less(pc.abs(numbers), float(INT64_LIMIT)))
    plain = pc.if_else(whole, numbers, 0.0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, plain, values.cast(pa.string()))


def column_as_text(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Apply `as_text` to a column of a user's table.

    Raises:
        DataError: the values cannot be converted to text: lists, or bytes that are not UTF-8.
    """
    try:
        return as_text(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"column {name!r} contains {values.type} that is not text") from None


def as_numbers(
    values: pa.ChunkedArray, nulls: Sequence[str] = NULLS, decimal: str = ".", *, grouped: bool = True
) -> NDArray[np.float64]:
    """Convert a column of any type to float64 of shape (rows,), null to NaN; `grouped` is as for `parse_numbers`.

    Raises:
        ValueError: a value is not a number.
    """
    if pa.types.is_null(values.type):
        return np.full(len(values), np.nan)
    if is_text(values.type):
        return parse_numbers(clean_words(values, nulls), decimal, grouped=grouped)
    if pa.types.is_temporal(values.type):
        raise ValueError(f"contains {values.type}, not numbers")
    try:
        return values.cast(pa.float64(), safe=False).to_numpy()  # type: ignore[no-any-return]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"contains {values.type}, not numbers: {first_line(error, 120)}") from None


def as_booleans(values: pa.ChunkedArray, nulls: Sequence[str] = NULLS) -> NDArray[np.float32]:
    """Convert a column of any type to float32 of shape (rows,): 1, 0, or NaN for null.

    Raises:
        InvalidValue: a value is not a boolean.
    """
    return convert_words(clean_words(as_text(values), nulls), parse_boolean, np.float32("nan"), "is not a boolean")


def convert_words(
    values: pa.ChunkedArray, convert: Callable[[str], float | None], null: Null, reason: str
) -> NDArray[Null]:
    """Convert text to an array of the type of `null`, shape (rows,). Each distinct word is converted once.

    Raises:
        InvalidValue: `convert` returns None for a word.
    """
    coded = pc.dictionary_encode(values).combine_chunks()
    out = np.full(len(coded.dictionary) + 1, null)
    places = pc.fill_null(coded.indices, len(out) - 1).to_numpy(zero_copy_only=False)
    for at, word in enumerate(coded.dictionary.to_pylist()):
        made = convert(word)
        if made is None:
            raise InvalidValue(word, reason, int(np.argmax(places == at)))
        out[at] = made
    return np.asarray(out[places])

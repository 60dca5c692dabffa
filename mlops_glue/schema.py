"""What the model takes: columns, kinds, and the one encoding that training, batch scoring and serving share.

Numbers, booleans and dates become float32 (null is NaN), categories become text (null is the empty string), because
ONNX has no null text and tree exports are exact only when training saw the same float32 values. A date column `d`
becomes `d.days` (days since 1970-01-01 UTC), `d.month`, `d.weekday` (Monday is 0) and `d.hour`.

This module needs NumPy and Arrow only: a serving worker imports it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mlops_glue import text
from mlops_glue.errors import DataError, did_you_mean, first_line

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind = Literal["number", "category", "boolean", "datetime"]
RAW_TYPES = ("int64", "double", "string", "bool")
DATE_PARTS = ("days", "month", "weekday", "hour")
CALLED = {"number": "number", "boolean": "boolean", "datetime": "date", "category": "text"}  # a value that may be none
WRITE_DATES = "write dates as 2026-11-25, with a time as 2026-11-25T12:00:00Z"
WRITE_WHOLE = "write it as a whole number, or as text"
NO_NUMBER = "which no number says"
LOST = 0.01  # share of a column's distinct values; below, a number that is rounded is still that number
ROUNDED = 0.1  # the same of fractions, of which many rows have many that differ in digits that tell nothing
NUMERIC = ("int", "uint", "double", "float", "halffloat", "decimal")  # how Arrow's names of types of numbers begin


@dataclass(frozen=True)
class Column:
    """One input column, as the training data had it."""

    name: str
    kind: Kind
    dtype: str = ""  # Arrow's name of the raw type, so that text formats are read the same way when scoring
    nullable: bool = True
    categories: list[str] | None = None  # category: the values seen, when there are at most 1000
    minimum: float | None = None
    maximum: float | None = None
    day_first: bool | None = (
        False  # datetime written as text: 01/02/2024 is the first of February; None: there were none
    )
    base: float = 0.0  # number: what is taken off it before it becomes float32, which has 24 bits for what then is left

    @property
    def inputs(self) -> list[str]:
        """The names of its encoded columns."""
        return [f"{self.name}.{part}" for part in DATE_PARTS] if self.kind == "datetime" else [self.name]


@dataclass(frozen=True)
class Schema:
    """The model's contract: inputs in order, and what comes out."""

    task: str
    target: str
    columns: list[Column] = field(default_factory=list)
    labels: list[Any] | None = None  # classes in the order of the probabilities, as the user wrote them
    positive: Any = None  # binary: the class that precision, recall and ranking are about; the last where not given
    trained: list[Any] | None = (
        None  # of the labels those that the training rows had, where not all: the model knows no other
    )
    nulls: list[str] = field(default_factory=lambda: list(text.NULLS))  # words that say null, in text of any source
    decimal: str = "."  # the sign in numbers as text
    trims: bool = True  # do blanks around a category not count?

    @property
    def order(self) -> list[Any]:
        """The classes as the metrics count them: of two, the positive one is the last."""
        return sorted(self.labels or [], key=lambda label: label == self.positive)

    def class_indices(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Labels as indices into `order`, shape (rows,); regression values as they are."""
        import numpy as np

        if self.labels is None:
            return values
        place = {label: at for at, label in enumerate(self.order)}
        return np.array([place[value] for value in values.tolist()])

    @property
    def numeric(self) -> list[str]:
        """Encoded float32 columns, in order."""
        return [i for c in self.columns if c.kind != "category" for i in c.inputs]

    @property
    def text(self) -> list[str]:
        """Encoded text columns, in order."""
        return [c.name for c in self.columns if c.kind == "category"]

    @property
    def types(self) -> dict[str, str]:
        """Raw types by column, of those that a text format may not show (a code of digits that is text)."""
        return {c.name: c.dtype for c in self.columns if c.dtype in RAW_TYPES}

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`; a model of before `nulls` was kept keeps the categories that it knows."""
        made = cls(**{**value, "columns": [Column(**c) for c in value["columns"]]})
        if "nulls" in value:
            return made
        had = {name for column in made.columns for name in column.categories or []}
        nulls = [name for name in text.NULLS if name not in had]
        return replace(made, nulls=nulls, trims=all(name == name.strip() for name in had))


def encode(
    table: pa.Table, schema: Schema, *, where: str = "input", rows: Sequence[int] | None = None, hint: str | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Encoded columns by name, each of shape (rows,): float32, or object holding str.

    Args:
        table: raw columns.
        schema: of the model.
        where: what the table is called.
        rows: which row of it, from 0, each one is, where that is to be told of a value that is refused.
        hint: what to do about it.

    Raises:
        DataError: columns are missing or hold what their kind cannot take; every problem is named at once.
    """
    problems: list[str] = []
    encoded: dict[str, np.ndarray[Any, Any]] = {}
    names = set(table.column_names)
    for column in schema.columns:
        if column.name not in names:
            problems.append(f"column {column.name!r} is missing ({did_you_mean(column.name, table.column_names)})")
            continue
        values = table.column(column.name)
        try:
            encoded.update(zip(column.inputs, _encode_one(values, column, schema), strict=True))
        except (ValueError, NotImplementedError) as error:  # Arrow's errors are among these
            row, said, at = "", str(error), _refused(values, column, schema)
            if at is not None:
                row = "" if rows is None else f", row {int(rows[at]) + 1}"
                is_not = said if said == text.UNSURE else f"is no {CALLED[column.kind]}"
                said = f"{_shown(values.slice(at, 1))!r:.80} {is_not}"
            problems.append(f"column {column.name!r}{row}: {said}")
            hint = hint or _how_to_write(column, schema, said)
    if problems:
        raise DataError("\n".join(f"{where}: {p}" for p in problems), hint=hint)
    return encoded


def _how_to_write(column: Column, schema: Schema, said: str) -> str:
    if text.UNSURE in said:
        return WRITE_WHOLE
    if NO_NUMBER in said:
        return f"read the column as text: dtype={{{column.name!r}: str}} in pandas"
    examples = ["1234.5"] if column.dtype.startswith(NUMERIC) else ["1234.5", "1,234.5"]
    number = " or ".join(one.translate(str.maketrans(",.", ".,")) if schema.decimal == "," else one for one in examples)
    return f"as in training a number is written {number}, a date 2024-12-31; what is unknown is left empty"


def _shown(one: pa.ChunkedArray) -> Any:
    import pyarrow as pa

    return (as_text(one) if pa.types.is_temporal(one.type) else one)[0].as_py()  # Python has fewer years


def _refused(values: pa.ChunkedArray, column: Column, schema: Schema) -> int | None:
    """The place of the first value that cannot be encoded; None where it is the column's type."""

    def fits(start: int, end: int) -> bool:
        try:
            for _ in _encode_one(values.slice(start, end - start), column, schema):
                pass
        except (ValueError, NotImplementedError):
            return False
        return True

    if not fits(0, 0):
        return None
    low, high = 0, len(values)  # it is in between
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(low, middle) else (low, middle)
    return low


def matrices(encoded: dict[str, np.ndarray[Any, Any]], schema: Schema) -> dict[str, np.ndarray[Any, Any]]:
    """What `model.onnx` takes: `number` float32 (rows, n) and `text` object (rows, m), each only if it has columns."""
    import numpy as np

    out: dict[str, np.ndarray[Any, Any]] = {}
    if schema.numeric:
        out["number"] = np.column_stack([encoded[n] for n in schema.numeric]).astype(np.float32, copy=False)
    if schema.text:
        out["text"] = np.column_stack([encoded[n] for n in schema.text])
    return out


def _encode_one(values: pa.ChunkedArray, column: Column, schema: Schema) -> Iterator[np.ndarray[Any, Any]]:
    kind = column.kind
    if kind == "category":
        yield _category(values, column, schema)
    elif kind == "number":
        yield encode_number(values, column, schema)
    elif kind == "boolean":
        yield _boolean(values, schema)
    else:
        yield from _date_parts(values, column, schema)


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as strings: whole floats of 64 bits are written as whole numbers are, so that 3 and 3.0 are one category.

    Arrow would write an article number of 13 digits as 4.006381333931e+12 where it is a float.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    numbers = values.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.trunc(numbers), numbers), pc.less(pc.abs(numbers), float(text.WHOLE)))
    plain = pc.if_else(whole, numbers, 0.0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, plain, values.cast(pa.string()))


def text_of(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of a user's table by `as_text`.

    Raises:
        DataError: it has no text: lists, or bytes that are no UTF-8.
    """
    import pyarrow as pa

    try:
        return as_text(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"column {name!r} holds {values.type} that is no text") from None


def _category(values: pa.ChunkedArray, column: Column, schema: Schema) -> np.ndarray[Any, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not text.is_text(values.type):
        if column.dtype.startswith(("int", "uint")) and text.has_unsure(values):
            raise ValueError(text.UNSURE)
        if column.dtype == "string" and str(values.type).startswith(NUMERIC) and (code := _code(column)) is not None:
            raise ValueError(f"holds {values.type}, and training had text such as {code!r}, {NO_NUMBER}")
        return pc.fill_null(as_text(values), "").to_numpy()  # type: ignore[no-any-return]
    if schema.trims:
        values = text.words(values, schema.nulls)
    else:
        values = pc.if_else(pc.is_in(values, pa.array(schema.nulls, values.type)), None, values)
    values = pc.fill_null(values, "")
    if column.dtype in ("", "string"):
        return values.to_numpy()  # type: ignore[no-any-return]
    coded = pc.dictionary_encode(values).combine_chunks()
    names = pa.array([text.category(one, column.dtype) for one in coded.dictionary.to_pylist()], pa.string())
    return names.take(coded.indices).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _code(column: Column) -> str | None:
    """A category that is a number and written as numbers are not, such as 0012 or 1.50."""
    numbers = [word for word in column.categories or [] if re.fullmatch(text.PLAIN, word)]
    return next((word for word in numbers if text.number_text(float(word)) != word), None)


def as_numbers(values: pa.ChunkedArray, column: Column, schema: Schema) -> np.ndarray[Any, Any]:
    """float64 of shape (rows,), NaN for null.

    Signs that part thousands do not count in text, where training had such; else 1,234 may be a decimal comma.

    Raises:
        ValueError: a value is no number.
    """
    import numpy as np
    import pyarrow as pa

    if pa.types.is_null(values.type):
        return np.full(len(values), np.nan)
    if text.is_text(values.type):
        grouped = not column.dtype.startswith(NUMERIC)
        return text.numbers(text.words(values, schema.nulls), schema.decimal, grouped=grouped)
    if pa.types.is_temporal(values.type):
        raise ValueError(f"holds {values.type}, not numbers")
    try:
        return values.cast(pa.float64(), safe=False).to_numpy()  # type: ignore[no-any-return]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"holds what is no number: {first_line(error, 120)}") from None


def encode_number(values: pa.ChunkedArray, column: Column, schema: Schema) -> np.ndarray[Any, Any]:
    """float32 of shape (rows,): the difference from the column's base; NaN for null and infinite.

    Raises:
        ValueError: a value is no number.
    """
    return as_float32(as_numbers(values, column, schema), column.base)


def as_float32(numbers: np.ndarray[Any, Any], base: Any) -> np.ndarray[Any, Any]:
    """Differences of float64 numbers from a base, as the model takes them."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        out = np.asarray(numbers - base).astype(np.float32)
    out[~np.isfinite(out)] = np.nan  # infinite is treated as unknown, in training too
    return out


@dataclass(frozen=True)
class Apart:
    """Does float32 keep the numbers of a column apart?

    Attributes:
        base: what is taken off first, so that it does; 0 where that is not needed, or does not help.
        lost: share of the distinct values that become another one's equal, nevertheless.
        twins: two of them, as text; None where there are none, or where it is rounding that nobody would call a loss.
    """

    base: float = 0.0
    lost: float = 0.0
    twins: tuple[str, str] | None = None

    @property
    def are(self) -> bool:
        """Are they, but for some?"""
        return self.lost <= LOST


def kept_apart(values: pa.ChunkedArray, numbers: np.ndarray[Any, Any] | None = None) -> Apart:
    """How float32 changes numbers: codes of 13 digits and milliseconds since 1970 are beyond its 24 bits.

    Args:
        values: numbers of any type; of fractions a part is looked at, because there it is a question of rounding.
        numbers: the numbers, where the values are text.
    """
    import numpy as np
    import pyarrow as pa

    if numbers is None:
        values = values.drop_null()
        whole_type = pa.types.is_integer(values.type)
        numbers = (values if whole_type else values.cast(pa.float64(), safe=False)).to_numpy()
    known = numbers[np.isfinite(numbers)]
    whole = bool((known == np.round(known)).all())
    if known.size == 0 or (whole and np.abs(known).max() <= 1 << 24):
        return Apart()
    distinct: np.ndarray[Any, Any] = np.unique(known if whole else known[:: max(1, len(known) // 100_000)])
    found = _lost(distinct, 0.0)
    if found.lost <= (0 if whole else ROUNDED):
        return Apart()
    shifted = _lost(distinct, float(distinct[0]))
    return shifted if shifted.lost == 0 or (shifted.are and not found.are) else found


def _lost(distinct: np.ndarray[Any, Any], base: float) -> Apart:
    import numpy as np

    encoded = as_float32(distinct.astype(np.float64), base)
    same = encoded[1:] == encoded[:-1]
    if not same.any():
        return Apart(base)
    at = int(np.argmax(same))
    return Apart(base, float(same.sum()) / len(distinct), (str(distinct[at]), str(distinct[at + 1])))


def _boolean(values: pa.ChunkedArray, schema: Schema) -> np.ndarray[Any, Any]:
    import numpy as np
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(text.words(as_text(values), schema.nulls)).combine_chunks()
    out = np.full(len(coded.dictionary) + 1, np.nan, np.float32)
    for at, word in enumerate(coded.dictionary.to_pylist()):
        out[at] = truth(word)
    return out[pc.fill_null(coded.indices, len(out) - 1).to_numpy(zero_copy_only=False)]  # type: ignore[no-any-return]


def truth(word: str) -> float:
    """1 or 0.

    Raises:
        ValueError: it is neither.
    """
    if word.lower() in text.TRUE:
        return 1.0
    if word.lower() in text.FALSE:
        return 0.0
    raise ValueError(f"{word!r} is no boolean")


def as_datetime(
    values: pa.ChunkedArray, day_first: bool | None = False, nulls: Sequence[str] = text.NULLS
) -> np.ndarray[Any, Any]:
    """datetime64[us] in UTC; text is read as `text.micros` does.

    Raises:
        ValueError: a value is no date, or has day and month the other way round.
    """
    import numpy as np
    import pyarrow as pa

    if text.is_text(values.type):
        return text.dates(text.words(values, nulls), day_first)
    kind = values.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind)):
        raise ValueError(f"holds {kind}, not dates")
    cut = pa.types.is_timestamp(kind) and kind.unit == "ns"  # to microseconds, as in a table that was ingested
    return np.asarray(values.cast(pa.timestamp("us"), safe=not cut).to_numpy().astype("datetime64[us]"))


def moments(
    table: pa.Table,
    columns: list[str],
    day_first: bool | None = None,
    *,
    hint: str | None = "every row needs one, or none: split: {by: random} needs no timestamp",
) -> np.ndarray[Any, Any]:
    """When each row was so: datetime64[us] in UTC of shape (rows,), from one column or from the parts of a date.

    Args:
        table: the rows.
        columns: one, or those of year, month, day and, if any, hour and minute.
        day_first: how text is written; None: told by the column itself.
        hint: what to do where rows have none.

    Raises:
        DataError: a value is no date, or is null.
    """
    import numpy as np

    name = ", ".join(columns)
    try:
        if len(columns) == 1:
            values = table.column(columns[0])
            when = as_datetime(values, text.is_day_first(values) if day_first is None else day_first)
        else:
            plain = Schema("", "")
            when = _of_parts([as_numbers(table.column(one), Column(one, "number"), plain) for one in columns])
    except (ValueError, TypeError) as error:
        row = f", row {error.row + 1}" if isinstance(error, text.NoDate) else ""
        raise DataError(f"timestamp {name}{row}: {first_line(error)}", hint=WRITE_DATES) from None
    if np.isnat(when).any():
        raise DataError(
            f"timestamp {name}: {int(np.isnat(when).sum())} of {len(when)} rows have none",
            hint=hint,
        )
    return when


def _of_parts(parts: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Moments of year, month, day and, if any, hour and minute; NaT where one is not known."""
    import numpy as np

    known = np.isfinite(np.array(parts)).all(axis=0)
    every = [*parts, *[np.zeros(parts[0].shape)] * (5 - len(parts))]
    year, month, day, hour, minute = (np.where(known, part, 1).astype(np.int64) for part in every)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    limits = ((year, 1, 9999), (month, 1, 12), (day, 1, days), (hour, 0, 23), (minute, 0, 59))
    right = np.all([(low <= part) & (part <= high) for part, low, high in limits], axis=0)
    if not right.all():
        row = int(np.argmin(right))
        raise text.NoDate("-".join(f"{part[row]:g}" for part in parts), row)
    clock = ((hour * 60 + minute) * 60_000_000).astype("timedelta64[us]")
    when = (months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")).astype("datetime64[us]") + clock
    return np.where(known, when, np.datetime64("NaT", "us"))


def _date_parts(values: pa.ChunkedArray, column: Column, schema: Schema) -> Iterator[np.ndarray[Any, Any]]:
    import numpy as np

    when = as_datetime(values, column.day_first, schema.nulls)
    null = np.isnat(when)
    days = when.astype("datetime64[D]").astype(np.int64)
    seconds = (when - when.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)
    month = when.astype("datetime64[M]").astype(np.int64) % 12 + 1
    for part in (days + seconds / 86400, month, (days + 3) % 7, seconds // 3600):
        yield np.where(null, np.nan, part).astype(np.float32)

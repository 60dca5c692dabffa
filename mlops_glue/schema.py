"""What the model takes: columns, kinds, and the one encoding that training, batch scoring and serving share.

Numbers, booleans and dates become float32 (null is NaN), categories become text (null is the empty string), because
ONNX has no null text and tree exports are exact only when training saw the same float32 values. A date column `d`
becomes `d.days` (days since 1970-01-01 UTC), `d.month`, `d.weekday` (Monday is 0) and `d.hour`.

This module needs NumPy and Arrow only: a serving worker imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mlops_glue.errors import DataError, did_you_mean, first_line
from mlops_glue.io import NULLS, THOUSANDS, is_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind = Literal["number", "category", "boolean", "datetime"]
RAW_TYPES = ("int64", "double", "string", "bool")
DATE_PARTS = ("days", "month", "weekday", "hour")
CALLED = {"number": "number", "boolean": "boolean", "datetime": "date", "category": "text"}  # a value that may be none
WRITE_DATES = "write dates as 2026-11-25, with a time as 2026-11-25T12:00:00Z"
TRUE, FALSE = {"true", "yes", "y", "t", "1", "1.0"}, {"false", "no", "n", "f", "0", "0.0"}


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
    day_first: bool = False  # datetime written as text: 01/02/2024 is the first of February

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
        """The inverse of `to_dict`."""
        return cls(**{**value, "columns": [Column(**c) for c in value["columns"]]})


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
            encoded.update(zip(column.inputs, _encode_one(values, column), strict=True))
        except (ValueError, NotImplementedError) as error:  # Arrow's errors are among these
            row, said, at = "", str(error), _refused(values, column)
            if at is not None:
                row = "" if rows is None else f", row {int(rows[at]) + 1}"
                said = f"{_shown(values.slice(at, 1))!r:.80} is no {CALLED[column.kind]}"
            problems.append(f"column {column.name!r}{row}: {said}")
            hint = hint or "a number is written 1234.5 or 1,234.5, a date 2024-12-31; what is unknown is left empty"
    if problems:
        raise DataError("\n".join(f"{where}: {p}" for p in problems), hint=hint)
    return encoded


def _shown(one: pa.ChunkedArray) -> Any:
    import pyarrow as pa

    return (as_text(one) if pa.types.is_temporal(one.type) else one)[0].as_py()  # Python has fewer years


def _refused(values: pa.ChunkedArray, column: Column) -> int | None:
    """The place of the first value that cannot be encoded; None where it is the column's type."""

    def fits(start: int, end: int) -> bool:
        try:
            for _ in _encode_one(values.slice(start, end - start), column):
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


def _encode_one(values: pa.ChunkedArray, column: Column) -> Iterator[np.ndarray[Any, Any]]:
    kind = column.kind
    if kind == "category":
        yield _text(values)
    elif kind == "number":
        yield encode_number(values)
    elif kind == "boolean":
        yield _boolean(values)
    else:
        yield from _date_parts(values, column.day_first)


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as strings: whole floats lose their `.0`, so that 3 and 3.0 are one category."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type):
        return pc.replace_substring_regex(values.cast(pa.string()), r"\.0$", "")
    return values.cast(pa.string())


def trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without the blanks around it; null where nothing is left, or a word for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.is_in(words, pa.array(NULLS, words.type)), None, words)


def _text(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    import pyarrow.compute as pc

    return pc.fill_null(as_text(values), "").to_numpy()  # type: ignore[no-any-return]


def encode_number(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """float32 of shape (rows,), NaN for null and infinite; of text, commas that part thousands do not count.

    Raises:
        ValueError: a value is no number.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(values.type):
        return np.full(len(values), np.nan, np.float32)
    if is_text(values.type):
        values = trimmed(values)
        if pc.any(pc.match_substring(values, ",")).as_py():  # any other comma stays, and is refused
            parted = pc.match_substring_regex(values, f"^{THOUSANDS}$")
            values = pc.if_else(parted, pc.replace_substring(values, ",", ""), values)
    if pa.types.is_temporal(values.type):
        raise ValueError(f"holds {values.type}, not numbers")
    try:
        numbers = values.cast(pa.float64(), safe=False).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"holds what is no number: {first_line(error, 120)}") from None
    with np.errstate(over="ignore"):
        out = numbers.astype(np.float32)
    out[~np.isfinite(out)] = np.nan  # infinite is treated as unknown, in training too
    return np.asarray(out)


def _boolean(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    import numpy as np

    out = np.full(len(values), np.nan, np.float32)
    for at, word in enumerate(_text(trimmed(as_text(values)))):
        folded = word.lower()
        if folded in TRUE:
            out[at] = 1
        elif folded in FALSE:
            out[at] = 0
        elif folded:
            raise ValueError(f"{word!r} is no boolean")
    return out


IN_PARTS = r"^\s*(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})[-/.]\d{2,4}"


def is_day_first(values: pa.ChunkedArray) -> bool:
    """Do dates written as text begin with the day? Told by a part over 12; where none is, only dots mean day first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_text(values.type):
        return False
    found = pc.extract_regex(values, IN_PARTS).drop_null()
    if len(found) == 0:
        return False
    first, second = (pc.max(pc.struct_field(found, part).cast(pa.int64())).as_py() for part in ("first", "second"))
    return bool(first > 12 or (second <= 12 and pc.struct_field(found, "mark")[0].as_py() == "."))


def as_datetime(values: pa.ChunkedArray, day_first: bool = False) -> np.ndarray[Any, Any]:
    """datetime64[us] in UTC; text is parsed as ISO 8601 or what pandas recognises.

    Raises:
        ValueError: a value is no date, or has day and month the other way round: pandas would turn it, and it alone.
    """
    import numpy as np
    import pyarrow as pa

    if is_text(values.type):
        import pandas as pd
        import pyarrow.compute as pc

        month = pc.struct_field(pc.extract_regex(values, IN_PARTS), "second" if day_first else "first")
        if (pc.max(month.cast(pa.int64())).as_py() or 0) > 12:
            raise ValueError("day and month are not where they were in training")

        parsed = pd.to_datetime(trimmed(values).to_pandas(), utc=True, format="mixed", dayfirst=day_first)
        return np.asarray(parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]"))
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
    import pandas as pd

    name = ", ".join(columns)
    try:
        if len(columns) == 1:
            values = table.column(columns[0])
            when = as_datetime(values, is_day_first(values) if day_first is None else day_first)
        else:
            parts = zip(("year", "month", "day", "hour", "minute"), columns, strict=False)
            numbers = {part: encode_number(table.column(column)).astype(np.int64) for part, column in parts}
            when = pd.to_datetime(pd.DataFrame(numbers)).to_numpy().astype("datetime64[us]")
    except (ValueError, TypeError) as error:
        raise DataError(f"timestamp {name}: {first_line(error)}", hint=WRITE_DATES) from None
    if np.isnat(when).any():
        raise DataError(
            f"timestamp {name}: {int(np.isnat(when).sum())} of {len(when)} rows have none",
            hint=hint,
        )
    return when


def _date_parts(values: pa.ChunkedArray, day_first: bool) -> Iterator[np.ndarray[Any, Any]]:
    import numpy as np

    when = as_datetime(values, day_first)
    null = np.isnat(when)
    days = when.astype("datetime64[D]").astype(np.int64)
    seconds = (when - when.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)
    month = when.astype("datetime64[M]").astype(np.int64) % 12 + 1
    for part in (days + seconds / 86400, month, (days + 3) % 7, seconds // 3600):
        yield np.where(null, np.nan, part).astype(np.float32)

"""What the model takes: columns, kinds, and the one encoding that training, batch scoring and serving share.

Numbers, booleans and dates become float32 (null is NaN), categories become text (null is the empty string), because
ONNX has no null text and tree exports are exact only when training saw the same float32 values. A date column `d`
becomes `d.days` (days since 1970-01-01 UTC), `d.month`, `d.weekday` (Monday is 0) and `d.hour`.

This module needs NumPy and Arrow only: a serving worker imports it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mlops_glue import dates, parsing
from mlops_glue.errors import DataError
from mlops_glue.parsing import InvalidValue
from mlops_glue.precision import as_float32
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Encoded = dict[str, "NDArray[Any]"]  # by name of the encoded column: shape (rows,)
Kind = Literal["number", "category", "boolean", "datetime"]
RAW_TYPES = ("int64", "double", "string", "bool")
DATE_PARTS = ("days", "month", "weekday", "hour")
NUMERIC = ("int", "uint", "double", "float", "halffloat", "decimal")  # how Arrow's names of numeric types begin
WRITE_WHOLE = "write it as a whole number, or as text"


@dataclass(frozen=True)
class Column:
    """One input column, as the training data had it."""

    name: str
    kind: Kind  # how it is encoded
    dtype: str = ""  # Arrow's name of the raw type, so that text formats are read the same way when scoring
    nullable: bool = True  # did training have nulls?
    categories: list[str] | None = None  # the values of a category, where training had at most 1000
    minimum: float | None = None
    maximum: float | None = None
    day_first: bool | None = False  # is 01/02/2024 as text the first of February? None: training had no such dates
    base: float = 0.0  # subtracted from a number before it becomes float32, whose 24 bits hold the difference

    @property
    def inputs(self) -> list[str]:
        """The names of its encoded columns."""
        return [f"{self.name}.{part}" for part in DATE_PARTS] if self.kind == "datetime" else [self.name]


@dataclass(frozen=True)
class Schema:
    """The model's contract: its inputs in order, and what it predicts."""

    task: str  # binary, multiclass or regression
    target: str
    columns: list[Column] = field(default_factory=list)
    labels: list[Any] | None = None  # classes in the order of the probabilities, as the user wrote them
    positive: Any = None  # binary: the class that precision, recall and ranking are about; default the last label
    trained: list[Any] | None = None  # the labels that the training rows had, where not all: the model knows no other
    nulls: list[str] = field(default_factory=lambda: list(parsing.NULLS))  # words that mean null in text
    decimal: str = "."  # the decimal sign of numbers as text
    trims: bool = True  # are blanks around a category ignored?

    @property
    def class_order(self) -> list[Any]:
        """The classes as the metrics count them: of two, the positive one is the last."""
        return sorted(self.labels or [], key=lambda label: label == self.positive)

    def class_indices(self, values: NDArray[Any]) -> NDArray[Any]:
        """Labels as indices into `class_order`, shape (rows,); regression values unchanged."""
        import numpy as np

        if self.labels is None:
            return values
        place = {label: at for at, label in enumerate(self.class_order)}
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
        """Raw types by column, where a text format may not show the type (a code of digits that is text)."""
        return {c.name: c.dtype for c in self.columns if c.dtype in RAW_TYPES}

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`; a model from before `nulls` existed keeps the categories that it knows."""
        made = cls(**{**value, "columns": [Column(**c) for c in value["columns"]]})
        if "nulls" in value:
            return made
        categories = {name for column in made.columns for name in column.categories or []}
        nulls = [name for name in parsing.NULLS if name not in categories]
        return replace(made, nulls=nulls, trims=all(name == name.strip() for name in categories))


def encode(
    table: pa.Table, schema: Schema, *, where: str = "input", rows: Sequence[int] | None = None, hint: str | None = None
) -> Encoded:
    """Encoded columns by name, each of shape (rows,): float32, or object holding str.

    Errors call the table `where` and, if `rows` has the number of each row, from 0, name the row of an invalid value.

    Raises:
        DataError: columns are missing or hold what their kind cannot take; every problem is named at once.
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
            hint = hint or (WRITE_WHOLE if error.reason == parsing.INEXACT_INTEGER else _how_to_write(column, schema))
        except (ValueError, NotImplementedError) as error:  # Arrow's errors are among these
            problems.append(f"column {column.name!r}: {error}")
            hint = hint or _how_to_write(column, schema)
    if problems:
        raise DataError("\n".join(f"{where}: {p}" for p in problems), hint=hint)
    return encoded


def _how_to_write(column: Column, schema: Schema) -> str:
    if _unwritable_code(column) is not None:
        return f"read the column as text: dtype={{{column.name!r}: str}} in pandas"
    number = "1234.5".replace(".", schema.decimal)
    return f"as in training a number is written {number}, a date 2024-12-31; what is unknown is left empty"


def matrices(encoded: Encoded, schema: Schema) -> Encoded:
    """What `model.onnx` takes: `number` float32 (rows, n) and `text` object (rows, m), each only if it has columns."""
    import numpy as np

    out: Encoded = {}
    if schema.numeric:
        out["number"] = np.column_stack([encoded[n] for n in schema.numeric]).astype(np.float32, copy=False)
    if schema.text:
        out["text"] = np.column_stack([encoded[n] for n in schema.text])
    return out


def _encode_column(values: pa.ChunkedArray, column: Column, schema: Schema) -> list[NDArray[Any]]:
    if column.kind == "category":
        return [_categories(values, column, schema)]
    if column.kind == "number":
        return [as_float32(as_numbers(values, column, schema), column.base)]
    if column.kind == "boolean":
        return [parsing.as_booleans(values, schema.nulls)]
    return _date_parts(dates.as_datetime(values, column.day_first, schema.nulls))


def as_numbers(values: pa.ChunkedArray, column: Column, schema: Schema) -> NDArray[np.float64]:
    """float64 of shape (rows,), NaN for null, as training read the column.

    Text may group thousands only where training had text: elsewhere 1,234 may have a decimal comma.

    Raises:
        ValueError: a value is not a number.
    """
    grouped = not column.dtype.startswith(NUMERIC)
    return parsing.as_numbers(values, schema.nulls, schema.decimal, grouped=grouped)


def _categories(values: pa.ChunkedArray, column: Column, schema: Schema) -> NDArray[np.object_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not parsing.is_text(values.type):
        is_integer = column.dtype.startswith(("int", "uint"))
        if is_integer and (row := parsing.inexact_integer(values)) is not None:
            raise InvalidValue(values[row].as_py(), parsing.INEXACT_INTEGER, row)
        if str(values.type).startswith(NUMERIC) and (code := _unwritable_code(column)) is not None:
            raise ValueError(f"holds {values.type}, and training had text such as {code!r}, which no number can be")
        return pc.fill_null(parsing.as_text(values), "").to_numpy()  # type: ignore[no-any-return]
    if schema.trims:
        values = parsing.clean_words(values, schema.nulls)
    else:
        values = pc.if_else(pc.is_in(values, pa.array(schema.nulls, values.type)), None, values)
    values = pc.fill_null(values, "")
    if column.dtype in ("", "string"):
        return values.to_numpy()  # type: ignore[no-any-return]
    coded = pc.dictionary_encode(values).combine_chunks()
    words = coded.dictionary.to_pylist()
    names = pa.array([parsing.canonical_category(word, column.dtype) for word in words], pa.string())
    return names.take(coded.indices).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _unwritable_code(column: Column) -> str | None:
    """A category of a text column that looks like a number but that no number is written as, such as 0012 or 1.50."""
    if column.kind != "category" or column.dtype != "string":
        return None
    numbers = [word for word in column.categories or [] if re.fullmatch(parsing.NUMBER, word)]
    return next((word for word in numbers if parsing.format_number(float(word)) != word), None)


def _date_parts(when: NDArray[np.datetime64]) -> list[NDArray[Any]]:
    """`DATE_PARTS` of datetime64[us], float32; NaN for NaT."""
    import numpy as np

    days = when.astype("datetime64[D]").astype(np.int64)
    seconds = (when - when.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)
    month = when.astype("datetime64[M]").astype(np.int64) % 12 + 1
    parts = (days + seconds / 86400, month, (days + 3) % 7, seconds // 3600)
    return [np.where(np.isnat(when), np.nan, part).astype(np.float32) for part in parts]

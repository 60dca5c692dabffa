"""A field of a row: which JSON values it accepts, and what the model receives for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypedDict

import msgspec
import numpy as np

from mlops_glue.schema import TEXTUAL, Column
from mlops_glue.words import (
    FALSE,
    INEXACT_INTEGER,
    MAX_EXACT_INTEGER,
    TRUE,
    canonical_category,
    clean_word,
    format_number,
    parse_boolean,
    to_micros,
    words_of,
)

UNSET = msgspec.UNSET  # the request did not give the field
JSON_NAMES = {float: "number", int: "integer", str: "string", bool: "boolean"}
NAMES_OF_VALUES = {bool: "a boolean", str: "a string", list: "an array", dict: "an object", type(None): "null"}
INT64 = (-(1 << 63), (1 << 63) - 1)
MAX_WHOLE = (1 << 64) - 1  # the largest integer that the prediction log can store
NOT_64_BITS = "must be a 64-bit integer"
HUGE = "is NaN, infinite or too large"
MAX_LISTED = 50  # categories in a description

Row = tuple[Any, ...]  # values in the order of `Contract.fields`


@dataclass
class Rows:
    """Decoded rows: the values of each in the order of `Contract.fields`; UNSET where a field was not given."""

    values: list[Row]
    bare: bool  # a single row that was not in a list
    order: list[str] | None = None  # of the column names, if the request had no names


class RowProblem(TypedDict):
    """A problem of a request."""

    row: int | None  # from 0; None: the problem concerns the whole body
    field: str | None
    problem: str


class Malformed(Exception):
    """The body is not JSON."""


class Invalid(Exception):
    """Values that the model does not accept."""

    def __init__(self, problems: list[RowProblem]) -> None:
        super().__init__(f"{problems[0]['field']}: {problems[0]['problem']}")
        self.problems = problems


class HugeNumber:
    """A JSON number that is too large for a float."""


def problem(row: int | None, field: str | None, reason: str) -> RowProblem:
    """Build a problem. The name of an unknown field comes from the client: it is shortened and made valid text."""
    name = field and field[:80].encode("utf-8", "replace").decode()
    return {"row": row, "field": name, "problem": reason}


def name_of_value(value: Any) -> str:
    """Return the JSON type of a value, with its article."""
    return NAMES_OF_VALUES.get(type(value), "a number")


@dataclass(frozen=True)
class Field:
    """A field of a row."""

    name: str
    kind: str  # number, boolean, datetime, category, text; key: of an entity, or known only at request time
    dtype: str = ""  # Arrow's name of its type in training
    nullable: bool = True  # it may be null, or left out
    is_looked_up: bool = False  # in the online store, if the request leaves it out
    column: Column | None = None  # of the model
    nulls: tuple[str, ...] = ()  # words that mean null
    trims: bool = True  # are blanks around a word ignored?
    takes_unseen: bool = True  # may a category be new?

    @property
    def day_first(self) -> bool | None:
        """The order of day and month in a date that is text."""
        return self.column.day_first if self.column is not None else False

    @cached_property
    def stays_unset(self) -> bool:
        """Does the field stay UNSET if it is left out? Any other field becomes null."""
        return self.is_looked_up or self.kind == "key"

    @property
    def is_whole(self) -> bool:
        """Was it an integer in training?"""
        return self.dtype.startswith(("int", "uint"))

    @cached_property
    def known(self) -> frozenset[str]:
        """The categories of the training data; empty if there were too many to keep."""
        column = self.column
        return frozenset(column.categories or ()) if column is not None and self.kind == "category" else frozenset()

    @cached_property
    def types(self) -> tuple[type, ...]:
        """The Python types that its JSON values may have, apart from null."""
        fraction, is_bool = self.dtype in ("double", "float"), self.dtype == "bool"
        if self.kind == "number":
            return (float, int)
        if self.kind == "boolean":
            return (bool,) if is_bool else (bool, float, int) if self.is_whole or fraction else (bool, str)
        if self.kind in TEXTUAL:
            return (float, int, str) if self.is_whole or fraction else (bool, str) if is_bool else (str,)
        if self.kind == "key":
            return (int,) if self.is_whole else (float, int) if fraction else (bool,) if is_bool else (str,)
        return (str,)

    @property
    def type_names(self) -> list[str]:
        """The names of the types in JSON Schema; `number` includes integers."""
        return [JSON_NAMES[kind] for kind in self.types if kind is not int or float not in self.types]

    @property
    def is_never_null(self) -> bool:
        """Is a word that means null refused?"""
        return not self.nullable and self.column is not None and str in self.types

    @property
    def json_schema(self) -> dict[str, Any]:
        """The field in the OpenAPI document."""
        null, column = ["null"] if self.nullable else [], self.column
        if self.kind == "boolean" and self.types != (bool,):
            words = "|".join("".join(f"[{c}{c.upper()}]" for c in w) for w in sorted(TRUE | FALSE) if w.isalpha())
            other = {"type": "string", "pattern": f"^(?:{words})$"} if str in self.types else {"enum": [0, 1]}
            return {"anyOf": [{"type": "boolean"}, other, *({"type": name} for name in null)]}
        names = [*self.type_names, *null]
        schema: dict[str, Any] = {"type": names if len(names) > 1 else names[0]}
        if self.kind == "datetime" and self.dtype == "string" and self.day_first is not None:
            schema["description"] = f"as in training, {'day' if self.day_first else 'month'} first, or ISO 8601"
        elif self.kind == "datetime":
            schema |= {"format": "date-time", "description": "ISO 8601; without an offset it is UTC"}
        if self.kind == "key" and int in self.types:
            schema |= {"minimum": INT64[0], "maximum": INT64[1]}
        if column is not None and self.kind == "number" and column.minimum is not None:
            schema["description"] = f"in training from {column.minimum:g} to {column.maximum:g}"
        if column is not None and column.categories and len(column.categories) <= MAX_LISTED:
            schema["description"] = "in training: " + ", ".join(column.categories)
        if self.kind == "text":
            schema["description"] = "free text: the model sees its words"
        if self.kind in TEXTUAL and self.is_never_null:
            words = "|".join(
                re.sub(r"([][\\^$.|?*+(){}])", r"\\\1", word) for word in self.nulls
            )  # as ECMA-262 escapes
            blank = r"[\s\x1c-\x1f]*" if self.trims else ""  # what `str.strip` removes
            schema["not"] = {"type": "string", "pattern": f"^{blank}({words}){blank}$"}
        return schema

    def type_problem(self, value: Any) -> str | None:
        """Return why a JSON value does not have the field's type; None if it does."""
        if value is None:
            return None if self.nullable else "must not be null"
        if isinstance(value, HugeNumber):
            return f"{HUGE}; send null for an unknown value" if self.nullable else HUGE
        if not isinstance(value, self.types) or (isinstance(value, bool) and bool not in self.types):
            names = self.type_names
            article = "an" if names[0] == "integer" else "a"
            return f"must be {article} {' or '.join(names)}, not {name_of_value(value)}"
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return "is not valid text: it has half a surrogate pair"
        return None

    @property
    def needs_check(self) -> bool:
        """Can `value_problem` refuse a value of the right type?"""
        is_limited = not self.takes_unseen and bool(self.known)
        has_words = self.kind == "datetime" or (self.kind == "boolean" and self.types != (bool,))
        has_whole_numbers = self.kind in ("key", *TEXTUAL) and int in self.types
        return is_limited or has_words or has_whole_numbers or self.is_never_null

    def value_problem(self, value: Any) -> str | None:
        """Return why the model does not accept a value that has the right type and is not null; None if it does."""
        if self.column is not None and isinstance(value, str) and not self.word(value):
            return None if self.nullable else "must not be null, and this word means null"
        if self.kind == "datetime":
            or_else = ", or as in training" if self.dtype == "string" else ""
            is_date = to_micros(value, self.day_first) is not None
            return None if is_date else f"must be a date or time in ISO 8601{or_else}"
        if self.kind == "boolean":
            return None if as_truth(value) is not None else "must be true or false"
        if isinstance(value, float) and self.is_whole and abs(value) >= MAX_EXACT_INTEGER:
            return INEXACT_INTEGER
        most = INT64[1] if self.kind == "key" else MAX_WHOLE
        if isinstance(value, int) and not INT64[0] <= value <= most:
            return NOT_64_BITS
        if self.takes_unseen or not self.known or self.category(value) in self.known:
            return None
        return f"is not one of the {len(self.known)} categories of the training data"

    def word(self, value: str | None) -> str:
        """Return text as a category of the model; empty if it means null."""
        if value is None or not self.trims:
            return "" if value is None or value in self.nulls else value
        return clean_word(value, self.nulls) or ""

    def text(self, value: Any) -> str:
        """Return any value of a category or of free text as the model knows it; empty means null."""
        return words_of(self.category(value)) if self.kind == "text" else self.category(value)

    def category(self, value: Any) -> str:
        """Return any value as its category; empty means null."""
        if value is None:
            return ""
        if isinstance(value, str):
            return canonical_category(self.word(value), self.dtype)
        if self.dtype in ("double", "float") and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        return as_text(value)


def as_text(value: Any) -> str:
    """Return a value as text, as `schema.as_text` does for a column."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else format_number(value)


def as_truth(value: Any) -> bool | None:
    """Parse true or false as training does; None if the value is neither."""
    return None if value is None else parse_boolean(as_text(value).strip())


def as_micros(value: Any, day_first: bool | None = False) -> int | None:
    """Return microseconds since 1970-01-01 UTC of any form of a timestamp that a row may have; None for null."""
    text = value.isoformat() if isinstance(value, datetime) else value
    return to_micros(text, day_first) if isinstance(text, str) else text


def date_parts(since: int | None) -> list[float | None]:
    """Return the model inputs of a timestamp in microseconds: days since 1970, month, weekday, hour."""
    if since is None:
        return [None] * 4
    when = np.datetime64(since, "us")
    days, seconds = divmod(since // 1_000_000, 86400)
    month = int(when.astype("datetime64[M]").astype(np.int64)) % 12 + 1
    return [days + seconds / 86400, month, (days + 3) % 7, seconds // 3600]  # Monday is 0


def json_key(label: Any) -> str:
    """Return a class label as a key of a JSON object."""
    return ("false", "true")[label] if isinstance(label, bool) else str(label)

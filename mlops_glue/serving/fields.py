"""One field of a row: which JSON values it takes, and how a value becomes text, a truth or a moment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from mlops_glue.schema import Column
from mlops_glue.words import FALSE, TRUE, format_number, to_micros

UNSET = msgspec.UNSET  # the request did not give the field
JSON_NAMES = {float: "number", int: "integer", str: "string", bool: "boolean"}
NAMES_OF_VALUES = {int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}
INT64 = (-(1 << 63), (1 << 63) - 1)
HUGE = "is NaN, infinite or too large"
MOST_LISTED = 50  # categories in a description


class HugeNumber:
    """Stands for a number of JSON that no float holds."""


@dataclass(frozen=True)
class Field:
    """One field of a row."""

    name: str
    kind: str  # number, boolean, datetime, category; key: of an entity, or what is only known at request time
    dtype: str = ""  # Arrow's name of its type in training
    required: bool = True
    nullable: bool = True
    column: Column | None = None  # of the model

    @property
    def day_first(self) -> bool | None:
        """The order of day and month in a date that is text."""
        return self.column.day_first if self.column is not None else False

    @property
    def is_whole(self) -> bool:
        """Was it a whole number in training?"""
        return self.dtype.startswith(("int", "uint"))

    @property
    def types(self) -> tuple[type, ...]:
        """The Python types that its JSON values may have, null aside."""
        fraction, is_bool = self.dtype in ("double", "float"), self.dtype == "bool"
        if self.kind == "number":
            return (float, int)
        if self.kind == "boolean":
            return (bool,) if is_bool else (bool, float, int) if self.is_whole or fraction else (bool, str)
        if self.kind == "category":
            return (float, int, str) if self.is_whole or fraction else (bool, str) if is_bool else (str,)
        if self.kind == "key":
            return (int,) if self.is_whole else (float, int) if fraction else (bool,) if is_bool else (str,)
        return (str,)

    @property
    def type_names(self) -> list[str]:
        """The same as JSON Schema calls them; a number may be whole."""
        return [JSON_NAMES[kind] for kind in self.types if kind is not int or float not in self.types]

    @property
    def json_schema(self) -> dict[str, Any]:
        """The field in the OpenAPI document."""
        null = ["null"] if self.nullable else []
        if self.kind == "boolean" and self.types != (bool,):
            words = "|".join("".join(f"[{c}{c.upper()}]" for c in w) for w in sorted(TRUE | FALSE) if w.isalpha())
            other = {"type": "string", "pattern": f"^(?:{words})$"} if str in self.types else {"enum": [0, 1]}
            return {"anyOf": [{"type": "boolean"}, other, *({"type": name} for name in null)]}
        names = [*self.type_names, *null]
        schema: dict[str, Any] = {"type": names if len(names) > 1 else names[0]}
        if self.kind == "datetime":
            schema |= self._date_format()
        if self.kind == "key" and int in self.types:
            schema |= {"minimum": INT64[0], "maximum": INT64[1]}
        column = self.column
        if column is not None and self.kind == "number" and column.minimum is not None:
            schema["description"] = f"in training from {column.minimum:g} to {column.maximum:g}"
        if column is not None and column.categories and len(column.categories) <= MOST_LISTED:
            schema["description"] = "in training: " + ", ".join(column.categories)
        return schema

    def _date_format(self) -> dict[str, str]:
        if self.column is not None and self.day_first is not None and self.dtype == "string":
            first = "day" if self.day_first else "month"
            return {"description": f"as in training, {first} first, or ISO 8601"}
        return {"format": "date-time", "description": "ISO 8601; without an offset it is UTC"}

    def type_problem(self, value: Any) -> str | None:
        """Why a value of JSON is not of the field's type."""
        if value is None:
            return None if self.nullable else "must not be null"
        if isinstance(value, HugeNumber):
            return f"{HUGE}; what is unknown is null" if self.nullable else HUGE
        if not isinstance(value, self.types) or (isinstance(value, bool) and bool not in self.types):
            names = self.type_names
            article = "an" if names[0] == "integer" else "a"
            return f"must be {article} {' or '.join(names)}, not {name_of_value(value)}"
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return "is no text: it has half a surrogate pair"
        return None


def name_of_value(value: Any) -> str:
    """What kind of JSON a value is, with its article."""
    if isinstance(value, bool):
        return "a boolean"
    return NAMES_OF_VALUES.get(type(value), "null" if value is None else "a number")


def no_null_word(nulls: list[str], *, trimmed: bool) -> dict[str, Any]:
    """JSON Schema of text that is none of the words that stand for null."""
    words = "|".join(re.sub(r"([][\\^$.|?*+(){}])", r"\\\1", word) for word in nulls)  # as ECMA-262 escapes
    blank = r"[\s\x1c-\x1f]*" if trimmed else ""  # what `str.strip` takes away
    return {"not": {"type": "string", "pattern": f"^{blank}({words}){blank}$"}}


def as_text(value: Any) -> str:
    """One value as `schema.as_text` writes a column of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else format_number(value)


def as_truth(value: Any) -> float | None:
    """1 or 0 as in training; None where the value is neither."""
    word = as_text(value).strip().lower() if value is not None else ""
    return 1.0 if word in TRUE else 0.0 if word in FALSE else None


def as_micros(value: Any, day_first: bool | None = False) -> int | None:
    """Microseconds since 1970-01-01 UTC of whatever a row may have for a moment; a word for null is None."""
    text = value.isoformat() if isinstance(value, datetime) else value
    return to_micros(text, day_first) if isinstance(text, str) else text


def date_parts(since: int | None) -> list[float | None]:
    """The inputs that `schema` makes of a moment in microseconds: days since 1970, month, weekday, hour."""
    if since is None:
        return [None] * 4
    when = np.datetime64(since, "us")
    days, seconds = divmod(since // 1_000_000, 86400)
    month = int(when.astype("datetime64[M]").astype(np.int64)) % 12 + 1
    return [days + seconds / 86400, month, (days + 3) % 7, seconds // 3600]  # Monday is 0


def json_key(label: Any) -> str:
    """A class as the name of a member in JSON."""
    return ("false", "true")[label] if isinstance(label, bool) else str(label)

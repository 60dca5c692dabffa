"""What a request may hold: decoded and checked in compiled code, and every problem told when something is wrong.

A request is `{"rows": [{…}, …]}` or one bare row. Types made from the model's schema decode it (msgspec). Only what
they refuse is read again, slowly, to name each row and field; that second reading defines what is right. It also reads
what clients of a plain FastAPI server send, `{"features": [[…], …]}`: rows without names, in the order of the schema.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from mlops_glue.dates import to_micros
from mlops_glue.parsing import (
    FALSE,
    INEXACT_INTEGER,
    MAX_EXACT_INTEGER,
    TRUE,
    canonical_category,
    clean_word,
    format_number,
)
from mlops_glue.precision import as_float32
from mlops_glue.records import FeatureList
from mlops_glue.schema import Column, Schema
from mlops_glue.suggest import did_you_mean

MANY = re.compile(rb'\s*\{\s*"rows"\s*:\s*\[')
UNFIT = re.compile(r'[\\"\x00-\x1f]')  # what msgspec takes no field name with
LISTED = "features"  # the key of rows without names
LISTS = re.compile(rb'\s*\{\s*"features"\s*:\s*\[(\s*\[)?')
MOST_PROBLEMS = 1000
MOST_ORDER = 800  # characters of an order of names in a problem
MOST_DIGITS = 400  # of a whole number; a float has 309
TWICE = "stands twice in one object"
HUGE = "is NaN, infinite or too large"
UNSET = msgspec.UNSET
JSON_NAMES = {float: "number", int: "integer", str: "string", bool: "boolean"}
INT64 = (-(1 << 63), (1 << 63) - 1)
MOST_WHOLE = (1 << 64) - 1  # that the prediction log can hold


class Malformed(Exception):
    """It is not JSON."""


class Invalid(Exception):
    """Values that the model does not take; `problems` has a row (from 0), a field and what is wrong, each."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


@dataclass
class Rows:
    """Decoded rows: the values of each in the order of `Contract.fields`; UNSET where a field was not given."""

    values: list[tuple[Any, ...]]
    bare: bool  # one row that was not in a list
    order: list[str] | None = None  # of the names, where the request had none


@dataclass(frozen=True)
class Field:
    """One field of a row."""

    name: str
    kind: str  # number, boolean, datetime, category; key: of an entity, or what is only known at request time
    dtype: str = ""  # Arrow's name of what it was in training
    required: bool = True
    nullable: bool = True
    column: Column | None = None  # of the model

    @property
    def day_first(self) -> bool | None:
        """Of a date as text."""
        return self.column.day_first if self.column is not None else False

    @property
    def types(self) -> tuple[type, ...]:
        """The Python types that its JSON values may have, null aside."""
        whole, fraction = self.dtype.startswith(("int", "uint")), self.dtype in ("double", "float")
        if self.kind == "number":
            return (float, int)
        if self.kind == "boolean":
            return (bool,) if self.dtype == "bool" else (bool, float, int) if whole or fraction else (bool, str)
        if self.kind == "category":
            return (float, int, str) if whole or fraction else (bool, str) if self.dtype == "bool" else (str,)
        if self.kind == "key":
            return (int,) if whole else (float, int) if fraction else (bool,) if self.dtype == "bool" else (str,)
        return (str,)

    @property
    def json_schema(self) -> dict[str, Any]:
        """What OpenAPI says of it."""
        null: list[dict[str, Any]] = [{"type": "null"}] if self.nullable else []
        if self.kind == "boolean" and self.types != (bool,):
            words = "|".join("".join(f"[{c}{c.upper()}]" for c in w) for w in sorted(TRUE | FALSE) if w.isalpha())
            other = {"type": "string", "pattern": f"^(?:{words})$"} if str in self.types else {"enum": [0, 1]}
            return {"anyOf": [{"type": "boolean"}, other, *null]}
        kinds = [JSON_NAMES[one] for one in self.types if not (one is int and float in self.types)]
        kinds += ["null"] if self.nullable else []
        made: dict[str, Any] = {"type": kinds if len(kinds) > 1 else kinds[0]}
        if self.kind == "datetime":
            made |= {"format": "date-time", "description": "ISO 8601; without an offset it is UTC"}
            if self.column is not None and self.column.day_first is not None and self.dtype == "string":
                made |= {
                    "description": f"as in training, {'day' if self.column.day_first else 'month'} first, or ISO 8601"
                }
                del made["format"]
        if self.kind == "key" and int in self.types:
            made |= dict(zip(("minimum", "maximum"), INT64, strict=True))
        column = self.column
        if column is not None and self.kind == "number" and column.minimum is not None:
            made["description"] = f"in training from {column.minimum:g} to {column.maximum:g}"
        if column is not None and column.categories and len(column.categories) <= 50:
            made["description"] = "in training: " + ", ".join(column.categories)
        return made


class Contract:
    """The fields of a model's rows.

    Args:
        schema: of the model.
        features: what of its columns Feast has; a row may leave those out, and gives the keys by which they are found.
        unseen: may a category be one that training did not have?
        max_rows: of a request.
    """

    def __init__(self, schema: Schema, features: FeatureList | None, *, unseen: bool, max_rows: int) -> None:
        self.schema, self.features, self.max_rows = schema, features, max_rows
        looked = set(features.columns) if features else set()
        numeric = [c for c in schema.columns if c.kind != "category"]
        columns = [*numeric, *(c for c in schema.columns if c.kind == "category")]
        self.fields = [
            Field(c.name, c.kind, c.dtype, not c.nullable and c.name not in looked, c.nullable or c.name in looked, c)
            for c in columns
        ]
        have = {field.name for field in self.fields}
        others = features.asked_by if features else []
        types = {**features.request_types, **features.types} if features else {}
        self.fields += [Field(n, "key", types.get(n, "string"), required=False) for n in others if n not in have]
        self.place = {field.name: at for at, field in enumerate(self.fields)}
        self.order = [column.name for column in schema.columns]  # of a row without names
        self._columns, self._numbers, self._looked = len(columns), len(numeric), looked
        self._looked_at = [self.place[c.name] for c in schema.columns if c.name in looked]
        found = {name: at for at, name in enumerate(features.columns)} if features else {}
        self._filled = [(place, found[self.fields[place].name]) for place in self._looked_at]
        self._of_features = _taken(self._looked_at)
        self._asked_by = others
        self._of_keys = _taken([self.place[name] for name in others])
        self._needs = _needs(features) if features else {}
        self._known = {c.name: frozenset(c.categories) for c in columns if c.kind == "category" and c.categories}
        self._words = [self._known.get(c.name, frozenset[str]()) for c in columns[self._numbers :]]
        self._nulls = frozenset(schema.nulls)
        bases = np.array([c.base for c in numeric for _ in c.inputs], np.float64)
        self._bases = bases if bases.any() else None
        self._unseen = unseen
        self._checked = [(at, f) for at, f in enumerate(self.fields) if self._has_check(f)]
        self._sound = [(at, self._known.get(f.name, frozenset[str]())) for at, f in self._checked]
        self._plain = all(f.kind in ("number", "category") or f.types == (bool,) for f in self.fields[: self._columns])
        self._plain &= all(f.types == (str,) for f in self.fields[self._numbers : self._columns])
        self._one: Any
        self._many: Any
        self._lists: dict[bool, Any] = {}  # of rows without names: is it one alone?
        self._of_list = _taken([self.order.index(field.name) for field in self.fields if field.name in self.order])
        self._kept = [f.name in looked or f.kind == "key" for f in self.fields]  # what is not given stays UNSET
        self._of_others = _taken([at for at, kept in enumerate(self._kept) if not kept])
        self._decoders()

    def _decoders(self) -> None:
        if any(UNFIT.search(field.name) for field in self.fields):
            self._one = self._many = _not_quick
            return
        specs: list[tuple[str, Any, Any]] = []
        kinds: dict[str, Any] = {}
        for at, field in enumerate(self.fields):
            kind: Any = field.types[0]
            for one in field.types[1:] if field.kind != "number" else ():  # a whole number becomes a float
                kind |= one
            kinds[field.name] = kind = kind | None if field.nullable else kind
            optional = self._kept[at] or field.nullable
            default = UNSET if optional else msgspec.NODEFAULT
            specs.append((f"f{at}", kind | msgspec.UnsetType if optional else kind, default))
        rename = {f"f{at}": field.name for at, field in enumerate(self.fields)}
        row = msgspec.defstruct("Row", specs, kw_only=True, forbid_unknown_fields=True, rename=rename, gc=False)
        many = msgspec.defstruct("Many", [("rows", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(row).decode
        self._many = msgspec.json.Decoder(many).decode
        unnamed = tuple[tuple(kinds[name] for name in self.order)]  # type: ignore[valid-type, misc]
        for alone in (True, False):
            of = unnamed if alone else list[unnamed]  # type: ignore[valid-type]
            lists = msgspec.defstruct("Lists", [(LISTED, of)], forbid_unknown_fields=True)
            self._lists[alone] = msgspec.json.Decoder(lists).decode

    def decode(self, body: bytes, order: list[str] | None = None) -> Rows:
        """The rows of a request.

        Args:
            body: of the request.
            order: of the values in a row without names, where it is another version's.

        Raises:
            Malformed: it is not JSON.
            Invalid: it has problems, and here they all are.
        """
        try:
            bare = MANY.match(body) is None
            rows = [self._one(body)] if bare else self._many(body).rows
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return self._slowly(body, order)
        if not 0 < len(rows) <= self.max_rows:
            return self._slowly(body)
        values, keys = [msgspec.structs.astuple(row) for row in rows], 0 if bare else 1
        for at, row in enumerate(values):
            absent = row.count(UNSET)
            keys += len(row) - absent
            if absent and UNSET in self._of_others(row):
                values[at] = self._completed(row)
        if body.count(b":") != keys and self._repeats(body, values, keys):
            return self._slowly(body)
        if self._checked or self._looked:
            doubtful = [(at, row) for at, row in enumerate(values) if not self._is_sound(row)]
            problems = [problem for at, row in doubtful for problem in self._row_problems(at, row)]
            if problems:
                raise Invalid(problems)
        return Rows(values, bare)

    def _is_sound(self, row: tuple[Any, ...]) -> bool:
        """Has it all keys, and words of the training data where words are checked? Most rows need no other look."""
        for at, known in self._sound:
            if row[at] not in known:
                return False
        return UNSET not in self._of_keys(row)

    def _completed(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """What was not given is null, where the store does not have it."""
        return tuple(
            [None if value is UNSET and not kept else value for value, kept in zip(row, self._kept, strict=True)]
        )

    @staticmethod
    def _repeats(body: bytes, values: list[tuple[Any, ...]], keys: int) -> bool:
        """Does a key stand twice in one object, of which msgspec takes the last? True as well where that is not plain.

        There are as many colons as keys and in strings, unless a key, or what it had at first, is not in the values.
        """
        inside = sum([value.count(":") for row in values for value in row if type(value) is str])
        return body.count(b":") != keys + inside or b"\\" in body

    def of_table(self, rows: list[dict[str, Any]]) -> Rows:
        """Rows that are Python values already; unknown fields and wrong ones are told in the same way."""
        return self._rows(rows, bare=False)

    def _slowly(self, body: bytes, order: list[str] | None = None) -> Rows:
        rows = self._quick_lists(body) if order in (None, self.order) else None
        if rows is not None:
            return rows
        tree = _parsed(body)
        if isinstance(tree, dict) and isinstance(tree.get("rows"), list):
            return self._rows(tree["rows"], bare=False, problems=self._problems_around(tree, "rows", tree["rows"]))
        if isinstance(tree, dict) and LISTED in tree and (LISTED not in self.place or isinstance(tree[LISTED], list)):
            return self._listed(tree, order or self.order)
        return self._rows([tree], bare=True)

    def _problems_around(self, tree: dict[str, Any], key: str, rows: list[Any]) -> list[dict[str, Any]]:
        """What is wrong beside the rows.

        Raises:
            Invalid: there are too many of them.
        """
        problems = [_problem(None, name, TWICE) for name in getattr(tree, "twice", ())]
        problems += [_problem(None, name, "unknown field") for name in tree if name != key]
        if len(rows) > self.max_rows:
            problems.append(_problem(None, key, f"has {len(rows):,} rows; the limit is {self.max_rows:,}"))
            raise Invalid(problems)
        return problems

    def _quick_lists(self, body: bytes) -> Rows | None:
        """Rows without names, read in compiled code; None where something is wrong with them, or they have names."""
        match = LISTS.match(body)
        if match is None or self.features is not None or not self._lists:
            return None
        alone = match.group(1) is None
        try:
            given = getattr(self._lists[alone](body), LISTED)
        except (ValueError, RecursionError):
            return None
        values = [self._of_list(row) for row in ([given] if alone else given)]
        if not 0 < len(values) <= self.max_rows or self._repeats(body, values, keys=1):
            return None
        doubtful = [(at, row) for at, row in enumerate(values) if self._checked and not self._is_sound(row)]
        if problems := [problem for at, row in doubtful for problem in self._row_problems(at, row)]:
            raise Invalid(problems)
        return Rows(values, bare=False, order=self.order)

    def _listed(self, tree: dict[str, Any], order: list[str]) -> Rows:
        """Rows without names, or one alone: each value gets the name that stands at its place in the order."""
        given = tree[LISTED]
        if self.features is not None:
            names = ", ".join(f'"{name}": …' for name in self.features.asked_by)
            said = f'needs names, because features are looked up: send {{"rows": [{{{names}}}, …]}}'
            raise Invalid([_problem(None, LISTED, said)])
        if not isinstance(given, list) or not given:
            said = "must have at least one row" if given == [] else f"must be an array of rows, not {_named(given)}"
            raise Invalid([_problem(None, LISTED, said)])
        rows = given if any(isinstance(row, list) for row in given) else [given]
        problems = self._problems_around(tree, LISTED, rows)
        names = ", ".join(order)
        names = names if len(names) <= MOST_ORDER else f"{names[:MOST_ORDER]}… (GET /model has all)"
        made: list[Any] = []
        for at, row in enumerate(rows):
            if len(problems) >= MOST_PROBLEMS:
                break
            fits = isinstance(row, list) and len(row) == len(order)
            made.append(dict(zip(order, row, strict=True)) if fits else UNSET)
            if not isinstance(row, list):
                problems.append(_problem(at, None, f"a row is an array, not {_named(row)}"))
            elif not fits:
                said = f"must have {len(order)} values, not {len(row)}, in this order: {names}"
                problems.append(_problem(at, None, said))
        return Rows(self._rows(made, bare=False, problems=problems).values, bare=False, order=order)

    def _rows(self, rows: list[Any], *, bare: bool, problems: list[dict[str, Any]] | None = None) -> Rows:
        problems = problems or []
        if not rows:
            problems.append(_problem(None, "rows", "must have at least one row"))
        values = []
        for at, row in enumerate(rows):
            if len(problems) >= MOST_PROBLEMS:
                break
            if row is UNSET:  # what is wrong with it is among the problems
                continue
            if not isinstance(row, dict):
                problems.append(_problem(at, None, f"a row is an object, not {_named(row)}"))
                continue
            found = list(self._problems_of(at, row))
            problems += found
            if not found:
                values.append(tuple(self._given(row, field) for field in self.fields))
                problems += self._row_problems(at, values[-1])
        if problems:
            raise Invalid(problems)
        return Rows(values, bare)

    def _given(self, row: dict[str, Any], field: Field) -> Any:
        unset = UNSET if field.name in self._looked or field.kind == "key" else None
        value = row.get(field.name, unset)
        return float(value) if field.kind == "number" and isinstance(value, int) else value

    def _problems_of(self, at: int, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Fields that are missing, unknown or of a wrong type."""
        for name in getattr(row, "twice", ()):
            yield _problem(at, name, TWICE)
        for name in row:
            if name not in self.place:
                target = name == self.schema.target
                said = "is the target" if target else did_you_mean(name[:80], [f.name for f in self.fields])
                yield _problem(at, name, f"unknown field ({said})")
        for field in self.fields:
            if field.name not in row:
                if field.required:
                    yield _problem(at, field.name, "is required")
                continue
            wrong = _type_problem(row[field.name], field)
            if wrong:
                yield _problem(at, field.name, wrong)

    def _has_check(self, field: Field) -> bool:
        """Is there something about it that its type does not tell?"""
        limited = field.kind == "category" and not self._unseen and field.name in self._known
        words = field.kind == "boolean" and field.types != (bool,)
        whole = field.kind in ("key", "category") and int in field.types
        null = not field.nullable and field.column is not None and str in field.types  # a word may say it
        return limited or words or field.kind == "datetime" or whole or null

    def _row_problems(self, at: int, row: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
        """What the types do not tell of a row that they let pass."""
        for place, field in self._checked:
            value = row[place]
            said = None if value is None or value is UNSET else self._value_problem(value, field)
            if said:
                yield _problem(at, field.name, said)
        for place in self._looked_at if UNSET in self._of_keys(row) else ():
            if row[place] is UNSET:
                column = self.fields[place].name
                for key in self._needs[column]:
                    if row[self.place[key]] is UNSET:
                        yield _problem(at, key, f"is required to look up {column}, which is not given")

    def _value_problem(self, value: Any, field: Field) -> str | None:
        if field.column is not None and isinstance(value, str) and self._says_null(value):
            return None if field.nullable else "must not be null, and that is what this word says"
        if field.kind == "datetime":
            right = to_micros(value, field.day_first) is not None
            as_there = ", or as in training" if field.dtype == "string" else ""
            return None if right else f"must be a date or time in ISO 8601{as_there}"
        if field.kind == "boolean":
            return None if as_truth(value) is not None else "must be true or false"
        if field.kind == "key":
            return None if INT64[0] <= value <= INT64[1] else "must be a whole number of 64 bits"
        if isinstance(value, float) and field.dtype.startswith(("int", "uint")) and abs(value) >= MAX_EXACT_INTEGER:
            return INEXACT_INTEGER
        if isinstance(value, int) and not INT64[0] <= value <= MOST_WHOLE:
            return "must be a whole number of 64 bits"
        known = None if self._unseen else self._known.get(field.name)
        if known is None or self._category(self.place[field.name] - self._numbers, value) in known:
            return None
        return f"is not one of the {len(known)} categories of the training data"

    def missing(self, rows: Rows) -> list[int]:
        """The places of rows that leave features to be looked up."""
        taken = self._of_features
        return [at for at, row in enumerate(rows.values) if UNSET in taken(row)]

    def keys(self, rows: Rows, places: list[int]) -> list[tuple[Any, ...]]:
        """By what the features of these rows are looked up, in the order of `FeatureList.asked_by`."""
        taken = [self._of_keys(rows.values[at]) for at in places]
        if len(self._asked_by) == 1:
            return taken
        # a key that is not given is of a view of which every feature is
        return [key if UNSET not in key else tuple(None if v is UNSET else v for v in key) for key in taken]

    def fill(self, rows: Rows, places: list[int], found: list[list[Any]]) -> None:
        """Put in what was looked up, in the order of `FeatureList.columns`, where the row itself does not give it."""
        for at, features in zip(places, found, strict=True):
            row = list(rows.values[at])
            for place, of in self._filled:
                if row[place] is UNSET:
                    row[place] = features[of]
            rows.values[at] = tuple(row)

    def matrices(self, rows: Rows) -> dict[str, np.ndarray[Any, Any]]:
        """What the model takes, as `schema.matrices`: `number` float32 (rows, n) and `text` object (rows, m)."""
        first, end = self._numbers, self._columns
        numbers: list[Any]
        if self._plain:
            numbers = [row[:first] for row in rows.values]
        else:
            numbers = [self._encoded(row) for row in rows.values]
        out: dict[str, np.ndarray[Any, Any]] = {}
        if first:
            number = np.array(numbers, np.float32)
            flat = number.reshape(-1)
            if not math.isfinite(flat.dot(flat)) and (infinite := np.isinf(number)).any():  # the quick answer is no
                self._check_finite(rows)
                number[infinite] = np.nan  # beyond what a float32 holds, as in training
            if self._bases is not None:
                number = as_float32(np.array(numbers, np.float64), self._bases)
            out["number"] = number
        if end > first:
            texts = [row[first:end] for row in rows.values]
            if self._plain:
                known = self._words  # most values are as they were in training
                cells = [[v if v in k else self._word(v) for v, k in zip(row, known, strict=True)] for row in texts]
            else:
                cells = [[self._category(at, v) for at, v in enumerate(row)] for row in texts]
            out["text"] = np.array(cells, object)
        return out

    def _check_finite(self, rows: Rows) -> None:
        """msgspec takes whole numbers of hundreds of digits, which no float holds."""
        found = [
            _problem(at, self.fields[place].name, HUGE)
            for at, row in enumerate(rows.values)
            for place, value in enumerate(row[: self._numbers])
            if isinstance(value, float) and math.isinf(value)
        ]
        if found:
            raise Invalid(found)

    def _word(self, value: str | None) -> str:
        """Text as a category of the model's."""
        if value is None or not self.schema.trims:
            return "" if value is None or value in self._nulls else value
        return clean_word(value, self.schema.nulls) or ""

    def _says_null(self, value: str) -> bool:
        return not self._word(value)

    def _category(self, at: int, value: Any) -> str:
        if value is None:
            return ""
        field = self.fields[self._numbers + at]
        if isinstance(value, str):
            return canonical_category(self._word(value), field.dtype)
        if field.dtype in ("double", "float") and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        return as_text(value)

    def _encoded(self, row: tuple[Any, ...]) -> list[float | None]:
        out: list[float | None] = []
        for field, value in zip(self.fields[: self._numbers], row, strict=False):
            if field.kind == "datetime":
                out += _date_parts(as_micros(value, field.day_first))
            else:
                out.append(as_truth(value) if field.kind == "boolean" else value)
        return out

    @property
    def json_schema(self) -> dict[str, Any]:
        """Of one row."""
        required = [field.name for field in self.fields if field.required]
        made: dict[str, Any] = {
            "type": "object",
            "properties": {field.name: {**field.json_schema, **self._no_null_word(field)} for field in self.fields},
            "additionalProperties": False,
        }
        return made | ({"required": required} if required else {})

    def _no_null_word(self, field: Field) -> dict[str, Any]:
        """Of text that cannot be null, also by JSON Schema: no word that says null."""
        if field.nullable or field.column is None or field.kind != "category":
            return {}
        words = "|".join(
            re.sub(r"([][\\^$.|?*+(){}])", r"\\\1", one) for one in self.schema.nulls
        )  # as ECMA-262 escapes
        blank = r"[\s\x1c-\x1f]*" if self.schema.trims else ""  # what `str.strip` takes away
        return {"not": {"type": "string", "pattern": f"^{blank}({words}){blank}$"}}


def asked_rows(rows: list[dict[str, Any]], features: FeatureList | None) -> list[dict[str, Any]]:
    """Examples as they are asked for: what is looked up is left out, the keys are there."""
    looked = features.columns if features else {}
    return [{name: value for name, value in row.items() if name not in looked} for row in rows]


def json_key(label: Any) -> str:
    """A class as the name of a member in JSON."""
    return ("false", "true")[label] if isinstance(label, bool) else str(label)


def _needs(features: FeatureList) -> dict[str, list[str]]:
    """By column: the keys and request columns without which it cannot be looked up."""
    views = {view.name: view for view in features.views}
    out = {}
    for column, ref in features.columns.items():
        view = views[ref.partition(":")[0]]
        every = dict.fromkeys([*features.keys, *features.request]) if view.on_demand else view.keys.values()
        out[column] = list(every)
    return out


class _Repeating(dict[str, Any]):
    """An object of JSON in which keys stand more than once: `twice` has them."""

    twice: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeating = _Repeating(made)
    repeating.twice = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    return repeating


class _Huge:
    """A number that no float holds."""


def _parsed(body: bytes) -> Any:
    """JSON as Python reads it, so that NaN and what is too large can be told by their places.

    Raises:
        Malformed: it is not JSON.
    """

    def whole(digits: str) -> Any:
        return int(digits) if len(digits) <= MOST_DIGITS and math.isfinite(float(digits)) else _Huge()

    def fraction(digits: str) -> Any:
        value = float(digits)
        return value if math.isfinite(value) else _Huge()

    try:
        return json.loads(
            body.decode(),
            parse_int=whole,
            parse_float=fraction,
            parse_constant=lambda _: _Huge(),
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise Malformed(f"is not JSON: {error.msg.lower()} at character {error.pos}") from None
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Malformed("is nested too deeply") from None


def _type_problem(value: Any, field: Field) -> str | None:
    if value is None:
        return None if field.nullable else "must not be null"
    if isinstance(value, _Huge):
        return f"{HUGE}; what is unknown is null" if field.nullable else HUGE
    wanted = field.types
    fits = isinstance(value, wanted) and (not isinstance(value, bool) or bool in wanted)
    if not fits:
        names = dict.fromkeys(JSON_NAMES[one] for one in wanted if not (one is int and float in wanted))
        article = "an" if next(iter(names)) == "integer" else "a"
        return f"must be {article} {' or '.join(names)}, not {_named(value)}"
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        return "is no text: it has half a surrogate pair"
    return None


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    names = {int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "null" if value is None else "a number")


def _problem(row: int | None, field: str | None, said: str) -> dict[str, Any]:
    # the name of an unknown field is the sender's: it is cut, and what is no text is replaced
    name = field and field[:80].encode("utf-8", "replace").decode()
    return {"row": row, "field": name, "problem": said}


def as_text(value: Any) -> str:
    """As `schema.as_text`: whole floats lose their `.0`, others are written as Arrow writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return format_number(value)


def _taken(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Takes the values at these places out of a row."""
    if len(places) > 1:
        return itemgetter(*places)
    start, end = (places[0], places[0] + 1) if places else (0, 0)
    return itemgetter(slice(start, end))


def _not_quick(body: bytes) -> Any:
    raise ValueError("msgspec cannot be told these names")


def as_truth(value: Any) -> float | None:
    """As in training: 1, 0, or None where it is neither."""
    said = as_text(value).strip().lower() if value is not None else ""
    return 1.0 if said in TRUE else 0.0 if said in FALSE else None


def as_micros(value: Any, day_first: bool | None = False) -> int | None:
    """Microseconds since 1970-01-01 UTC of anything that a row may have for a moment: a word that says null is None."""
    found = value.isoformat() if isinstance(value, datetime) else value
    return to_micros(found, day_first) if isinstance(found, str) else found


def _date_parts(since: int | None) -> list[float | None]:
    """As `schema`, of microseconds: days since 1970, month, weekday (Monday is 0), hour."""
    if since is None:
        return [None] * 4
    when = np.datetime64(since, "us")
    days, seconds = divmod(since // 1_000_000, 86400)
    month = int(when.astype("datetime64[M]").astype(np.int64)) % 12 + 1
    return [days + seconds / 86400, month, (days + 3) % 7, seconds // 3600]

"""Finds the problems of a request: values that types alone cannot check, and every fault of a body that was refused.

Python's parser reads a body again that msgspec refuses, because msgspec takes the last of two equal keys and does not
report the place of a NaN. The second reading also accepts rows without names, as clients of a plain FastAPI server
send them: `{"features": [[…], …]}`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mlops_glue.records import FeatureList
from mlops_glue.schema import Schema
from mlops_glue.serving.fields import (
    UNSET,
    Field,
    HugeNumber,
    Invalid,
    Malformed,
    Row,
    RowProblem,
    Rows,
    name_of_value,
    problem,
)
from mlops_glue.suggest import did_you_mean

LISTED = "features"  # the key of rows without names
MAX_PROBLEMS = 1000
MAX_ORDER = 800  # characters of column names in a problem
MAX_DIGITS = 400  # in an integer; the largest float has 309
TWICE = "appears twice in one object"


class Diagnosis:
    """Finds what is wrong with requests to one model."""

    def __init__(self, fields: Sequence[Field], schema: Schema, features: FeatureList | None, max_rows: int) -> None:
        self._fields, self._schema, self._features, self._max_rows = fields, schema, features, max_rows
        self._position = {field.name: at for at, field in enumerate(fields)}
        self._checked = [(at, field) for at, field in enumerate(fields) if field.needs_check]
        self._sound = [(at, field.known) for at, field in self._checked]
        self._keys = [self._position[name] for name in features.asked_by] if features else []
        self._needs = _needs(features) if features else {}
        self._are_all_sound = not self._checked and not self._needs

    def check(self, rows: Sequence[Row]) -> None:
        """Check the values of rows that have the right types.

        Raises:
            Invalid: a value is not allowed.
        """
        if self._are_all_sound:
            return
        doubtful = [(at, row) for at, row in enumerate(rows) if not self._is_sound(row)]
        if problems := [found for at, row in doubtful for found in self._value_problems(at, row)]:
            raise Invalid(problems)

    def _is_sound(self, row: Row) -> bool:
        """Does the row have all keys and only known categories? Most rows do, and need no closer check."""
        for at, known in self._sound:
            if row[at] not in known:
                return False
        return not any(row[at] is UNSET for at in self._keys)

    def _value_problems(self, at: int, row: Row) -> Iterator[RowProblem]:
        """Yield the problems of a row that has the right types."""
        for position, field in self._checked:
            value = row[position]
            if value is not None and value is not UNSET and (reason := field.value_problem(value)):
                yield problem(at, field.name, reason)
        if not any(row[position] is UNSET for position in self._keys):
            return
        for column, keys in self._needs.items():
            if row[self._position[column]] is UNSET:
                for key in keys:
                    if row[self._position[key]] is UNSET:
                        yield problem(at, key, f"is required to look up {column}, which is not given")

    def decode(self, body: bytes, order: list[str]) -> Rows:
        """Decode the rows of a request; `order` is the order of the values in a row without names.

        Raises:
            Malformed: the body is not JSON.
            Invalid: the rows have problems; the exception lists them all.
        """
        tree = _parse(body)
        if isinstance(tree, dict) and isinstance(tree.get("rows"), list):
            return Rows(self.rows(tree["rows"], self._problems_around(tree, "rows", tree["rows"])), bare=False)
        if isinstance(tree, dict) and len(tree) == 1 and "rows" in tree and "rows" not in self._position:
            raise Invalid([problem(None, "rows", f"must be an array of rows, not {name_of_value(tree['rows'])}")])
        is_column = LISTED in self._position
        if isinstance(tree, dict) and LISTED in tree and (not is_column or isinstance(tree[LISTED], list)):
            return Rows(self._rows_without_names(tree, order), bare=False, order=order)
        return Rows(self.rows([tree], []), bare=True)

    def rows(self, rows: list[Any], problems: list[RowProblem]) -> list[Row]:
        """Decode rows that Python's parser has read.

        Args:
            rows: each a dict, or whatever was sent instead; UNSET for a row whose problem is already listed.
            problems: the problems found so far.

        Raises:
            Invalid: there are problems.
        """
        if not rows:
            problems.append(problem(None, "rows", "must have at least one row"))
        decoded = []
        for at, row in enumerate(rows):
            if len(problems) >= MAX_PROBLEMS:
                break
            if row is UNSET:
                continue
            if not isinstance(row, dict):
                problems.append(problem(at, None, f"a row is an object, not {name_of_value(row)}"))
                continue
            found = list(self._field_problems(at, row))
            problems += found
            if not found:
                decoded.append(tuple(self._value(row, field) for field in self._fields))
                problems += self._value_problems(at, decoded[-1])
        if problems:
            raise Invalid(problems)
        return decoded

    def _value(self, row: dict[str, Any], field: Field) -> Any:
        value = row.get(field.name, UNSET if field.stays_unset else None)
        return float(value) if field.kind == "number" and isinstance(value, int) else value

    def _field_problems(self, at: int, row: dict[str, Any]) -> Iterator[RowProblem]:
        """Yield the fields that are missing, unknown or of the wrong type."""
        for name in getattr(row, "twice", ()):
            yield problem(at, name, TWICE)
        for name in row:
            if name not in self._position:
                is_target = name == self._schema.target
                hint = "is the target" if is_target else did_you_mean(name[:80], list(self._position))
                yield problem(at, name, f"unknown field ({hint})")
        for field in self._fields:
            if field.name not in row:
                reason = None if field.nullable else "is required"
            else:
                reason = field.type_problem(row[field.name])
            if reason:
                yield problem(at, field.name, reason)

    def _problems_around(self, tree: dict[str, Any], key: str, rows: list[Any]) -> list[RowProblem]:
        """Return the problems of the object that contains the rows.

        Raises:
            Invalid: there are too many rows.
        """
        problems = [problem(None, name, TWICE) for name in getattr(tree, "twice", ())]
        problems += [problem(None, name, "unknown field") for name in tree if name != key]
        if len(rows) > self._max_rows:
            problems.append(problem(None, key, f"has {len(rows):,} rows; the limit is {self._max_rows:,}"))
            raise Invalid(problems)
        return problems

    def _rows_without_names(self, tree: dict[str, Any], order: list[str]) -> list[Row]:
        """Decode rows without names: each value belongs to the column at its position in the order."""
        given = tree[LISTED]
        refusal = None
        if self._features is not None:
            names = ", ".join(f'"{name}": …' for name in self._features.asked_by)
            refusal = f'needs names, because features are looked up: send {{"rows": [{{{names}}}, …]}}'
        elif given == []:
            refusal = "must have at least one row"
        elif not isinstance(given, list):
            refusal = f"must be an array of rows, not {name_of_value(given)}"
        if refusal is not None:
            raise Invalid([problem(None, LISTED, refusal)])
        rows = given if any(isinstance(row, list) for row in given) else [given]
        problems = self._problems_around(tree, LISTED, rows)
        names = ", ".join(order)
        names = names if len(names) <= MAX_ORDER else f"{names[:MAX_ORDER]}… (GET /model has all)"
        named: list[Any] = []
        for at, row in enumerate(rows):
            if len(problems) >= MAX_PROBLEMS:
                break
            if isinstance(row, list) and len(row) == len(order):
                named.append(dict(zip(order, row, strict=True)))
                continue
            named.append(UNSET)
            reason = f"a row is an array, not {name_of_value(row)}"
            if isinstance(row, list):
                reason = f"must have {len(order)} values, not {len(row)}, in this order: {names}"
            problems.append(problem(at, None, reason))
        return self.rows(named, problems)


def _needs(features: FeatureList) -> dict[str, list[str]]:
    """Return, by column, the keys and request columns that its lookup needs."""
    views = {view.name: view for view in features.views}
    needs = {}
    for column, ref in features.columns.items():
        view = views[ref.partition(":")[0]]
        every = dict.fromkeys([*features.keys, *features.request]) if view.on_demand else view.keys.values()
        needs[column] = list(every)
    return needs


class _RepeatingDict(dict[str, Any]):
    """A JSON object with repeated keys, which `twice` lists."""

    twice: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeating = _RepeatingDict(plain)
    repeating.twice = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    return repeating


def _whole(digits: str) -> Any:
    return int(digits) if len(digits) <= MAX_DIGITS and math.isfinite(float(digits)) else HugeNumber()


def _fraction(digits: str) -> Any:
    value = float(digits)
    return value if math.isfinite(value) else HugeNumber()


def _parse(body: bytes) -> Any:
    """Parse JSON, and keep track of NaN, of numbers that are too large and of repeated keys.

    Raises:
        Malformed: the body is not JSON.
    """
    try:
        return json.loads(
            body.decode(),
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=lambda _: HugeNumber(),
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        reason = error.msg.lower().removesuffix(" at").rstrip(": ")  # some of Python's end so
        raise Malformed(f"is not JSON: {reason} at character {error.pos}") from None
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Malformed("is nested too deeply") from None

"""The second reading of a body that the quick one refused: every problem by row and field, or the rows after all.

It reads JSON as Python does, because msgspec takes the last of two equal keys and does not say where a NaN stands. It
also reads what clients of a plain FastAPI server send, `{"features": [[…], …]}`: rows without names.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mlops_glue.records import FeatureList
from mlops_glue.serving.checks import Invalid, Malformed, Problem, RowChecks, problem
from mlops_glue.serving.encoder import Row
from mlops_glue.serving.fields import UNSET, Field, HugeNumber, name_of_value
from mlops_glue.suggest import did_you_mean

LISTED = "features"  # the key of rows without names
MOST_PROBLEMS = 1000
MOST_ORDER = 800  # characters of the column names in a problem
MOST_DIGITS = 400  # of a whole number; a float has 309
TWICE = "stands twice in one object"


class Diagnosis:
    """Reads bodies slowly.

    Args:
        fields: of a row.
        checks: what the types do not say.
        features: those of the columns that Feast has.
        target: of the model; a row that has it gets a word about it.
        order: the columns as a row without names has them.
        max_rows: of a request.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        checks: RowChecks,
        features: FeatureList | None,
        *,
        target: str,
        order: list[str],
        max_rows: int,
    ) -> None:
        self._fields, self._checks, self._features = fields, checks, features
        self._target, self._order, self._max_rows = target, order, max_rows
        self._names = {field.name for field in fields}
        self._looked_up = set(features.columns) if features else set()

    def decode(self, body: bytes, order: list[str] | None) -> tuple[list[Row], bool, list[str] | None]:
        """The rows of a request, whether it is one bare row, and the order of names that the request left out.

        Args:
            body: of the request.
            order: of the values in a row without names, where it is another version's.

        Raises:
            Malformed: it is not JSON.
            Invalid: it has problems, and here they all are.
        """
        tree = _parse(body)
        if isinstance(tree, dict) and isinstance(tree.get("rows"), list):
            return self.rows(tree["rows"], self._problems_around(tree, "rows", tree["rows"])), False, None
        if isinstance(tree, dict) and LISTED in tree and (LISTED not in self._names or isinstance(tree[LISTED], list)):
            order = order or self._order
            return self._rows_without_names(tree, order), False, order
        return self.rows([tree], []), True, None

    def rows(self, rows: list[Any], problems: list[Problem]) -> list[Row]:
        """Rows as Python has them from JSON.

        Args:
            rows: each a dict, or what was sent in its place; UNSET stands for one whose problem is known.
            problems: those that are known already.

        Raises:
            Invalid: there are problems.
        """
        if not rows:
            problems.append(problem(None, "rows", "must have at least one row"))
        decoded = []
        for at, row in enumerate(rows):
            if len(problems) >= MOST_PROBLEMS:
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
                problems += self._checks.problems(at, decoded[-1])
        if problems:
            raise Invalid(problems)
        return decoded

    def _value(self, row: dict[str, Any], field: Field) -> Any:
        unset = UNSET if field.name in self._looked_up or field.kind == "key" else None
        value = row.get(field.name, unset)
        return float(value) if field.kind == "number" and isinstance(value, int) else value

    def _field_problems(self, at: int, row: dict[str, Any]) -> Iterator[Problem]:
        """Fields that are missing, unknown or of a wrong type."""
        for name in getattr(row, "twice", ()):
            yield problem(at, name, TWICE)
        for name in row:
            if name not in self._names:
                is_target = name == self._target
                hint = "is the target" if is_target else did_you_mean(name[:80], [f.name for f in self._fields])
                yield problem(at, name, f"unknown field ({hint})")
        for field in self._fields:
            if field.name not in row:
                reason = "is required" if field.required else None
            else:
                reason = field.type_problem(row[field.name])
            if reason:
                yield problem(at, field.name, reason)

    def _problems_around(self, tree: dict[str, Any], key: str, rows: list[Any]) -> list[Problem]:
        """What is wrong with the object that holds the rows.

        Raises:
            Invalid: the rows are too many.
        """
        problems = [problem(None, name, TWICE) for name in getattr(tree, "twice", ())]
        problems += [problem(None, name, "unknown field") for name in tree if name != key]
        if len(rows) > self._max_rows:
            problems.append(problem(None, key, f"has {len(rows):,} rows; the limit is {self._max_rows:,}"))
            raise Invalid(problems)
        return problems

    def _rows_without_names(self, tree: dict[str, Any], order: list[str]) -> list[Row]:
        """Each value of a row, or of one row alone, gets the name at its position in the order."""
        given = tree[LISTED]
        if self._features is not None:
            names = ", ".join(f'"{name}": …' for name in self._features.asked_by)
            reason = f'needs names, because features are looked up: send {{"rows": [{{{names}}}, …]}}'
            raise Invalid([problem(None, LISTED, reason)])
        if given == []:
            raise Invalid([problem(None, LISTED, "must have at least one row")])
        if not isinstance(given, list):
            raise Invalid([problem(None, LISTED, f"must be an array of rows, not {name_of_value(given)}")])
        rows = given if any(isinstance(row, list) for row in given) else [given]
        problems = self._problems_around(tree, LISTED, rows)
        names = ", ".join(order)
        names = names if len(names) <= MOST_ORDER else f"{names[:MOST_ORDER]}… (GET /model has all)"
        named: list[Any] = []
        for at, row in enumerate(rows):
            if len(problems) >= MOST_PROBLEMS:
                break
            fits = isinstance(row, list) and len(row) == len(order)
            named.append(dict(zip(order, row, strict=True)) if fits else UNSET)
            if not isinstance(row, list):
                problems.append(problem(at, None, f"a row is an array, not {name_of_value(row)}"))
            elif not fits:
                reason = f"must have {len(order)} values, not {len(row)}, in this order: {names}"
                problems.append(problem(at, None, reason))
        return self.rows(named, problems)


class _RepeatingDict(dict[str, Any]):
    """An object of JSON in which keys stand more than once: `twice` has them."""

    twice: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeating = _RepeatingDict(plain)
    repeating.twice = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    return repeating


def _whole(digits: str) -> Any:
    return int(digits) if len(digits) <= MOST_DIGITS and math.isfinite(float(digits)) else HugeNumber()


def _fraction(digits: str) -> Any:
    value = float(digits)
    return value if math.isfinite(value) else HugeNumber()


def _parse(body: bytes) -> Any:
    """JSON as Python reads it, with a place for NaN, for what is too large and for keys that repeat.

    Raises:
        Malformed: it is not JSON.
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
        raise Malformed(f"is not JSON: {error.msg.lower()} at character {error.pos}") from None
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Malformed("is nested too deeply") from None

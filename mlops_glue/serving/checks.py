"""What the types of a row do not say: words for null, dates, whole numbers, unseen categories, missing keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlops_glue.records import FeatureList
from mlops_glue.serving.encoder import Encoder, Row
from mlops_glue.serving.fields import INT64, UNSET, Field, as_truth
from mlops_glue.words import INEXACT_INTEGER, MAX_EXACT_INTEGER, to_micros

MOST_WHOLE = (1 << 64) - 1  # that the prediction log can hold
NOT_64_BITS = "must be a whole number of 64 bits"

Problem = dict[str, Any]  # row (from 0), field and problem, as an answer has it


class Malformed(Exception):
    """The body is not JSON."""


class Invalid(Exception):
    """Values that the model does not take; `problems` has a row (from 0), a field and what is wrong, each."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def problem(row: int | None, field: str | None, reason: str) -> Problem:
    """One problem. The name of an unknown field is the sender's: it is cut, and what is no text in it is replaced."""
    name = field and field[:80].encode("utf-8", "replace").decode()
    return {"row": row, "field": name, "problem": reason}


class RowChecks:
    """Checks decoded rows of one model.

    Args:
        fields: of a row.
        encoder: knows the words of the training data.
        features: those of the columns that Feast has.
        unseen: may a category be one that training did not have?
    """

    def __init__(
        self, fields: Sequence[Field], encoder: Encoder, features: FeatureList | None, *, unseen: bool
    ) -> None:
        self._encoder, self._unseen = encoder, unseen
        self._position = {field.name: at for at, field in enumerate(fields)}
        self._keys = [self._position[name] for name in features.asked_by] if features else []
        needs = _needs(features) if features else {}
        self._needs = {field.name: needs[field.name] for field in fields if field.name in needs}
        self._checked = [(at, field) for at, field in enumerate(fields) if self._needs_check(field)]
        self._sound = [(at, encoder.known.get(field.name, frozenset[str]())) for at, field in self._checked]
        self.are_needed = bool(self._checked or self._needs)

    def _needs_check(self, field: Field) -> bool:
        is_limited = field.kind == "category" and not self._unseen and field.name in self._encoder.known
        has_words = field.kind == "boolean" and field.types != (bool,)
        is_whole = field.kind in ("key", "category") and int in field.types
        never_null = not field.nullable and field.column is not None and str in field.types
        return is_limited or has_words or is_whole or never_null or field.kind == "datetime"

    def check(self, rows: Sequence[Row]) -> None:
        """Find what is wrong with rows that have the right types.

        Raises:
            Invalid: something is.
        """
        if self.are_needed:
            doubtful = [(at, row) for at, row in enumerate(rows) if not self._is_sound(row)]
            if problems := [found for at, row in doubtful for found in self.problems(at, row)]:
                raise Invalid(problems)

    def _is_sound(self, row: Row) -> bool:
        """Has the row all keys and, where words are checked, words of the training data? Most need no closer look."""
        for at, known in self._sound:
            if row[at] not in known:
                return False
        return not any(row[at] is UNSET for at in self._keys)

    def problems(self, at: int, row: Row) -> Iterator[Problem]:
        """What is wrong with a row that has the right types."""
        for position, field in self._checked:
            value = row[position]
            reason = None if value is None or value is UNSET else self._value_problem(value, field)
            if reason:
                yield problem(at, field.name, reason)
        if not any(row[position] is UNSET for position in self._keys):
            return
        for column, keys in self._needs.items():
            if row[self._position[column]] is UNSET:
                for key in keys:
                    if row[self._position[key]] is UNSET:
                        yield problem(at, key, f"is required to look up {column}, which is not given")

    def _value_problem(self, value: Any, field: Field) -> str | None:
        if field.column is not None and isinstance(value, str) and not self._encoder.word(value):
            return None if field.nullable else "must not be null, and that is what this word says"
        if field.kind == "datetime":
            or_else = ", or as in training" if field.dtype == "string" else ""
            is_date = to_micros(value, field.day_first) is not None
            return None if is_date else f"must be a date or time in ISO 8601{or_else}"
        if field.kind == "boolean":
            return None if as_truth(value) is not None else "must be true or false"
        if field.kind == "key":
            return None if INT64[0] <= value <= INT64[1] else NOT_64_BITS
        return self._category_problem(value, field)

    def _category_problem(self, value: Any, field: Field) -> str | None:
        if isinstance(value, float) and field.is_whole and abs(value) >= MAX_EXACT_INTEGER:
            return INEXACT_INTEGER
        if isinstance(value, int) and not INT64[0] <= value <= MOST_WHOLE:
            return NOT_64_BITS
        known = None if self._unseen else self._encoder.known.get(field.name)
        if known is None or self._encoder.category(field, value) in known:
            return None
        return f"is not one of the {len(known)} categories of the training data"


def _needs(features: FeatureList) -> dict[str, list[str]]:
    """By column: the keys and request columns without which it cannot be looked up."""
    views = {view.name: view for view in features.views}
    needs = {}
    for column, ref in features.columns.items():
        view = views[ref.partition(":")[0]]
        every = dict.fromkeys([*features.keys, *features.request]) if view.on_demand else view.keys.values()
        needs[column] = list(every)
    return needs

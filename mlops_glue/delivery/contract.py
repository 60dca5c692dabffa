"""What callers of a model send and get, and which change of it breaks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mlops_glue.records import FeatureList
from mlops_glue.schema import Column, Schema

NUMBERS = ("int", "uint", "double", "float")  # with which Arrow's names of numbers begin


class Sent(NamedTuple):
    """A field of a row as a caller sends it."""

    kind: str
    required: bool


def contract(schema: Schema) -> dict[str, str]:
    """All that may be seen of a model: what it predicts, and the kind and the categories of each column it takes."""
    seen = {"task": schema.task, "target": schema.target, "labels": str(schema.labels)}
    for column in schema.columns:
        seen[column.name] = column.kind if column.nullable else f"{column.kind}, never null"
        seen |= {f"{column.name} = {category}": "known" for category in column.categories or ()}
    return seen


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was added, removed or changed, by name."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in names]


def broken(
    before: Schema, after: Schema, features: FeatureList | None = None, features_after: FeatureList | None = None
) -> list[str]:
    """What a caller of the first model notices of the second: a request that is refused, or another meaning.

    A server refuses a field that it does not know, a required one that is not given, and a value of another type. So a
    column that is gone breaks a caller, a new one that may be left out does not. A new label, another task or another
    target is an answer that no caller expects. Categories are data: new and gone ones break nobody, as a null that is
    taken from now on.

    Args:
        before: of the model that callers know.
        after: of the one that would answer them.
        features: those of the first that Feast has.
        features_after: those of the second.
    """
    pairs = [(key, getattr(before, key), getattr(after, key)) for key in ("task", "target", "labels", "decimal")]
    found = [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]
    old_fields, new_fields = _sent(before, features), _sent(after, features_after)
    for name, old in old_fields.items():
        new = new_fields.get(name)
        if new is None:
            found.append(f"{name} is no longer taken")
        elif new.kind != old.kind:
            found.append(f"{name} {old.kind} -> {new.kind}")
        elif new.required and not old.required:
            found.append(f"{name} is required now")
    return found + [
        f"{name} is new, and required" for name, new in new_fields.items() if new.required and name not in old_fields
    ]


def _sent(schema: Schema, features: FeatureList | None) -> dict[str, Sent]:
    """The fields of a request; what Feast has may be left out, the keys by which it is found may not."""
    looked_up = features.columns if features is not None else {}
    keys = features.asked_by if features is not None else []
    columns = {c.name: Sent(_kind(c), not c.nullable and c.name not in looked_up) for c in schema.columns}
    return {name: Sent("key", required=True) for name in keys} | columns


def _kind(column: Column) -> str:
    """The kind, with the type of its JSON values where the kind does not say it."""
    if column.kind == "datetime":
        return "datetime, day first" if column.day_first else "datetime"
    if column.kind == "number":
        return "number"
    of = "number" if column.dtype.startswith(NUMBERS) else "boolean" if column.dtype == "bool" else "text"
    return column.kind if of == column.kind else f"{column.kind} as {of}"

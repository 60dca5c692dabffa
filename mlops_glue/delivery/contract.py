"""A model's contract with its callers, and the changes that break callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mlops_glue.records import FeatureList
from mlops_glue.schema import Column, Schema

NUMBERS = ("int", "uint", "double", "float")  # prefixes of Arrow's number types


class Sent(NamedTuple):
    """A field of a row as a caller sends it."""

    kind: str
    required: bool


def contract(schema: Schema) -> dict[str, str]:
    """Return a model's visible properties: its target, and the kind and categories of each input column."""
    seen = {"task": schema.task, "target": schema.target, "labels": str(schema.labels)}
    for column in schema.columns:
        seen[column.name] = column.kind if column.nullable else f"{column.kind}, never null"
        seen |= {f"{column.name} = {category}": "known" for category in column.categories or ()}
    return seen


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the additions, removals and changes, by name."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in names]


def broken(
    before: Schema, after: Schema, features: FeatureList | None = None, features_after: FeatureList | None = None
) -> list[str]:
    """Return the changes that break callers of the first model: refused requests, and answers with another meaning.

    A server refuses an unknown field, a missing required field, and a value of another type. So a removed column breaks
    callers, and a new optional column does not. Callers do not expect a new label, another task or another target. New
    and removed categories, and newly accepted nulls, do not break callers.

    Args:
        before: the schema of the model that callers use.
        after: the schema of the model that would answer them.
        features: the first model's features from Feast.
        features_after: the second model's features from Feast.
    """
    pairs = [(key, getattr(before, key), getattr(after, key)) for key in ("task", "target", "labels", "decimal")]
    found = [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]
    old_fields, new_fields = _sent(before, features), _sent(after, features_after)
    for name, old in old_fields.items():
        new = new_fields.get(name)
        if new is None:
            found.append(f"{name} is no longer accepted")
        elif new.kind != old.kind:
            found.append(f"{name} {old.kind} -> {new.kind}")
        elif new.required and not old.required:
            found.append(f"{name} is now required")
    return found + [
        f"{name} is new and required" for name, new in new_fields.items() if new.required and name not in old_fields
    ]


def _sent(schema: Schema, features: FeatureList | None) -> dict[str, Sent]:
    """Return the fields of a request. Features from Feast are optional, and the keys to look them up are required."""
    looked_up = features.columns if features is not None else {}
    keys = features.asked_by if features is not None else []
    columns = {c.name: Sent(_kind(c), not c.nullable and c.name not in looked_up) for c in schema.columns}
    return {name: Sent("key", required=True) for name in keys} | columns


def _kind(column: Column) -> str:
    """Return the kind, with the type of its JSON values if the kind does not imply it."""
    if column.kind == "datetime":
        return "datetime, day first" if column.day_first else "datetime"
    if column.kind == "number":
        return "number"
    of = "number" if column.dtype.startswith(NUMBERS) else "boolean" if column.dtype == "bool" else "text"
    return column.kind if of == column.kind else f"{column.kind} as {of}"

"""Values that training did not have: counted by column, many requests at a time, never refused here."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_glue.schema import Schema


class Outside:
    """Numbers beyond the range of the training data, categories that it did not have, nulls where it had none."""

    def __init__(self, schema: Schema) -> None:
        names = [name for c in schema.columns if c.kind != "category" for name in c.inputs]
        limits = {
            c.name: (c.minimum, c.maximum) for c in schema.columns if c.kind == "number" and c.minimum is not None
        }
        at = [names.index(name) for name in limits]
        self._numbers = list(limits)
        self._at = np.array(at, np.int64)
        bases = np.array([c.base for c in schema.columns if c.name in limits])
        ends = np.array([*limits.values()], np.float64).reshape(-1, 2) - bases[:, None]  # as they are encoded
        self._low, self._high = ends.astype(np.float32).T
        self._never_null = np.array([not c.nullable for c in schema.columns if c.name in limits], bool)
        text = [c for c in schema.columns if c.kind == "category"]
        self._known = [
            (at, c.name, frozenset([*c.categories, *[""] * c.nullable])) for at, c in enumerate(text) if c.categories
        ]
        self._waiting: list[dict[str, Any]] = []

    def see(self, inputs: dict[str, Any]) -> None:
        """Remember what was given to the model."""
        self._waiting.append(inputs)

    def count(self) -> dict[str, int]:
        """By column, of what was seen since the last count."""
        seen, self._waiting = self._waiting, []
        out: dict[str, int] = {}
        if not seen:
            return out
        if self._numbers:
            number = np.concatenate([one["number"] for one in seen])[:, self._at]
            unknown = np.isnan(number) & self._never_null
            beyond = ((number < self._low) | (number > self._high) | unknown).sum(axis=0)
            out |= {name: int(n) for name, n in zip(self._numbers, beyond, strict=True) if n}
        for at, name, known in self._known:
            new = sum(value not in known for one in seen for value in one["text"][:, at])
            if new:
                out[name] = new
        return out

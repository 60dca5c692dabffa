"""Counts values that the training data did not contain, by column, for many requests at a time."""

from __future__ import annotations

import numpy as np

from mlops_glue.adapters.onnx import Inputs
from mlops_glue.schema import TEXTUAL, Schema


class UnseenValues:
    """Counts numbers outside the range of the training data, new categories, and nulls in columns that had none."""

    def __init__(self, schema: Schema) -> None:
        inputs = schema.numeric
        ranged = [c for c in schema.columns if c.kind == "number" and c.minimum is not None]
        self._numbers = [column.name for column in ranged]
        self._positions = np.array([inputs.index(name) for name in self._numbers], np.int64)
        bases = np.array([column.base for column in ranged])
        ends = np.array([(c.minimum, c.maximum) for c in ranged], np.float64).reshape(-1, 2)
        self._low, self._high = (ends - bases[:, None]).astype(np.float32).T  # encoded as the inputs are
        self._never_null = np.array([not column.nullable for column in ranged], bool)
        text = [column for column in schema.columns if column.kind in TEXTUAL]
        self._known = [
            (at, column.name, frozenset([*column.categories, *[""] * column.nullable]))
            for at, column in enumerate(text)
            if column.categories
        ]
        self._waiting: list[Inputs] = []

    def see(self, inputs: Inputs) -> None:
        """Add the inputs of a run of the model."""
        self._waiting.append(inputs)

    def count(self) -> dict[str, int]:
        """Count, by column, the unseen values since the last count."""
        seen, self._waiting = self._waiting, []
        counts: dict[str, int] = {}
        if not seen:
            return counts
        if self._numbers:
            number = np.concatenate([inputs["number"] for inputs in seen])[:, self._positions]
            unknown = np.isnan(number) & self._never_null
            beyond = ((number < self._low) | (number > self._high) | unknown).sum(axis=0)
            counts |= {name: int(n) for name, n in zip(self._numbers, beyond, strict=True) if n}
        for at, name, known in self._known:
            new = sum(value not in known for inputs in seen for value in inputs["text"][:, at])
            if new:
                counts[name] = new
        return counts

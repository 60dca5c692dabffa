"""Decoded rows become the inputs of the model, exactly as training encoded its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_glue.precision import as_float32
from mlops_glue.schema import Schema
from mlops_glue.serving.fields import Field, as_micros, as_text, as_truth, date_parts
from mlops_glue.words import canonical_category, clean_word

Row = tuple[Any, ...]  # values in the order of `Contract.fields`


class InfiniteNumber(Exception):
    """msgspec reads a whole number of hundreds of digits as an infinite float."""


class Encoder:
    """Encodes the rows of one model.

    Args:
        schema: of the model.
        fields: its columns: first those that become numbers, then the categories.
    """

    def __init__(self, schema: Schema, fields: Sequence[Field]) -> None:
        self._schema, self._nulls = schema, frozenset(schema.nulls)
        self._numbers = [field for field in fields if field.kind != "category"]
        self._texts = [field for field in fields if field.kind == "category"]
        self.known = {f.name: frozenset(f.column.categories) for f in self._texts if f.column and f.column.categories}
        self._words = [self.known.get(field.name, frozenset[str]()) for field in self._texts]
        bases = np.array([f.column.base for f in self._numbers if f.column for _ in f.column.inputs], np.float64)
        self._bases = bases if bases.any() else None
        # most models: a value of JSON is the input itself
        self._is_plain = all(f.kind == "number" or f.types == (bool,) for f in self._numbers)
        self._is_plain &= all(f.types == (str,) for f in self._texts)

    def matrices(self, rows: list[Row]) -> dict[str, np.ndarray[Any, Any]]:
        """What the model takes, as `schema.matrices`: `number` float32 (rows, n) and `text` object (rows, m).

        Raises:
            InfiniteNumber: a row has one.
        """
        split = len(self._numbers)
        inputs: dict[str, np.ndarray[Any, Any]] = {}
        if self._numbers:
            numbers = [row[:split] if self._is_plain else self._encode_numbers(row) for row in rows]
            number = np.array(numbers, np.float32)
            flat = number.reshape(-1)
            if not math.isfinite(flat.dot(flat)) and (infinite := np.isinf(number)).any():  # the quick answer is no
                if any(isinstance(value, float) and math.isinf(value) for row in rows for value in row[:split]):
                    raise InfiniteNumber
                number[infinite] = np.nan  # beyond what a float32 holds, as in training
            inputs["number"] = number if self._bases is None else as_float32(np.array(numbers, np.float64), self._bases)
        if self._texts:
            texts = [row[split : split + len(self._texts)] for row in rows]
            inputs["text"] = np.array([self._encode_texts(row) for row in texts], object)
        return inputs

    def _encode_numbers(self, row: Row) -> list[float | None]:
        out: list[float | None] = []
        for field, value in zip(self._numbers, row, strict=False):
            if field.kind == "datetime":
                out += date_parts(as_micros(value, field.day_first))
            else:
                out.append(as_truth(value) if field.kind == "boolean" else value)
        return out

    def _encode_texts(self, row: Row) -> list[str]:
        if self._is_plain:  # most values are words of the training data
            return [
                value if value in known else self.word(value) for value, known in zip(row, self._words, strict=True)
            ]
        return [self.category(field, value) for field, value in zip(self._texts, row, strict=True)]

    def word(self, value: str | None) -> str:
        """Text as a category of the model; empty where it stands for null."""
        if value is None or not self._schema.trims:
            return "" if value is None or value in self._nulls else value
        return clean_word(value, self._schema.nulls) or ""

    def category(self, field: Field, value: Any) -> str:
        """Any value of a category's field as the model knows it; empty is null."""
        if value is None:
            return ""
        if isinstance(value, str):
            return canonical_category(self.word(value), field.dtype)
        if field.dtype in ("double", "float") and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        return as_text(value)

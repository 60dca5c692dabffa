"""Encodes decoded rows as the model's inputs, exactly as training encoded its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlops_glue.adapters.onnx import Inputs
from mlops_glue.precision import as_float32
from mlops_glue.schema import TEXTUAL
from mlops_glue.serving.fields import HUGE, Field, Invalid, Row, as_micros, as_truth, date_parts, problem

INFINITE = (float("inf"), float("-inf"))


class Encoder:
    """Encodes the rows of one model. Fields that become numbers come first, then the text fields."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._numbers = [field for field in fields if field.kind not in TEXTUAL]
        self._texts = [field for field in fields if field.kind in TEXTUAL]
        self._known = [field.known for field in self._texts]
        bases = np.array([f.column.base for f in self._numbers if f.column for _ in f.column.inputs], np.float64)
        self._bases = bases if bases.any() else None
        # for most models a JSON value is the input itself
        self._is_plain = all(f.kind == "number" or f.types == (bool,) for f in self._numbers)
        self._has_words = all(f.types == (str,) and f.kind == "category" for f in self._texts)

    def matrices(self, rows: list[Row]) -> Inputs:
        """Return the model's inputs, as `schema.matrices`: `number` float32 (rows, n) and `text` object (rows, m).

        Raises:
            Invalid: msgspec has read an integer of hundreds of digits as an infinite float.
        """
        split = len(self._numbers)
        inputs: Inputs = {}
        if self._numbers:
            numbers = [row[:split] if self._is_plain else self._encode_numbers(row) for row in rows]
            number = np.array(numbers, np.float32)
            flat = number.reshape(-1)
            if not math.isfinite(flat.dot(flat)) and (infinite := np.isinf(number)).any():
                self._check_finite(rows)
                number[infinite] = np.nan  # beyond the range of a float32: null, as in training
            inputs["number"] = number if self._bases is None else as_float32(np.array(numbers, np.float64), self._bases)
        if self._texts:
            texts = [row[split : split + len(self._texts)] for row in rows]
            inputs["text"] = np.array([self._encode_texts(row) for row in texts], object)
        return inputs

    def _check_finite(self, rows: list[Row]) -> None:
        problems = [
            problem(at, field.name, HUGE)
            for at, row in enumerate(rows)
            for field, value in zip(self._numbers, row, strict=False)
            if value in INFINITE
        ]
        if problems:
            raise Invalid(problems)

    def _encode_numbers(self, row: Row) -> list[float | None]:
        out: list[float | None] = []
        for field, value in zip(self._numbers, row, strict=False):
            if field.kind == "datetime":
                out += date_parts(as_micros(value, field.day_first))
            else:
                out.append(as_truth(value) if field.kind == "boolean" else value)
        return out

    def _encode_texts(self, row: Row) -> list[str]:
        if not self._has_words:
            return [field.text(value) for field, value in zip(self._texts, row, strict=True)]
        # most values are categories of the training data
        fields = zip(row, self._known, self._texts, strict=True)
        return [value if value in known else field.word(value) for value, known, field in fields]

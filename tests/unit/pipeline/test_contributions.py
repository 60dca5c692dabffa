"""What the page says of contributions is what `explanation` says of some rows of the holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from mlops_glue.pipeline.contributions import contributions_of
from mlops_glue.schema import Column, Schema
from tests.support import models


class Text:
    """Counts 2 where the text is yes, and 3 times a date's month."""

    def predict(self, frame: pd.DataFrame) -> Any:
        return 2.0 * (frame["word"] == "yes") + 3.0 * frame["when.month"].to_numpy(float)


def test_of_a_linear_model_they_are_its_coefficients() -> None:
    frame, target, schema = models.made(None, seed=1)
    model = LinearRegression().fit(frame, target)
    found = contributions_of(schema, model, pa.Table.from_pandas(frame[:25]), frame[25:85], seed=0)
    assert found is not None and found["rows"] == 60 and found["holds"] and found["gap"] < 1e-5
    away = abs(model.coef_ * (frame[25:85].to_numpy() - frame[:25].to_numpy().mean(axis=0))).mean(axis=0)
    assert found["columns"] == pytest.approx(dict(zip(models.NAMES, away, strict=True)), abs=1e-5)
    assert list(found["columns"]) == sorted(found["columns"], key=lambda name: -found["columns"][name])


def test_a_column_of_several_inputs_is_one() -> None:
    schema = Schema("regression", "y", [Column("when", "datetime", "date"), Column("word", "category", "string")])
    frame = pd.DataFrame({name: np.zeros(30, np.float32) for name in schema.numeric})
    frame["when.month"], frame["word"] = np.arange(30, dtype=np.float32) % 12, ["yes", "no"] * 15
    found = contributions_of(schema, Text(), pa.Table.from_pandas(frame), frame, seed=0)
    assert found is not None and list(found["columns"]) == ["when", "word"] and found["holds"]


def test_too_many_columns_have_none() -> None:
    wide = pd.DataFrame(np.zeros((3, 201), np.float32))
    schema = Schema("regression", "y", [Column(str(at), "number", "double") for at in range(201)])
    assert contributions_of(schema, None, pa.table({}), wide, seed=0) is None

"""What is counted as none of the values that training had."""

from __future__ import annotations

import numpy as np

from mlops_glue.schema import Column, Schema
from mlops_glue.serving.unseen import UnseenValues

COLUMNS = [
    Column("when", "datetime"),
    Column("size", "number", nullable=False, minimum=0, maximum=9),
    Column("age", "number", minimum=0, maximum=9),
    Column("town", "category", nullable=False, categories=["Wien"]),
    Column("plan", "category", categories=["a"]),
]


def test_a_null_counts_where_training_had_none() -> None:
    outside = UnseenValues(Schema("binary", "y", COLUMNS, [0, 1]))
    whole = np.zeros((3, 6), np.float32)
    whole[:, 4] = [np.nan, 5, 10]  # size
    whole[:, 5] = [np.nan, -1, 3]  # age
    outside.see({"number": whole, "text": np.array([["", ""], ["Wien", "a"], ["Graz", "b"]], object)})
    assert outside.count() == {"size": 2, "age": 1, "town": 2, "plan": 1}
    assert outside.count() == {}

"""What a column is, by its values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from mlops_glue.pipeline.profile import profile
from mlops_glue.schema import Column, Schema, encode

DAYS = [f"2024-01-{at:02d}" for at in range(1, 29)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["  ", "1.5", ".", "?", "NA", " 7 ", ".5", "-2e3"], "number"),
        (["1,234", "5", " "], "number"),
        (["   ", *DAYS], "datetime"),
        (["   ", "Yes", "No ", "?"], "boolean"),
        ([*map(str, range(6000)), "later a word"] * 2, "category"),
        (["yes", "no"] * 3000 + ["perhaps"], "category"),
        (["  ", "?", "   "], None),
    ],
)
def test_blanks_and_words_for_null(values: list[str], kind: Any) -> None:
    """Every value counts: what the kind cannot take is seen now, not when it is encoded."""
    table = pa.table({"c": values})
    found = profile(table)[0]
    assert found.kind == kind, found
    if kind in ("number", "datetime", "boolean"):
        assert found.nulls == sum(v.strip() in ("", ".", "?", "NA") for v in values)
        encode(table, Schema("binary", "y", [Column("c", kind)]))

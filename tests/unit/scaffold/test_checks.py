"""Whether a target can be learnt, and what its user should know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_glue.pipeline.profile import profile
from mlops_glue.scaffold.checks import check_classes, check_target
from mlops_glue.scaffold.infer import Table


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["1", "1.0", "true", "0"], ["'1', '1.0' are written differently"]),
        (
            ["yes", "Yes ", "no", "NO"],
            ["'NO', 'no' are written differently", "'Yes ', 'yes' are"],
        ),
        (["0012", "12", "a"], []),
    ],
)
def test_classes_that_differ_only_in_writing_are_noted(words: list[str], wanted: list[str]) -> None:
    table, notes = pa.table({"y": words * 5}), list[str]()
    label = Table("t", Path("t.csv"), table, profile(table), [], None)
    check_classes(label, "y", "multiclass", notes, asked=False)
    assert len(notes) == len(wanted) and all(part in note for part, note in zip(wanted, notes, strict=True))


@pytest.mark.parametrize(("values", "lost"), [([1.5, None, float("inf"), 2.5, float("-inf")], 3), ([1.5, 2.5], 0)])
def test_rows_whose_target_is_no_number_are_counted(values: list[Any], lost: int) -> None:
    table, notes = pa.table({"y": values}), list[str]()
    check_target(Table("t", Path("t.csv"), table, profile(table), [], None), "y", notes)
    assert notes == ([f"target 'y': {lost} rows without a value left out"] if lost else [])

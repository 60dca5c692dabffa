"""What a column is, by its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_glue.commands import init
from mlops_glue.pipeline.profile import profile
from mlops_glue.schema import Column, Schema, encode

DAYS = [f"2024-01-{at:02d}" for at in range(1, 29)]


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        *(
            ([form.format(10.5 + at) for at in range(200)], None, f"text like {form.format(10.5)!r}: numbers with a")
            for form in (
                "${:.2f}",
                "US$ {:.1f}",
                "€ {:.1f}",
                "({:.0f})",
                "{:.1f} kg",
                "{:.1f}%",
                "-{:.1f}€",
                "{:.0f} km/h",
            )
        ),
        ([f"{at},71" for at in range(200)], None, "text like '0,71': numbers with a"),
        ([f"{at % 20}%" for at in range(200)], "category", "text like '0%': numbers with a"),
        ([*map(str, range(594)), *["unknown"] * 6], None, "6 of 600 values are no numbers ('unknown')"),
        ([*(str(at % 40) for at in range(5940)), *("u", "v", "w", "x") * 15], "category", "60 of 6,000 values are no"),
        ([f"U{at:06d}" for at in range(200)], None, "identifier or free text"),
        ([f"192.168.{at}.1" for at in range(200)], None, "identifier or free text"),
        ([f"{at}-{at * 7}" for at in range(200)], None, "identifier or free text"),
        (["S", "M", "38", "40"] * 50, "category", ""),
        ([*map(str, range(200)), *["x y"] * 900], "category", ""),
        (["50ml", "100ml"] * 50, "category", ""),
    ],
)
def test_text_that_may_be_meant_as_numbers_is_told_as_that(values: list[str], kind: Any, said: str) -> None:
    found = profile(pa.table({"c": values}))[0]
    assert (found.kind, found.reason[: len(said)]) == (kind, said), found.reason
    assert said or not found.reason


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1", "1.0", "true", "0"], ["'1', '1.0' are different classes, by how they are written only"]),
        (
            ["yes", "Yes ", "no", "NO"],
            ["'NO', 'no' are different classes, by blanks or case only", "'Yes ', 'yes' are"],
        ),
        (["0012", "12", "a"], []),
    ],
)
def test_classes_that_say_the_same_are_told(words: list[str], said: list[str]) -> None:
    table, notes = pa.table({"y": words * 5}), list[str]()
    label = init.Table("t", Path("t.csv"), table, profile(table), [], None)
    init._check_classes(label, "y", "multiclass", notes, asked=False)
    assert len(notes) == len(said) and all(one in note for one, note in zip(said, notes, strict=True))


@pytest.mark.parametrize(("values", "lost"), [([1.5, None, float("inf"), 2.5, float("-inf")], 3), ([1.5, 2.5], 0)])
def test_rows_whose_target_is_no_number_are_counted(values: list[Any], lost: int) -> None:
    table, notes = pa.table({"y": values}), list[str]()
    init._check_target(init.Table("t", Path("t.csv"), table, profile(table), [], None), "y", notes)
    assert notes == ([f"target 'y': {lost} rows without a value are left out"] if lost else [])

"""What a column is, by its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_glue import streaming, tables
from mlops_glue.commands import init
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.featurize import choose_columns, outputs
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
    assert notes == ([f"target 'y': {lost} rows without a value left out"] if lost else [])


def read(folder: Path, text: str, encoding: str = "utf-8") -> Any:
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return tables.read_table(folder / "t.csv")


def test_words_that_were_read_as_null_are_told(tmp_path: Path) -> None:
    """In a category, where NA may be Namibia, and not in numbers."""
    table = read(tmp_path, "land,n\nNA,1\nDE,NA\nNA,3\nFR,4\nNone,5\n" + "DE,6\n" * 20)
    made = init.Table("t", tmp_path / "t.csv", table, profile(table), [], None)
    assert init._null_words(made) == ["column 'land': 2 x 'NA', 1 x 'None' read as null"]


def test_what_predictions_are_called_is_no_feature() -> None:
    table = pa.table({"y": ["no", "yes"] * 20, "probability_yes": [0.5, 0.25] * 20, "probability_x": [0.5, 0.1] * 20})
    label = init.Table("t", Path("t.csv"), table, profile(table), [], None)
    kept = init._without_outputs(label, "y", None, label.profiles[1:])
    assert [one.kind for one in kept] == [None, "number"]
    assert "glue predict calls a column of its own so" in kept[0].reason
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "features": {"number": ["probability_yes"]},
        }
    )
    with pytest.raises(ConfigError) as refused:
        choose_columns(config, table, {}, outputs(pa.chunked_array([["no", "yes"]]), "binary"))
    assert "features: 'probability_yes' is what glue predict calls a column of its own" in refused.value.problems[0]


@pytest.mark.parametrize("last", ["31.12.9999", "9999-12-31 23:59:59.999999", "0001-01-01"])
def test_dates_out_to_the_ends_of_the_calendar_are_dates(last: str) -> None:
    first = "30.11.2024" if last[2] == "." else "2024-11-30 12:00:00.5" if " " in last else "2024-11-30"
    (found,) = profile(pa.table({"d": [first, last] * 20}))
    assert found.kind == "datetime"


def test_how_a_file_was_read_is_told_where_it_is_scored_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, "name,n\ncafé,1\n\nthé,2\n", "cp1252")
    list(streaming.batches(tmp_path / "t.csv"))
    assert "t.csv is read as cp1252: it is not UTF-8" in caplog.text and "1 blank lines are left out" in caplog.text

"""What is read in a table before a project is made of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mlops_glue.errors import UsageError
from mlops_glue.pipeline.profile import profile
from mlops_glue.scaffold.feature_repo import views
from mlops_glue.scaffold.infer import Request, Table, features, null_words
from mlops_glue.tables import read_table


def test_words_that_were_read_as_null_are_noted(tmp_path: Path) -> None:
    """In a category, where NA may be Namibia, and not in numbers."""
    (tmp_path / "t.csv").write_text("land,n\nNA,1\nDE,NA\nNA,3\nFR,4\nNone,5\n" + "DE,6\n" * 20)
    rows = read_table(tmp_path / "t.csv")
    table = Table("t", tmp_path / "t.csv", rows, profile(rows), [], None)
    assert null_words(table, "n") == ["column 'land': 2 x 'NA', 1 x 'None' read as null"]


@pytest.mark.parametrize("others", [("true", "1"), ("yes", "no"), ("left", "right")])
def test_words_of_a_target_that_were_read_as_null_are_noted(tmp_path: Path, others: tuple[str, str]) -> None:
    """They may be a class, be the others booleans or not, and their rows are left out."""
    words = [*others, "None"] * 20
    rows = read_table(_file(tmp_path, words))
    table = Table("t", tmp_path / "t.csv", rows, profile(rows), [], None)
    assert null_words(table, "y") == ["column 'y': 20 x 'None' read as null"]


def _file(folder: Path, words: list[str]) -> Path:
    file = folder / "t.csv"
    file.write_text("y,x\n" + "".join(f"{word},{at % 7}\n" for at, word in enumerate(words)))
    return file


def test_a_part_of_a_date_is_no_other_column() -> None:
    dates = pa.array(range(0, 400_000_000, 10_000_000), pa.timestamp("s"))
    rows = pa.table({"y": ["no", "yes"] * 20, "d": dates, "d.days": [0.5, 0.25] * 20, "e.days": [0.5, 0.1] * 20})
    label = Table("t", Path("t.csv"), rows, profile(rows), [], None)
    found = {p.name: p.reason for p in features(Request(Path(), [label.file], "y"), label) if p.kind is None}
    assert found == {"d.days": "the date 'd' has a part with this name"}


def test_a_column_that_predictions_are_called_is_no_feature() -> None:
    rows = pa.table({"y": ["no", "yes"] * 20, "probability_yes": [0.5, 0.25] * 20, "probability_x": [0.5, 0.1] * 20})
    label = Table("t", Path("t.csv"), rows, profile(rows), [], None)
    columns = features(Request(Path(), [label.file], "y"), label)
    assert [column.kind for column in columns] == [None, "number"]
    assert "glue predict writes a column with this name" in columns[0].reason


def test_a_feature_view_needs_names_that_differ_by_more_than_case() -> None:
    notes: list[str] = []
    when = pa.array(range(40), pa.timestamp("s"))
    rows = pa.table({"id": ["a", "b"] * 20, "at": when, "Age": [0.5, 0.25] * 20, "age": [0.5, 0.1] * 20})
    facts = Table("facts", Path("facts.csv"), rows, profile(rows), ["id"], "at")
    assert views([facts], facts, "y", notes) == []
    assert notes == [
        "wrote no Feast repository: facts.csv: columns ['Age', 'age'] differ only in case, "
        "which Feast's stores do not tell apart"
    ]
    labels = Table("labels", Path("labels.csv"), rows, profile(rows), ["id"], "at")
    with pytest.raises(UsageError, match=r"^facts\.csv: columns .'Age', 'age'. differ only in case"):
        views([labels, facts], labels, "y", notes)

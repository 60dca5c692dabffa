"""Labels that come later, joined with the prediction log."""

from __future__ import annotations

import itertools
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import tables
from mlops_glue.config import LabelTable
from mlops_glue.errors import ConfigError, DataError, GlueError, MissingExtra
from mlops_glue.monitoring.labels import KNOWN, TRUTH, Joined, Labels, in_words_of, join, read, word_of
from mlops_glue.schema import Schema

START = datetime(2026, 11, 1, tzinfo=UTC)


def log(n: int = 10, **more: Any) -> pa.Table:
    """Rows of a prediction log, one an hour."""
    columns = {
        "glue_request_id": [f"r{at}" for at in range(n)],
        "glue_row": [0] * n,
        "glue_time": pa.array([START + timedelta(hours=at) for at in range(n)], pa.timestamp("us", "UTC")),
        "customer": [f"c{at % 3}" for at in range(n)],
        "prediction": ["yes"] * n,
    }
    return pa.table(columns | more)


def given(root: Path, **columns: Any) -> None:
    tables.write_parquet(root / "labels.parquet", pa.table(columns))


def test_by_request(tmp_path: Path) -> None:
    given(tmp_path, id=["r1", "r3", "r4", "gone"], y=["yes", "no", "yes", "no"], at=[START + timedelta(hours=30)] * 4)
    options = LabelTable(path="labels.parquet", id="id", timestamp="at", target="y")
    found = join(read(options, "y", tmp_path), [log(5), log(0)])
    assert found.table is not None
    assert found.table["glue_request_id"].to_pylist() == ["r1", "r3", "r4"]
    assert found.table[TRUTH].to_pylist() == ["yes", "no", "yes"]
    assert (found.rows, found.labelled, found.coverage, found.problems) == (5, 3, 0.6, [])
    assert found.lag_s == (27 * 3600, pytest.approx(28.6 * 3600))


def test_by_entity_and_time_the_first_label_after_counts(tmp_path: Path) -> None:
    """c0 is asked at 0, 3, 6 and 9 o'clock."""
    when = [START + timedelta(hours=h) for h in (4, 6, 8)]
    given(tmp_path, customer=["c0", "c0", "c1"], y=[1, 2, 3], at=when)
    options = LabelTable(path="labels.parquet", entity="customer", timestamp="at")
    found = join(read(options, "y", tmp_path), [log()])
    assert found.table is not None
    got = dict(zip(found.table["glue_request_id"].to_pylist(), found.table[TRUTH].to_pylist(), strict=True))
    assert got == {"r0": "1", "r3": "1", "r6": "2", "r1": "3", "r4": "3", "r7": "3"}
    hours = [one.hour for one in found.table.sort_by("glue_request_id")[KNOWN].to_pylist()]
    assert hours == [4, 8, 4, 8, 6, 8]


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    ids = ["r1", "r1", "r2", "r2", None, "r4"]
    given(tmp_path, id=ids, y=["yes", "no", "yes", "yes", "no", None], at=[START] * 6)
    options = LabelTable(path="labels.parquet", id="id", timestamp="at")
    found = join(read(options, "y", tmp_path), [log()])
    assert found.table is not None and found.table["glue_request_id"].to_pylist() == ["r2"]
    assert found.problems == [
        "2 of 6 labels lack a key, a time or a true value: excluded",
        "1 labels are duplicates: each counts once",
        "2 labels contradict each other: excluded",
        "1 labels are older than their prediction: is a clock wrong?",
    ]
    given(tmp_path, id=["a", "b"], y=["yes", "no"], at=[START] * 2)
    none = join(read(options, "y", tmp_path), [log()])
    assert none.table is None and none.coverage == 0 and "none of 2 labels matches a prediction" in none.problems[0]
    given(tmp_path, id=["r1", "r1"], y=["yes", "no"], at=[START] * 2)
    none = join(read(options, "y", tmp_path), [log()])
    assert none.problems == ["2 labels contradict each other: excluded"]  # and not that the column is wrong
    given(tmp_path, id=["r1", "r2"], n=[1, 0], y=["yes", "no"])
    some = join(read(LabelTable(path="labels.parquet", id="id", row="n"), "y", tmp_path), [log()])
    assert some.labelled == 1
    assert some.problems == ["1 labels have a row number that their request does not have: are rows counted from 0?"]
    given(tmp_path, customer=["c0", "c1"], y=["yes", "no"], at=[START - timedelta(hours=1)] * 2)
    none = join(read(LabelTable(path="labels.parquet", entity="customer", timestamp="at"), "y", tmp_path), [log()])
    assert none.labelled == 0
    assert none.problems == ["none of 2 labels is used: all are older than their entity's predictions"]


def test_a_torn_file_of_a_folder_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.csv").write_text("id,y\nr1,yes\n")
    given(tmp_path / "labels", id=["r2"], y=["no"])
    whole = (tmp_path / "labels" / "labels.parquet").read_bytes()
    (tmp_path / "labels" / "labels.parquet").write_bytes(whole[: len(whole) // 2])
    found = join(read(LabelTable(path="labels", id="id"), "y", tmp_path), [log()])
    assert found.labelled == 1 and len(found.problems) == 1
    assert "labels.parquet: cannot be read as parquet" in found.problems[0] and "excluded" in found.problems[0]
    (tmp_path / "labels" / "a.csv").unlink()
    with pytest.raises(GlueError, match=r"labels.parquet: cannot be read"):
        read(LabelTable(path="labels", id="id"), "y", tmp_path)


def test_requests_of_several_rows_and_the_same_id_again(tmp_path: Path) -> None:
    several = log(4, glue_request_id=["a", "a", "b", "b"], glue_row=[0, 1, 0, 0])
    several = several.set_column(2, "glue_time", pa.array([START, START, START, START + timedelta(hours=1)]))
    given(tmp_path, id=["a", "b"], n=[1, 0], y=["no", "yes"])
    found = join(read(LabelTable(path="labels.parquet", id="id"), "y", tmp_path), [several])
    assert found.table is not None and found.labelled == 1
    assert found.table["glue_time"][0].as_py() == START + timedelta(hours=1)
    assert "2 predictions belong to requests with several rows" in found.problems[0]
    assert "1 predictions have the same id as a later prediction" in found.problems[1]
    found = join(read(LabelTable(path="labels.parquet", id="id", row="n"), "y", tmp_path), [several])
    assert found.table is not None and found.table["glue_row"].to_pylist() == [1, 0]
    given(tmp_path, id=["a", "a", "b", "b"], n=[0, 1, 0, 0], y=["no", "yes", "no", "yes"])
    found = join(read(LabelTable(path="labels.parquet", id="id", row="n"), "y", tmp_path), [several])
    assert found.table is not None and found.table["glue_row"].to_pylist() == [0, 1]  # (a, 0) and (a, 1) are two
    assert found.table[TRUTH].to_pylist() == ["no", "yes"]
    assert "2 labels contradict each other" in found.problems[0]


@pytest.mark.parametrize(
    "options, said",
    [
        (LabelTable(path="labels.parquet", id="idd"), "monitor.labels.id: no column 'idd' (did you mean 'id'?)"),
        (LabelTable(path="other.parquet", id="id"), "monitor.labels.path: other.parquet does not exist"),
        (LabelTable(url="mysql://u:hidden@h/x", query="select 1", id="id"), "is not a postgresql://"),
        (LabelTable(url="postgresql://u:hidden@127.0.0.1:1/x", query="select 1", id="id"), "OperationalError"),
    ],
)
def test_labels_that_cannot_be_read(options: LabelTable, said: str, tmp_path: Path) -> None:
    given(tmp_path, id=["r1"], y=["yes"])
    with pytest.raises(GlueError) as error:
        read(options, "y", tmp_path)
    assert said in str(error.value) and "hidden" not in str(error.value)


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match="psycopg is not installed") as error:
        read(LabelTable(url="postgresql://u@127.0.0.1:1/x", query="select 1", id="id"), "y", tmp_path)
    assert error.value.hint == 'pip install "mlops-glue[postgres]"'


def test_no_label_has_come_yet(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = join(read(LabelTable(path="empty", id="id"), "y", tmp_path), [log()])
    assert (found.table, found.rows, found.problems) == (None, 10, ["no table in empty yet"])
    nothing = read(LabelTable(path="empty", id="id"), "y", tmp_path)
    assert list(nothing.frame.columns) == ["key", "row", "when", "truth"] and len(nothing.frame) == 0
    nobody = join(read(LabelTable(path="empty", id="id"), "y", tmp_path), [])
    assert nobody.rows == 0 and nobody.coverage == 0


def test_the_log_lacks_the_column(tmp_path: Path) -> None:
    given(tmp_path, custmer=["c1"], y=["yes"])
    with pytest.raises(ConfigError, match=r"monitor.labels.entity: the log has no 'custmer' \(did you mean 'customer'"):
        join(read(LabelTable(path="labels.parquet", entity="custmer"), "y", tmp_path), [log()])


def test_a_folder_and_a_database(tmp_path: Path) -> None:
    import duckdb

    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.csv").write_text("id,y\n1,yes\n2,no\n")
    (tmp_path / "labels/b.csv").write_text("id,y\nx3,yes\n")
    got = read(LabelTable(path="labels", id="id"), "y", tmp_path)
    assert got.frame["key"].tolist() == ["1", "2", "x3"]
    with duckdb.connect(str(tmp_path / "labels.db")) as db:
        db.execute("create table t as select * from (values ('r1', true), ('r2', false)) v(id, y)")
    got = read(LabelTable(url="duckdb:///labels.db", query="select * from t", id="id"), "y", tmp_path)
    assert got.frame["truth"].tolist() == ["true", "false"]
    wrong = LabelTable(url="duckdb:///labels.db", query="select * from nothing", id="id")
    with pytest.raises(GlueError, match=r"monitor.labels.url: duckdb: CatalogException: .*nothing"):
        read(wrong, "y", tmp_path)


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Of a million rows those with a label are kept."""
    given(tmp_path, id=["r7"], y=["yes"])
    labels = read(LabelTable(path="labels.parquet", id="id"), "y", tmp_path)
    piece, rest = log(100_000), log(100_000).slice(8)
    before = pa.total_allocated_bytes()
    found = join(labels, (piece if at == 0 else rest for at in range(10)))
    assert found.rows > 999_000 and found.labelled == 1
    assert pa.total_allocated_bytes() - before < 1 << 20
    assert np.isclose(found.coverage, 1e-6, rtol=0.01)


def test_what_a_label_is_joined_by() -> None:
    assert read_options(id="id").log_column == "glue_request_id"
    assert read_options(id="id", matches="glue_caller_id").log_column == "glue_caller_id"
    assert read_options(entity="customer", matches="glue_caller_id").log_column == "customer"


def read_options(**options: Any) -> Labels:
    return Labels(pd.DataFrame(), LabelTable(path="labels.parquet", **options))


def labels(root: Path, options: dict[str, Any], **columns: Any) -> Labels:
    """As read from a table of these columns."""
    given(root, **columns)
    return read(LabelTable(path="labels.parquet", **options), "y", root)


def rows_of(frame: Any) -> list[tuple[Any, ...]]:
    return [tuple(None if one is pd.NaT else one for one in row) for row in frame.itertuples(index=False)]


def test_labels_as_they_are_read(tmp_path: Path) -> None:
    """Keys and truths are text; of what the table does not say there is row 0, and no time."""
    found = labels(tmp_path, {"id": "id"}, id=[7.0, 8.5], y=[True, False])
    assert rows_of(found.frame) == [("7", 0, None, "true"), ("8.5", 0, None, "false")]
    assert list(found.frame.columns) == ["key", "row", "when", "truth"]
    assert found.problems == []
    found = labels(
        tmp_path,
        {"id": "id", "row": "n", "timestamp": "at", "target": "z"},
        **{
            "id": ["a", "a"],
            "n": [1.0, 0.0],
            "at": ["2026-11-25T12:00:00+02:00", "25.11.2026"],
            "y": [1, 2],
            "z": [3, 4],
        },
    )
    noon, midnight = pd.Timestamp(2026, 11, 25, 10), pd.Timestamp(2026, 11, 25)
    assert rows_of(found.frame) == [("a", 1, noon, "3"), ("a", 0, midnight, "4")]


@pytest.mark.parametrize(
    ("options", "left", "problems"),
    [
        # the rows are (key, time, truth): a 1 yes, a 1 yes, a 2 no, b none no, none 1 yes, c 3 none
        (
            {"id": "k", "timestamp": "at"},  # a request has one truth, whatever the time; a time need not be there
            [("b", None, "no")],
            [
                "2 of 6 labels lack a key, a time or a true value: excluded",
                "1 labels are duplicates: each counts once",
                "2 labels contradict each other: excluded",
            ],
        ),
        (
            {"entity": "k", "timestamp": "at"},
            [("a", 1, "yes"), ("a", 2, "no")],
            [
                "3 of 6 labels lack a key, a time or a true value: excluded",
                "1 labels are duplicates: each counts once",
            ],
        ),
        (
            {"entity": "k"},
            [("b", None, "no")],
            [
                "2 of 6 labels lack a key, a time or a true value: excluded",
                "1 labels are duplicates: each counts once",
                "2 labels contradict each other: excluded",
            ],
        ),
    ],
)
def test_each_label_counts_once(options: dict[str, str], left: Any, problems: list[str], tmp_path: Path) -> None:
    at = [None if hour is None else START + timedelta(hours=hour) for hour in (1, 1, 2, None, 1, 3)]
    columns = {"k": ["a", "a", "a", "b", None, "c"], "at": at, "y": ["yes", "yes", "no", "no", "yes", None]}
    found = labels(tmp_path, options, **columns)
    hours = [
        None if w is None else (w.tz_localize("UTC") - START).total_seconds() / 3600
        for _, _, w, _ in rows_of(found.frame)
    ]
    assert [(k, h, t) for (k, _, _, t), h in zip(rows_of(found.frame), hours, strict=True)] == left
    assert list(found.frame.index) == list(range(len(left)))
    assert found.problems == problems


def test_great_numbers_of_problems_are_readable(tmp_path: Path) -> None:
    n = 1500
    keys = [*(f"d{at}" for at in range(n)), *(f"d{at}" for at in range(n)), *["c"] * 1200, *[None] * 1100]
    truth = [*["yes"] * (2 * n), *[str(at) for at in range(1200)], *["yes"] * 1100]
    assert labels(tmp_path, {"id": "id"}, id=keys, y=truth).problems == [
        "1,100 of 5,300 labels lack a key, a time or a true value: excluded",
        "1,500 labels are duplicates: each counts once",
        "1,200 labels contradict each other: excluded",
    ]


def test_columns_that_are_not_there_are_all_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        labels(tmp_path, {"id": "idd", "row": "n", "timestamp": "att", "target": "z"}, id=["a"], y=["b"], at=[START])
    assert refused.value.problems == [
        "glue.yaml monitor.labels.target: no column 'z' (there are: 'id', 'y', 'at')",
        "glue.yaml monitor.labels.id: no column 'idd' (did you mean 'id'?)",
        "glue.yaml monitor.labels.row: no column 'n' (there are: 'id', 'y', 'at')",
        "glue.yaml monitor.labels.timestamp: no column 'att' (did you mean 'at'?)",
    ]
    for options, said in (
        ({"entity": "who"}, "glue.yaml monitor.labels.entity: no column 'who' (there are: 'id')"),
        ({"id": "id"}, "glue.yaml monitor.labels.target: no column 'y' (there are: 'id')"),
    ):
        with pytest.raises(ConfigError) as refused:
            labels(tmp_path, options, id=["a"])
        assert said in refused.value.problems


def test_columns_of_another_kind_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        labels(tmp_path, {"id": "id", "row": "n"}, id=["a"], y=["b"], n=[0.5])
    assert refused.value.problems == ["glue.yaml monitor.labels.row: must contain whole numbers (double)"]
    for at, said in (
        (["soon"], "glue.yaml monitor.labels.timestamp: cannot be read as times: 'soon'"),
        ([5], "glue.yaml monitor.labels.timestamp: cannot be read as times: contains int64, not dates"),
        (["x" * 500], "glue.yaml monitor.labels.timestamp: cannot be read as times: 'xxx"),
    ):
        with pytest.raises(ConfigError) as refused:
            labels(tmp_path, {"id": "id", "timestamp": "at"}, id=["a"], y=["b"], at=at)
        (told,) = refused.value.problems
        assert told.startswith(said) and len(told) <= 300


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read(LabelTable(path="no.csv", id="id"), "y", tmp_path)
    assert refused.value.message == "monitor.labels.path: no.csv does not exist"
    assert refused.value.hint == "the path is relative to the project"


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    """At any depth and in their order; not what is hidden or no table. Numbers, dates, times and text go together."""
    folder = tmp_path / "labels"
    (folder / "b").mkdir(parents=True)
    (folder / "a.CSV").write_text("id,y,at\n007,1,2026-11-25\n")
    pq.write_table(pa.table({"id": [8], "y": ["yes"], "at": [START]}), folder / "b/a.parquet")
    (folder / "b/c.jsonl").write_text('{"id": "x", "y": true, "more": [1]}\n')
    (folder / ".hidden.csv").write_text("id,y\nh,1\n")
    (folder / "notes.txt").write_text("id,y\nn,1\n")
    found = read(LabelTable(path="labels", id="id"), "y", tmp_path)
    assert [(key, truth) for key, _, _, truth in rows_of(found.frame)] == [("007", "1"), ("8", "yes"), ("x", "true")]
    (folder / "b/d.csv").write_text("id,y,at\nz,1,3.11.2026\nz2,1,25.11.2026\n")
    timed = read(LabelTable(path="labels", id="id", timestamp="at"), "y", tmp_path)
    days = [when and (when.month, when.day) for _, _, when, _ in rows_of(timed.frame)]
    assert days == [(11, 25), (11, 1), None, (11, 3), (11, 25)]
    (folder / "a.CSV").unlink()
    (folder / "b/a.parquet").write_bytes(b"torn")
    (folder / "b/b.parquet").write_bytes(b"torn")
    found = read(LabelTable(path="labels", id="id"), "y", tmp_path)
    assert len(found.problems) == 2 and found.problems[0].endswith(": excluded")
    assert "a.parquet: cannot be read as parquet" in found.problems[0] and "b.parquet" in found.problems[1]
    for name in ("c.jsonl", "d.csv"):
        (folder / "b" / name).unlink()
    with pytest.raises(DataError, match=r"a.parquet: cannot be read(.|\n)*b.parquet: cannot be read"):
        read(LabelTable(path="labels", id="id"), "y", tmp_path)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([b"\xff"]), "contains binary that is not text"),
        (pa.array([[1]]), "contains list<element: int64> that is not text"),
        (pa.array([-(2.0**53)]), "contains a key that is a floating-point number, which from 2^53 on"),
    ],
)
@pytest.mark.parametrize("name", ["id", "y", "more"])
def test_what_is_no_key_and_no_truth_is_told(column: pa.Array, said: str, name: str, tmp_path: Path) -> None:
    """By a table; by a folder, of which the other files count. What nothing asks for is not looked at."""
    folder = tmp_path / "labels"
    folder.mkdir()
    pq.write_table(pa.table({"id": ["a"], "y": ["yes"], "more": [1]} | {name: column}), folder / "a.parquet")
    taken = name == "more" or (name == "y" and "2^53" in said)
    options = LabelTable(path="labels/a.parquet", id="id")
    if taken:
        assert len(read(options, "y", tmp_path).frame) == 1
    else:
        with pytest.raises(DataError, match=rf"monitor.labels: column '{name}' {re.escape(said)}"):
            read(options, "y", tmp_path)
    (folder / "b.csv").write_text("id,y\nb,no\n")
    found = read(LabelTable(path="labels", id="id"), "y", tmp_path)
    assert len(found.frame) == 1 + taken
    assert bool(found.problems) != taken and all(f"a.parquet: column '{name}' {said}" in one for one in found.problems)


def test_keys_are_text_as_they_stand_there(tmp_path: Path) -> None:
    """Of a file, and of one in a folder."""
    (tmp_path / "f").mkdir()
    for path, key in itertools.product(("l.csv", "f/l.csv"), ("id", "entity")):
        (tmp_path / path).write_text("k,y\n1.0,1\n1,2\n")
        found = read(LabelTable(path=path.removesuffix("/l.csv"), **{key: "k"}), "y", tmp_path)
        assert found.frame["key"].tolist() == ["1.0", "1"]


def test_the_same_truth_at_another_time_is_the_same_label_of_a_request(tmp_path: Path) -> None:
    """It was so from the first time on."""
    at = [START, START + timedelta(hours=1)]
    found = labels(tmp_path, {"id": "id", "timestamp": "at"}, id=["a", "a"], y=["yes", "yes"], at=at)
    assert rows_of(found.frame) == [("a", 0, pd.Timestamp(2026, 11, 1), "yes")]
    assert found.problems == ["1 labels are duplicates: each counts once"]


def test_a_database_is_told_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is not set is the configuration's; what the database refuses keeps its kind and its hint."""
    monkeypatch.delenv("LABELS_URL", raising=False)
    of = LabelTable(url="${LABELS_URL}", query="select 'a' as id, 1 as y", id="id")
    with pytest.raises(ConfigError, match=r"monitor\.labels\.url"):
        read(of, "y", tmp_path)
    monkeypatch.setenv("LABELS_URL", "duckdb:///none/there.db")
    with pytest.raises(GlueError, match=r"^monitor\.labels\.url: ") as refused:
        read(of, "y", tmp_path)
    assert type(refused.value) is type(refused.value.__cause__) and refused.value.hint == refused.value.__cause__.hint


@pytest.mark.parametrize(
    ("classes", "words", "said"),
    [
        (
            [False, True],
            ["True", " yes", "1", "1.0", "n", "F", "0", "", "maybe"],
            [*["True"] * 4, *["False"] * 3, "", "maybe"],
        ),
        (
            ["No", "Yes"],
            ["no", "true", "Yes", " Yes ", "0", "1.0", "y"],
            ["No", "Yes", "Yes", "Yes", "No", "Yes", "Yes"],
        ),
        ([0, 1], ["0.0", "1", "1e0", "true", "2", " 1"], ["0", "1", "1", "1", "2", "1"]),
        ([0.0, 1.5], ["0", "1.50", "1.5", "true", "no"], ["0", "1.5", "1.5", "true", "no"]),
        (["yes", "y"], ["1", "yes", "true"], ["1", "yes", "true"]),  # both say it: neither is meant
        (["yes", "no", "maybe"], ["1", "no ", "true"], ["1", "no", "true"]),  # three are no two truths
        (["yes", "other"], ["1", "yes"], ["1", "yes"]),
        ([" a", "b"], [" a", "a", " b"], [" a", "a", "b"]),
        ([1, 2, 3], ["2.0", "3.", "x", "nan"], ["2", "3", "x", "nan"]),
    ],
)
def test_the_truth_in_the_words_of_the_classes(classes: list[Any], words: list[str], said: list[str]) -> None:
    task = "binary" if len(classes) == 2 else "multiclass"
    for order in (classes, classes[::-1]):
        of = Schema(task, "y", labels=order, positive=order[-1])
        assert in_words_of(of, pa.chunked_array([words[:1], words[1:]])).to_pylist() == said


def test_the_truth_of_a_regression_has_a_decimal_point() -> None:
    german = Schema("regression", "y", decimal=",", nulls=["k.A."])
    words = pa.chunked_array([["1.234,5", "7", "2.5", "x", "0,25", "nan"]])
    assert in_words_of(german, words).to_pylist() == ["1234.5", "7", "2.5", "x", "0.25", "nan"]
    plain = in_words_of(Schema("regression", "y"), pa.chunked_array([["1,5", "1,234", "k.A."]])).to_pylist()
    assert plain == ["1,5", "1234.0", "k.A."]
    assert Joined(None, 7).in_words_of(german) == Joined(None, 7)
    table = pa.table({TRUTH: ["0,5"], "n": [1]})
    changed = Joined(table, 7, (1.0, 2.0), ["p"]).in_words_of(german)
    assert changed.table is not None and changed.table.to_pydict() == {TRUTH: ["0.5"], "n": [1]}
    assert (changed.rows, changed.lag_s, changed.problems) == (7, (1.0, 2.0), ["p"])


def test_a_class_as_a_word() -> None:
    assert [word_of(one) for one in (1.0, 1, "1.0", True, 0.5, "a.0", -2.0)] == [
        "1",
        "1",
        "1.0",
        "True",
        "0.5",
        "a.0",
        "-2",
    ]


@pytest.mark.parametrize(
    ("options", "key"), [({"id": "id", "matches": "cust"}, "matches"), ({"entity": "cust"}, "entity")]
)
def test_a_column_that_the_log_lacks(options: dict[str, str], key: str, tmp_path: Path) -> None:
    found = labels(tmp_path, options, id=["r1"], cust=["c1"], y=["yes"])
    with pytest.raises(ConfigError) as refused:
        join(found, [log()])
    assert refused.value.problems == [
        f"glue.yaml monitor.labels.{key}: the log has no 'cust' (did you mean 'customer'?)"
    ]


@pytest.mark.parametrize(
    ("options", "column", "of"),
    [({"id": "who"}, "'who'", "'glue_request_id'"), ({"entity": "customer"}, "'customer'", "'customer'")],
)
def test_labels_of_other_predictions_are_told(options: dict[str, str], column: str, of: str, tmp_path: Path) -> None:
    known = [f"x{at}" for at in range(1200)]
    found = labels(tmp_path, options, who=known, customer=known, y=["yes"] * 1200)
    said = (
        f"none of 1,200 labels matches a prediction in this window: does {column} contain the values of the log's {of}?"
    )
    assert join(found, [log(4), log(3)]) == Joined(None, 7, None, [said])
    assert join(found, []) == Joined(None, 0, None, []) == join(found, [log(0)])
    assert found.problems == []


def test_a_label_of_a_request_is_of_its_last_prediction(tmp_path: Path) -> None:
    """Wherever in the log it stands; of equal times of the one that came last."""
    hours = [5, 1, 9, 3, 3]
    times = pa.array([START + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC"))
    rows = log(
        5, glue_request_id=["a", "a", "a", "b", "b"], glue_time=times, glue_row=[0, 0, 0, 0, 0], place=list(range(5))
    )
    named = labels(tmp_path, {"id": "id", "row": "n"}, id=["b", "a"], n=[0, 0], y=["yes", "no"])
    found = join(named, [rows])
    assert found.table is not None and found.table.select(["place", TRUTH]).to_pylist() == [
        {"place": 2, TRUTH: "no"},
        {"place": 4, TRUTH: "yes"},
    ]
    assert found.problems == ["3 predictions have the same id as a later prediction: only the last one is used"]
    assert (found.labelled, found.coverage) == (2, 0.4)


def test_without_a_row_only_requests_of_one_row_are_labelled(tmp_path: Path) -> None:
    """The same id at another time is another request."""
    hours = [0, 0, 1, 2]
    times = pa.array([START + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC"))
    rows = log(4, glue_request_id=["a", "a", "a", "b"], glue_time=times, glue_row=[0, 1, 0, 3], place=list(range(4)))
    found = join(labels(tmp_path, {"id": "id"}, id=["a", "b"], y=["no", "yes"]), [rows])
    assert found.table is not None and found.table["place"].to_pylist() == [2]  # b's row is not its first
    assert found.problems == [
        "2 predictions belong to requests with several rows: excluded; "
        "to match them, set monitor.labels.row to the column with the row number"
    ]


def test_rows_that_a_request_does_not_have_are_told(tmp_path: Path) -> None:
    """Of requests that are in this window; others may be of another one."""
    rows = log(3, glue_request_id=["a", "a", "b"], glue_row=[0, 1, 0])
    columns = {"id": ["a", "a", "a", "z"], "n": [1, 2, 3, 9], "y": ["no", "yes", "no", "yes"]}
    found = join(labels(tmp_path, {"id": "id", "row": "n"}, **columns), [rows])
    assert found.table is not None and found.table["glue_row"].to_pylist() == [1]
    assert found.problems == ["2 labels have a row number that their request does not have: are rows counted from 0?"]


def test_a_label_at_the_moment_of_a_prediction_is_of_it(tmp_path: Path) -> None:
    """Not one of before, whatever the order of the tables; after the last label nothing is known."""
    options = {"entity": "customer", "timestamp": "at"}
    at = [START + timedelta(hours=3), START, START + timedelta(hours=3, microseconds=-1)]
    found = labels(tmp_path, options, customer=["c0", "c0", "c1"], at=at, y=["late", "early", "other"])
    backwards = log(10).take(pa.array(range(9, -1, -1)))
    joined = join(found, [backwards])
    assert joined.table is not None
    got = dict(zip(joined.table["glue_request_id"].to_pylist(), joined.table[TRUTH].to_pylist(), strict=True))
    assert got == {"r0": "early", "r3": "late", "r1": "other"}
    assert joined.table["glue_request_id"].to_pylist() == ["r3", "r1", "r0"]
    assert joined.lag_s == (0.0, pytest.approx(0.8 * (2 * 3600 - 1e-6)))


def test_a_label_of_an_entity_without_a_time_is_of_all_of_its_predictions(tmp_path: Path) -> None:
    found = join(labels(tmp_path, {"entity": "customer"}, customer=["c2", "c1"], y=["two", "one"]), [log(6)])
    assert found.table is not None and found.lag_s is None and found.problems == []
    assert found.table[TRUTH].to_pylist() == ["one", "two", "one", "two"]
    assert found.table[KNOWN].to_pylist() == [None] * 4
    assert found.table.schema.field(TRUTH).type == pa.string() and found.rows == 6


def test_how_long_labels_take_is_of_those_with_a_time(tmp_path: Path) -> None:
    at = [START + timedelta(hours=2), None, START + timedelta(hours=1), START - timedelta(hours=1)]
    options = {"id": "id", "timestamp": "at"}
    found = join(labels(tmp_path, options, id=["r0", "r1", "r2", "r3"], at=at, y=["a"] * 4), [log(4)])
    assert found.lag_s == (-3600.0, pytest.approx(0.8 * 7200 + 0.2 * -3600))
    assert found.problems == ["2 labels are older than their prediction: is a clock wrong?"]
    none = join(labels(tmp_path, options, id=["r1"], at=pa.array([None], pa.timestamp("us")), y=["a"]), [log(4)])
    assert none.lag_s is None and none.labelled == 1 and none.problems == []
    now = join(labels(tmp_path, options, id=["r1"], at=[START + timedelta(hours=1)], y=["a"]), [log(4)])
    assert now.lag_s == (0.0, 0.0) and now.problems == []


def test_the_log_may_change_its_columns(tmp_path: Path) -> None:
    found = join(
        labels(tmp_path, {"id": "id"}, id=["r0"], y=["a"]), [log(1), log(3, size=[1.5] * 3).drop(["customer"]).slice(1)]
    )
    assert found.table is not None and found.table["size"].to_pylist() == [None] and found.rows == 3

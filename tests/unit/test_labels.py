"""Labels that come later, joined with the prediction log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import io
from mlops_glue.config import LabelTable
from mlops_glue.errors import ConfigError, GlueError
from mlops_glue.monitoring.labels import KNOWN, TRUTH, join, read

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
    io.write_parquet(root / "labels.parquet", pa.table(columns))


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
    early, *twice = sorted(found.problems)
    assert "1 are of before their prediction" in early
    assert twice == [
        "1 stand there again with the same truth: each counts once",
        "2 of 6 have no key, no time or no truth: left out",
        "2 stand there twice with different truths: left out",
    ]
    given(tmp_path, id=["a", "b"], y=["yes", "no"], at=[START] * 2)
    none = join(read(options, "y", tmp_path), [log()])
    assert none.table is None and none.coverage == 0 and "none of 2 is of a prediction" in none.problems[0]
    given(tmp_path, id=["r1", "r1"], y=["yes", "no"], at=[START] * 2)
    none = join(read(options, "y", tmp_path), [log()])
    assert none.problems == ["2 stand there twice with different truths: left out"]  # and not that the column is wrong
    given(tmp_path, id=["r1", "r2"], n=[1, 0], y=["yes", "no"])
    some = join(read(LabelTable(path="labels.parquet", id="id", row="n"), "y", tmp_path), [log()])
    assert some.labelled == 1
    assert some.problems == ["1 are of a row that their request does not have: are rows counted from 0?"]
    given(tmp_path, customer=["c0", "c1"], y=["yes", "no"], at=[START - timedelta(hours=1)] * 2)
    none = join(read(LabelTable(path="labels.parquet", entity="customer", timestamp="at"), "y", tmp_path), [log()])
    assert none.labelled == 0
    assert none.problems == ["none of 2 counts: all are of before the predictions of their entity"]


def test_a_torn_file_of_a_folder_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.csv").write_text("id,y\nr1,yes\n")
    given(tmp_path / "labels", id=["r2"], y=["no"])
    whole = (tmp_path / "labels" / "labels.parquet").read_bytes()
    (tmp_path / "labels" / "labels.parquet").write_bytes(whole[: len(whole) // 2])
    found = join(read(LabelTable(path="labels", id="id"), "y", tmp_path), [log()])
    assert found.labelled == 1 and len(found.problems) == 1
    assert "labels.parquet: cannot be read as parquet" in found.problems[0] and "left out" in found.problems[0]
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
    assert "2 predictions are of requests with several rows" in found.problems[0]
    assert "1 match a later prediction" in found.problems[1]
    found = join(read(LabelTable(path="labels.parquet", id="id", row="n"), "y", tmp_path), [several])
    assert found.table is not None and found.table["glue_row"].to_pylist() == [1, 0]
    given(tmp_path, id=["a", "a", "b", "b"], n=[0, 1, 0, 0], y=["no", "yes", "no", "yes"])
    found = join(read(LabelTable(path="labels.parquet", id="id", row="n"), "y", tmp_path), [several])
    assert found.table is not None and found.table["glue_row"].to_pylist() == [0, 1]  # (a, 0) and (a, 1) are two
    assert found.table[TRUTH].to_pylist() == ["no", "yes"]
    assert "2 stand there twice with different truths" in found.problems[0]


@pytest.mark.parametrize(
    "options, said",
    [
        (LabelTable(path="labels.parquet", id="idd"), "monitor.labels.id: no column 'idd' (did you mean 'id'?)"),
        (LabelTable(path="other.parquet", id="id"), "monitor.labels.path: other.parquet is not there"),
        (LabelTable(url="mysql://u:hidden@h/x", query="select 1", id="id"), "is no postgresql://"),
        (LabelTable(url="postgresql://u:hidden@127.0.0.1:1/x", query="select 1", id="id"), "OperationalError"),
    ],
)
def test_labels_that_cannot_be_read(options: LabelTable, said: str, tmp_path: Path) -> None:
    given(tmp_path, id=["r1"], y=["yes"])
    with pytest.raises(GlueError) as error:
        read(options, "y", tmp_path)
    assert said in str(error.value) and "hidden" not in str(error.value)


def test_no_label_has_come_yet(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = join(read(LabelTable(path="empty", id="id"), "y", tmp_path), [log()])
    assert (found.table, found.rows, found.problems) == (None, 10, ["no table in empty yet"])
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

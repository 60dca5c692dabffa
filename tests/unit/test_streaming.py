"""Tables in pieces: types of the whole file, text as written, memory that does not grow."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import csv_format, streaming, tables
from mlops_glue.errors import DataError

PACKED = gzip.compress("".join(f"{i},{i * 7919 % 10007}\n" for i in range(1000)).encode(), mtime=0)


def both(path: Path) -> list[pa.Table]:
    """The table read whole, and put together from its pieces."""
    return [tables.read_table(path), pa.concat_tables([typed for _, typed in streaming.batches(path)])]


@pytest.mark.parametrize(
    ("last", "kind", "value"), [("1.5", pa.float64(), 1.5), ("x7", pa.string(), "x7"), ("", pa.int64(), None)]
)
def test_types_are_those_of_the_whole_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, kind: pa.DataType, value: object
) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 4096)
    (tmp_path / "t.csv").write_text("a,b\n" + "7,z\n" * 20_000 + f"{last},z\n")
    for table in both(tmp_path / "t.csv"):
        assert table.schema.field("a").type == kind
        assert table.column("a")[-1].as_py() == value
        assert table.num_rows == 20_001


def test_a_csv_is_read_as_text_and_carried_as_types_that_keep_its_values_apart(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("code,n,m\n007,1,1\n012,x,2\n")
    ((raw, carried),) = streaming.batches(tmp_path / "t.csv")
    assert raw.to_pydict() == {"code": ["007", "012"], "n": ["1", "x"], "m": ["1", "2"]}
    assert carried.to_pydict() == {"code": ["007", "012"], "n": ["1", "x"], "m": [1, 2]}


def test_verbatim_carries_what_stands_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 256)
    rows = [["007", "1.50", "NA", 'a "b", c', str(i)] for i in range(500)]
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["a", "b", "c", "d", "e"], *rows])
    sink = None
    for raw, carried in streaming.batches(tmp_path / "t.csv", verbatim=True):
        sink = sink or streaming.open_writer(tmp_path / "o.csv.gz", tmp_path / "o.csv.gz", carried.schema)
        assert raw.column("e").to_pylist() == carried.column("e").to_pylist()
        sink.write_table(carried)
    assert sink is not None
    sink.close()
    with gzip.open(tmp_path / "o.csv.gz", "rt", newline="") as stream:
        assert list(csv.reader(stream))[1:] == rows


def test_jsonl_with_keys_that_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 64)
    rows: list[dict[str, object]] = [{"a": i} for i in range(50)]
    rows.append({"a": 1.5, "b": "x"})
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for table in both(tmp_path / "t.jsonl"):
        assert table.column("a").to_pylist() == [r["a"] for r in rows]
        assert table.column("b").to_pylist() == [None] * 50 + ["x"]


def test_a_sample_is_spread_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 4096)
    (tmp_path / "t.csv").write_text("n,text\n" + "".join(f"{i},some words {i % 7}\n" for i in range(20_000)))
    got = tables.sample(tmp_path / "t.csv", 1000).column("n").to_pylist()
    assert 500 < len(got) < 4000
    assert min(got) < 1000
    assert max(got) > 19_000


def test_a_parquet_file_is_read_in_pieces_in_memory_that_does_not_grow(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    peaks = []
    for groups in (4, 40):
        path = tmp_path / f"{groups}.parquet"
        rows = pa.table({f"x{at}": rng.normal(size=20_000) for at in range(5)})  # 0.8 MB
        with pq.ParquetWriter(path, rows.schema) as writer:
            for _ in range(groups):
                writer.write_table(rows)
        before, most = pa.total_allocated_bytes(), 0
        for typed, _ in streaming.batches(path):
            most = max(most, pa.total_allocated_bytes() - before)
            del typed
        peaks.append(most)
    assert peaks[1] < peaks[0] + 4_000_000, peaks


def test_a_header_that_begins_with_a_tab_is_read_in_pieces_too(tmp_path: Path) -> None:
    """An index without a name, as pandas writes it."""
    (tmp_path / "t.csv").write_bytes(b"\ta\tb\n0\t1\tx\n1\t2\ty\n")
    ((piece, _),) = streaming.batches(tmp_path / "t.csv")
    assert piece.to_pydict() == {"": ["0", "1"], "a": ["1", "2"], "b": ["x", "y"]}
    assert tables.read_table(tmp_path / "t.csv").to_pydict() == {"": [0, 1], "a": [1, 2], "b": ["x", "y"]}


def test_a_folder_is_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "days"
    for name, first in (("b/2.parquet", 2), ("a.parquet", 0), ("_old.parquet", 9), (".tmp/x.parquet", 9)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"x": [first, first + 1], "y": pa.nulls(2)}), folder / name)
    pq.write_table(pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.string())}), folder / "c.parquet")
    assert [piece.column("x").to_pylist() for piece, _ in streaming.batches(folder)] == [[0, 1], [2, 3]]
    assert streaming.parquet_schema(folder).field("x").type == pa.float64()
    assert tables.read_table(folder).column("x").to_pylist() == [0, 1, 2, 3]
    pq.write_table(pa.table({"x": ["7"]}), folder / "d.parquet")
    with pytest.raises(DataError, match=r"d.parquet: has other column types than the files before it"):
        streaming.parquet_schema(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="is a folder without Parquet files"):
        list(streaming.batches(tmp_path / "none"))

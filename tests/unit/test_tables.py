"""Tables are read whole: what is refused, and what a frame keeps."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue import column_types, csv_format, streaming, tables
from mlops_glue.errors import DataError, UsageError

JSONL = b'{"a": null}\n' + b'{"a": 1.5}\n' * 39 + b"\n"


PACKED = gzip.compress("".join(f"{i},{i * 7919 % 10007}\n" for i in range(1000)).encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n \n", "is empty"),
        ("t.csv", b"a,b\n", "has a header but no rows"),
        ("t.csv", b"a,b,a\n1,2,3\n", "column 'a' occurs 2 times, as columns 1 and 3"),
        ("t.csv", b"a,b,,,\n1,2,,,\n", "t.csv: columns 3, 4 and 5 have no name"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as parquet"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read as csv.gz"),
        ("t.csv.gz", PACKED[: len(PACKED) // 2], "the gzip data ends too early"),
        ("t.csv.gz", PACKED[:8], "the gzip data ends too early"),
        ("t.csv.gz", PACKED[:60] + b"\xff" * 9 + PACKED[69:], "cannot be read as csv.gz: Error -3"),
        ("t.csv.gz", PACKED[:-8] + bytes(8), "cannot be read as csv.gz: CRC check failed"),
        ("t.jsonl", b"", "is empty"),
        ("t.jsonl", b"{'a': 1}\n", "cannot be read as jsonl"),
        (
            "t.jsonl",
            JSONL + b'{"a": 1}}\n{"a": 2}\n',
            "t.jsonl: cannot be read as jsonl: line 42: is not JSON: Extra data",
        ),
        ("t.jsonl", b'[{"a": 1},\n{"a": 2}]\n', "line 1: is not JSON"),
        ("t.jsonl", b'[{"a": 1}, {"a": 2}]', "line 1: is not an object"),
        ("t.jsonl", JSONL + b'{"a": "x"}\n', "cannot be read as jsonl: "),
        ("t.jsonl", JSONL + b'{"b": "\xff"}\n', "line 42: is not JSON"),
        ("t.xlsx", b"PK", "not a table that glue reads"),
    ],
)
def test_what_is_no_table_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, said: str
) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 256)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        tables.read_table(tmp_path / name)
    with pytest.raises(DataError, match=said):
        list(streaming.batches(tmp_path / name))
    if name != "t.xlsx":
        tables.column_names(tmp_path / name)  # says None, or what there is


def test_in_place_of_a_file_that_is_not_there_only_tables_are_named(tmp_path: Path) -> None:
    for name in ("glue.yaml", "new.csv", "old.parquet", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.csv").mkdir()
    for asked, hint in (
        (tmp_path, "there are: 'new.csv', 'old.parquet'"),
        (tmp_path / "nw.csv", "did you mean 'new.csv'?"),
    ):
        with pytest.raises(UsageError) as refused:
            tables.find_table("--data x", asked)
        assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("columns", "sign"),
    [
        ({"x": ["0,418", "-0,707"]}, ","),
        ({"x": ["1234,567"]}, ","),
        ({"x": ["1,234", "12,345,678"]}, "."),  # which could be thousands
        ({"x": ["1,234"], "z": ["0,5"]}, ","),
        ({"x": ["0,418"], "z": ["1.5"]}, "."),
        ({"x": ["0,418", "word"]}, "."),
        ({"x": [None, "NA"]}, "."),
        ({"x": [1.5], "z": ["1,5"]}, ","),
    ],
)
def test_the_decimal_sign_of_a_table(columns: dict[str, list[object]], sign: str) -> None:
    assert column_types.decimal_sign([pa.chunked_array([values]) for values in columns.values()]) == sign


@pytest.mark.parametrize("most", [2**53, 2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_frame_keeps_whole_numbers_apart(most: int, sign: int) -> None:
    keys = [sign * (most - 1), sign * most, None]
    frame = tables.to_pandas(
        pa.table({"key": pa.array(keys, pa.int64()), "count": [1, 2, None], "x": [0.5, None, 1.0]})
    )
    assert [None if one is pd.NA or one != one else int(one) for one in frame["key"]] == keys
    assert str(frame["key"].dtype) == ("float64" if most == 2**53 else "Int64")
    assert [str(frame[name].dtype) for name in ("count", "x")] == ["float64", "float64"]


@pytest.mark.parametrize(
    ("columns", "end"), [(5, "of 'c4' 1.5 and 1.50"), (6, "and of 1 more column"), (3000, "2995 more columns")]
)
def test_a_note_of_many_columns_names_a_few(tmp_path: Path, columns: int, end: str) -> None:
    for_all = ([f"c{at}" for at in range(columns)], ["1.5"] * columns, ["1.50"] * columns)
    (tmp_path / "t.csv").write_text("".join(",".join(row) + "\n" for row in for_all))
    notes: list[str] = []
    tables.read_or_sample(tmp_path / "t.csv", notes)
    assert len(notes) == 1 and notes[0].endswith(end) and len(notes[0]) < 200


def test_columns_are_read_by_their_exact_names(tmp_path: Path) -> None:
    """Arrow takes a name with a dot for a part of another column, and returns columns in the order of the file."""
    table = pa.table({"a.b": [1, 2], "a": ["x", None], "": [True, False], "x.y.z": [0.5, 1.5]})
    tables.write_parquet(tmp_path / "t.parquet", table)
    read = tables.column_reader(tmp_path / "t.parquet")
    for names in (["a"], ["a.b"], ["x.y.z", "a"], ["", "a.b"]):
        assert (
            read(names).equals(tables.read_parquet(tmp_path / "t.parquet", names)) and read(names).column_names == names
        )

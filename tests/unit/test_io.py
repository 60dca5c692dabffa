"""Tables as people write them, read whole and in pieces; files that are whole or not there."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import column_types, csv_format, files, streaming, tables
from mlops_glue.errors import DataError, UsageError

JSONL = b'{"a": null}\n' + b'{"a": 1.5}\n' * 39 + b"\n"
PACKED = gzip.compress("".join(f"{i},{i * 7919 % 10007}\n" for i in range(1000)).encode(), mtime=0)


def both(path: Path) -> list[pa.Table]:
    """The table read whole, and put together from its pieces."""
    return [tables.read_table(path), pa.concat_tables([typed for _, typed in streaming.batches(path)])]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain", b"a,b\n1,x\n2,\xc3\xa9\n"),
        ("bom", b"\xef\xbb\xbfa,b\n1,x\n2,\xc3\xa9\n"),
        ("semicolons", b"a;b\r\n1;x\r\n2;\xc3\xa9\r\n"),
        ("tabs", b"a\tb\n1\tx\n2\t\xc3\xa9\n"),
        ("latin-1", b"a,b\n1,x\n2,\xe9\n"),
        ("utf-16", "a,b\n1,x\n2,é\n".encode("utf-16")),
        ("blank lines and spaces", b"\n\n a , b\n1,x\n\n2,\xc3\xa9\n\n"),
        ("old Mac line ends", b"a,b\r1,x\r2,\xc3\xa9\r"),
        ("no last line end", b"a,b\n1,x\n2,\xc3\xa9"),
    ],
)
def test_a_csv_however_it_is_written(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(content))
    for table in [*both(tmp_path / "t.csv"), *both(tmp_path / "t.csv.gz")]:
        assert table.to_pydict() == {"a": [1, 2], "b": ["x", "é"]}


def test_quotes_delimiters_and_line_ends_inside_values_and_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"a\nb","c,d"\n"x\ny","1,5,"\n"say ""hi""",\n')
    for table in both(tmp_path / "t.csv"):
        assert table.to_pydict() == {"a\nb": ["x\ny", 'say "hi"'], "c,d": ["1,5,", None]}


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
    got = streaming.sample(tmp_path / "t.csv", 1000).column("n").to_pylist()
    assert 500 < len(got) < 4000
    assert min(got) < 1000
    assert max(got) > 19_000


LATE = "a,b\n" + f"1,{'x' * 200}\n" * 3000
RAGGED = {
    "more": ("a,b\n1,2\n1,2,3\n", "line 3: has 3 values, the header has 2: '1,2,3'"),
    "fewer": ("a,b,c\n1,2,3\n1,2\n", "line 3: has 2 values, the header has 3: '1,2'"),
    "after line breaks in quotes": ('"a\nb",c\n"x\ny\r\nz",2\n"1\n1",2,3\n', "line 6: has 3 values"),
    "after blank lines": ("\n  \na,b\n\n1,2\n\n1\n", "line 7: has 1 value, the header has 2: '1'"),
    "old Mac line ends": ("a,b\r1,2\r1\r", "line 3: has 1 value, the header has 2: '1'"),
    "other line ends and delimiter": ("a;b\r\n1;2\r\n1;2;3\r\n", "line 3: has 3 values, the header has 2: '1;2;3'"),
    "a mark before a quote": ('\ufeff"a","b"\n1\n', "line 2: has 1 value, the header has 2: '1'"),
    "one column": ("a\n\n2,3\n", "line 3: has 2 values, the header has 1: '2,3'"),
    "late": (LATE + "é\n", "line 3002: has 1 value, the header has 2: 'é'"),
    "after a long value": ("a,b\n1," + "x" * 200_000 + "\n1\n", "line 3: has 1 value"),
    "quotes that are not closed": (
        'a,b\n1,x\n2,"y\n3,z\n' + "4,z\n" * 3000,
        "a row that begins in line 3 has a quote that is never closed",
    ),
    "the same in the last line": (LATE + '2,"y', "a row that begins in line 3002 has a quote that is never closed"),
    "the same in the header": ('a,"b\n1,2\n', "a row that begins in line 1 has a quote that is never closed"),
}


@pytest.mark.parametrize("name", RAGGED)
def test_the_line_is_told_where_values_are_too_many_or_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 1 << 18)
    content, said = RAGGED[name]
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "t.csv").write_bytes(content.encode(encoding))
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress(content.encode(encoding)))
        for file in ("t.csv", "t.csv.gz"):
            with pytest.raises(DataError, match=said):
                tables.read_table(tmp_path / file)
            for verbatim in (False, True):
                with pytest.raises(DataError, match=said):
                    list(streaming.batches(tmp_path / file, verbatim=verbatim))


def test_quotes_that_begin_no_value_close_nothing(tmp_path: Path) -> None:
    content = 'size,"said"\n5",x\n6,"a ""b"" c"\n'
    (tmp_path / "t.csv").write_text(content)
    for table in both(tmp_path / "t.csv"):
        assert table.to_pydict() == {"size": ['5"', "6"], "said": ["x", 'a "b" c']}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n \n", "is empty"),
        ("t.csv", b"a,b\n", "has a header but no rows"),
        ("t.csv", b"a,b,a\n1,2,3\n", "column 'a' occurs 2 times"),
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
        ("t.jsonl", b'[{"a": 1}, {"a": 2}]', "line 1: is an array, not an object"),
        ("t.jsonl", JSONL + b'{"a": "x"}\n', "line 42: 'a' is a string, and a number in line 2"),
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


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(RuntimeError), files.atomic(tmp_path / "f") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("x")
    first = files.digest(tmp_path / "d")
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    assert files.digest(tmp_path / "d") != first


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


def test_what_is_no_json_is_told_by_its_place(tmp_path: Path) -> None:
    """Who can do without the file takes it for any wrong value."""
    for wrong in (b"", b'{"a": ', b"\xff"):
        (tmp_path / "state.json").write_bytes(wrong)
        with pytest.raises(DataError, match=r"state.json: is not JSON: ") as told:
            files.read_json(tmp_path / "state.json")
        assert isinstance(told.value, ValueError) and told.value.exit_code == 4


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
    ("content", "said", "hint"),
    [
        (b"sep=;\na;b\n1;2\n", "its first line is 'sep=;'", "take that line out"),
        (b"# made by x\na,b\n1,2\n3,4\n", "cannot be read", "lines that begin with #"),
        (b"Sales of May\na,b\n1,2\n3,4\n", "cannot be read", "is the first line a title?"),
        (b"a,b\n1,2,\n3,4,\n5,6,\n", "cannot be read", "rows end with a delimiter"),
        (b"a,b\n1,2\n3,4\n\x1a", "cannot be read", "it is ^Z"),
        (b"a,b\n1,2\n3,4,5\n6,7\n", "cannot be read", "in quotes"),
        ("a,b\n1,ä\n2,ö\n".encode() + b"3,\xe9\n", "line 4 holds bytes that are not UTF-8", "iconv"),
        (b"a,b\n1,\xe9\n2,\x81\n", "line 3 is neither UTF-8 nor Windows-1252", "UTF-8"),
    ],
)
def test_the_hint_is_right_for_its_cause(tmp_path: Path, content: bytes, said: str, hint: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(said)) as refused:
        tables.read_table(tmp_path / "t.csv")
    assert hint in str(refused.value.hint)


def test_an_encoding_and_lines_that_are_left_out_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b\n1,\x80\n\n2,"x\n\ny"\n\n\n3,z\n\n')
    table = tables.read_table(tmp_path / "t.csv")
    assert table.to_pydict() == {"a": [1, 2, 3], "b": ["€", "x\n\ny", "z"]}
    assert tables.reading_notes(table, "t.csv") == [
        "t.csv is read as cp1252: it is not UTF-8",
        "t.csv: 3 blank lines are left out",
    ]


def test_a_blank_line_of_one_column_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n\na\n1\n\n3\n")
    for table in both(tmp_path / "t.csv"):
        assert table.to_pydict() == {"a": [1, None, 3]}
    assert tables.reading_notes(tables.read_table(tmp_path / "t.csv"), "t.csv") == []


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


def test_a_header_that_begins_with_a_tab_is_read_in_pieces_too(tmp_path: Path) -> None:
    """An index without a name, as pandas writes it."""
    (tmp_path / "t.csv").write_bytes(b"\ta\tb\n0\t1\tx\n1\t2\ty\n")
    ((piece, _),) = streaming.batches(tmp_path / "t.csv")
    assert piece.to_pydict() == {"": ["0", "1"], "a": ["1", "2"], "b": ["x", "y"]}
    assert tables.read_table(tmp_path / "t.csv").to_pydict() == {"": [0, 1], "a": [1, 2], "b": ["x", "y"]}


def test_what_is_written_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the process's: another thread would make files that anybody may write to."""

    def refuse(mask: int) -> int:
        raise AssertionError(f"umask {mask:o}")

    monkeypatch.setattr(os, "umask", refuse)
    for said in ("new", "again"):
        files.write_text(tmp_path / "t.txt", said)
        assert (tmp_path / "t.txt").read_text() == said

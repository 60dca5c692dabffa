"""CSV however it is written; what is wrong with one is named by its line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_glue import csv_format, streaming, tables
from mlops_glue.errors import DataError


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
        "the row that begins in line 3 has a quote that is never closed",
    ),
    "the same in the last line": (LATE + '2,"y', "the row that begins in line 3002 has a quote that is never closed"),
    "the same in the header": ('a,"b\n1,2\n', "the row that begins in line 1 has a quote that is never closed"),
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
    ("content", "said", "hint"),
    [
        (b"# made by x\na,b\n1,2\n3,4\n", "cannot be read", "remove titles and comments"),
        (b"a,b\n1,2,\n3,4,\n5,6,\n", "cannot be read", "a value for each name in the first line"),
        (b"a,b\n1,2\n3,4,5\n6,7\n", "cannot be read", "quote values with"),
        ("a,b\n1,ä\n2,ö\n".encode() + b"3,\xe9\n", "line 4 contains bytes that are not UTF-8", "iconv"),
        (b"a,b\n1,\xe9\n2,\x81\n", "line 3 is neither UTF-8 nor Windows-1252", "UTF-8"),
    ],
)
def test_the_hint_is_right_for_its_cause(tmp_path: Path, content: bytes, said: str, hint: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(said)) as refused:
        tables.read_table(tmp_path / "t.csv")
    assert hint in str(refused.value.hint)


def test_an_encoding_is_named_and_blank_lines_are_no_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b\n1,\x80\n\n2,"x\n\ny"\n\n\n3,z\n\n')
    table = tables.read_table(tmp_path / "t.csv")
    assert table.to_pydict() == {"a": [1, 2, 3], "b": ["€", "x\n\ny", "z"]}
    assert "t.csv is read as cp1252: it is not UTF-8" in caplog.text


def test_a_blank_line_of_one_column_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n\na\n1\n\n3\n")
    for table in both(tmp_path / "t.csv"):
        assert table.to_pydict() == {"a": [1, None, 3]}

"""A file that is no table which glue reads: what it is, and a hint that works when it is typed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from mlops_glue import streaming, tables
from mlops_glue.adapters import sql
from mlops_glue.errors import DataError, UsageError
from mlops_glue.scaffold import infer
from mlops_glue.serving import score_files

CSV = "a,b\n1,x\n2,y\n"
ROWS = {"a": [1, 2], "b": ["x", "y"]}
JSONL = '{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'


def feather_file() -> bytes:
    out = BytesIO()
    feather.write_feather(pa.table(ROWS), out, compression="uncompressed")
    return out.getvalue()


def parquet_file() -> bytes:
    out = BytesIO()
    pq.write_table(pa.table(ROWS), out)
    return out.getvalue()


def zip_file() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("made of it.csv", CSV)
    return out.getvalue()


# by the name and the bytes of a file: what is said of it, and the table that the hint makes
MENDED = {
    ("my table.tsv", CSV.replace(",", "\t").encode()): ("not a table that glue reads", "my table.csv"),
    ("t.TXT", CSV.replace(",", ";").encode()): ("not a table that glue reads", "t.csv"),
    ("t.ndjson", JSONL.encode()): ("not a table that glue reads", "t.jsonl"),
    ("t.pq", parquet_file()): ("not a table that glue reads", "t.parquet"),
    ("t.parquet.gz", gzip.compress(parquet_file())): ("not a table that glue reads", "t.parquet"),
    ("t.csv.bz2", bz2.compress(CSV.encode())): ("not a table that glue reads", "t.csv"),
    ("t.csv.xz", lzma.compress(CSV.encode())): ("not a table that glue reads", "t.csv"),
    ("it's.feather", feather_file()): ("not a table that glue reads", "it's.parquet"),
    ("t.json", json.dumps([json.loads(line) for line in JSONL.splitlines()]).encode()): (
        "not a table that glue reads",
        "t.jsonl",
    ),
    ("t.csv", gzip.compress(CSV.encode())): ("is gzip data, whatever its name says", "t.csv.gz"),
    ("t.jsonl", gzip.compress(JSONL.encode())): ("is gzip data, whatever its name says", "t.jsonl"),
    ("t.csv ", parquet_file()): ("not a table that glue reads", ""),
    ("u.csv", parquet_file()): ("is a Parquet file, whatever its name says", "u.parquet"),
    ("v.csv", zip_file()): ("is a zip archive, as .xlsx files are, whatever its name says", "made of it.csv"),
    ("w.csv", bz2.compress(CSV.encode())): ("is bzip2 data, whatever its name says", "w"),
    ("x.csv", CSV.encode("utf-16-be")): ("is UTF-16 without a byte order mark", "x_utf8.csv"),
    ("y.csv", CSV.encode("utf-16-le")): ("is UTF-16 without a byte order mark", "y_utf8.csv"),
    ("t.csv.gz", CSV.encode()): ("cannot be read as csv.gz: Not a gzipped file", "t.csv"),
    ("t.parquet", CSV.encode()): ("cannot be read as parquet: it is text", "t.csv"),
    ("v.parquet", JSONL.encode()): ("cannot be read as parquet: it is text", "v.jsonl"),
    ("once.jsonl", JSONL.replace('"a": 2', '"a": 3, "a": 2').encode()): (
        "line 2: has the key 'a' twice",
        "once_once.jsonl",
    ),
}


@pytest.mark.parametrize(("name", "content"), MENDED, ids=lambda value: value if isinstance(value, str) else "")
def test_the_hint_makes_a_table_that_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    said, made = MENDED[name, content]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as refused:
        tables.read_table(tmp_path / name)
    hint = str(refused.value.hint)
    if not made:
        assert hint == "one of .csv, .csv.gz, .parquet, .jsonl"
        return
    if (tool := hint.split(" && ")[-1].split()[0]) != "python" and shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}")
    hint = hint.replace("python -c", f"{sys.executable} -c")
    subprocess.run(["sh", "-c", hint], cwd=tmp_path, check=True, capture_output=True)
    if made != "w":
        assert tables.read_table(tmp_path / made).to_pydict() == ROWS
    else:  # its name says nothing any more
        assert (tmp_path / made).read_text() == CSV


@pytest.mark.parametrize(
    ("name", "content", "said", "hint"),
    [
        ("t.csv", b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page, not a table", "download"),
        ("t.parquet", parquet_file()[:-9], "cannot be read as parquet: it ends too early", "copy or download it again"),
        ("t.csv", b"a,b", "has a header but no rows", "None"),
        ("t.csv", '\ufeff"a","b"'.encode(), "has a header but no rows", "None"),
        ("t.xlsx", b"PK\3\4", "not a table that glue reads", "pip install openpyxl && python -c 'import pandas"),
        ("t.duckdb", b"", "not a table that glue reads", "glue init --url duckdb:///"),
        ("t.docx", b"PK\3\4", "not a table that glue reads", "one of .csv, .csv.gz, .parquet, .jsonl"),
    ],
)
def test_what_a_command_alone_does_not_mend(tmp_path: Path, name: str, content: bytes, said: str, hint: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (tables.read_table, lambda path: list(streaming.batches(path))):
        with pytest.raises(DataError, match=said) as refused:
            read(tmp_path / name)
        assert hint in str(refused.value.hint)


@pytest.mark.parametrize("name", ["t.db", "t.sqlite", "t.csv"])
def test_the_hint_for_a_database_of_sqlite_reads_it(tmp_path: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / name)) as database, database:
        database.execute("create table t (a int, b text)")
        database.executemany("insert into t values (?, ?)", zip(*ROWS.values(), strict=True))
    with pytest.raises(DataError) as refused:
        tables.read_table(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}: is a SQLite database") as asked:
        list(sql.rows(f"duckdb:///{name}", "select * from t", tmp_path, 60))
    for hint in [asked.value.hint, refused.value.hint]:  # the file that is no CSV is renamed
        hint = str(hint).replace("TABLE", "t").replace("python", sys.executable)
        subprocess.run(["sh", "-c", hint], cwd=tmp_path, check=True, capture_output=True)
        assert tables.read_table(tmp_path / "t.parquet").to_pydict() == ROWS
        (tmp_path / "t.parquet").unlink()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"two"', "line 2: 'm x' is a text, and a number in line 1"),
        ("true", "line 2: 'm x' is true or false, and a number in line 1"),
        ("[1]", "line 2: 'm x' is a list, and a number in line 1"),
    ],
)
def test_a_key_of_two_types_is_told_with_its_lines(tmp_path: Path, value: str, said: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(f'{{"m x": 1}}\n{{"m x": {value}}}\n{{"m x": null}}\n{{}}\n')
    with pytest.raises(DataError, match=said) as refused:
        tables.read_table(file)
    if shutil.which("jq") is not None:
        subprocess.run(["sh", "-c", str(refused.value.hint)], cwd=tmp_path, check=True)
        made = tables.read_table(tmp_path / "t_text.jsonl").column("m x").to_pylist()
        assert made == ["1", json.dumps(json.loads(value)).strip('"'), None, None]


def test_a_line_of_json_ends_where_arrow_says(tmp_path: Path) -> None:
    """U+2028, U+0085 and a form feed are blanks inside a text; str.splitlines takes them for ends of lines."""
    texts = ["a\u2028b", "c\u0085d", "e\u2029f"]
    rows = [{"id": 2**63 + at, "text": text} for at, text in enumerate(texts)]
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n\n" for row in rows), encoding="utf-8")
    read = tables.read_table(file).to_pydict()
    assert read == {"id": [str(2**63 + at) for at in range(3)], "text": texts}


def test_columns_in_names_of_folders_are_told_and_the_hint_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "my orders"
    for key in ("p", "q"):
        (folder / f"k={key}" / "n=1").mkdir(parents=True)
        pq.write_table(pa.table({"a": [1, 2], "y": ["s", "t"]}), folder / f"k={key}" / "n=1" / "0.parquet")
    assert streaming.columns_of_folders(folder) == ["k", "n"]
    assert streaming.columns_of_folders(folder / "k=p" / "n=1") == []
    notes: list[str] = []
    infer.read_tables(infer.Request(tmp_path, [folder], "y"), notes)
    note = next(note for note in notes if "names of folders" in note)
    assert note.startswith("my orders: 'k', 'n' only in names of folders, not read; with: python -c ")
    with pytest.raises(UsageError, match="its tables are in folders below") as refused:
        score_files.inputs_and_outputs(folder, tmp_path / "out")
    hint = str(refused.value.hint)
    assert note.endswith(hint)
    subprocess.run(["sh", "-c", hint.replace("python", sys.executable, 1)], cwd=tmp_path, check=True)
    made = tables.read_table(tmp_path / "my orders.parquet").to_pydict()
    assert made == {"a": [1, 2] * 2, "y": ["s", "t"] * 2, "k": ["p", "p", "q", "q"], "n": [1] * 4}

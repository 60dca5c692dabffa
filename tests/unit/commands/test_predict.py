"""`glue predict`: of a folder; by standard input and output; how far it is."""

from __future__ import annotations

import gzip
import re
import subprocess
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlops_glue.commands import predict
from mlops_glue.config import Config
from mlops_glue.errors import DataError, GlueError, ToolError
from mlops_glue.schema import Schema
from mlops_glue.serving import score_files


class Model:
    """It says nothing of what it is given."""

    schema, features, format, form = Schema("regression", "y"), None, "onnx", "onnx"

    def __init__(self, folder: Path, threads: int = 1, trust: tuple[str, ...] = ()) -> None:
        pass

    def scored(self, typed: Any, carried: Any, **_: Any) -> Any:
        """The rows as they are; of a file whose first column is so called the tool fails."""
        if typed.column_names[0] == "broken":
            raise ToolError("the model cannot be run")
        return carried


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that has a model."""
    monkeypatch.setattr(score_files, "Bundle", Model)
    monkeypatch.setattr(predict.layout, "find_root", lambda: tmp_path)
    config = Config.model_validate({"glue": 1, "project": "m"})
    monkeypatch.setattr(predict.configs, "load", lambda *_, **__: config)
    monkeypatch.setattr(predict, "as_left_or_registered", lambda *_: (1, tmp_path))


def test_every_table_that_cannot_be_read_is_told_and_the_others_are_scored(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "a.csv").write_text("x,z\n1\n")
    (new / "b.csv").write_text("x,z\n1,2\n")
    (new / "c.parquet").write_bytes(b"torn")
    (new / "d.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(DataError) as refused:
        predict.predict(str(new), str(tmp_path / "out"))
    said = refused.value.message.splitlines()
    assert [line.split(":")[0] for line in said] == [f"{new}/a.csv", f"{new}/c.parquet"]
    assert "line 2: has 1 value" in said[0] and "cannot be read as parquet" in said[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.parquet", "d.parquet"]
    (new / "c.parquet").unlink()
    with pytest.raises(DataError) as refused:
        predict.predict(str(new), str(tmp_path / "out"))
    assert refused.value.message == said[0] and "quote values" in str(refused.value.hint)


def test_of_many_the_first_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    for at in range(30):
        (new / f"{at:02}.csv").write_text("")
    with pytest.raises(DataError) as refused:
        predict.predict(str(new), str(tmp_path / "out"))
    said = refused.value.message.splitlines()
    assert said == [*(f"{new}/{at:02}.csv: is empty" for at in range(10)), "and 20 more"]


def test_what_is_no_fault_of_a_table_ends_it(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "a.csv").write_text("broken\n1\n")
    (new / "b.csv").write_text("x\n1\n")
    with pytest.raises(ToolError):
        predict.predict(str(new), str(tmp_path / "out"))
    assert not (tmp_path / "out" / "b.parquet").exists()


def given(monkeypatch: pytest.MonkeyPatch, rows: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(rows)))


@pytest.mark.parametrize(
    ("kind", "rows"), [(None, b"x,z\n1,a\n2,b\n"), ("jsonl", b'{"x": 1, "z": "a"}\n{"x": 2, "z": "b"}\n')]
)
def test_rows_come_by_standard_input_and_go_by_standard_output(
    kind: str | None, rows: bytes, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    given(monkeypatch, rows)
    assert predict.predict("-", "-", kind=kind) == 0
    out, err = capsysbinary.readouterr()
    assert (out, err) == (b"x,z\n1,a\n2,b\n", b"standard output: 2 rows scored by m v1 (onnx)\n")


def test_parquet_goes_by_standard_output_and_any_file_takes_what_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    given(monkeypatch, b"x\n1\n")
    predict.predict("-", str(tmp_path / "out.parquet"))
    given(monkeypatch, (tmp_path / "out.parquet").read_bytes())
    predict.predict("-", "-", kind="parquet")
    assert pq.read_table(BytesIO(capsysbinary.readouterr().out)).to_pylist() == [{"x": 1}]


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        (b"", ("-", "-"), "standard input: is empty"),
        (b'x,z\n1,"\n', ("-", "-"), "standard input: the row that begins in line 2 has a quote that is never closed"),
        (b"x\n1\n", (".", "-"), "standard output accepts only one table"),
        (b"x\n1\n", ("-", "out.txt"), "out.txt: not a file that glue writes"),
    ],
)
def test_what_cannot_be_scored_leaves_standard_output_empty(
    rows: bytes, words: tuple[str, str], said: str, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> None:
    given(monkeypatch, rows)
    with pytest.raises(GlueError, match=re.escape(said)):
        predict.predict(*words)
    assert capsysbinary.readouterr().out == b""


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "x,z\n1,2\n3,4\n"), ("a.jsonl", '{"x": 1}\n' * 9), ("a.csv.gz", "x,z\n1,2\n")]
)
@pytest.mark.parametrize("target", ["o.csv", "o.parquet"])
def test_the_bar_goes_to_the_end(
    name: str, text: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_glue.csv_format.BLOCK_BYTES", 30)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    shares: list[float] = []
    score_files.score_file(Model(tmp_path, 1), path, tmp_path / target, shares.append)  # type: ignore[arg-type]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_reader_that_is_gone_ends_it_quietly(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", "glue --help | true; echo ${PIPESTATUS[0]}; glue ci --help > /dev/null; echo $?"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("141\n0\n", "")

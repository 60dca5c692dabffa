"""`glue predict` of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops_glue import scoring
from mlops_glue.commands import predict
from mlops_glue.config import Config
from mlops_glue.errors import DataError, ToolError
from mlops_glue.schema import Schema


class Model:
    """It says nothing of what it is given."""

    schema, features, format = Schema("regression", "y"), None, "onnx"

    def __init__(self, folder: Path, threads: int) -> None:
        pass

    def scored(self, typed: Any, carried: Any, **_: Any) -> Any:
        """The rows as they are; of a file whose first column is so called the tool fails."""
        if typed.column_names[0] == "broken":
            raise ToolError("the model cannot be run")
        return carried


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that has a model."""
    monkeypatch.setattr(scoring, "Bundle", Model)
    monkeypatch.setattr(predict.layout, "find_root", lambda: tmp_path)
    config = Config.model_validate({"glue": 1, "project": "m"})
    monkeypatch.setattr(predict.configs, "load", lambda *_, **__: config)
    monkeypatch.setattr(predict, "as_run_left_it", lambda *_: (1, tmp_path))


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
    assert refused.value.message == said[0] and "stands in quotes" in str(refused.value.hint)


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

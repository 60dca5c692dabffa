"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops_glue import files
from mlops_glue.errors import DataError


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


@given(st.lists(st.text(st.sampled_from("ab1 \t'\"#:-{}%|>\\\u00a0\u2028\x85\r☃")), max_size=5).map("\n".join))
@example("select 1\n\n   \n\tfrom t -- x: #1\n    where a")
@example(" first\nsecond")
@example("\n")
def test_lines_are_read_as_they_were_written(text: str) -> None:
    made = f"a:\n  query: {files.yaml_block(text, 4)}\n  b: 1\n"
    assert files.parse_yaml(made) == {"a": {"query": text, "b": 1}}


def test_what_is_no_json_is_told_by_its_place(tmp_path: Path) -> None:
    """Who can do without the file takes it for any wrong value."""
    for wrong in (b"", b'{"a": ', b"\xff"):
        (tmp_path / "state.json").write_bytes(wrong)
        with pytest.raises(DataError, match=r"state.json: is not JSON: ") as told:
            files.read_json(tmp_path / "state.json")
        assert isinstance(told.value, ValueError) and told.value.exit_code == 4


def test_what_is_written_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the process's: another thread would make files that anybody may write to."""

    def refuse(mask: int) -> int:
        raise AssertionError(f"umask {mask:o}")

    monkeypatch.setattr(os, "umask", refuse)
    for said in ("new", "again"):
        files.write_text(tmp_path / "t.txt", said)
        assert (tmp_path / "t.txt").read_text() == said

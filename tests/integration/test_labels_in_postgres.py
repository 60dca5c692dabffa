"""Labels by a query to a real PostgreSQL; a secret URL is never told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_glue.config import LabelTable
from mlops_glue.errors import ConfigError, GlueError
from mlops_glue.monitoring.labels import read
from tests.support.server import POSTGRES, postgres

URL = f"postgresql://postgres:hidden@{POSTGRES}/test"


@pytest.fixture
def table() -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    with postgres() as connection:
        connection.execute(f"create table {name} (id text, amount numeric(8, 2), at timestamptz, y boolean)")
        connection.execute(
            f"insert into {name} values ('r1', 1.50, '2026-11-01 12:00+02', true), ('r2', null, null, null)"
        )
        yield name
        connection.execute(f"drop table {name}")


def test_a_query(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELS_URL", URL)
    options = LabelTable(url="${LABELS_URL}", query=f"select * from {table}", id="id", timestamp="at", target="amount")
    got = read(options, "y", tmp_path)
    assert got.frame[["key", "truth"]].to_numpy().tolist() == [["r1", "1.50"]]
    assert str(got.frame["when"][0]) == "2026-11-01 10:00:00" and got.problems
    nobody = options.model_copy(update={"query": f"select * from {table} where false"})
    assert len(read(nobody, "y", tmp_path).frame) == 0


@pytest.mark.parametrize(
    "query, said",
    [
        ("select * from nothing_there", 'relation "nothing_there" does not exist'),
        ("delete from TABLE", 'syntax error at or near "delete"'),
        ("with gone as (delete from TABLE returning id) select * from gone", "must not contain data-modifying"),
        ("commit; delete from TABLE", 'syntax error at or near "commit"'),
        ("select id from TABLE; delete from TABLE", "cannot insert multiple commands"),
        ("copy (select 1) to program 'touch /tmp/no'", 'syntax error at or near "copy"'),
        ("select set_config('transaction_read_only', 'off', false)", "must be set before any query"),
        ("do $$ begin delete from TABLE; end $$", 'syntax error at or near "do"'),
        ("selct", "syntax error"),
    ],
)
def test_what_it_says_of_a_query(
    query: str, said: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELS_URL", URL)
    options = LabelTable(url="${LABELS_URL}", query=query.replace("TABLE", table), id="id")
    with pytest.raises(GlueError) as error:
        read(options, "y", tmp_path)
    assert said in error.value.message and error.value.message.startswith("monitor.labels.url: postgresql: ")


def test_nothing_secret_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = LabelTable(url="${LABELS_URL}", query="select 1", id="id")
    monkeypatch.delenv("LABELS_URL", raising=False)
    with pytest.raises(ConfigError, match="environment variable LABELS_URL is not set"):
        read(options, "y", tmp_path)
    for url in (
        "postgresql://me:s3cret@127.0.0.1:1/x",
        "postgresql://me:s3cret@",
        "postgresql://me:s3cret@h:bad/x?y=z",
    ):
        monkeypatch.setenv("LABELS_URL", url)
        with pytest.raises(GlueError) as error:
            read(options, "y", tmp_path)
        assert "s3cret" not in f"{error.value.message}{error.value.hint}" and "me:" not in error.value.message

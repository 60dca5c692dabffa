"""What `--query` takes for a file."""

from __future__ import annotations

import pytest

from mlops_glue.scaffold.query import FILE


@pytest.mark.parametrize("text", ["churn.sql", "../sql/who left.SQL", "/a/b.c.sql", "from.sql", "selected.sql"])
def test_a_file(text: str) -> None:
    assert FILE.fullmatch(text)


@pytest.mark.parametrize("text", ["select 1", "from its.sql", "SELECT a FROM its.sql", "select 1\nas a.sql", ".sql"])
def test_a_query(text: str) -> None:
    assert not FILE.fullmatch(text)

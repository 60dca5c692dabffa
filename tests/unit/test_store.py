"""What `glue init` says of a view from its rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from mlops_glue.errors import DataError
from mlops_glue.pipeline.store import _ttl


def _table(clock: list[str]) -> SimpleNamespace:
    rows = pa.table({"k": [1] * len(clock), "at": clock})
    return SimpleNamespace(file=Path("e.csv"), rows=rows, entities=["k"], when="at")


@pytest.mark.parametrize("clock", [["09.03.2024", "11.03.2024", "13.03.2024"], ["2024-03-10", "2024-03-11T00:00Z", ""]])
def test_a_ttl_is_of_dates_as_the_column_writes_them(clock: list[str]) -> None:
    assert _ttl(_table(clock))[0] in (2, 4)


def test_a_clock_that_is_none_is_told_with_its_table() -> None:
    with pytest.raises(DataError, match=r"e\.csv: timestamp at: .*yesterday") as caught:
        _ttl(_table(["2024-03-10", "yesterday"]))
    assert caught.value.hint is not None

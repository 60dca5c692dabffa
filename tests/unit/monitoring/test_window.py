"""The window of the monitor, as it is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue.adapters.fsspec import Folder
from mlops_glue.errors import UsageError
from mlops_glue.monitoring.window import Window, moment


def test_a_time_is_in_utc_or_refused() -> None:
    wanted = datetime(2026, 11, 25, 10, tzinfo=UTC)
    for text in ("2026-11-25T10:00", "2026-11-25T10:00:00Z", "2026-11-25T12:00+02:00"):
        assert moment(text) == wanted
    for text in ("yesterday", "", "0001-01-01T00:00+14:00"):
        with pytest.raises(UsageError, match="must be a time"):
            moment(text)


def test_the_latest_rows_of_a_version_are_its_own(tmp_path: Path) -> None:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    for version, day in ((1, 0), (2, 1)):  # ten rows each, a minute apart
        begin = start + timedelta(days=day)
        times = pa.array([begin + timedelta(minutes=at) for at in range(10)], pa.timestamp("us", "UTC"))
        (tmp_path / f"date={begin:%Y-%m-%d}").mkdir()
        rows = pa.table({"glue_time": times, "glue_answered": [True] * 10})
        pq.write_table(rows, tmp_path / f"date={begin:%Y-%m-%d}/v{version}-a.parquet")
    for version, since in (
        (None, start + timedelta(days=1, minutes=6)),
        (2, start + timedelta(days=1, minutes=6)),
        (1, start + timedelta(minutes=6)),
    ):
        window = Window(Folder(str(tmp_path)), "m", None, start + timedelta(days=5), rows=4)
        window.resolve_start(version)
        assert window.since == since

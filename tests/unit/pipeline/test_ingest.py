"""Before large tables are copied, the disk that they take is told."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from mlops_glue.config import Config
from mlops_glue.pipeline import ingest


def test_the_disk_that_a_large_table_takes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "1,2\n" * 1000)
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    config = Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}})
    caplog.set_level(logging.INFO)
    ingest.ingest(config, tmp_path)
    assert not caplog.messages  # of a small one nothing
    monkeypatch.setattr(ingest, "LARGE_BYTES", 1000)
    for free, level in ((1 << 40, "INFO"), (100, "WARNING")):
        usage = shutil.disk_usage(tmp_path)._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        caplog.clear()
        ingest.ingest(config, tmp_path)
        (record,) = caplog.records
        assert record.levelname == level
        assert (
            "the tables will take about 0.0 GiB in artifacts, and as much again in DVC's cache unless it links files"
            in record.message
        )
        assert f"{free / 2**30:.1f} GiB are free" in record.message

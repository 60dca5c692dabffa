"""Which rows a replay looks at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.delivery import skew
from mlops_glue.records import FeatureList, View

CONFIG = Config.model_validate(
    {
        "glue": 1,
        "project": "p",
        "data": {
            "sources": {"t": {"path": "t.csv", "entity": "id", "timestamp": "at"}},
            "labels": {"source": "t", "target": "y"},
        },
        "train": {},
    }
)
FEATURES = FeatureList(["v:x"], [View("v", {"id": "id"}, {"x": "number"}, 0.0, "", of="v")], {"x": "v:x"})


class Store:
    """A repository whose online store has what training saw, and which notes as of when it was filled."""

    def __init__(self) -> None:
        self.filled: list[datetime] = []

    def replace_sources(self, path_of: Any) -> None: ...
    def apply(self) -> None: ...
    def teardown(self) -> None: ...

    def materialize(self, views: list[str], start: datetime, end: datetime) -> None:
        self.filled.append(end)

    def read(self, use: Any, views: Any, keys: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
        return [{"v__x": float(key["id"])} for key in keys]


@pytest.mark.parametrize("rows", [7, 20, 391])
def test_twenty_rows_of_the_holdout_are_spread_over_its_time(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(rows).permutation(rows)  # the table is in no order of time
    when = np.datetime64("2026-01-01", "us") + order * np.timedelta64(1, "h")
    joined = {"id": order, "at": pa.array(when).cast(pa.timestamp("us", "UTC")), "x": order.astype(float)}
    io.write_parquet(tmp_path / layout.JOINED, pa.table(joined))
    io.write_parquet(tmp_path / layout.TEST, pa.table({layout.ROW: np.arange(rows), layout.WHEN: when}))
    store = Store()
    monkeypatch.setattr(skew.feast, "open_live", lambda *_, **__: store)
    looked, held, found = skew.replay(CONFIG, tmp_path, FEATURES)
    many = min(rows, 20)
    assert (looked, held, found) == (many, rows, [])
    hours = [round((one - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() / 3600) for one in store.filled]
    assert hours == np.arange(rows)[io.spread(rows, 20)].tolist()  # the earliest first, to the end
    assert max(np.diff(hours)) <= -(-rows // (many - 1))

"""A project whose next stage is split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_glue import files, layout, tables
from mlops_glue.config import Config


def project(
    root: Path,
    rows: int,
    *,
    when: Any = None,
    whom: Any = None,
    y: Any = None,
    task: str = "binary",
    seed: int = 0,
    **options: Any,
) -> Config:
    """A project whose next stage is split."""
    made = {layout.ROW: np.arange(rows), "x": np.arange(rows, dtype=float)}
    made["target:y"] = np.arange(rows) % 2 if y is None else y
    source: dict[str, Any] = {"path": "t.csv"}
    if when is not None:
        made[layout.TIMESTAMP_COLUMN], source["timestamp"] = when, "at"
    if whom is not None:
        made[layout.ENTITY_COLUMN], source["entity"] = pa.array(whom), "who"
    tables.write_parquet(root / layout.FEATURES, pa.table(made))
    files.write_json(root / layout.COLUMNS, {"schema": {"task": task}})
    data = {"sources": {"t": source}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {"seed": seed}, "split": options})


def rows_of(root: Path, path: str) -> list[int]:
    found: list[int] = tables.read_parquet(root / path, [layout.ROW]).column(0).to_pylist()
    return found

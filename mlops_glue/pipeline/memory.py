"""Estimate the memory of a fit or a transform before it starts, and refuse what cannot fit."""

from __future__ import annotations

import math
from pathlib import Path

from mlops_glue import layout, row_groups
from mlops_glue.config import Config, path_of
from mlops_glue.errors import StageError
from mlops_glue.pipeline import free_text
from mlops_glue.pipeline.preprocess import ONE_HOT
from mlops_glue.processes import free_memory
from mlops_glue.schema import Schema

# Bytes of a fit for each cell of the encoded matrix: the rows as Arrow and as a frame, the preprocessed matrix, and the
# estimator's own copies. Measured with 1 to 4 million rows (docs/scale.md); for other estimators the largest counts.
CELL_BYTES = {"HistGradientBoosting": 32, "XGB": 20, "LGBM": 24}
OTHERS = 40
STREAMED = 10  # with `train.stream`: XGBoost's own matrix, and the columns of text
TRANSFORM = 4  # copies of the tables of a transform: as Arrow, as frames, its own copies, and those of the check
MAY_USE = 0.8  # share of the free memory


def check(config: Config, root: Path, schema: Schema, estimator: str) -> None:
    """Check that the training rows fit into memory.

    Raises:
        StageError: with the memory that they need, and what the user can do.
    """
    rows = row_groups.rows(root / layout.TRAIN)
    columns = encoded_columns(config, schema, rows)
    limit, source = _limit(config)
    a_row = columns * (STREAMED if config.train.stream else cell_bytes(estimator))
    if limit is None or rows * a_row <= limit:
        return
    fits = int(limit / a_row)
    fits -= fits % 10 ** max(len(str(fits)) - 2, 0)
    name = estimator.rpartition(".")[2]
    raise StageError(
        f"train: {name} would need about {in_gib(rows * a_row)} for {rows:,} rows of {columns} encoded columns, "
        f"and {in_gib(limit)} may be used ({source})",
        hint=f"train: {{rows: {fits}}} in {layout.CONFIG} learns from a sample of the rows; with "
        "xgboost.XGBClassifier and XGBRegressor, train: {stream: true} learns from all rows in pieces; "
        "compute: {memory: 8GiB} sets how much may be used",
    )


def check_transform(config: Config, root: Path) -> None:
    """Check that the tables, which `features.transform` receives as a whole, fit into memory.

    Raises:
        StageError: with the memory that they need, and what the user can do.
    """
    sizes = [row_groups.size(root / path_of(config, name)) for name in config.data.sources]
    needed = TRANSFORM * int(math.fsum(sizes))
    limit, source = _limit(config)
    if limit is not None and needed > limit:
        raise StageError(
            f"featurize: features.transform {config.features.transform} needs whole tables in memory, about "
            f"{in_gib(needed)}, and {in_gib(limit)} may be used ({source})",
            hint="compute the features beforehand, such as in a query, and let the views read that file: without "
            "features.transform the join runs in pieces; compute: {memory: 8GiB} sets how much may be used",
        )


def _limit(config: Config) -> tuple[int | None, str]:
    """Return the bytes that may be used, or None if unknown, and where the limit comes from."""
    if config.compute.memory_bytes is not None:
        return config.compute.memory_bytes, "compute.memory"
    free = free_memory()
    return None if free is None else int(MAY_USE * free), f"{MAY_USE:.0%} of the free memory"


def encoded_columns(config: Config, schema: Schema, rows: int) -> int:
    """Return the largest number of columns that the estimator sees."""
    encodes = config.train.preprocess and config.train.categories == "encoded"
    of_text = 0
    for column in schema.columns:
        if column.kind == "category":
            few = column.categories is not None and len(column.categories) <= ONE_HOT
            of_text += len(column.categories or []) if encodes and few else 1
    words = free_text.columns(rows, config.train.words) if config.train.preprocess else 1
    return len(schema.numeric) + of_text + words * len(schema.free_text)


def cell_bytes(estimator: str) -> int:
    """Return the bytes of a fit for each cell of the encoded matrix."""
    name = estimator.rpartition(".")[2]
    return next((size for start, size in CELL_BYTES.items() if name.startswith(start)), OTHERS)


def in_gib(size: int) -> str:
    """Return a number of bytes as text in GiB."""
    return f"{size / 2**30:.1f} GiB"

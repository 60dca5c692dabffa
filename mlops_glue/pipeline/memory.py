"""How much memory a fit or a transform takes is known before it begins: what cannot fit is refused then."""

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

# Bytes of a fit for each cell of the encoded matrix: the rows as Arrow and as a frame, what preprocessing makes of it,
# and what the estimator makes of that. Measured with 1 to 4 million rows (docs/scale.md); of others the most is taken.
CELL_BYTES = {"HistGradientBoosting": 32, "XGB": 20, "LGBM": 24}
OTHERS = 40
STREAMED = 10  # of `train.stream`: XGBoost's own matrix, and the columns of text
TRANSFORM = 4  # tables of a transform: as Arrow, as frames, as the copies that it gets, and as those of the check
MAY_USE = 0.8  # of what is free


def check(config: Config, root: Path, schema: Schema, estimator: str) -> None:
    """Raise where the training rows would need more memory than there is.

    Raises:
        StageError: says how much, and what can be done.
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
        f"train: {name} would take about {in_gib(rows * a_row)} for {rows:,} rows of {columns} encoded columns, "
        f"and {in_gib(limit)} may be used ({source})",
        hint=f"train: {{rows: {fits}}} in {layout.CONFIG} learns from a sample of the rows, and says so; "
        "of xgboost.XGBClassifier and XGBRegressor train: {stream: true} learns from all, in pieces; "
        "compute: {memory: 8GiB} says what may be used",
    )


def check_transform(config: Config, root: Path) -> None:
    """Raise where the tables that `features.transform` gets whole would need more memory than there is.

    Raises:
        StageError: says how much, and what can be done.
    """
    sizes = [row_groups.size(root / path_of(config, name)) for name in config.data.sources]
    needed = TRANSFORM * int(math.fsum(sizes))
    limit, source = _limit(config)
    if limit is not None and needed > limit:
        raise StageError(
            f"featurize: features.transform {config.features.transform} gets whole tables, which would take about "
            f"{in_gib(needed)}, and {in_gib(limit)} may be used ({source})",
            hint="compute the features before, in a query for one, and let the views read that file: without "
            "features.transform the join is in pieces; compute: {memory: 8GiB} says what may be used",
        )


def _limit(config: Config) -> tuple[int | None, str]:
    """The bytes that may be used, where that is known, and what says so."""
    if config.compute.memory_bytes is not None:
        return config.compute.memory_bytes, "compute.memory"
    free = free_memory()
    return None if free is None else int(MAY_USE * free), f"{MAY_USE:.0%} of what is free"


def encoded_columns(config: Config, schema: Schema, rows: int) -> int:
    """How many columns the estimator sees, at most, of so many rows."""
    encodes = config.train.preprocess and config.train.categories == "encoded"
    of_text = 0
    for column in schema.columns:
        if column.kind == "category":
            few = column.categories is not None and len(column.categories) <= ONE_HOT
            of_text += len(column.categories or []) if encodes and few else 1
    words = free_text.columns(rows, config.train.words) if config.train.preprocess else 1
    return len(schema.numeric) + of_text + words * len(schema.free_text)


def cell_bytes(estimator: str) -> int:
    """Bytes of a fit for each cell of the encoded matrix."""
    name = estimator.rpartition(".")[2]
    return next((size for start, size in CELL_BYTES.items() if name.startswith(start)), OTHERS)


def in_gib(size: int) -> str:
    """Bytes for a reader."""
    return f"{size / 2**30:.1f} GiB"

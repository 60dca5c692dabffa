"""ingest: the raw tables as Parquet, types inferred over whole columns."""

from __future__ import annotations

from pathlib import Path

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, did_you_mean


def ingest(config: Config, root: Path) -> None:
    """Read the labels' table and write it as Parquet.

    Raises:
        ConfigError: `glue.yaml` names a column that the table does not have.
    """
    table = io.read_table(root / config.source.path)
    check_columns(config, table.column_names)
    io.write_parquet(root / layout.TABLE, table)


def check_columns(config: Config, names: list[str]) -> None:
    """Hold every column that `glue.yaml` names against those of the table; all problems at once."""
    source, here = config.source, f"data.sources.{config.data.labels.source}"
    named = [("data.labels.target", config.data.labels.target)]
    named += [(f"{here}.entity", source.entity)] if source.entity else []
    named += [(f"{here}.timestamp", column) for column in source.timestamps]
    for kind in ("number", "category", "boolean", "datetime"):
        named += [(f"features.{kind}.{at}", column) for at, column in enumerate(getattr(config.features, kind))]
    named += [(f"evaluate.slices.{at}", column) for at, column in enumerate(config.evaluate.slices)]
    missing = [
        f"{layout.CONFIG} {key}: no column {column!r} in {source.path} ({did_you_mean(column, names)})"
        for key, column in named
        if column not in names
    ]
    if missing:
        raise ConfigError(missing)

"""ingest: the raw tables as Parquet, types inferred over whole columns."""

from __future__ import annotations

from pathlib import Path

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import DataError, did_you_mean


def ingest(config: Config, root: Path) -> None:
    """Read the labels' table, check that the config's columns are in it, write it as Parquet."""
    source = config.source
    table = io.read_table(root / source.path)
    named = {f"data.sources.{config.data.labels.source}.entity": source.entity}
    named[f"data.sources.{config.data.labels.source}.timestamp"] = source.timestamp
    named["data.labels.target"] = config.data.labels.target
    for kind in ("number", "category", "boolean", "datetime"):
        named |= {f"features.{kind}": c for c in getattr(config.features, kind) if c not in table.column_names}
    for key, column in named.items():
        if column is not None and column not in table.column_names:
            raise DataError(
                f"{layout.CONFIG} {key}: no column {column!r} in {source.path}",
                hint=did_you_mean(column, table.column_names),
            )
    io.write_parquet(root / layout.TABLE, table)

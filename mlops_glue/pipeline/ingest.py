"""ingest: the raw tables as Parquet, types inferred over whole columns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import io, layout
from mlops_glue.config import Config, Source
from mlops_glue.errors import ConfigError, DataError, did_you_mean
from mlops_glue.schema import moments

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
SINCE_EVER = "event_timestamp"  # the clock of a table that has none


def ingest(config: Config, root: Path) -> None:
    """Read every source and write it as Parquet: the labels' as `table.parquet`, each other under its name.

    Times of a source of features are written in UTC; one without a timestamp is known since 1970-01-01.

    Raises:
        ConfigError: `glue.yaml` names a column that a table does not have.
    """
    labels = config.data.labels.source
    keys = [source.entity for source in config.data.sources.values() if source.entity is not None]
    tables = {name: io.read_table(root / source.path, keys) for name, source in config.data.sources.items()}
    problems = _missing(config, {name: table.column_names for name, table in tables.items()})
    if problems:
        raise ConfigError(problems)
    for name, table in tables.items():
        for note in io.notes(table, config.data.sources[name].path):
            log.warning("warning: %s", note)
        if name != labels and config.features.use:
            table = _with_clock(table, config.data.sources[name], name)
        io.write_parquet(root / path_of(config, name), table)


def path_of(config: Config, source: str) -> str:
    """Where the Parquet form of a source is."""
    return layout.TABLE if source == config.data.labels.source else f"{layout.INGESTED}/{source}.parquet"


def _with_clock(table: pa.Table, source: Source, name: str) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    if not source.timestamps:
        if SINCE_EVER in table.column_names:
            return table
        return table.append_column(
            SINCE_EVER, pa.array(np.zeros(table.num_rows, "datetime64[us]")).cast(pa.timestamp("us", "UTC"))
        )
    for column in filter(None, (*source.timestamps, source.created)):
        try:
            found = moments(table, [column], hint=f"take the rows without {column} out of the table")
        except DataError as error:  # the labels' table may have a clock of the same name
            raise DataError(f"{source.path}: {error.message}", hint=error.hint) from None
        when = pa.array(found).cast(pa.timestamp("us", "UTC"))
        table = table.set_column(table.column_names.index(column), column, when)
    return table


def check_columns(config: Config, names: list[str]) -> None:
    """Hold every column that `glue.yaml` names against those of the labels' table; all problems at once."""
    problems = _missing(config, {config.data.labels.source: names})
    if problems:
        raise ConfigError(problems)


def _missing(config: Config, columns: dict[str, list[str]]) -> list[str]:
    named = [(config.data.labels.source, "data.labels.target", config.data.labels.target)]
    for source, made in config.data.sources.items():
        here = f"data.sources.{source}"
        named += [(source, f"{here}.{key}", c) for key, c in (("entity", made.entity), ("created", made.created)) if c]
        named += [(source, f"{here}.timestamp", column) for column in made.timestamps]
    label = config.data.labels.source
    for kind in ("number", "category", "boolean", "datetime"):
        named += [(label, f"features.{kind}.{at}", column) for at, column in enumerate(getattr(config.features, kind))]
    if not config.features.use:
        named += [(label, f"evaluate.slices.{at}", column) for at, column in enumerate(config.evaluate.slices)]
    return [
        f"{layout.CONFIG} {key}: no column {column!r} in {config.data.sources[source].path}"
        f" ({did_you_mean(column, columns[source])})"
        for source, key, column in named
        if source in columns and column not in columns[source]
    ]

"""ingest: the raw tables as Parquet, types inferred over whole columns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import layout, tables
from mlops_glue.config import Config, Source, path_of
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
SINCE_EVER = "event_timestamp"  # the clock of a table that has none
Named = tuple[str, str, str]  # a source, a key of `glue.yaml`, and the column of the source that it names


def ingest(config: Config, root: Path) -> None:
    """Read every source and write it as Parquet: the labels' as `table.parquet`, each other under its name.

    Times of a source of features are written in UTC; one without a timestamp is known since 1970-01-01.

    Raises:
        ConfigError: `glue.yaml` names a column that a table does not have.
    """
    labels = config.data.labels.source
    keys = [source.entity for source in config.data.sources.values() if source.entity is not None]
    sources = {name: tables.read_table(root / source.path, keys) for name, source in config.data.sources.items()}
    _check(config, {name: table.column_names for name, table in sources.items()}, _of_data(config))
    for name, table in sources.items():
        for note in tables.reading_notes(table, config.data.sources[name].path):
            log.warning("warning: %s", note)
        if name != labels:
            table = _with_clock(table, config.data.sources[name], name)
        tables.write_parquet(root / path_of(config, name), table)


def _with_clock(table: pa.Table, source: Source, name: str) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    if isinstance(source.timestamp, list):  # which no feature has
        return table
    if not source.timestamps:
        if SINCE_EVER in table.column_names:
            return table
        return table.append_column(
            SINCE_EVER, pa.array(np.zeros(table.num_rows, "datetime64[us]")).cast(pa.timestamp("us", "UTC"))
        )
    for column in filter(None, (*source.timestamps, source.created)):
        try:
            found = timestamps_utc(table, [column])
        except DataError as error:  # the labels' table may have a clock of the same name
            raise DataError(f"{source.path}: {error.message}", hint=error.hint) from None
        when = pa.array(found).cast(pa.timestamp("us", "UTC"))
        table = table.set_column(table.column_names.index(column), column, when)
    return table


def check_columns(config: Config, names: list[str]) -> None:
    """Hold every column that `glue.yaml` names against those of the labels' table; all problems at once."""
    slices = [] if config.features.use else _of_slices(config)
    _check(config, {config.data.labels.source: names}, [*_of_data(config), *_of_kinds(config), *slices])


def check_kinds(config: Config, names: list[str]) -> None:
    """Hold the columns that `features` names by kind against those of the labels' table."""
    _check(config, {config.data.labels.source: names}, _of_kinds(config))


def check_slices(config: Config, names: list[str]) -> None:
    """Hold the columns of `evaluate.slices` against those of the labels' table with its features."""
    _check(config, {config.data.labels.source: names}, _of_slices(config))


def _of_data(config: Config) -> list[Named]:
    named = [(config.data.labels.source, "data.labels.target", config.data.labels.target)]
    for source, made in config.data.sources.items():
        here = f"data.sources.{source}"
        named += [(source, f"{here}.{key}", c) for key, c in (("entity", made.entity), ("created", made.created)) if c]
        named += [(source, f"{here}.timestamp", column) for column in made.timestamps]
    return named


def _of_kinds(config: Config) -> list[Named]:
    found: list[Named] = []
    for kind in ("number", "category", "boolean", "datetime"):
        columns = getattr(config.features, kind)
        found += [(config.data.labels.source, f"features.{kind}.{at}", column) for at, column in enumerate(columns)]
    return found


def _of_slices(config: Config) -> list[Named]:
    label = config.data.labels.source
    return [(label, f"evaluate.slices.{at}", column) for at, column in enumerate(config.evaluate.slices)]


def _check(config: Config, columns: dict[str, list[str]], named: list[Named]) -> None:
    problems = [
        f"{layout.CONFIG} {key}: no column {column!r} in {config.data.sources[source].path}"
        f" ({did_you_mean(column, columns[source])})"
        for source, key, column in named
        if source in columns and column not in columns[source]
    ]
    if problems:
        raise ConfigError(problems)

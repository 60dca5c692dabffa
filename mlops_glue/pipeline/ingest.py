"""ingest: the raw tables as Parquet, types inferred over whole columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
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
KINDS = ("number", "category", "boolean", "datetime")


def ingest(config: Config, root: Path) -> None:
    """Read every source and write it as Parquet: the labels' as `table.parquet`, each other under its name.

    Times of a source of features are written in UTC; one without a timestamp is known since 1970-01-01.

    Raises:
        ConfigError: `glue.yaml` names a column that a table does not have.
    """
    labels = config.data.labels.source
    keys = [source.entity for source in config.data.sources.values() if source.entity is not None]
    sources = {name: tables.read_table(root / source.path, keys) for name, source in config.data.sources.items()}
    check_columns(config, {name: table.column_names for name, table in sources.items()}, "data")
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


def check_columns(config: Config, columns: Mapping[str, list[str]], *sections: str) -> None:
    """Check that tables have every column that sections of `glue.yaml` name; all problems at once.

    The columns are those of the tables to check, by source; a section is `data`, `features`, `train` or `evaluate`.

    Raises:
        ConfigError: a column is missing.
    """
    problems = [
        f"{layout.CONFIG} {key}: no column {column!r} in {config.data.sources[source].path}"
        f" ({did_you_mean(column, columns[source])})"
        for section in sections
        for source, key, column in _named(config, section)
        if source in columns and column not in columns[source]
    ]
    if problems:
        raise ConfigError(problems)


def _named(config: Config, section: str) -> Iterator[tuple[str, str, str]]:
    """Each column that a section of `glue.yaml` names: its source, the key, and the column."""
    labels = config.data.labels.source
    if section == "data":
        yield labels, "data.labels.target", config.data.labels.target
        for name, source in config.data.sources.items():
            columns = [("entity", source.entity), ("created", source.created)]
            columns += [("timestamp", column) for column in source.timestamps]
            yield from ((name, f"data.sources.{name}.{key}", column) for key, column in columns if column)
    elif section == "features":
        for kind in KINDS:
            yield from ((labels, f"features.{kind}.{at}", c) for at, c in enumerate(getattr(config.features, kind)))
    elif section == "train":
        yield from ((labels, "train.weight", column) for column in [config.train.weight] if column is not None)
    else:
        yield from ((labels, f"evaluate.slices.{at}", column) for at, column in enumerate(config.evaluate.slices))

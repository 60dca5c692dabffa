"""ingest: the raw tables as Parquet, types inferred over whole columns."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, row_groups, streaming
from mlops_glue.config import KINDS, Config, Source, path_of
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.pipeline import queries
from mlops_glue.raw_table import RawTable
from mlops_glue.reading import Reading, reading_notes
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
LARGE_BYTES = 256 << 20  # of all tables together; the disk space of smaller tables is not reported
PARQUET_SHARE = {".parquet": 1.0, ".csv": 0.5, ".csv.gz": 1.5, ".jsonl": 0.3}  # size as Parquet / size of the file
ARTIFACTS_SHARE = 2.7  # size of the tables of ingest, featurize and split / size of the first (docs/scale.md)
Array = np.ndarray[Any, Any]
SINCE_EVER = "event_timestamp"  # the timestamp that is added to a table without one


def ingest(config: Config, root: Path) -> None:
    """Read every source and write it as Parquet: the labels' table as `table.parquet`, each other under its name.

    Times of a source of features are written in UTC; rows of a source without a timestamp are known from 1970-01-01 on.

    Raises:
        ConfigError: `glue.yaml` names a column that a table does not have.
        DataError: a file does not have the rows of its current query.
    """
    queries.check(config, root)
    _announce_disk(config, root)
    keys = [source.entity for source in config.data.sources.values() if source.entity is not None]
    with contextlib.ExitStack() as stack:
        raw: dict[str, RawTable] = {}
        for name, source in config.data.sources.items():
            raw[name] = stack.enter_context(contextlib.closing(RawTable(root / source.path, root / layout.STATE)))
        check_columns(config, {name: table.schema.names for name, table in raw.items()}, "data")
        for name, table in raw.items():
            _write(config, root, name, table, keys)


def _announce_disk(config: Config, root: Path) -> None:
    """Log how much disk space large tables will take, and how much is free, before they are copied."""
    sizes = {source.path: streaming.size(root / source.path) for source in config.data.sources.values()}
    if math.fsum(sizes.values()) < LARGE_BYTES:
        return
    as_parquet = math.fsum(size * PARQUET_SHARE[streaming.suffix(root / path)] for path, size in sizes.items())
    needed, free = ARTIFACTS_SHARE * as_parquet / 2**30, shutil.disk_usage(root).free / 2**30
    level = logging.WARNING if 2 * needed > free else logging.INFO
    log.log(
        level,
        f"{'warning: ' * (level == logging.WARNING)}the tables will take about {needed:.1f} GiB in {layout.ARTIFACTS}, "
        f"and as much again in DVC's cache unless it links files (dvc config cache.type reflink,hardlink,copy); "
        f"{free:.1f} GiB are free",
    )


def _write(config: Config, root: Path, name: str, raw: RawTable, keys: list[str]) -> None:
    """Write a source, piece by piece."""
    source = config.data.sources[name]
    reading, pieces = raw.read(keys)
    for note in reading_notes(reading.schema.empty_table(), source.path):
        log.warning("warning: %s", note)
    clocks = {} if name == config.data.labels.source else _clocks(source, reading, raw)
    at = 0
    with row_groups.writing(root / path_of(config, name)) as file:
        for piece in pieces:
            here = slice(at, at := at + piece.num_rows)
            for column, when in clocks.items():
                piece = _with(piece, column, when[here])
            file.write(piece)


def _clocks(source: Source, reading: Reading, raw: RawTable) -> dict[str, Array]:
    """Return the timestamp columns of a source of features, in UTC: datetime64[us] of shape (rows,)."""
    import pyarrow as pa

    if isinstance(source.timestamp, list):  # a source of features has no such timestamp
        return {}
    if not source.timestamps:
        if SINCE_EVER in reading.schema.names:
            return {}
        rows = len(raw.column(reading.schema.names[0]))
        return {SINCE_EVER: np.zeros(rows, "datetime64[us]")}
    found = {}
    for column in filter(None, (*source.timestamps, source.created)):
        try:
            found[column] = timestamps_utc(reading.apply(pa.table({column: raw.column(column)})), [column])
        except DataError as error:  # name the file: the labels' table may have a timestamp of the same name
            raise DataError(f"{source.path}: {error.message}", hint=error.hint) from None
    return found


def _with(table: pa.Table, column: str, when: Array) -> pa.Table:
    import pyarrow as pa

    values = pa.array(when).cast(pa.timestamp("us", "UTC"))
    if column not in table.column_names:
        return table.append_column(column, values)
    return table.set_column(table.column_names.index(column), column, values)


def check_columns(config: Config, columns: Mapping[str, list[str]], *sections: str) -> None:
    """Check that tables have every column that sections of `glue.yaml` name; report all problems together.

    `columns` has the columns of the tables to check, by source; a section is `data`, `features`, `train` or `evaluate`.

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
    """Yield each column that a section of `glue.yaml` names: its source, the key, and the column."""
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

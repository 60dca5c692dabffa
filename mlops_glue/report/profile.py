"""A profile of the training table: each column's type, missing values and distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlops_glue import files, layout, row_groups, tables
from mlops_glue.config import KINDS, Config
from mlops_glue.pipeline import profile as profiles
from mlops_glue.schema import TEXTUAL, Schema
from mlops_glue.schema import Column as InputColumn

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 20_000  # rows in the sample for histograms
BINS = 24
MOST_VALUES, MOST_CLASSES = 6, 20  # shown for a category column, for the target
MOST = 100  # columns


class Bins(NamedTuple):
    """A histogram, with its ends formatted for display."""

    low: str
    high: str
    counts: list[int]
    rows: int


class Shares(NamedTuple):
    """The most frequent values, each with its number of rows, and the number of other rows."""

    values: list[tuple[str, int]]
    others: int
    rows: int


@dataclass(frozen=True)
class Column:
    """A column of the labels table, or a column that Feast joined."""

    name: str
    kind: str | None = None  # None: excluded
    why: str = ""  # the reason for excluding it
    missing: float | None = None  # share of the rows
    distinct: int | None = None
    bins: Bins | None = None
    shares: Shares | None = None


@dataclass(frozen=True)
class Profile:
    """The profile of the training table."""

    task: str
    target: Column
    columns: list[Column]
    labelled: int  # rows with a target
    unlabelled: int
    rows: int  # in the sample that the column statistics are from


def profile(config: Config, root: Path) -> Profile | None:
    """Describe the columns as `featurize` used them; None if it has not run."""
    path, described = root / layout.FEATURES, root / layout.COLUMNS
    if not (path.is_file() and described.is_file() and (root / config.rows).is_file()):
        return None
    read = files.read_json(described)
    schema, labelled = Schema.from_dict(read["schema"]), row_groups.rows(path)
    shown = schema.columns[:MOST]
    of_target = f"target:{schema.target}"
    sample = row_groups.take(
        path, tables.evenly_spaced(labelled, SAMPLE), [*(column.inputs[0] for column in shown), of_target]
    )
    inputs = {column.name: _input(column, sample.column(column.inputs[0])) for column in shown}
    names = [name for name in row_groups.empty(root / config.rows).column_names if name not in _reserved(config)]
    excluded = {column.name: column for column in _excluded(config, root, schema, names)}
    columns = [inputs.get(name) or excluded[name] for name in names if name in inputs or name in excluded]
    target = _target(schema, path, sample.column(of_target))
    return Profile(schema.task, target, columns, labelled, read["unlabelled"], sample.num_rows)


def _reserved(config: Config) -> set[str]:
    """The target and glue's own columns."""
    return {config.data.labels.target, *layout.OWN_COLUMNS}


def _input(column: InputColumn, values: pa.ChunkedArray) -> Column:
    """Describe an input column of the model by its first encoded column."""
    found = values.to_numpy()
    if column.kind in TEXTUAL:
        present = found[found != ""]
        counts = Counter(present.tolist()) if column.kind == "category" else Counter[str]()
        distinct = len(column.categories) if column.categories is not None else None
        shares = _shares(counts, len(found)) if counts else None
        return Column(column.name, column.kind, "", 1 - len(present) / max(len(found), 1), distinct, shares=shares)
    present = found[np.isfinite(found)].astype(float) + column.base
    missing = 1 - len(present) / max(len(found), 1)
    if column.kind == "boolean":
        counts = Counter("true" if value else "false" for value in present.tolist())
        return Column(column.name, column.kind, "", missing, len(counts), shares=_shares(counts, len(found)))
    return Column(column.name, column.kind, "", missing, None, _bins(present, is_date=column.kind == "datetime"))


def _bins(present: np.ndarray[Any, Any], *, is_date: bool = False) -> Bins | None:
    if not len(present):
        return None
    low, high = float(present.min()), float(present.max())
    counts, _ = np.histogram(present, BINS, (low, high) if high > low else (low - 0.5, low + 0.5))
    ends = [_day(value) if is_date else _figure(value) for value in (low, high)]
    return Bins(ends[0], ends[1], counts.tolist(), len(present))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.4g}"


def _day(days: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def _shares(counts: Mapping[str, int], rows: int, most: int = MOST_VALUES) -> Shares:
    first = Counter(counts).most_common(most)
    return Shares(first, sum(counts.values()) - sum(count for _, count in first), rows)


def _target(schema: Schema, path: Path, values: pa.ChunkedArray) -> Column:
    """Describe the target. Classes are counted on all rows: a sample may miss a rare class."""
    name = schema.target
    if schema.labels is None:
        present = values.to_numpy()
        return Column(name, "number", "", 0.0, None, _bins(present[np.isfinite(present)]))
    counts: Counter[str] = Counter()
    for piece in row_groups.pieces(path, [f"target:{name}"]):
        for entry in piece.column(0).value_counts().to_pylist():
            counts[str(entry["values"])] += entry["counts"]
    return Column(name, "classes", "", 0.0, len(counts), shares=_shares(counts, sum(counts.values()), MOST_CLASSES))


def _excluded(config: Config, root: Path, schema: Schema, names: list[str]) -> list[Column]:
    """Describe each excluded column and the reason: its role, the `features` config, or its values."""
    taken = {column.name for column in schema.columns}
    listed = any(getattr(config.features, kind) for kind in KINDS) or bool(config.features.use)
    roles = {config.source.entity: "entity column", config.train.weight: "row weight"}
    roles |= dict.fromkeys(config.source.timestamps, "timestamp of the rows")
    roles |= dict.fromkeys(config.features.exclude, "listed in features.exclude")
    found = []
    for name in [name for name in names if name not in taken][:MOST]:
        if name in roles or listed:
            found.append(Column(name, None, roles.get(name, "not listed in features")))
            continue
        values = tables.read_parquet(root / config.rows, [name])
        (described,) = profiles.profile(values)
        missing = described.nulls / max(values.num_rows, 1)
        found.append(Column(name, None, described.reason or "absent at the last run", missing, described.distinct))
    return found

"""What the tables hold, column by column: what each is taken for, what is missing, how its values are spread."""

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
from mlops_glue.schema import Column as Taken

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 20_000  # rows of which histograms are
BINS = 24
MOST_VALUES, MOST_CLASSES = 6, 20  # that are shown of a category, of the target
MOST = 100  # columns


class Bins(NamedTuple):
    """A histogram, its ends as they are shown."""

    low: str
    high: str
    counts: list[int]
    rows: int


class Shares(NamedTuple):
    """The most frequent values, each with its rows; and the rows of all others."""

    values: list[tuple[str, int]]
    others: int
    rows: int


@dataclass(frozen=True)
class Column:
    """A column of the labels' table, or one that Feast has joined."""

    name: str
    kind: str | None = None  # None: it is left out
    why: str = ""  # it is left out
    missing: float | None = None  # share of the rows
    distinct: int | None = None
    bins: Bins | None = None
    shares: Shares | None = None


@dataclass(frozen=True)
class Profile:
    """What the model's table holds."""

    task: str
    target: Column
    columns: list[Column]
    labelled: int  # rows with a target
    unlabelled: int
    rows: int  # of the sample that columns are described by


def profile(config: Config, root: Path) -> Profile | None:
    """Describe the columns as `featurize` took them; None where it has not run."""
    path, told = root / layout.FEATURES, root / layout.COLUMNS
    if not (path.is_file() and told.is_file() and (root / config.rows).is_file()):
        return None
    read = files.read_json(told)
    schema, labelled = Schema.from_dict(read["schema"]), row_groups.rows(path)
    shown = schema.columns[:MOST]
    of_target = f"target:{schema.target}"
    sample = row_groups.take(
        path, tables.evenly_spaced(labelled, SAMPLE), [*(one.inputs[0] for one in shown), of_target]
    )
    made = {one.name: _taken(one, sample.column(one.inputs[0])) for one in shown}
    names = [name for name in row_groups.empty(root / config.rows).column_names if name not in _apart(config)]
    left_out = {one.name: one for one in _left_out(config, root, schema, names)}
    columns = [made.get(name) or left_out[name] for name in names if name in made or name in left_out]
    target = _target(schema, path, sample.column(of_target))
    return Profile(schema.task, target, columns, labelled, read["unlabelled"], sample.num_rows)


def _apart(config: Config) -> set[str]:
    return {config.data.labels.target, *layout.OWN_COLUMNS}


def _taken(column: Taken, values: pa.ChunkedArray) -> Column:
    """A column that the model is given, by its first encoded column."""
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
    """Of classes every row counts: a rare one may be in no sample."""
    name = schema.target
    if schema.labels is None:
        present = values.to_numpy()
        return Column(name, "number", "", 0.0, None, _bins(present[np.isfinite(present)]))
    counts: Counter[str] = Counter()
    for piece in row_groups.pieces(path, [f"target:{name}"]):
        for entry in piece.column(0).value_counts().to_pylist():
            counts[str(entry["values"])] += entry["counts"]
    return Column(name, "classes", "", 0.0, len(counts), shares=_shares(counts, sum(counts.values()), MOST_CLASSES))


def _left_out(config: Config, root: Path, schema: Schema, names: list[str]) -> list[Column]:
    """Why each column is no input: because it has a role, `features` says so, or what it holds."""
    taken = {column.name for column in schema.columns}
    listed = any(getattr(config.features, kind) for kind in KINDS) or bool(config.features.use)
    roles = {config.source.entity: "it is the entity", config.train.weight: "it is the weight of the rows"}
    roles |= dict.fromkeys(config.source.timestamps, "it is the time of the rows")
    roles |= dict.fromkeys(config.features.exclude, "features.exclude names it")
    found = []
    for name in [name for name in names if name not in taken][:MOST]:
        if name in roles or listed:
            found.append(Column(name, None, roles.get(name, "features does not list it")))
            continue
        values = tables.read_parquet(root / config.rows, [name])
        (one,) = profiles.profile(values)
        missing = one.nulls / max(values.num_rows, 1)
        found.append(Column(name, None, one.reason or "it was not there", missing, one.distinct))
    return found

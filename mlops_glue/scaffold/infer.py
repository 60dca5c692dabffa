"""Infer columns, keys and timestamps of the tables for `glue init` and `glue adopt`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.config import Source
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import DataError, UsageError
from mlops_glue.layout import OWN_COLUMNS
from mlops_glue.other_formats import one_file
from mlops_glue.pipeline.featurize import ambiguous, as_target, outputs
from mlops_glue.pipeline.profile import Profile, find_timestamp, infer_task, profile, unread
from mlops_glue.reading import reading_facts
from mlops_glue.scaffold.feast import FeastView
from mlops_glue.streaming import columns_of_folders
from mlops_glue.suggest import did_you_mean
from mlops_glue.tables import read_or_sample

if TYPE_CHECKING:
    import pyarrow as pa

SEASON = re.compile(r"(?i)^(year|quarter|month|week|week_?of_?year|day_?of_?year|yday)$")
CREATED = re.compile(r"(?i)^(created|ingested|inserted|loaded|recorded|known)(_?(at|on|time|timestamp|date))?$")
SEASON_DAYS = 2 * 365  # a shorter table may contain each month only once
PREDICTION = "glue predict writes a column with this name; rename it to make it a feature"
WORDS = "free text, whose words are features; --no-text leaves it out"
LATER_MONTHS = "the holdout has later months than the training rows"


@dataclass(frozen=True)
class Request:
    """What the user requested, and what was found in the repository."""

    root: Path  # the project folder
    files: Sequence[Path]  # the tables
    target: str  # the column to predict
    timestamp: str | None = None
    entities: tuple[str, ...] = ()
    task: str | None = None  # None: taken from the target
    preset: Mapping[str, Any] = field(default_factory=dict)  # template answers that replace the inferred ones
    in_place: Path | None = None  # tables below this folder are not copied; None: those below the project folder
    estimator: tuple[str, dict[str, Any]] | None = None  # import path and arguments
    library: str | None = None  # a key of `defaults.BOOSTERS`, whose estimator to use
    text: bool = False  # are words of free text features?
    drops: Mapping[str, str] = field(default_factory=dict)  # columns of the labels' table to leave out, with the reason
    queries: Mapping[Path, Source] = field(default_factory=dict)  # the sources of tables that come from a query
    feast: Sequence[FeastView] = ()  # views of the other tables in a Feast repository


@dataclass(frozen=True)
class Table:
    """One table that was read, and what was inferred from it."""

    name: str
    file: Path
    rows: pa.Table  # all rows or a sample
    profiles: list[Profile]
    entities: list[str]
    when: str | list[str] | None
    created: str | None = None

    @property
    def usable(self) -> list[Profile]:
        """The columns that are neither key nor timestamp; parts of a date remain features."""
        apart = {*self.entities, self.created, self.when if isinstance(self.when, str) else None}
        return [p for p in self.profiles if p.name not in apart]

    def profile_of(self, column: str) -> Profile:
        """Return the profile of one column."""
        return next(p for p in self.profiles if p.name == column)


def read_tables(request: Request, notes: list[str]) -> tuple[list[Table], Table]:
    """Return every table, and the table of the labels: the first that has the target.

    Raises:
        UsageError: an option names a column that does not exist, or a table cannot be joined.
    """
    rows = {file: read_or_sample(file, notes, request.entities) for file in request.files}
    labels = next((f for f, table in rows.items() if request.target in table.column_names), request.files[0])
    tables = [_look(request, file, rows[file], file == labels, notes) for file in request.files]
    names = [table.name for table in tables]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two tables are called {twice!r}", hint="rename one of the files")
    return tables, next(table for table in tables if table.file == labels)


def _look(request: Request, file: Path, rows: pa.Table, is_label: bool, notes: list[str]) -> Table:
    """Profile a table, and find its keys and its timestamp."""
    profiles = profile(rows)
    if apart := columns_of_folders(file):
        names = ", ".join(map(repr, apart))
        notes.append(f"{file.name}: {names} only in names of folders, not read; with: {one_file(file)}")
    view = next((view for view in request.feast if view.path == file), None)
    timestamp = view.timestamp if view is not None and view.timestamp is not None else request.timestamp
    entities = [column for column in request.entities if column in rows.column_names]
    created = view.created if view is not None else None
    if is_label:
        when = _check_options(request, rows, file, timestamp)
    elif not entities:
        given = ", ".join(request.entities) or "(none given)"
        hint = "--entity COLUMN, a column that both tables have"
        raise UsageError(f"{file.name}: has none of the entity columns {given}", hint=hint)
    else:
        when = timestamp if timestamp in rows.column_names else None
        created = created or next((p.name for p in profiles if p.kind == "datetime" and CREATED.match(p.name)), None)
    if when is None:
        when = find_timestamp([p for p in profiles if p.name not in (request.target, *entities, created)])
        columns = when if isinstance(when, str) else ", ".join(when or ())
        if is_label:
            notes += [f"the holdout is the latest rows by {columns}"] if when else []
        elif isinstance(when, list):
            raise UsageError(f"{file.name}: its time is split into the columns {columns}", hint="merge them into one")
        elif when is None:
            notes.append(f"{file.name}: no timestamp column; its rows count as always known")
    stem = re.sub(r"\.(csv|csv\.gz|parquet|jsonl)$", "", file.name, flags=re.IGNORECASE)
    name = name_of(stem).replace(".", "_") or "table"  # a dot separates the keys of `glue.yaml`
    return Table(name, file, rows, profiles, entities, when, created)


def _check_options(request: Request, rows: pa.Table, file: Path, timestamp: str | None) -> str | list[str] | None:
    """Return the timestamp as `glue.yaml` has it; the labels' table must have every column that an option names."""
    names = rows.column_names
    when: str | list[str] | None = timestamp
    if timestamp is not None and timestamp not in names and "," in timestamp:
        when = [part.strip() for part in timestamp.split(",")]
    options = [("--target", request.target), *(("--entity", column) for column in request.entities)]
    options += [("--timestamp", column) for column in (when if isinstance(when, list) else [when]) if column]
    for option, column in options:
        if column not in names:
            raise UsageError(f"{option} {column}: no such column in {file.name}", hint=did_you_mean(column, names))
    for column in request.entities:
        if (reason := unread(rows.schema.field(column).type)) is not None:
            raise UsageError(f"--entity {column}: is {reason}")
    if request.target in OWN_COLUMNS:
        raise UsageError(f"--target {request.target}: is a name reserved by glue", hint="rename the column")
    for role, columns in (("entity", request.entities), ("timestamp", [when])):
        if request.target in columns:
            raise UsageError(f"--target {request.target}: is also the {role}")
    return when


def features(request: Request, label: Table) -> list[Profile]:
    """Return the columns of the labels' table; a column that the model must not see has a reason and no kind."""
    columns = [p for p in label.usable if p.name != request.target]
    if request.text:
        columns = [p.kept("text", WORDS) if p.prose else p for p in columns]
    reasons = dict.fromkeys(_seasons(label, columns), LATER_MONTHS)
    reasons |= dict.fromkeys(_predictions(request, label), PREDICTION)
    reasons |= request.drops
    kinds = {p.name: p.kind for p in columns if p.kind is not None and p.name not in reasons}
    reasons |= ambiguous(kinds, request.target)
    return [replace(p, kind=None, reason=reasons[p.name]) if p.name in reasons else p for p in columns]


def _seasons(label: Table, columns: list[Profile]) -> list[str]:
    """Return the month-like columns if the holdout is the latest rows of a table that covers less than two years.

    The training rows then do not have the holdout's months.
    """
    if label.when is None:
        return []
    when = timestamps_utc(label.rows, [label.when] if isinstance(label.when, str) else label.when)
    if (when.max() - when.min()).astype("timedelta64[D]").astype(int) >= SEASON_DAYS:
        return []
    return [p.name for p in columns if SEASON.match(p.name) and p.whole]


def _predictions(request: Request, label: Table) -> set[str]:
    """Return the columns that `glue predict` writes."""
    values = label.rows.column(request.target)
    try:
        task = request.task or infer_task(values)
        return outputs(as_target(values.drop_null(), task, request.target), task)
    except DataError:
        return set()  # the task is checked later


def null_words(table: Table, target: str) -> list[str]:
    """Return a note for each text column with words that were read as null, as they may be real values.

    In the target they may be a class, whatever the other classes are.
    """
    found = reading_facts(table.rows)["nulls"]
    kinds = {p.name: p.kind for p in table.profiles}
    text = [name for name in found if kinds[name] == "category" or name in (target, *table.entities)]
    return [
        f"column {name!r}: {', '.join(f'{n:,} x {word!r}' for word, n in found[name].items())} read as null"
        for name in text
    ]


def name_of(text: str) -> str:
    """Return the text as a name that every tool accepts; empty if no character is left."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")

"""Labels: the true values for served predictions, and their join with the prediction log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import config as configs
from mlops_glue import parsing, streaming, tables
from mlops_glue.config import LabelTable
from mlops_glue.dates import as_datetime, infer_day_first
from mlops_glue.errors import ConfigError, DataError, GlueError, MissingExtra, combined
from mlops_glue.layout import CONFIG
from mlops_glue.parsing import as_text, column_as_text
from mlops_glue.schema import Schema
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import INEXACT_INTEGER, parse_boolean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Array = np.ndarray[Any, Any]
WHERE = "monitor.labels"
TRUTH, KNOWN = "glue_truth", "glue_label_time"  # columns that `join` adds to rows of the log


@dataclass(frozen=True)
class Labels:
    """Labels, each with the key of its prediction.

    Attributes:
        frame: columns `key` (text), `row` (in a request; 0 if the table has no such column), `when` (UTC; NaT if the
            table has no such column) and `truth` (text).
        options: `monitor.labels`.
        problems: labels that were not used, in words.
    """

    frame: pd.DataFrame
    options: LabelTable
    problems: list[str] = field(default_factory=list)

    @property
    def log_column(self) -> str:
        """The column of the log that contains the keys."""
        return self.options.matches if self.options.id else str(self.options.entity)


@dataclass(frozen=True)
class Joined:
    """Rows of the log that have a label.

    Attributes:
        table: the rows, with the columns `TRUTH` (text) and `KNOWN` (the label's time, or null).
        rows: the number of rows in the window, with and without a label.
        lag_s: median and 90th percentile of the seconds from a prediction to its label; None if no time is known.
        problems: problems with the labels, in words.
    """

    table: pa.Table | None
    rows: int
    lag_s: tuple[float, float] | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> int:
        """The number of rows with a label."""
        return self.table.num_rows if self.table is not None else 0

    @property
    def coverage(self) -> float:
        """The share of rows with a label."""
        return self.labelled / self.rows if self.rows else 0.0

    def in_words_of(self, schema: Schema) -> Joined:
        """Return the same rows with the truth spelled like the model's classes, for retraining."""
        if self.table is None:
            return self
        at = self.table.column_names.index(TRUTH)
        return replace(self, table=self.table.set_column(at, TRUTH, in_words_of(schema, self.table.column(TRUTH))))


def read(options: LabelTable, target: str, root: Path) -> Labels:
    """Read the labels that `monitor.labels` configures.

    Raises:
        ConfigError: a column does not exist.
        GlueError: the table cannot be read.
    """
    import pandas as pd

    problems: list[str] = []
    names = {key: getattr(options, key) for key in ("target", "id", "row", "entity", "timestamp")}
    names = {key: name for key, name in {**names, "target": options.target or target}.items() if name is not None}
    table = _table(options, root, set(names.values()), problems)
    if table is None:
        nothing = pd.DataFrame({"key": [], "row": [], "when": [], "truth": []})
        return Labels(nothing, options, [*problems, f"no table in {options.path} yet"])
    if missing := [(key, name) for key, name in names.items() if name not in table.column_names]:
        raise ConfigError(
            [f"{CONFIG} {WHERE}.{key}: no column {n!r} ({did_you_mean(n, table.column_names)})" for key, n in missing]
        )
    try:
        return _labels(table, options, names["target"], problems)
    except DataError as error:
        raise DataError(f"{WHERE}: {error.message}") from None


def in_words_of(schema: Schema, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the truth as text, spelled like the model's classes: True, yes, 1.0 and 1 may mean the same.

    A word that matches no class is not changed. The truth of a regression is written with a decimal point.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(as_text(values)).combine_chunks()
    translate = _to_number(schema) if schema.labels is None else _to_class(schema.class_order)
    words = pa.array([translate(word) for word in coded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([words.take(coded.indices)])


def _to_class(labels: list[Any]) -> Callable[[str], str]:
    own = {word_of(label): label for label in labels}
    of_two = {parse_boolean(word): word for word in own}
    by_truth = of_two if len(own) == 2 and set(of_two) == {False, True} else {}

    def translate(word: str) -> str:
        bare = word.strip()
        if word in own or bare in own:
            return word if word in own else bare
        same = [name for name, label in own.items() if isinstance(label, int | float) and as_number(bare) == label]
        return same[0] if same else by_truth.get(parse_boolean(bare), word)

    return translate


def _to_number(schema: Schema) -> Callable[[str], str]:
    import pyarrow as pa

    def translate(word: str) -> str:
        if not np.isnan(as_number(word)):
            return word
        cleaned = parsing.clean_words(pa.chunked_array([[word]]), schema.nulls)
        try:
            return str(parsing.parse_numbers(cleaned, schema.decimal)[0])
        except ValueError:
            return word

    return translate


def as_number(word: str) -> float:
    """Convert text to a number; NaN if it is not a number."""
    try:
        return float(word)
    except ValueError:
        return float("nan")


def word_of(label: Any) -> str:
    """Return a class in the spelling of `parsing.as_text`."""
    return str(label).removesuffix(".0") if isinstance(label, float) else str(label)


def _labels(table: pa.Table, options: LabelTable, target: str, problems: list[str]) -> Labels:
    """Return each label once. Contradictory labels are excluded."""
    import pandas as pd

    key = str(options.id or options.entity)
    frame = pd.DataFrame({"key": _key(table.column(key), key).to_pandas()})
    frame["row"] = _whole(table.column(options.row)) if options.row else 0
    frame["when"] = _times(table.column(options.timestamp)) if options.timestamp else pd.NaT
    frame["truth"] = column_as_text(table.column(target), target).to_pandas()
    timed = ["when"] if options.entity and options.timestamp else []
    known = frame.dropna(subset=["key", "truth", *timed])
    distinct = known.drop_duplicates(["key", "row", *timed, "truth"])
    conflicting = distinct.duplicated(["key", "row", *timed], keep=False)
    if lost := len(frame) - len(known):
        problems.append(f"{lost:,} of {len(frame):,} labels lack a key, a time or a true value: excluded")
    if again := len(known) - len(distinct):
        problems.append(f"{again:,} labels are duplicates: each counts once")
    if conflicting.any():
        problems.append(f"{int(conflicting.sum()):,} labels contradict each other: excluded")
    return Labels(distinct[~conflicting].reset_index(drop=True), options, problems)


def _table(options: LabelTable, root: Path, needed: set[str], problems: list[str]) -> pa.Table | None:
    """Read the table; None if the folder is still empty. Files in the folder that cannot be read are problems."""
    import pyarrow as pa

    if options.url is not None:
        from mlops_glue.adapters import sql

        try:
            return sql.query(configs.resolve(options.url, f"{WHERE}.url"), str(options.query), root)
        except (ConfigError, MissingExtra):
            raise
        except GlueError as error:
            raise type(error)(f"{WHERE}.url: {error.message}", hint=error.hint) from error
    path, keys = root / str(options.path), [name for name in (options.id, options.entity) if name]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.name.lower().endswith(streaming.SUFFIXES) and p.name[0] != ".")
        parts, refused = [], list[DataError]()
        for file in files:
            try:
                parts.append(_as_words(file, needed, keys))
            except DataError as error:
                refused.append(error)
                problems.append(f"{error.message}: excluded")
        if refused and not parts:
            raise combined(refused)
        return pa.concat_tables(parts, promote_options="default") if parts else None
    if not path.is_file():
        raise DataError(f"{WHERE}.path: {options.path} does not exist", hint="the path is relative to the project")
    return tables.read_table(path, keys)


def _as_words(file: Path, needed: set[str], keys: list[str]) -> pa.Table:
    """Return the needed columns as text, because inferred types may differ between files."""
    import pyarrow as pa

    table = tables.read_table(file, keys)
    there = needed & {*table.column_names}
    try:
        return pa.table({name: (_key if name in keys else column_as_text)(table.column(name), name) for name in there})
    except DataError as error:
        raise DataError(f"{file}: {error.message}") from None


def _key(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column of keys as text.

    Raises:
        DataError: it cannot be converted to text, or different keys would become equal.
    """
    if parsing.inexact_integer(values) is not None:
        raise DataError(f"column {name!r} contains a key that {INEXACT_INTEGER}")
    return column_as_text(values, name)


def _whole(values: pa.ChunkedArray) -> Array:
    import pyarrow as pa

    try:
        return np.asarray(values.cast(pa.int64()).to_pandas())
    except pa.ArrowInvalid:
        raise ConfigError([f"{CONFIG} {WHERE}.row: must contain whole numbers ({values.type})"]) from None


def _times(values: pa.ChunkedArray) -> Array:
    try:
        return as_datetime(values, infer_day_first(values))
    except (ValueError, TypeError) as error:
        raise ConfigError([f"{CONFIG} {WHERE}.timestamp: cannot be read as times: {error}"[:300]]) from None


def join(labels: Labels, pieces: Iterable[pa.Table]) -> Joined:
    """Return the rows of the log that have a label. Memory grows with the labels, not with the log.

    A label with an id belongs to the prediction with that id. A label with an entity and a time belongs to every
    prediction for the entity since the previous label, up to that time. A label with only an entity belongs to all
    predictions for the entity.

    Raises:
        ConfigError: the log does not have the column.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    frame, options, problems = labels.frame, labels.options, list(labels.problems)
    known = pa.array(frame["key"], pa.string())
    rows, kept = 0, []
    for piece in pieces:
        rows += piece.num_rows
        if labels.log_column not in piece.column_names:
            near = did_you_mean(labels.log_column, piece.column_names)
            key = "matches" if options.id else "entity"
            raise ConfigError([f"{CONFIG} {WHERE}.{key}: the log has no {labels.log_column!r} ({near})"])
        kept.append(piece.filter(pc.is_in(as_text(piece.column(labels.log_column)), value_set=known)))
    table = pa.concat_tables(kept, promote_options="permissive") if kept else None
    if table is None or not table.num_rows:
        if rows and len(frame):
            problems.append(
                f"none of {len(frame):,} labels matches a prediction in this window: "
                f"does {options.id or options.entity!r} contain the values of the log's {labels.log_column!r}?"
            )
        return Joined(None, rows, None, problems)
    log = pd.DataFrame({"key": as_text(table.column(labels.log_column)).to_pandas()})
    log["time"] = table.column("glue_time").to_numpy().astype("datetime64[us]")
    log["at"] = np.arange(len(log))
    if options.id:
        found = _of_requests(labels, log.assign(row=table.column("glue_row").to_pandas()), problems)
    elif options.timestamp:
        found = _of_entities(frame, log)
        if found.empty:
            problems.append(f"none of {len(frame):,} labels is used: all are older than their entity's predictions")
    else:
        found = log.merge(frame, on="key")
    found = found.sort_values("at")
    delay = (found["when"] - found["time"]).dropna().dt.total_seconds()
    if early := int((delay < 0).sum()):
        problems.append(f"{early:,} labels are older than their prediction: is a clock wrong?")
    lag = (float(delay.median()), float(delay.quantile(0.9))) if len(delay) else None
    joined = table.take(pa.array(found["at"])).append_column(TRUTH, pa.array(found["truth"], pa.string()))
    when = pa.array(found["when"].to_numpy().astype("datetime64[us]"))
    return Joined(joined.append_column(KNOWN, when), rows, lag, problems)


def _of_requests(labels: Labels, log: pd.DataFrame, problems: list[str]) -> pd.DataFrame:
    """Return predictions with the label of their request and row; if several have the same id, the last one."""
    if labels.options.row is None:
        several = log.groupby(["key", "time"])["row"].transform("size") > 1
        log = log[~several]
        if several.any():
            problems.append(
                f"{int(several.sum()):,} predictions belong to requests with several rows: excluded; "
                f"to match them, set {WHERE}.row to the column with the row number"
            )
    found = log.merge(labels.frame, on=["key", "row"])
    last = found.sort_values("time", kind="stable").drop_duplicates(["key", "row"], keep="last")
    asked = int(labels.frame["key"].isin(log["key"]).sum())
    if labels.options.row is not None and asked > len(last):
        problems.append(
            f"{asked - len(last):,} labels have a row number that their request does not have: are rows counted from 0?"
        )
    if again := len(found) - len(last):
        problems.append(f"{again:,} predictions have the same id as a later prediction: only the last one is used")
    return last


def _of_entities(frame: pd.DataFrame, log: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with the first label of their entity at or after them."""
    import pandas as pd

    truth = frame.assign(when=frame["when"].astype("datetime64[us]")).sort_values("when", kind="stable")
    found = pd.merge_asof(
        log.sort_values("time", kind="stable"),
        truth,
        left_on="time",
        right_on="when",
        by="key",
        direction="forward",
    )
    return found.dropna(subset=["truth"])

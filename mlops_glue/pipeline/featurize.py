"""featurize: the encoded columns that the model sees, with the target; one row for each row that has a target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import column_types, files, layout, measures, parsing, row_groups, tables
from mlops_glue.config import KINDS, Config, path_of
from mlops_glue.dates import infer_day_first, timestamps_utc
from mlops_glue.encoding import Encoded, encode
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.parsing import column_as_text
from mlops_glue.pipeline.fitting import weights_of
from mlops_glue.pipeline.ingest import check_columns
from mlops_glue.pipeline.profile import infer_task, profile
from mlops_glue.precision import float32_fit
from mlops_glue.reading import reading_facts
from mlops_glue.records import FeatureList
from mlops_glue.schema import TEXTUAL, Column, Kind, Schema
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mlops_glue.adapters.feast.repository import Repository
    from mlops_glue.pipeline import transform

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
Read = Callable[..., "pa.Table"]  # returns the labelled rows of columns, by name
MAX_CATEGORIES = 1000  # categories that are listed


def featurize(config: Config, root: Path) -> None:
    """Write `features.parquet` (`glue_row`, encoded features, target, weight, entity, timestamp) and `columns.json`.

    The type of each column is decided one column at a time; then the rows are encoded in pieces.
    """
    labels = config.data.labels
    check_columns(config, {labels.source: row_groups.empty(root / layout.TABLE).column_names}, "features", "train")
    joined = _with_features(config, root) if config.features.use else {}
    path = root / config.rows
    columns_of = tables.column_reader(path)
    known = _known(columns_of([labels.target]).column(0))
    if not known.any():
        raise DataError(f"target {labels.target!r} has no values")

    def read(*names: str) -> pa.Table:
        table = columns_of(list(names))
        return table if known.all() else table.filter(known)

    target = read(labels.target).column(0)
    task = labels.task or infer_task(target)
    measures.check_decision(config, task)
    truth = as_target(target, task, labels.target)
    del target
    head = row_groups.empty(path)
    columns = choose_columns(config, head.column_names, read, joined, outputs(truth, task))
    schema = Schema(task, labels.target, columns, decimal=reading_facts(head)["decimal"])
    if not schema.columns:
        raise DataError("no column is left to learn from", hint=f"see features in {layout.CONFIG}")
    facts = _write(config, root, schema, known, truth, read)
    classes = _classes(truth, task, labels.target)
    if labels.positive is not None and labels.positive not in (classes or []):
        suggestion = did_you_mean(str(labels.positive), [str(c) for c in classes or []])
        raise ConfigError(
            [f"{layout.CONFIG} data.labels.positive: the target has no {labels.positive!r} ({suggestion})"]
        )
    schema = replace(schema, columns=facts, labels=classes, positive=labels.positive if task == "binary" else None)
    unlabelled = len(known) - int(known.sum())
    files.write_json(root / layout.COLUMNS, {"schema": schema.to_dict(), "unlabelled": unlabelled})


def _known(target: pa.ChunkedArray) -> Array:
    """Return which rows have a target, shape (rows,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.is_valid(target)
    if pa.types.is_floating(target.type):
        known = pc.and_(known, pc.is_finite(target))
    return np.asarray(pc.fill_null(known, False).to_numpy())


class _Facts:
    """Collects facts about columns from encoded rows, piece by piece."""

    def __init__(self, columns: list[Column]) -> None:
        self._columns = columns
        self._seen: dict[str, set[str]] = {column.name: set() for column in columns}
        self._ends: dict[str, list[float]] = {column.name: [] for column in columns}
        self._nullable: set[str] = set()

    def add(self, encoded: Encoded) -> None:
        for column in self._columns:
            values, name = encoded[column.inputs[0]], column.name
            if column.kind in TEXTUAL:
                is_null = values == ""
                if column.kind == "category" and len(self._seen[name]) <= MAX_CATEGORIES:
                    self._seen[name].update(values[~is_null])
            else:
                is_null = np.isnan(values)
                if not is_null.all():
                    self._ends[name] += [float(np.nanmin(values)), float(np.nanmax(values))]
            if is_null.any():
                self._nullable.add(name)

    def columns(self) -> list[Column]:
        """Return the columns with their categories or limits, and whether they have nulls."""
        return [self._described(column) for column in self._columns]

    def _described(self, column: Column) -> Column:
        nullable = column.name in self._nullable
        if column.kind == "category":
            seen = sorted(self._seen[column.name])
            return replace(column, nullable=nullable, categories=seen if len(seen) <= MAX_CATEGORIES else None)
        if column.kind == "text":
            return replace(column, nullable=nullable)
        ends = self._ends[column.name]
        low, high = (column.base + of(ends) if ends else None for of in (min, max))
        return replace(column, nullable=nullable, minimum=low, maximum=high)


def _write(
    config: Config,
    root: Path,
    schema: Schema,
    known: Array,
    truth: pa.ChunkedArray,
    read: Read,
) -> list[Column]:
    """Write the encoded rows with glue's own columns; return the columns with the facts that the rows show."""
    import pyarrow as pa

    source, facts, first, at = config.source, _Facts(schema.columns), 0, 0
    of_target, weight, named = f"target:{schema.target}", None, config.train.weight
    if named is not None:
        weight = weights_of(read(named), named, schema, source.path, np.flatnonzero(known))
    hint = f"correct it or leave it empty, or list the column under another kind or exclude: {layout.CONFIG} features"
    when = timestamps_utc(read(*source.timestamps), source.timestamps) if source.timestamps else None
    needed = dict.fromkeys([*(c.name for c in schema.columns), *filter(None, [source.entity])])
    with row_groups.writing(root / layout.FEATURES, combined=True) as file:
        for piece in row_groups.pieces(root / config.rows, [*needed]):
            rows = first + np.flatnonzero(known[first : first + piece.num_rows])
            labelled, here = piece.take(rows - first), slice(at, at + len(rows))
            first, at = first + piece.num_rows, here.stop
            encoded = encode(labelled, schema, where=source.path, rows=rows, hint=hint)
            facts.add(encoded)
            out: dict[str, Any] = {layout.ROW: rows}
            out |= {name: encoded[name] for name in (*schema.numeric, *schema.text)}
            out[of_target] = truth[here]
            if when is not None:
                out[layout.TIMESTAMP_COLUMN] = when[here]
            if source.entity is not None:
                out[layout.ENTITY_COLUMN] = column_as_text(labelled.column(source.entity), source.entity)
            if weight is not None:
                out[layout.WEIGHT_COLUMN] = weight[here]
            file.write(pa.table(out))
    return facts.columns()


def _with_features(config: Config, root: Path) -> dict[str, str]:
    """Write `joined.parquet`, the labels' table with Feast's features, in pieces; return the kind of each feature."""
    import tempfile

    from mlops_glue import feature_stores
    from mlops_glue import features as feast
    from mlops_glue.pipeline import join, memory, transform

    path = root / layout.TABLE
    times = tables.read_parquet(path, config.source.timestamps)
    made: transform.Tables = {}
    if config.features.transform is not None:
        memory.check_transform(config, root)
        function = transform.load(config, root)
        sources = {name: tables.read_parquet(root / path_of(config, name)) for name in config.data.sources}
        raw = {name: _raw(config, name, table) for name, table in sources.items()}
        made = function(raw)
        transform.write(root, made)
    when = timestamps_utc(times, config.source.timestamps)
    with tempfile.TemporaryDirectory() as folder:
        repository = feature_stores.open_repository(config, root, Path(folder))
        features = feast.feature_list(config, root, repository, row_groups.empty(path).schema, times)
        if not repository.exact:
            unchecked = "not checked whether a value is later than its label"
            store = f"offline store {repository.offline} does not return when a joined value was known"
            log.warning("warning: %s: %s", store, unchecked)
        if made:
            clocks = _clocks(repository, features)
            if not clocks and all(view.path is not None for view in features.views):
                up = "../" * len(Path(config.features.repo).parts)
                file = f"{up}{layout.FEATURE_TABLES}/{next(iter(made))}.parquet"
                raise ConfigError(
                    [f"{layout.CONFIG} features.transform: no view of features.use reads a table that it returns"],
                    hint=f"in {config.features.repo}, set a view's source to path={file!r}",
                )
            known = {name: transform.known_at(config, name, table) for name, table in sources.items()}
            transform.check_no_future(function, raw, known, made, clocks)
            del sources, raw
            made = {}  # the join reads the files
        join.write(config, root, repository, features, when)
    files.write_json(root / layout.FEATURE_LIST, features.to_dict())
    return feast.kinds(features)


def _raw(config: Config, name: str, table: pa.Table) -> pd.DataFrame:
    """Return a source as the transform receives it: a frame, with its timestamp in UTC."""
    import pandas as pd

    frame, clock = tables.to_pandas(table), config.data.sources[name].timestamp
    if isinstance(clock, str):
        frame[clock] = pd.Series(timestamps_utc(table, [clock])).dt.tz_localize("UTC")
    return frame


def _clocks(repository: Repository, features: FeatureList) -> dict[str, tuple[list[str], list[str]]]:
    """Return key and timestamp columns of each table that the transform returned and a view reads."""
    found = {}
    for view in features.views:
        if view.path is not None and Path(view.path).parent.as_posix() == layout.FEATURE_TABLES:
            own = {new: old for old, new in view.mapping.items()}
            clocks = [own.get(clock, clock) for clock in repository.clock(view.of) if clock]
            found[Path(view.path).stem] = ([own.get(key, key) for key in view.keys], clocks)
    return found


def outputs(target: pa.ChunkedArray, task: str) -> set[str]:
    """Return the columns with predictions that are added to scored rows."""
    labels = [] if task == "regression" else target.unique().to_pylist()
    return {"prediction", *(f"probability_{label}" for label in labels)}


def ambiguous(kinds: Mapping[str, Kind | None], target: str) -> dict[str, str]:
    """Return the columns whose names other columns of the feature tables have, with the reason to leave them out."""
    dates = [Column(name, kind) for name, kind in kinds.items() if kind == "datetime"]
    parts = {part: date.name for date in dates for part in date.inputs}
    found = {name: f"the date {parts[name]!r} has a part with this name" for name in kinds if name in parts}
    return found | {name: "glue uses this name itself" for name in kinds if name == f"target:{target}"}


def choose_columns(
    config: Config, names: list[str], read: Read, joined: dict[str, str], taken: set[str]
) -> list[Column]:
    """Return the columns of the config's lists and of Feast; if all are empty, every usable column by inferred kind.

    The table has the columns `names`, which are read one at a time.

    Raises:
        ConfigError: a column has one of the names `taken`, which `glue predict` writes, or is `ambiguous`.
    """
    chosen = config.features
    kinds: dict[str, Any] = {c: k for k in KINDS for c in getattr(chosen, k)}
    kinds |= {column: kind for column, kind in joined.items() if column not in chosen.exclude}
    if not kinds:
        apart = {config.data.labels.target, config.source.entity, config.train.weight, *chosen.exclude, *taken}
        apart |= {c for c in config.source.timestamps if isinstance(config.source.timestamp, str)}
        found = (profile(read(name))[0] for name in names if name not in apart)
        kinds = {p.name: p.kind for p in found if p.kind is not None}
        kinds = {name: kinds[name] for name in kinds.keys() - ambiguous(kinds, config.data.labels.target)}
    for name, reason in ambiguous(kinds, config.data.labels.target).items():
        raise ConfigError(
            [f"{layout.CONFIG} features: {name!r}: {reason}"],
            hint="rename the column in the table, or remove it from features",
        )
    if both := sorted(taken & kinds.keys()):
        raise ConfigError(
            [f"{layout.CONFIG} features: {both[0]!r} is the name of a column that glue predict writes"],
            hint="rename the column in the table, or remove it from features",
        )
    columns = []
    for name in names:
        if name in kinds:
            values = read(name)
            columns.append(column_of(name, kinds[name], values.column(0), reading_facts(values)["decimal"]))
    return columns


def column_of(name: str, kind: Kind, values: pa.ChunkedArray, decimal: str) -> Column:
    """Return a column with how to read its text; warn if float32 makes two of its numbers equal."""
    import pyarrow as pa

    dtype = str(values.type.value_type if pa.types.is_dictionary(values.type) else values.type)
    if kind == "datetime":
        return Column(name, kind, dtype, day_first=infer_day_first(values))
    column = Column(name, kind, dtype)
    if kind != "number":
        return column
    words = parsing.clean_words(values) if parsing.is_text(values.type) else None
    try:
        apart = float32_fit(values, None if words is None else parsing.parse_numbers(words, decimal))
    except (ValueError, NotImplementedError):
        return column  # `encode` reports it
    twins = apart.twins or (None if words is None else column_types.equal_numbers(words, decimal))
    if twins is not None:
        log.warning("warning: column %r: %s and %s are equal for the model, as float32", name, *twins)
    return replace(column, base=apart.base)


def as_target(values: pa.ChunkedArray, task: str, name: str) -> pa.ChunkedArray:
    """Return the target: float64 for regression; for classes whole numbers as int64, booleans, or else text.

    Raises:
        DataError: the task is regression and the values are not numbers; or classes have no text.
    """
    import pyarrow as pa

    if task == "regression":
        try:
            return values.cast(pa.float64(), safe=False)  # integers of more than 53 bits become the nearest float
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found = f"{values.type} ({shown(column_as_text(values, name).unique().to_pylist())})"
            raise DataError(
                f"target {name!r} is {found}, not numbers, and the task is regression",
                hint=f"data: {{labels: {{task: multiclass}}}} in {layout.CONFIG}, or write numbers in the table",
            ) from None
    if pa.types.is_boolean(values.type):
        return values
    if tables.is_number(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    return column_as_text(values, name)


def shown(values: list[Any], most: int = 5) -> str:
    """Return the first of some values, for a message."""
    return ", ".join(repr(v) for v in values[:most]) + (", …" if len(values) > most else "")


def _classes(target: pa.ChunkedArray, task: str, name: str) -> list[Any] | None:
    if task == "regression":
        return None
    classes = sorted(target.unique().to_pylist())
    if len(classes) < 2:
        raise DataError(f"the target has only one class: {classes[0]!r}", hint="a model needs at least two classes")
    if task == "binary" and len(classes) > 2:
        raise DataError(
            f"target {name!r} has {len(classes):,} values, and a binary task has two: {shown(classes)}",
            hint=f"correct the table, or set data: {{labels: {{task: multiclass}}}} in {layout.CONFIG}",
        )
    return classes

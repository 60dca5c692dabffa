"""A model's features in Feast: their list, and rows with point-in-time values."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops_glue import layout, tables
from mlops_glue.adapters.feast.repository import EVENT_TIMESTAMP, Joined, Repository
from mlops_glue.column_types import ARROW_TYPES, cast_words, parse_column
from mlops_glue.config import Config
from mlops_glue.dates import infer_day_first
from mlops_glue.errors import ConfigError, DataError, first_line
from mlops_glue.feature_stores import open_repository
from mlops_glue.modules import project_files
from mlops_glue.parsing import as_text, clean_words, inexact_integer, is_text, with_nulls
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.suggest import did_you_mean

WRITE_KEYS = "write keys as in training: 12 and 0012 are different keys"


def feature_list(config: Config, root: Path, repository: Repository, schema: pa.Schema, times: pa.Table) -> FeatureList:
    """Return the features of `features.use`, and their column names next to those of the labels' table.

    `schema` is the schema of the labels' table, `times` its time columns.

    Raises:
        ConfigError: a view, a feature or a key column does not exist.
    """
    use, columns, clock = config.features.use, schema.names, config.source.timestamp
    views, request = repository.views(use)
    keys = {column: f"view {view.name} is about" for view in views for column in view.keys.values()}
    _check_columns(config, {**dict.fromkeys(request, "an on-demand view takes"), **keys}, columns)
    known = [f"{view.name}:{feature}" for view in views for feature in view.features]
    refs = [ref for ref in use if ref in known] if isinstance(use, list) else sorted(set(known))
    short = [ref.partition(":")[2] for ref in refs]
    named = {
        # two views, or a view and the labels' table, may have the same name
        ref.replace(":", "__") if short.count(name) > 1 or name in columns else name: ref
        for ref, name in zip(refs, short, strict=True)
    }
    return FeatureList(
        use=use,
        views=views,
        columns=named,
        request=request,
        transform=transform_hash(config, root),
        types={name: str(schema.field(name).type) for name in sorted(keys)},
        day_first=isinstance(clock, str) and bool(infer_day_first(times.column(clock))),
        request_types={name: str(schema.field(name).type) for name in sorted(request)},
        delay_s=config.features.delay_s,
    )


def _check_columns(config: Config, needed: dict[str, str], columns: list[str]) -> None:
    problems = [
        f"{layout.CONFIG} features.use: {why} {column!r}, which the labels' table {config.source.path} does not have "
        f"({did_you_mean(column, columns)})"
        for column, why in needed.items()
        if column not in columns
    ]
    if problems:
        raise ConfigError(problems)


def transform_hash(config: Config, root: Path) -> str | None:
    """Return the SHA-256 of the project's modules behind `features.transform`."""
    if config.features.transform is None:
        return None
    total = hashlib.sha256()
    for path in project_files(config.features.transform, root):
        total.update(f"{path}\0".encode() + (root / path).read_bytes())
    return total.hexdigest()


def joined(
    repository: Repository, features: FeatureList, table: pa.Table, moments: NDArray[np.datetime64]
) -> tuple[pa.Table, Joined]:
    """Return the table with a column for each feature as known at the moments, and the result of the join.

    The moments are UTC, datetime64[us] of shape (rows,). The table has the key and request columns.
    """
    request = table.select(features.asked_by)
    request = request.append_column(EVENT_TIMESTAMP, pa.array(moments).cast(pa.timestamp("us", "UTC")))
    got = repository.join(request, features.use, features.views, delay_s=features.delay_s)
    for column, kind in kinds(features).items():
        if column not in table.column_names:
            values = got.table.column(features.columns[column].replace(":", "__"))
            table = table.append_column(column, _typed(values, kind))
    return table, got


def kinds(features: FeatureList) -> dict[str, str]:
    """Return the kind of each of the model's columns that come from Feast."""
    of = {f"{view.name}:{feature}": kind for view in features.views for feature, kind in view.features.items()}
    return {column: of[ref] for column, ref in features.columns.items()}


def _typed(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Cast values to the Arrow type of their kind, whatever type the store returned."""
    if kind == "category":
        return values.cast(pa.string())
    if kind == "datetime":
        return values.cast(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(values.type) else values
    return values


def with_features(
    config: Config,
    root: Path,
    features: FeatureList,
    table: pa.Table,
    moments: NDArray[np.datetime64],
    *,
    decimal: str = ".",
    as_defined_now: bool = False,
) -> pa.Table:
    """Add the features of a model to raw rows, as known at the moments: UTC, datetime64[us] of shape (rows,).

    Raises:
        DataError: a key is missing or has another type; or, unless `as_defined_now`, the definition of a feature has
            changed since the model was trained.
    """
    missing = [key for key in features.asked_by if key not in table.column_names]
    if missing:
        suggestion = did_you_mean(missing[0], table.column_names)
        raise DataError(f"column {missing[0]!r} is missing ({suggestion}): it is needed to look up features")
    for key, kind in features.types.items():
        table = key_as_trained(table, key, kind)
    for name in features.request:
        values = _as_requested(table.column(name), name, features.request_types.get(name), decimal)
        table = table.set_column(table.column_names.index(name), name, values)
    with tempfile.TemporaryDirectory() as folder:
        repository = open_repository(config, root, Path(folder))
        if not as_defined_now:
            check_definitions(repository, features)
        return joined(repository, features, table, moments)[0]


def key_as_trained(table: pa.Table, key: str, kind: str) -> pa.Table:
    """Convert a key to its type in training: 17 and "17" are the same customer, 17 and "017" are not."""
    values = with_nulls(table.column(key))
    if str(values.type) != kind:
        try:
            values = _key_as(values, kind)
        except ValueError as error:  # includes Arrow's errors
            difference = f"contains {values.type}, but was {kind} when the model was trained"
            raise DataError(f"column {key!r} {difference}: {first_line(error, 120)}", hint=WRITE_KEYS) from None
    return table.set_column(table.column_names.index(key), key, values)


def _as_requested(values: pa.ChunkedArray, name: str, kind: str | None, decimal: str) -> pa.ChunkedArray:
    """Convert text to the column's type in training; if that is not recorded, infer the type."""
    if not is_text(values.type) or kind in ("string", "large_string"):
        return values
    if kind is None:
        return parse_column(values, decimal)
    states = {arrow: state for state, arrow in ARROW_TYPES.items()}
    state = states.get(kind) or ("integer" if kind.startswith(("int", "uint")) else "float")
    made = cast_words(clean_words(values), state, decimal)
    if made is None:
        raise DataError(f"column {name!r} has values that are not {kind}, its type when the model was trained")
    return made


def _key_as(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Convert keys to another type.

    Raises:
        ValueError: a key would change.
    """
    if inexact_integer(values) is not None:
        raise ValueError("floats cannot distinguish numbers of this length")
    if not is_text(values.type):
        return as_text(values) if kind == "string" else values.cast(pa.type_for_alias(kind))
    words = clean_words(values)
    made = words.cast(pa.type_for_alias(kind))
    same = pc.fill_null(pc.equal(as_text(made), words), True)
    if not pc.all(same, min_count=0).as_py() and not pa.types.is_floating(made.type):
        at = pc.index(same, False).as_py()
        raise ValueError(f"{words[at].as_py()!r:.80} and {made[at].as_py()!r} are different keys")
    return made


def source_rows(root: Path, view: FeatureView, columns: list[str]) -> pa.Table:
    """Read columns of a view's source under their names in the view."""
    names = {new: old for old, new in view.mapping.items()}
    table = tables.read_parquet(root / (view.path or ""), [names.get(column, column) for column in columns])
    return table.rename_columns(columns)


def check_definitions(repository: Repository, features: FeatureList, transform: str | None = None) -> None:
    """Check that the definitions of a model's features are unchanged.

    `transform` is the current hash of the transform's code; None skips that check.

    Raises:
        DataError: a view was deleted, or its definition changed: other values would be served under the same name.
    """
    hint = "restore the definition, or train a model with the new one: glue run"
    try:
        now = {view.name: view for view in repository.views(features.use)[0]}
    except ConfigError as error:
        raise DataError(f"the model's features no longer exist: {error.problems[0]}", hint=hint) from error
    for view in features.views:
        if view.name not in now or now[view.name].definition != view.definition:
            raise DataError(
                f"the definition of feature view {view.name} has changed since the model was trained", hint=hint
            )
    if transform is not None and features.transform != transform:
        raise DataError("the code of features.transform has changed since the model was trained", hint=hint)

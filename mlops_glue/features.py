"""A model's features in Feast: which they are, and rows with their values as known at a time."""

from __future__ import annotations

import asyncio
import hashlib
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import column_types, layout, parsing, tables
from mlops_glue import config as configs
from mlops_glue.adapters.feast import redis
from mlops_glue.adapters.feast import repo as feast
from mlops_glue.adapters.feast.redis import RedisReader
from mlops_glue.config import Config
from mlops_glue.dates import infer_day_first
from mlops_glue.errors import ConfigError, DataError, first_line
from mlops_glue.modules import project_files
from mlops_glue.parsing import as_text
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

OF_ITS_MOMENT = "a row of the very moment of a request is not in the online store when it comes"
DELAY = (
    f"features: {{delay: 1s}} in {layout.CONFIG} takes what was known a second before, in training too; "
    "or give each row of features the time from which it is known"
)
WRITE_KEYS = "write keys as in training: 12 and 0012 are two"
LAST_BITS = 1e-13  # in which sums of the same numbers in another order may differ, relative


def open_repository(config: Config, root: Path, scratch: Path) -> feast.Repository:
    """The project's Feast repository, with a registry and an online store in a scratch folder."""
    offline = configs.resolve(config.features.offline_store, "features.offline_store")
    found = feast.Repository(
        root, config.features.repo, offline=offline, scratch=scratch, inexact=config.features.inexact_store
    )
    found.apply()
    return found


def open_live(config: Config, root: Path, *, replay_in: Path | None = None) -> feast.Repository:
    """The project's Feast repository with its own registry and online store, as this environment has them.

    With `replay_in` the registry is in that scratch folder, and the online store holds a project of its own.
    """
    stores = config.features
    return feast.Repository(
        root,
        stores.repo,
        online=configs.resolve(stores.online_store, "features.online_store"),
        offline=configs.resolve(stores.offline_store, "features.offline_store"),
        inexact=stores.inexact_store,
        scratch=replay_in,
        replay=replay_in is not None,
    )


def packed_store(config: Config, root: Path) -> tuple[Path, str] | None:
    """The embedded online store's file and the project's name in it; None where another store is configured."""
    online = configs.resolve(config.features.online_store, "features.online_store")
    return feast.packed_store(root, config.features.repo, online)


def redis_reader(config: Config, root: Path, features: FeatureList, timeout_s: float) -> RedisReader | None:
    """Reads the features of a model from Redis without Feast; None where another store, or only Feast can.

    What it reads is in the order of `features.asked_by`, what it gives in that of `features.columns`.
    """
    online = configs.resolve(config.features.online_store, "features.online_store")
    found = feast.redis_store(root, config.features.repo, online)
    if found is None or not all(redis.reads(view, features.types) for view in features.views):
        return None
    return redis.RedisReader(*found, features.views, features.asked_by, [*features.columns.values()], timeout_s)


def is_empty(config: Config, root: Path, features: FeatureList) -> bool:
    """Has the online store nothing for any view of a model? False where only Feast could tell.

    Raises:
        GlueError: it does not answer.
    """
    if (packed := packed_store(config, root)) is not None:
        path, project = packed
        from mlops_glue.adapters.feast.packed import PackedFile

        file = PackedFile(path)
        there = file.views()
        return file.is_empty([name for view in features.views if (name := f"{project}_{view.of}") in there])
    if (reader := redis_reader(config, root, features, 5.0)) is not None:
        return asyncio.run(reader.size()) == 0
    return False


def feature_list(config: Config, root: Path, repository: feast.Repository, table: pa.Table) -> FeatureList:
    """What `features.use` names, and what each is called among the model's columns, beside those of the labels' table.

    Raises:
        ConfigError: a view, a feature or a key column is not there.
    """
    views, request = repository.views(config.features.use)
    columns = table.column_names
    _check_keys(config, views, request, columns)
    asked = config.features.use
    wanted = {ref for view in views for ref in (f"{view.name}:{f}" for f in view.features)}
    refs = [r for r in asked if r in wanted] if isinstance(asked, list) else sorted(wanted)
    short = [ref.partition(":")[2] for ref in refs]
    named = {
        # two views may have a feature of one name, and the labels' table a column of it
        ref.replace(":", "__") if short.count(name) > 1 or name in columns else name: ref
        for ref, name in zip(refs, short, strict=True)
    }
    delay_s = config.features.delay_s
    _check_ages(views, delay_s)
    return FeatureList(
        asked, views, named, request, transform_hash(config, root), *_written(config, table, views, request), delay_s
    )


def _check_ages(views: list[FeatureView], delay_s: float) -> None:
    """With a delay as long as its TTL, a view is never served."""
    problems = [
        f"{layout.CONFIG} features.delay: {delay_s:g} s is not shorter than the TTL of view {view.name}, "
        f"{view.ttl_s:g} s: nothing of it would be served"
        for view in views
        if 0 < view.ttl_s <= delay_s
    ]
    if problems:
        raise ConfigError(problems)


def _written(
    config: Config, table: pa.Table, views: list[FeatureView], request: list[str]
) -> tuple[dict[str, str], bool, dict[str, str]]:
    """The types of the key columns, whether times as text begin with the day, and the types of request columns."""
    keys = {column for view in views for column in view.keys.values()}
    clock = config.source.timestamp
    keys_of, request_of = (
        {name: str(table.schema.field(name).type) for name in sorted(names)} for names in (keys, request)
    )
    return keys_of, isinstance(clock, str) and bool(infer_day_first(table.column(clock))), request_of


def transform_hash(config: Config, root: Path) -> str | None:
    """SHA-256 of the project's modules behind `features.transform`."""
    if config.features.transform is None:
        return None
    total = hashlib.sha256()
    for path in project_files(config.features.transform, root):
        total.update(f"{path}\0".encode() + (root / path).read_bytes())
    return total.hexdigest()


def _check_keys(config: Config, views: list[FeatureView], request: list[str], columns: list[str]) -> None:
    problems = [
        f"{layout.CONFIG} features.use: view {view.name} is about {column!r}, which the labels' table "
        f"{config.source.path} does not have ({did_you_mean(column, columns)})"
        for view in views
        for column in view.keys.values()
        if column not in columns
    ]
    problems += [
        f"{layout.CONFIG} features.use: an on-demand view takes {name!r} from the request, which the labels' table "
        f"{config.source.path} does not have ({did_you_mean(name, columns)})"
        for name in request
        if name not in columns
    ]
    if problems:
        raise ConfigError(problems)


def joined(
    repository: feast.Repository, features: FeatureList, table: pa.Table, moments: np.ndarray[Any, Any]
) -> tuple[pa.Table, feast.Joined]:
    """A table of label rows with a column for each feature, and what the join found.

    Args:
        repository: the definitions.
        features: which features, and how long after its time a row of them counts.
        table: has the key and request columns.
        moments: when each row is asked about, UTC, datetime64[us] of shape (rows,).
    """
    import pyarrow as pa

    asked = table.select(list(dict.fromkeys([*features.keys, *features.request])))
    asked = asked.append_column(feast.EVENT_TIMESTAMP, pa.array(moments).cast(pa.timestamp("us", "UTC")))
    got = repository.join(asked, features.use, features.views, delay_s=features.delay_s)
    for column, ref in features.columns.items():
        if column in table.column_names:
            continue
        values = got.table.column(ref.replace(":", "__"))
        table = table.append_column(column, _typed(values, kind_of(features, ref)))
    return table, got


def kind_of(features: FeatureList, ref: str) -> str:
    """The kind of column that a reference becomes."""
    name, _, feature = ref.partition(":")
    return next(v.features[feature] for v in features.views if v.name == name and feature in v.features)


def kinds(features: FeatureList) -> dict[str, str]:
    """The kind of each of the model's columns that come from Feast."""
    return {column: kind_of(features, ref) for column, ref in features.columns.items()}


def _typed(values: Any, kind: str) -> Any:
    """One Arrow type for a kind, whatever the store gave."""
    import pyarrow as pa

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
    moments: np.ndarray[Any, Any],
    *,
    decimal: str = ".",
    as_defined_now: bool = False,
) -> pa.Table:
    """Rows to be scored with the features of a model.

    Args:
        config: of the project.
        root: the project folder.
        features: of the model.
        table: raw rows; columns that are looked up by may be text.
        moments: when each row is asked about, UTC, datetime64[us] of shape (rows,).
        decimal: the decimal sign in numbers as text.
        as_defined_now: by the definitions of now, whatever they were.

    Raises:
        DataError: a key is missing, or is not of its type; or a feature is not defined as when the model was trained,
            unless `as_defined_now`.
    """
    missing = [key for key in (*features.keys, *features.request) if key not in table.column_names]
    if missing:
        said = did_you_mean(missing[0], table.column_names)
        raise DataError(f"column {missing[0]!r} is missing ({said}): features are looked up by it")
    for key, kind in features.types.items():
        table = _as_trained(table, key, kind)
    for name in features.request:
        values = _as_requested(table.column(name), name, features.request_types.get(name), decimal)
        table = table.set_column(table.column_names.index(name), name, values)
    with tempfile.TemporaryDirectory() as folder:
        repository = open_repository(config, root, Path(folder))
        if not as_defined_now:
            check_definitions(repository, features)
        return joined(repository, features, table, moments)[0]


def _as_trained(table: pa.Table, key: str, kind: str) -> pa.Table:
    """A key of the type that it had in training: 17 and "17" are one customer, 17 and "017" are two."""
    values = parsing.with_nulls(table.column(key))
    if str(values.type) != kind:
        try:
            values = _key_as(values, kind)
        except ValueError as error:  # Arrow's errors are such
            said = f"holds {values.type}, and was {kind} when the model was trained"
            raise DataError(f"column {key!r} {said}: {first_line(error, 120)}", hint=WRITE_KEYS) from None
    return table.set_column(table.column_names.index(key), key, values)


def _as_requested(values: pa.ChunkedArray, name: str, kind: str | None, decimal: str) -> pa.ChunkedArray:
    """Text as the type that the column had in training; where that is not kept, as the text itself says."""
    if not parsing.is_text(values.type) or kind in ("string", "large_string"):
        return values
    if kind is None:
        return column_types.parse_column(values, decimal)
    states = {arrow: state for state, arrow in column_types.ARROW_TYPES.items()}
    state = states.get(kind) or ("integer" if kind.startswith(("int", "uint")) else "float")
    made = column_types.cast_words(parsing.clean_words(values), state, decimal)
    if made is None:
        raise DataError(f"column {name!r} holds what is no {kind}, which it was when the model was trained")
    return made


def _key_as(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Keys as another type.

    Raises:
        ValueError: the type does not hold one of them as it is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if parsing.inexact_integer(values) is not None:
        raise ValueError("a float does not tell so long numbers apart")
    if not parsing.is_text(values.type):
        return as_text(values) if kind == "string" else values.cast(pa.type_for_alias(kind))
    words = parsing.clean_words(values)
    made = words.cast(pa.type_for_alias(kind))
    same = pc.fill_null(pc.equal(as_text(made), words), True)
    if not pc.all(same, min_count=0).as_py() and not pa.types.is_floating(made.type):
        at = pc.index(same, False).as_py()
        raise ValueError(f"{words[at].as_py()!r:.80} is another key than {made[at].as_py()!r}")
    return made


def source_rows(root: Path, view: FeatureView, columns: list[str]) -> pa.Table:
    """Columns of a view's source under the names that they have in the view."""
    names = {new: old for old, new in view.mapping.items()}
    table = tables.read_parquet(root / (view.path or ""), [names.get(column, column) for column in columns])
    return table.rename_columns(columns)


def check_definitions(repository: feast.Repository, features: FeatureList, transform: str | None = None) -> None:
    """What a model was trained on is defined as it was then.

    Args:
        repository: the definitions as they are now.
        features: of the model.
        transform: SHA-256 of the transform's code as it is now; None does not compare it.

    Raises:
        DataError: a view is gone, or its definition changed: other values would be served under the same name.
    """
    hint = "put it back; or let a model that knows the new one be promoted: glue run"
    try:
        now = {view.name: view for view in repository.views(features.use)[0]}
    except ConfigError as error:
        raise DataError(f"the model's features are gone: {error.problems[0]}", hint=hint) from error
    for view in features.views:
        if view.name not in now or now[view.name].definition != view.definition:
            raise DataError(f"feature view {view.name} is not defined as when the model was trained", hint=hint)
    if transform is not None and features.transform != transform:
        raise DataError("features.transform is not the code that the model was trained with", hint=hint)


def differences(trained: pa.ChunkedArray, served: pa.ChunkedArray, kind: str) -> list[int]:
    """The rows of two columns that are not the `same`."""
    import numpy as np
    import pyarrow.compute as pc

    equal = pc.fill_null(pc.equal(trained, served), False).to_numpy()
    return [at for at in np.flatnonzero(~equal).tolist() if not same(trained[at].as_py(), served[at].as_py(), kind)]


def skew(features: FeatureList, ref: str, key: dict[str, Any], moment: Any, trained: Any, served: Any) -> str:
    """How a feature that is served otherwise than it was trained on is reported."""
    view = next(view for view in features.views if view.name == ref.partition(":")[0])
    about = ", ".join(f"{name} {key[name]}" for name in view.keys.values())
    where = f"{ref}{about and f' of {about}'} at {feast.utc(moment):%Y-%m-%d %H:%M:%S}"
    return f"skew: {where} is {trained!r} in training and {served!r} from the online store"


def same(trained: Any, served: Any, kind: str) -> bool:
    """Null is null; a number may be one that Feast keeps as Float32, or differ in its last bits, as sums do."""
    import numpy as np

    none = [value is None or (isinstance(value, float) and np.isnan(value)) for value in (trained, served)]
    if any(none):
        return all(none)
    if kind == "number":
        if not isinstance(served, int | float):
            return False
        if isinstance(trained, int) and isinstance(served, int):
            return trained == served
        one, other = float(trained), float(served)
        with np.errstate(over="ignore"):
            short = float(np.float32(one)) == other or one == float(np.float32(other))
        return short or math.isclose(one, other, rel_tol=LAST_BITS)
    if kind == "datetime":
        apart = abs(feast.utc(trained) - feast.utc(served))
        return bool(apart.total_seconds() < 1)  # Feast keeps seconds in some stores
    return type(trained) is type(served) and bool(trained == served)

"""The definitions of a Feast repository: imports its Python files, and hashes what decides the values of a view."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feast import FeatureStore, FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource, RequestSource
from feast.feature_view import DUMMY_ENTITY_ID
from feast.repo_operations import parse_repo

from mlops_glue.errors import ConfigError, DataError, StageError, brief, project_lines
from mlops_glue.records import FeatureView

# kinds of columns, by Feast's types
KINDS = {
    **dict.fromkeys(("INT32", "INT64", "FLOAT", "DOUBLE"), "number"),
    "STRING": "category",
    "BOOL": "boolean",
    "UNIX_TIMESTAMP": "datetime",
}


def load(root: Path, folder: Path) -> list[Any]:
    """Import a repository's Python files, and return the entities, sources, views and services that they define.

    The project's modules are removed from `sys.modules` afterwards, and a module of the same name there is not used.

    Raises:
        StageError: a file cannot be imported.
        DataError: no feature view is defined.
    """
    before = dict(sys.modules)
    names = {p.stem for p in folder.glob("*.py")} | {p.name for p in folder.iterdir() if p.is_dir()}
    for name in names & before.keys():
        file = getattr(before[name], "__file__", None)
        if file is None or Path(file).is_relative_to(root):
            del sys.modules[name]
    importlib.invalidate_caches()
    try:
        with quiet(), importable(root, folder):
            found = parse_repo(folder)
    except Exception as error:
        raise StageError(f"{folder.name}: {brief(error)}{project_lines(error, root)}") from error
    finally:
        for name in sys.modules.keys() - before.keys():
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(root) and ".venv" not in Path(file).parts:
                del sys.modules[name]
        sys.modules.update(before)
    if not found.feature_views and not found.stream_feature_views:
        raise DataError(f"{folder.name}: defines no feature view", hint="see feast.dev: FeatureView")
    objects = [*found.projects, *found.entities, *found.data_sources, *found.feature_views]
    return [*objects, *found.stream_feature_views, *found.on_demand_feature_views, *found.feature_services]


@contextlib.contextmanager
def importable(root: Path, folder: Path) -> Iterator[None]:
    """Let Feast resolve relative paths, which needs the working directory, and import the project's modules."""
    here, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(root)]
    try:
        yield
    finally:
        os.chdir(here)
        sys.path[:] = path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress Feast's output and progress bars."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_local(definition: Any) -> bool:
    """Does a view or a source read only local Parquet files?"""
    source = definition
    while getattr(source, "batch_source", None) is not None:  # of a view, a push source or a stream source
        source = source.batch_source
    if not isinstance(source, DataSource) or isinstance(source, RequestSource):
        return True
    is_file = isinstance(source, FileSource) and "://" not in source.path
    return is_file and isinstance(source.file_format or ParquetFormat(), ParquetFormat)


def view_record(
    store: FeatureStore, root: Path, view: Any, projection: Any, features: list[str], *, on_demand: bool = False
) -> FeatureView:
    """Describe a view of any kind, with the names that a projection gives it.

    Raises:
        ConfigError: a feature has a type that models do not support.
    """
    types = {field.name: field.dtype.to_value_type().name for field in view.features}
    alias = projection.name_to_use()
    wrong = next((name for name in features if types[name] not in KINDS), None)
    if wrong is not None:
        raise ConfigError([f"glue.yaml features.use: {alias}:{wrong} is a {types[wrong]}, which models do not support"])
    entities = [] if on_demand else [c for c in view.entity_columns if c.name != DUMMY_ENTITY_ID]
    source = None if on_demand else view.batch_source
    path = None
    if isinstance(source, FileSource):
        path = Path(
            os.path.relpath(os.path.normpath(Path(store.config.repo_path or ".") / source.path), root)
        ).as_posix()
    return FeatureView(
        name=alias,
        keys={c.name: (projection.join_key_map or {}).get(c.name, c.name) for c in entities},
        features={name: KINDS[types[name]] for name in features},
        ttl_s=0.0 if on_demand or view.ttl is None else view.ttl.total_seconds(),
        definition=_definition_hash(store, view),
        path=path,
        on_demand=on_demand,
        of=view.name,
        types={c.name: c.dtype.to_value_type().name for c in entities},
        mapping=dict(getattr(source, "field_mapping", None) or {}),
    )


def _definition_hash(store: FeatureStore, view: Any) -> str:
    """Return the SHA-256 of what decides a view's values: its specification and its entities', without timestamps."""
    entities = sorted(set(getattr(view, "entities", None) or []) - {"__dummy"})
    total = hashlib.sha256()
    for definition in (view, *(store.get_entity(name) for name in entities)):
        spec = definition.to_proto().spec
        _clear_descriptions(spec)
        total.update(spec.SerializeToString(deterministic=True))
    return total.hexdigest()


def _clear_descriptions(message: Any) -> None:
    """Remove fields that do not affect values, at any depth: nested sources have their own timestamps."""
    for field, value in message.ListFields():
        if field.name in ("project", "description", "owner", "tags", "meta"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            inner = value.values() if hasattr(value, "values") and not hasattr(value, "ListFields") else value
            for part in [inner] if hasattr(inner, "ListFields") else inner:
                if hasattr(part, "ListFields"):
                    _clear_descriptions(part)

"""The definitions of a Feast repository: its Python files, imported, and what decides the values of a view."""

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
    """Import a repository's Python files; what they define: entities, sources, views and services.

    The project's modules are not left in `sys.modules`, and no module there that has the name of one of these is used.

    Raises:
        StageError: a file does not import.
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
    """Feast takes relative paths from the working folder, and classes of the project from its path."""
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
    """Feast prints what it materialises, with progress bars."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_local(definition: Any) -> bool:
    """Does a view, or a source, read nothing but a Parquet file of this machine's?"""
    source = definition
    while getattr(source, "batch_source", None) is not None:  # of a view, and of what is pushed or streamed
        source = source.batch_source
    if not isinstance(source, DataSource) or isinstance(source, RequestSource):
        return True
    is_file = isinstance(source, FileSource) and "://" not in source.path
    return is_file and isinstance(source.file_format or ParquetFormat(), ParquetFormat)


def view_record(
    store: FeatureStore, root: Path, view: Any, projection: Any, features: list[str], *, on_demand: bool = False
) -> FeatureView:
    """What glue needs to know of a view of any of Feast's kinds, as a projection renames it.

    Raises:
        ConfigError: a feature is of a type that no model takes.
    """
    types = {field.name: field.dtype.to_value_type().name for field in view.features}
    alias = projection.name_to_use()
    wrong = next((name for name in features if types[name] not in KINDS), None)
    if wrong is not None:
        raise ConfigError([f"glue.yaml features.use: {alias}:{wrong} is a {types[wrong]}, which no model takes"])
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
    """SHA-256 of what decides the values of a view: its specification and its entities'; no times of writing."""
    entities = sorted(set(getattr(view, "entities", None) or []) - {"__dummy"})
    total = hashlib.sha256()
    for definition in (view, *(store.get_entity(name) for name in entities)):
        spec = definition.to_proto().spec
        _clear_descriptions(spec)
        total.update(spec.SerializeToString(deterministic=True))
    return total.hexdigest()


def _clear_descriptions(message: Any) -> None:
    """Remove what decides no value, at any depth: sources within sources have times of writing of their own."""
    for field, value in message.ListFields():
        if field.name in ("project", "description", "owner", "tags", "meta"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            inner = value.values() if hasattr(value, "values") and not hasattr(value, "ListFields") else value
            for part in [inner] if hasattr(inner, "ListFields") else inner:
                if hasattr(part, "ListFields"):
                    _clear_descriptions(part)

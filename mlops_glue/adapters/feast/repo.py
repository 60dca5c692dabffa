"""The Feast repository: its definitions, the point-in-time join, the online store.

`feature_store.yaml` needs to name nothing of this package, so that Feast alone can open it. What it leaves open gets
the stores of this package, and so do two of Feast's that these only do better: `duckdb`, where every source is a local
Parquet file, and a registry in a local file. Neither writes anything in another form than Feast's own. An online store
that is named is taken as it is: `sqlite` is a file of the user's, in Feast's form. What glue.yaml's `features` says of
the stores goes before all of that. A `Repository` in a scratch folder has a registry and an online store of its own
there, so that the pipeline's stages touch nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import logging
import os
import queue
import re
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlops_glue import telemetry
from mlops_glue.adapters.feast.redis import Address, address
from mlops_glue.errors import (
    ConfigError,
    DataError,
    GlueError,
    MissingExtra,
    StageError,
    ToolError,
    brief,
    project_lines,
)
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.suggest import did_you_mean

HERE = "mlops_glue.adapters.feast"
OFFLINE, ONLINE = f"{HERE}.offline.AsofOfflineStore", f"{HERE}.online.PackedOnlineStore"
ENGINE, REGISTRY = f"{HERE}.engine.ArrowComputeEngine", f"{HERE}.registry.AtomicRegistryStore"
INEXACT = {
    "dask": "it drops rows whose features are older than the TTL, and duplicate rows",
    "file": "it drops rows whose features are older than the TTL, and duplicate rows",
    "ray": "it ignores the TTL and drops duplicate rows",
}
KINDS = {
    **dict.fromkeys(("INT32", "INT64", "FLOAT", "DOUBLE"), "number"),
    "STRING": "category",
    "BOOL": "boolean",
    "UNIX_TIMESTAMP": "datetime",
}
ONLINE_PATH, REGISTRY_PATH = "data/online.db", "data/registry.db"
ROW = "glue_row"
EVENT_TIMESTAMP = "event_timestamp"  # Feast's own name of the label rows' time


def _feast() -> Any:
    telemetry.off()
    try:
        with _quiet():
            import feast
    except ImportError as error:
        raise MissingExtra("feast", "features") from error
    logging.getLogger("feast").setLevel(logging.CRITICAL)
    return feast


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints what it materialises, with progress bars."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Feast's exceptions as one line, without what a connection string holds."""
    try:
        with _quiet():
            yield
    except GlueError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, GlueError):
            raise cause from error
        raise ToolError(f"Feast, {what}: {_scrubbed(brief(cause, 240))}") from error


def _scrubbed(text: str) -> str:
    return re.sub(r"(//[^/@\s:]*:)[^/@\s]+@|(password[=: '\"]+)[^\s,'\"]+", r"\1\2***", text)


@dataclass(frozen=True)
class Joined:
    """Label rows with their features."""

    table: Any  # pa.Table: a column `view__feature` each, in the order of the label rows
    found: dict[str, Any]  # view: boolean array of shape (rows,): did the row find something in it
    at_once: (
        Any  # boolean array of shape (rows,): what it found was known at its very moment; or the store does not tell
    )


class Repository:
    """A folder with `feature_store.yaml` and definitions in Python.

    Args:
        root: the project.
        folder: of the repository, relative to the project.
        online: over `online_store` of `feature_store.yaml`, its variables put in.
        offline: over `offline_store`, likewise.
        scratch: a folder for a registry and an online store of its own; None takes the configured ones.
        replay: in the scratch folder, take the configured online store all the same, under a project name of its own.
        inexact: take an offline store that is known to lose or mis-value rows.

    Raises:
        ConfigError: `feature_store.yaml` is wrong, or names a store that is not exact.
        StageError: the definitions do not import.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        *,
        online: dict[str, Any] | None = None,
        offline: dict[str, Any] | None = None,
        scratch: Path | None = None,
        replay: bool = False,
        inexact: bool = False,
    ) -> None:
        feast = _feast()
        self._root, self.folder = root, root / folder
        given = _settings(root, self.folder)
        named = offline
        offline = offline or given.get("offline_store") or {"type": OFFLINE}
        self.offline = offline if isinstance(offline, str) else str(offline.get("type", "dask"))
        if self.offline in INEXACT and not inexact:
            raise ConfigError(
                [f"{folder}/feature_store.yaml offline_store: {self.offline!r} is not exact: {INEXACT[self.offline]}"],
                hint="offline_store: {type: duckdb}; features.inexact_store: true takes it all the same",
            )
        self._objects = self._definitions()
        if named is None and offline in ("duckdb", {"type": "duckdb"}) and all(map(_is_local, self._objects)):
            self.offline = OFFLINE
        self.exact = self.offline == OFFLINE
        if self.exact:  # it tells when what it found happened
            offline = {**(offline if isinstance(offline, dict) else {}), "type": OFFLINE, "with_timestamps": True}
        given |= {"offline_store": offline, "repo_path": self.folder}
        store = _online(given, online)
        given.setdefault("project", _project(root))
        given["registry"] = _registry(given.get("registry", REGISTRY_PATH))
        if scratch is not None:
            given["registry"] = str(scratch / "registry.db")
            given["project"] = f"{given['project']}_replay_{os.getpid()}"
            if not replay:
                store = {"type": ONLINE}
            if "path" in store or store["type"] in (ONLINE, "sqlite"):
                store["path"] = str(scratch / "online.db")
        if store["type"] == ONLINE:
            given["batch_engine"] = {"type": ENGINE}
        given["online_store"] = store
        self.online_file = self.folder / store["path"] if "path" in store else None
        self._address = _address(store)
        given.setdefault("provider", "local")
        given.setdefault("entity_key_serialization_version", 3)
        with _told("feature_store.yaml"), self._there():
            self._store = feast.FeatureStore(config=feast.RepoConfig(**given))

    @contextlib.contextmanager
    def _there(self) -> Iterator[None]:
        """Feast takes relative paths from the working folder, and classes of the project from its path."""
        here, path = Path.cwd(), list(sys.path)
        os.chdir(self.folder)
        sys.path[:0] = [str(self.folder), str(self._root)]
        try:
            yield
        finally:
            os.chdir(here)
            sys.path[:] = path

    def _definitions(self) -> list[Any]:
        from feast.repo_operations import parse_repo

        known = dict(sys.modules)
        names = {p.stem for p in self.folder.glob("*.py")} | {p.name for p in self.folder.iterdir() if p.is_dir()}
        for name in names & set(sys.modules):  # a module of the project's that has the name of one of these
            file = getattr(sys.modules[name], "__file__", None)
            if file is None or Path(file).is_relative_to(self._root):
                del sys.modules[name]
        importlib.invalidate_caches()
        try:
            with _quiet(), self._there():
                found = parse_repo(self.folder)
        except Exception as error:
            raise StageError(f"{self.folder.name}: {brief(error)}{project_lines(error, self._root)}") from error
        finally:
            for name in set(sys.modules) - set(known):
                file = getattr(sys.modules[name], "__file__", None)
                if file and Path(file).is_relative_to(self._root) and ".venv" not in Path(file).parts:
                    del sys.modules[name]
            sys.modules.update(known)
        every = [*found.projects, *found.entities, *found.data_sources, *found.feature_views]
        every += [*found.stream_feature_views, *found.on_demand_feature_views, *found.feature_services]
        if not found.feature_views and not found.stream_feature_views:
            raise DataError(f"{self.folder.name}: defines no feature view", hint="see feast.dev: FeatureView")
        return every

    def apply(self) -> None:
        """Write the definitions to the registry, and make what the online store needs for them."""
        with _told("apply"), self._there():
            self._store.apply([o for o in self._objects if getattr(o, "name", "") != "__dummy"], partial=True)

    def replace_sources(self, path_of: Callable[[Path], Path]) -> None:
        """Put another path in the place of each file that a view reads, and let nothing grow old; for a replay."""
        for one in self._objects:
            if getattr(one, "ttl", None) is not None:
                one.ttl = timedelta(0)
            for source in (one, getattr(one, "batch_source", None)):
                if source is not None and type(source).__name__ == "FileSource":
                    old = Path(os.path.normpath(self.folder / source.path))
                    source.file_options.uri = str(path_of(old))

    def views(self, use: list[str] | str) -> tuple[list[FeatureView], list[str]]:
        """The views behind references or a feature service, and the columns that on-demand views take from a request.

        Raises:
            ConfigError: a view, a feature or a service is not there.
        """
        wanted = self._wanted(use)
        out, request = [], set()
        for projection in wanted:
            view = self._view(projection.name)
            names = [f.name for f in projection.features]
            if hasattr(view, "source_request_sources"):
                taken = [f.name for s in view.source_request_sources.values() for f in s.schema]
                request |= set(taken)
                out.append(self._record(view, projection, names, on_demand=True))
                for base in view.source_feature_view_projections.values():
                    if base.name not in {w.name for w in wanted}:
                        out.append(self._record(self._view(base.name), base, [f.name for f in base.features]))
            else:
                out.append(self._record(view, projection, names))
        return out, sorted(request)

    def _wanted(self, use: list[str] | str) -> list[Any]:
        """Feast's projections of what is asked for, one a view."""
        from feast.errors import FeatureServiceNotFoundException

        if isinstance(use, str):
            try:
                with _quiet():
                    return list(self._store.get_feature_service(use).feature_view_projections)
            except FeatureServiceNotFoundException:
                with _quiet():
                    known = [s.name for s in self._store.list_feature_services()]
                said = did_you_mean(use, known)
                raise ConfigError([f"glue.yaml features.use: no feature service {use!r} ({said})"]) from None
        known_views = {v.name: v for v in self._store.list_all_feature_views()}
        by_view: dict[str, list[str]] = {}
        problems = []
        for at, ref in enumerate(use):
            name, _, feature = ref.partition(":")
            where = f"glue.yaml features.use.{at}"
            if name not in known_views:
                problems.append(f"{where}: no feature view {name!r} ({did_you_mean(name, sorted(known_views))})")
            elif feature not in (there := [f.name for f in known_views[name].features]):
                problems.append(f"{where}: view {name} has no {feature!r} ({did_you_mean(feature, there)})")
            else:
                by_view.setdefault(name, []).append(feature)
        if problems:
            raise ConfigError(problems)
        return [known_views[name][features].projection for name, features in by_view.items()]

    def _view(self, name: str) -> Any:
        return self._store.registry.get_any_feature_view(name, self._store.project)

    def _record(self, view: Any, projection: Any, names: list[str], *, on_demand: bool = False) -> FeatureView:
        kinds = {f.name: KINDS.get(f.dtype.to_value_type().name, f.dtype.to_value_type().name) for f in view.features}
        named = projection.name_to_use()
        wrong = next((n for n in names if kinds[n] not in KINDS.values()), None)
        if wrong is not None:
            raise ConfigError([f"glue.yaml features.use: {named}:{wrong} is a {kinds[wrong]}, which no model takes"])
        entities = [] if on_demand else [c for c in view.entity_columns if c.name != "__dummy_id"]
        source: Any = None if on_demand else view.batch_source
        path = None
        if type(source).__name__ == "FileSource":
            path = Path(os.path.relpath(os.path.normpath(self.folder / source.path), self._root)).as_posix()
        return FeatureView(
            name=named,
            keys={key: (projection.join_key_map or {}).get(key, key) for key in (c.name for c in entities)},
            features={name: kinds[name] for name in names},
            ttl_s=0.0 if on_demand or view.ttl is None else view.ttl.total_seconds(),
            definition=self._hash(view),
            path=path,
            on_demand=on_demand,
            of=view.name,
            types={c.name: c.dtype.to_value_type().name for c in entities},
            mapping=dict(getattr(source, "field_mapping", None) or {}),
        )

    def _hash(self, view: Any) -> str:
        """SHA-256 of what decides the values of a view: its specification and its entities'; no times of writing."""
        names = sorted(set(getattr(view, "entities", None) or []) - {"__dummy"})
        of = [view, *(self._store.get_entity(name) for name in names)]
        total = hashlib.sha256()
        for one in of:
            spec = one.to_proto().spec
            _bare(spec)
            total.update(spec.SerializeToString(deterministic=True))
        return total.hexdigest()

    def clock(self, view: str) -> tuple[str, str | None]:
        """The columns of a view's source that say when a value happened, and when it was known."""
        source = self._view(view).batch_source
        return source.timestamp_field, source.created_timestamp_column or None

    def join(self, rows: Any, use: list[str] | str, views: list[FeatureView], *, delay_s: float = 0) -> Joined:
        """The features of label rows as they were known at their time, or so long before it.

        Feast joins what was known at a time, that moment included. Asked about `delay_s` earlier, with each TTL shorter
        by as much, it gives the rows that were then in an online store that has each row `delay_s` after its time, and
        of these the ones that are not too old when the request comes.

        Args:
            rows: a `pa.Table` of key and request columns, and `event_timestamp` in UTC.
            use: references or the name of a feature service.
            views: of these references.
            delay_s: how long after its time a row counts; only in a repository with a registry of its own.

        Raises:
            ToolError: the store gave other rows than it was given.
        """
        import numpy as np
        import pyarrow as pa

        delay = timedelta(seconds=delay_s)
        frame = _without_null_keys(rows, views).to_pandas()
        frame[ROW] = np.arange(len(frame))
        frame[EVENT_TIMESTAMP] -= delay
        asked: Any = self._store.get_feature_service(use) if isinstance(use, str) else use
        with _told("join"), self._there(), self._older_by(delay, views):
            job = self._store.get_historical_features(
                entity_df=frame, features=asked, full_feature_names=True, filter_by_created_timestamp=True
            )
            got = job.to_arrow() if self.exact else pa.Table.from_pandas(job.to_df(), preserve_index=False)
        lost = [n for v in views for f in v.features if (n := f"{v.name}__{f}") not in got.column_names]
        if lost:
            raise ToolError(f"the offline store lost the column {lost[0]}", hint=f"offline_store: {{type: {OFFLINE}}}")
        order = np.argsort(got.column(ROW).to_numpy(), kind="stable")
        if len(got) != len(frame) or (got.column(ROW).to_numpy()[order] != np.arange(len(frame))).any():
            raise ToolError(f"the offline store gave {len(got)} rows for {len(frame)}: it loses or doubles rows")
        if (np.diff(order) != 1).any():
            got = got.take(pa.array(order))
        table, found, at_once = {}, {}, np.zeros(len(frame), bool)
        moments = frame[EVENT_TIMESTAMP].to_numpy("datetime64[us]")
        for view in views:
            for feature in view.features:
                table[f"{view.name}__{feature}"] = got.column(f"{view.name}__{feature}")
            if not view.on_demand:
                found[view.name], of_now = _found(view, got, moments)
                at_once |= of_now
        return Joined(pa.table(table), found, at_once)

    @contextlib.contextmanager
    def _older_by(self, delay: timedelta, views: list[FeatureView]) -> Iterator[None]:
        """Let what the views have be too old so much sooner."""
        names = sorted({view.of for view in views if view.ttl_s}) if delay else []
        aged = [(view, view.ttl) for view in (self._view(name) for name in names)]
        for view, ttl in aged:
            view.ttl = max(ttl - delay, timedelta.resolution)  # 0 would be for ever
        self._store.apply([view for view, _ in aged]) if aged else None
        try:
            yield
        finally:
            for view, ttl in aged:
                view.ttl = ttl
            self._store.apply([view for view, _ in aged]) if aged else None

    def materialize(self, views: list[str], start: datetime, end: datetime) -> None:
        """Fill the online store with the latest values of the views that happened from `start` to `end`."""
        self._check_reachable()
        with _told("materialize"), self._there():
            self._store.materialize(start_date=start, end_date=end, feature_views=views)

    def read(
        self,
        use: list[str] | str,
        views: list[FeatureView],
        keys: list[dict[str, Any]],
        now: datetime,
        *,
        deadline_s: float | None = None,
    ) -> list[Any]:
        """What the online store has for entities: a dict of `view__feature` each, null where older than the TTL.

        Args:
            use: references or the name of a feature service.
            views: of these references.
            keys: key and request columns of each row.
            now: the time that the TTL counts from; some stores do not enforce it.
            deadline_s: how long the store may take; None: as long as its client waits, which may be many seconds.

        Raises:
            ToolError: the store does not answer, or not in time.
        """
        self._store._get_provider()  # its imports are not the store's delay
        asked: Any = self._store.get_feature_service(use) if isinstance(use, str) else use
        self._check_reachable()
        with _told("online store"), self._there():
            self._answer_while_filled()
            get = self._store.get_online_features
            got = _within(deadline_s, lambda: get(features=asked, entity_rows=keys, full_feature_names=True))
            return _fresh(got, views, now, len(keys))

    def reader(self, features: FeatureList) -> Callable[[list[dict[str, Any]], datetime], list[dict[str, Any]]]:
        """For a server: a function from keys and now to a model's columns, what it needs resolved once.

        It asks the store itself, without what Feast's own call builds around an answer; that call is left for on-demand
        views, which it computes.
        """
        from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
        from feast.utils import _get_entity_key_protos

        if any(view.on_demand or not view.keys for view in features.views):
            return self._slow_reader(features)
        config, provider = self._store.config, self._store._get_provider()
        of = {ref: column for column, ref in features.columns.items()}
        plan = []
        for view in features.views:
            table = self._view(view.of)
            kinds = {c.name: c.dtype.to_value_type() for c in table.entity_columns}
            columns = {feature: of[f"{view.name}:{feature}"] for feature in view.features}
            plan.append((view, table, kinds, columns))

        def read(keys: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
            out: list[dict[str, Any]] = [dict.fromkeys(features.columns) for _ in keys]
            for view, table, kinds, columns in plan:
                at = [n for n, key in enumerate(keys) if all(key[column] is not None for column in view.keys.values())]
                if not at:
                    continue
                packed = [
                    python_values_to_proto_values([keys[n][column] for n in at], kinds[join])
                    for join, column in view.keys.items()
                ]
                whom = [dict(zip(view.keys, values, strict=True)) for values in zip(*packed, strict=True)]
                got = provider.online_read(config, table, _get_entity_key_protos(whom), list(columns))
                for n, (when, found) in zip(at, got, strict=True):
                    if found is None or (view.ttl_s and (now - utc(when)).total_seconds() > view.ttl_s):
                        continue
                    for feature, column in columns.items():
                        if feature in found:
                            out[n][column] = feast_value_type_to_python_type(found[feature])
            return out

        return read

    def _slow_reader(self, features: FeatureList) -> Callable[[list[dict[str, Any]], datetime], list[dict[str, Any]]]:
        use: Any = features.use
        asked = self._store.get_feature_service(use) if isinstance(use, str) else use
        self._answer_while_filled()
        none = {key: _no_key(whole="int" in kind) for key, kind in features.types.items()}
        names = {column: ref.replace(":", "__") for column, ref in features.columns.items()}

        def read(keys: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
            rows = [{k: none.get(k) if v is None else v for k, v in key.items()} for key in keys]
            got = self._store.get_online_features(features=asked, entity_rows=rows, full_feature_names=True)
            fresh = _fresh(got, features.views, now, len(keys))
            return [{column: row[name] for column, name in names.items()} for row in fresh]

        return read

    def _answer_while_filled(self) -> None:
        """Feast refuses a view while it is filled, and after a kill of that: the values are those of before, or new."""
        self._store.registry.serve_features_while_materializing = True

    def _check_reachable(self) -> None:
        """A connection is refused or late at once; Feast's clients would wait for seconds."""
        if self._address is not None:
            try:
                socket.create_connection(self._address, timeout=0.2).close()
            except OSError as error:
                raise ToolError(f"online store at {self._address[0]}:{self._address[1]}: {brief(error)}") from None

    def check(self) -> None:
        """The registry can be read, and the online store answers.

        Raises:
            ToolError: it cannot, or does not.
        """
        self._check_reachable()
        with _told("registry"), self._there():
            self._store.list_all_feature_views()

    def teardown(self) -> None:
        """Take away what the online store and the registry hold of this project."""
        with _told("teardown"), self._there():
            self._store.teardown()


def _found(view: FeatureView, got: Any, moments: Any) -> tuple[Any, Any]:
    """Which rows found something in a view, and which of them something that was known at their very moment.

    Raises:
        ToolError: a value was known only after the moment that its row is about.
    """
    import numpy as np

    mark = f"{view.name}__known_timestamp"
    if mark not in got.column_names:  # another store does not tell: something is not null
        found = np.logical_or.reduce([got.column(f"{view.name}__{f}").is_valid().to_numpy() for f in view.features])
        return found, found
    when = got.column(mark).cast("timestamp[us]", safe=False).to_numpy().astype("datetime64[us]")
    late = when > moments
    if late.any():
        raise ToolError(f"view {view.name}: {int(late.sum())} values are of later than their label")
    return ~np.isnat(when), when == moments


def _settings(root: Path, folder: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = folder / "feature_store.yaml"
    try:
        text = os.path.expandvars(path.read_text(encoding="utf-8"))  # as Feast reads it
        return dict(YAML(typ="safe", pure=True).load(text) or {})
    except (OSError, YAMLError, ValueError) as error:
        raise ConfigError([f"{path.relative_to(root)}: cannot be read: {brief(error)}"]) from error


def _is_local(one: Any) -> bool:
    """Does a view, or a source, read nothing but a Parquet file of this machine's?"""
    from feast import FileSource
    from feast.data_format import ParquetFormat
    from feast.data_source import DataSource, RequestSource

    source: Any = one
    while getattr(source, "batch_source", None) is not None:  # of a view, and of what is pushed or streamed
        source = source.batch_source
    if not isinstance(source, DataSource) or isinstance(source, RequestSource):
        return True
    file = isinstance(source, FileSource) and "://" not in source.path
    return file and isinstance(source.file_format or ParquetFormat(), ParquetFormat)


def _registry(given: Any) -> Any:
    """The registry, where it is a local file, written whole or not at all: the same file, in Feast's form."""
    options = {"path": given} if isinstance(given, str) else dict(given)
    of_feast = {"registry_type", "registry_store_type"} & options.keys() or "://" in str(options.get("path", "://"))
    return given if of_feast else {**options, "registry_store_type": REGISTRY}


def _online(given: dict[str, Any], online: dict[str, Any] | None) -> dict[str, Any]:
    store: Any = online or given.get("online_store") or {"type": ONLINE, "path": ONLINE_PATH}
    return {"type": store} if isinstance(store, str) else dict(store)


def _project(root: Path) -> str:
    return re.sub(r"\W", "_", root.name)


def packed_store(root: Path, folder: str, online: dict[str, Any] | None) -> tuple[Path, str] | None:
    """The embedded online store's file and the name of the project in it; None for another store. Imports no Feast."""
    given = _settings(root, root / folder)
    store = _online(given, online)
    if store["type"] != ONLINE:
        return None
    return root / folder / store.get("path", ONLINE_PATH), given.get("project", _project(root))


def redis_store(root: Path, folder: str, online: dict[str, Any] | None) -> tuple[Address, str] | None:
    """Where Redis is, and the name of the project in it; None where only Feast itself can read it. Imports no Feast."""
    given = _settings(root, root / folder)
    store, registry = _online(given, online), given.get("registry")
    versioned = isinstance(registry, dict) and registry.get("enable_online_feature_view_versioning")
    if store["type"] != "redis" or versioned or given.get("entity_key_serialization_version", 3) != 3:
        return None
    at = address(store)
    return None if at is None else (at, given.get("project", _project(root)))


def _within(deadline_s: float | None, work: Callable[[], Any]) -> Any:
    """What the work gives, or an error once the time is over; a client that waits is left to itself."""
    if deadline_s is None:
        return work()
    answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put((work(), None))
        except BaseException as error:
            answer.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        got, error = answer.get(timeout=deadline_s)
    except queue.Empty:
        raise ToolError(f"online store: no answer within {1000 * deadline_s:.0f} ms") from None
    if error is not None:
        raise error
    return got


def _bare(message: Any) -> None:
    """Take away what decides no value, at any depth: sources within sources have times of writing of their own."""
    for field, value in message.ListFields():
        if field.name in ("project", "description", "owner", "tags", "meta"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            inner = value.values() if hasattr(value, "values") and not hasattr(value, "ListFields") else value
            for one in [inner] if hasattr(inner, "ListFields") else inner:
                if hasattr(one, "ListFields"):
                    _bare(one)


def _address(store: dict[str, Any]) -> tuple[str, int] | None:
    """Host and port of an online store that is a server, by Feast's own options."""
    if store["type"] == "redis":
        host, _, port = str(store.get("connection_string", "localhost:6379")).partition(",")[0].rpartition(":")
        return (host.rpartition("@")[2].rpartition("/")[2] or "localhost", int(port)) if port.isdigit() else None
    if store["type"] == "postgres":
        return str(store.get("host", "localhost")), int(store.get("port", 5432))
    return None


def _fresh(got: Any, views: list[FeatureView], now: datetime, rows: int) -> list[dict[str, Any]]:
    """What Feast's answer has of each row by `view__feature`; null where older than the TTL, which not all enforce."""
    values, when = got.to_dict(), got.to_dict(include_event_timestamps=True)
    out: list[dict[str, Any]] = [{} for _ in range(rows)]
    for view in views:
        for name in (f"{view.name}__{feature}" for feature in view.features):
            stamps = when.get(f"{name}__ts", [0] * rows)
            for row, value, stamp in zip(out, values[name], stamps, strict=True):
                stale = view.ttl_s and not view.on_demand and now.timestamp() - stamp > view.ttl_s
                row[name] = None if stale else value
    return out


def _no_key(*, whole: bool) -> int | str:
    """A key that finds nothing, in the place of null."""
    return -(1 << 62) if whole else "\0none"


def _without_null_keys(rows: Any, views: list[FeatureView]) -> Any:
    """A null key finds nothing; a frame of pandas' would turn whole numbers beside it into fractions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in {column for view in views for column in view.keys.values()}:
        values = rows.column(name)
        if values.null_count:
            none = _no_key(whole=pa.types.is_integer(values.type))
            rows = rows.set_column(rows.column_names.index(name), name, pc.fill_null(values, none))
    return rows


def utc(moment: Any) -> datetime:
    """A NumPy or pandas moment in UTC as Python has it."""
    import pandas as pd

    stamp = pd.Timestamp(moment)
    return (stamp.tz_localize(UTC) if stamp.tzinfo is None else stamp.tz_convert(UTC)).to_pydatetime()

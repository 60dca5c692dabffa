"""The Feast repository: its definitions, the point-in-time join and the online store.

`stores` decides which stores it has. Two of Feast's stores are replaced by better ones with the same file formats:
`duckdb`, if every source is a local Parquet file, and a registry in a local file. A `Repository` in a scratch folder
has its registry and its online store there, so that the pipeline's stages change nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_glue import telemetry, waiting
from mlops_glue.adapters.feast import stores
from mlops_glue.adapters.feast.type_checks import prepared_at_first_call
from mlops_glue.errors import ConfigError, GlueError, MissingExtra, ToolError, Unreachable, brief, causes
from mlops_glue.records import FeatureView
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import feast
    import numpy as np
    import pyarrow as pa
    from feast.feature_view_projection import FeatureViewProjection

ROW = "glue_row"
EVENT_TIMESTAMP = "event_timestamp"  # Feast's name for the label rows' time
QUERY_S = 600.0  # the longest query of an offline store on a server
AWAY = {"ConnectionError", "ConnectionTimeout", "OperationalError", "TimeoutError"}  # of Redis, PostgreSQL, SQLAlchemy
Result = TypeVar("Result")


@dataclass(frozen=True)
class Joined:
    """Label rows with their features.

    Attributes:
        table: a column `view__feature` for each feature, in the order of the label rows.
        found: by view, whether it has a value for each row; shape (rows,).
        at_once: whether a row's value became known at exactly its time, or the store does not report it; shape (rows,).
    """

    table: pa.Table
    found: dict[str, np.ndarray[Any, Any]]
    at_once: np.ndarray[Any, Any]


class Repository:
    """A folder with `feature_store.yaml` and definitions in Python.

    Args:
        root: the project.
        folder: the repository, relative to the project.
        online: options that replace `online_store` of `feature_store.yaml`, with variables resolved.
        offline: the same for `offline_store`.
        registry: the same for `registry`.
        scratch: a folder for a separate registry and online store; None uses the configured ones.
        replay: with a scratch folder, use the configured online store nevertheless, under a separate project name.
        inexact: accept an offline store that is known to lose rows or return wrong values.

    Raises:
        ConfigError: `feature_store.yaml` is wrong, or names a store that is not exact.
        StageError: the definitions cannot be imported.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        *,
        online: dict[str, Any] | None = None,
        offline: dict[str, Any] | None = None,
        registry: str | dict[str, Any] | None = None,
        scratch: Path | None = None,
        replay: bool = False,
        inexact: bool = False,
    ) -> None:
        feast = _import_feast()
        from mlops_glue.adapters.feast import definitions

        self._root, self.folder = root, root / folder
        found = stores.read_stores(root, folder, online, registry)
        if scratch is not None:
            found = stores.in_scratch(found, scratch, replay=replay)
        self.online_file, self._embedded = found.online_file, found.embedded
        self._objects = definitions.load(root, self.folder)
        local = all(map(definitions.is_local, self._objects))
        store = stores.offline_store(offline, found.settings, folder, local=local, inexact=inexact)
        self.offline = store if isinstance(store, str) else str(store.get("type", "dask"))
        self.exact = self.offline == stores.OFFLINE
        self._is_served, self._fills_by_query = found.is_served, not local
        with _translate_errors("feature_store.yaml"), self._importable():
            config = feast.RepoConfig(
                **{
                    "provider": "local",
                    "entity_key_serialization_version": 3,
                    **found.settings,
                    "project": found.project,
                    "registry": stores.registry_options(found.settings.get("registry", stores.REGISTRY_PATH)),
                    "offline_store": store,
                    "online_store": found.online,
                    "repo_path": self.folder,
                }
            )

            def connected() -> Any:
                store = feast.FeatureStore(config=config)
                # Feast refuses a view during materialization and after a kill, although each value is valid
                store.registry.serve_features_while_materializing = True
                return store

            self._store = self._answered("registry", connected)

    def _importable(self) -> contextlib.AbstractContextManager[None]:
        from mlops_glue.adapters.feast.definitions import importable

        return importable(self._root, self.folder)

    def apply(self) -> None:
        """Write the definitions to the registry, and create what they need in the online store."""
        with _translate_errors("apply"), self._importable():
            objects = [o for o in self._objects if getattr(o, "name", "") != "__dummy"]
            self._answered("registry or online store", lambda: self._store.apply(objects, partial=True))

    def _answered(self, what: str, work: Callable[[], Result], limit_s: float | None = None) -> Result:
        """Run `work` within a time limit if the registry or the online store is a server: Feast has no limit."""
        return waiting.answered(f"Feast's {what}", work, limit_s) if self._is_served else work()

    def replace_sources(self, path_of: Callable[[Path], Path]) -> None:
        """Replace the path of each file that a view reads, and remove the TTLs; for a replay."""
        for definition in self._objects:
            if getattr(definition, "ttl", None) is not None:
                definition.ttl = timedelta(0)
            for source in (definition, getattr(definition, "batch_source", None)):
                if source is not None and type(source).__name__ == "FileSource":
                    old = Path(os.path.normpath(self.folder / source.path))
                    source.file_options.uri = str(path_of(old))

    def views(self, use: list[str] | str) -> tuple[list[FeatureView], list[str]]:
        """Return the views of references or a feature service, and the request columns of on-demand views.

        Raises:
            ConfigError: a view, a feature or a service does not exist.
        """
        from mlops_glue.adapters.feast.definitions import view_record

        record = partial(view_record, self._store, self._root)
        wanted = self._answered("registry", lambda: self._projections(use))
        out: list[FeatureView] = []
        request: set[str] = set()
        for projection in wanted:
            view = self._view(projection.name)
            names = [f.name for f in projection.features]
            if hasattr(view, "source_request_sources"):
                request |= {f.name for s in view.source_request_sources.values() for f in s.schema}
                out.append(record(view, projection, names, on_demand=True))
                for base in view.source_feature_view_projections.values():
                    if base.name not in {w.name for w in wanted}:
                        out.append(record(self._view(base.name), base, [f.name for f in base.features]))
            else:
                out.append(record(view, projection, names))
        return out, sorted(request)

    def _projections(self, use: list[str] | str) -> list[FeatureViewProjection]:
        """Return Feast's projection of each requested view."""
        from feast.errors import FeatureServiceNotFoundException

        if isinstance(use, str):
            try:
                return list(self._store.get_feature_service(use).feature_view_projections)
            except FeatureServiceNotFoundException:
                known = did_you_mean(use, [s.name for s in self._store.list_feature_services()])
                raise ConfigError([f"glue.yaml features.use: no feature service {use!r} ({known})"]) from None
        known_views = {v.name: v for v in self._store.list_all_feature_views()}
        by_view: dict[str, list[str]] = {}
        problems = []
        for at, ref in enumerate(use):
            name, _, feature = ref.partition(":")
            where = f"glue.yaml features.use.{at}"
            if name not in known_views:
                problems.append(f"{where}: no feature view {name!r} ({did_you_mean(name, sorted(known_views))})")
            elif feature not in (present := [f.name for f in known_views[name].features]):
                problems.append(f"{where}: view {name} has no {feature!r} ({did_you_mean(feature, present)})")
            else:
                by_view.setdefault(name, []).append(feature)
        if problems:
            raise ConfigError(problems)
        return [known_views[name][features].projection for name, features in by_view.items()]

    def _view(self, name: str) -> Any:
        store = self._store
        return self._answered("registry", lambda: store.registry.get_any_feature_view(name, store.project))

    def clock(self, view: str) -> tuple[str, str | None]:
        """Return the event time column and the creation time column, or None, of a view's source."""
        source = self._view(view).batch_source
        return source.timestamp_field, source.created_timestamp_column or None

    def join(self, rows: pa.Table, use: list[str] | str, views: list[FeatureView], *, delay_s: float = 0) -> Joined:
        """Join the features of label rows as they were known at their time, or `delay_s` before it.

        Feast returns the values that were known at a time, inclusive. For a delay, it is asked for the time `delay_s`
        earlier, with each TTL shorter by `delay_s`. The result is what an online store would contain that receives each
        row `delay_s` after its time, without rows that are too old when the request comes. A delay needs a separate
        registry.

        The rows have key and request columns and `event_timestamp` in UTC; `views` are the views that `use` refers to.

        Raises:
            ToolError: the store lost, added or repeated rows.
        """
        import numpy as np
        import pyarrow as pa

        delay = timedelta(seconds=delay_s)
        frame = _without_null_keys(rows, views).to_pandas()
        frame[ROW] = np.arange(len(frame))
        frame[EVENT_TIMESTAMP] -= delay
        with _translate_errors("join"), self._importable():
            shortened = [self._view(name) for name in sorted({view.of for view in views if view.ttl_s and delay})]
            for view in shortened:
                view.ttl = max(view.ttl - delay, timedelta.resolution)  # 0 would mean no limit
            if shortened:
                self._store.apply(shortened)
            job = self._store.get_historical_features(
                entity_df=frame, features=self._asked(use), full_feature_names=True, filter_by_created_timestamp=True
            )
            got = job.to_arrow() if self.exact else pa.Table.from_pandas(job.to_df(), preserve_index=False)
            if shortened:
                self.apply()
        names = [f"{view.name}__{feature}" for view in views for feature in view.features]
        if lost := set(names) - set(got.column_names):
            raise ToolError(f"the offline store lost the column {min(lost)}", hint="offline_store: {type: duckdb}")
        got = got.sort_by(ROW)
        if got.column(ROW).to_pylist() != list(range(len(frame))):
            raise ToolError(f"the offline store returned {len(got)} rows for {len(frame)}: it loses or repeats rows")
        at_once = np.zeros(len(frame), bool)
        found = {}
        for view in views:
            if not view.on_demand:
                found[view.name], known_now = _found_in(view, got, frame[EVENT_TIMESTAMP].to_numpy("datetime64[us]"))
                at_once |= known_now
        return Joined(got.select(names), found, at_once)

    def _asked(self, use: list[str] | str) -> list[str] | feast.FeatureService:
        return self._store.get_feature_service(use) if isinstance(use, str) else use

    def materialize(self, views: list[str], start: datetime, end: datetime) -> None:
        """Fill the online store with the latest values of the views from `start` to `end`."""
        with _translate_errors("materialize"), self._importable():
            for view in map(self._view, views):
                if self.exact and self._embedded is not None:
                    from mlops_glue.adapters.feast.online import EmbeddedOnlineStore, is_plain

                    if is_plain(view):
                        EmbeddedOnlineStore().fill(self._store.config, view, start, end)
                        continue
                fill = partial(self._store.materialize, feature_views=[view.name])
                limit_s = QUERY_S if self._fills_by_query else None
                self._answered("online store", partial(fill, start_date=start, end_date=end), limit_s)

    def read(
        self, use: list[str] | str, views: list[FeatureView], keys: list[dict[str, Any]], now: datetime
    ) -> list[dict[str, Any]]:
        """Read `view__feature` of entities from the online store; a value older than the TTL at `now` is null.

        Several threads may call it.

        Raises:
            ToolError: the store does not answer.
        """
        nobody = {c: _no_key(whole="INT" in v.types.get(k, "")) for v in views for k, c in v.keys.items()}
        rows = [{k: nobody.get(k) if value is None else value for k, value in key.items()} for key in keys]
        try:
            asked = {"features": self._asked(use), "entity_rows": rows, "full_feature_names": True}
            got = self._answered("online store", lambda: self._store.get_online_features(**asked))
        except Exception as error:
            raise _translated(error, "online store") from error
        values = got.to_dict()
        times = dict(zip(got.proto.metadata.feature_names.val, got.proto.results, strict=True))
        out: list[dict[str, Any]] = [{} for _ in keys]
        for view in views:
            oldest = now.timestamp() - view.ttl_s if view.ttl_s and not view.on_demand else -math.inf
            for name in (f"{view.name}__{feature}" for feature in view.features):
                for row, value, at in zip(out, values[name], times[name].event_timestamps, strict=True):
                    row[name] = value if at.seconds >= oldest else None
        return out

    def check(self) -> None:
        """Check that the registry can be read.

        Raises:
            ToolError: it cannot.
        """
        with _translate_errors("registry"), self._importable():
            self._answered("registry", self._store.list_all_feature_views)

    def teardown(self) -> None:
        """Delete this project's data from the online store and the registry."""
        with _translate_errors("teardown"), self._importable():
            self._answered("online store", self._store.teardown)


def _import_feast() -> Any:
    telemetry.off()
    try:
        with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None), prepared_at_first_call():
            import feast
    except ImportError as error:
        raise MissingExtra("feast", "features") from error
    logging.getLogger("feast").setLevel(logging.CRITICAL)
    return feast


@contextlib.contextmanager
def _translate_errors(action: str) -> Iterator[None]:
    """Suppress Feast's output, and translate its exceptions."""
    from mlops_glue.adapters.feast.definitions import quiet

    try:
        with quiet():
            yield
    except Exception as error:
        raise _translated(error, action) from error


def _translated(error: Exception, action: str) -> GlueError:
    """Translate an exception of Feast to one line, without the secrets of a connection string."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, GlueError):
        cause = cause.__cause__
    if isinstance(cause, GlueError):
        return cause
    kinds = {type(one).__name__ for one in causes(error)}
    pattern = r"(//[^/@\s:]*:)[^/@\s]+@|(password[=: '\"]+)[^\s,'\"]+"
    text = f"Feast, {action}: " + re.sub(pattern, r"\1\2***", brief(cause, 240))
    if kinds & AWAY:
        return Unreachable(text, hint=waiting.SLOW)
    return ToolError(
        text, hint="glue materialize" if any(kind.endswith("NotFoundException") for kind in kinds) else None
    )


def _no_key(*, whole: bool) -> int | str:
    """Return a key that matches nothing, to replace null."""
    return -(1 << 62) if whole else "\0none"


def _without_null_keys(rows: pa.Table, views: list[FeatureView]) -> pa.Table:
    """Replace null keys, which match nothing: in pandas they would turn the column's integers into floats."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in {column for view in views for column in view.keys.values()}:
        values = rows.column(name)
        if values.null_count:
            none = _no_key(whole=pa.types.is_integer(values.type))
            rows = rows.set_column(rows.column_names.index(name), name, pc.fill_null(values, none))
    return rows


def _found_in(
    view: FeatureView, got: pa.Table, times: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return which rows have a value in a view, and for which of them it became known at exactly their time."""
    import numpy as np

    known = f"{view.name}__known_timestamp"
    if known not in got.column_names:  # another store does not report it: count values that are not null
        found = np.logical_or.reduce([got.column(f"{view.name}__{f}").is_valid().to_numpy() for f in view.features])
        return found, found
    known_at = got.column(known).cast("timestamp[us]", safe=False).to_numpy().astype("datetime64[us]")
    late = known_at > times
    if late.any():
        raise ToolError(f"view {view.name}: {int(late.sum())} values became known after their label's time")
    return ~np.isnat(known_at), known_at == times

"""Decides which stores a Feast repository has, by `feature_store.yaml` and glue.yaml. It does not import Feast.

`feature_store.yaml` need not mention this package, so that Feast alone can open it. For stores that it does not name,
this package's stores are used (`offline_store`, `Stores.embedded`). A named online store is used as it is: `sqlite` is
a file in Feast's format. The section `features` of glue.yaml takes precedence.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_glue.adapters.feast.redis_servers import Servers, parse_servers
from mlops_glue.errors import ConfigError, brief

PACKAGE = "mlops_glue.adapters.feast"
OFFLINE, ONLINE = f"{PACKAGE}.offline.AsofOfflineStore", f"{PACKAGE}.online.EmbeddedOnlineStore"
REGISTRY = f"{PACKAGE}.registry.AtomicRegistryStore"
ONLINE_PATH, REGISTRY_PATH = "data/online.db", "data/registry.db"
INEXACT = {
    "dask": "it drops rows whose features are older than the TTL, and duplicate rows",
    "file": "it drops rows whose features are older than the TTL, and duplicate rows",
    "ray": "it ignores the TTL and drops duplicate rows",
}


@dataclass(frozen=True)
class Stores:
    """The stores of a repository, and the name of its project.

    Attributes:
        folder: the repository.
        project: the project's name in Feast.
        online: options of the online store, including its `type`.
        settings: everything in `feature_store.yaml`.
    """

    folder: Path
    project: str
    online: dict[str, Any]
    settings: dict[str, Any]

    @property
    def online_file(self) -> Path | None:
        """The file of the online store, if it is a file."""
        return self.folder / self.online["path"] if "path" in self.online else None

    @property
    def embedded(self) -> Path | None:
        """The file of this package's online store; None if another store is configured."""
        return self.folder / self.online.get("path", ONLINE_PATH) if self.online["type"] == ONLINE else None

    @property
    def is_served(self) -> bool:
        """Is the online store, or the registry, on a server?"""
        registry = self.settings.get("registry")
        return self.online_file is None or (isinstance(registry, dict) and "registry_type" in registry)

    @property
    def redis(self) -> Servers | None:
        """The Redis servers, if they can be read without Feast; None if not, or if another store is configured."""
        registry = self.settings.get("registry")
        versioned = isinstance(registry, dict) and registry.get("enable_online_feature_view_versioning")
        own_keys = self.settings.get("entity_key_serialization_version", 3) != 3
        return None if self.online["type"] != "redis" or versioned or own_keys else parse_servers(self.online)


def read_stores(
    root: Path, folder: str, online: dict[str, Any] | None = None, registry: str | dict[str, Any] | None = None
) -> Stores:
    """Read `feature_store.yaml`; `online` replaces its online store, and `registry` its registry.

    Raises:
        ConfigError: the file cannot be read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = root / folder / "feature_store.yaml"
    try:
        text = os.path.expandvars(path.read_text(encoding="utf-8"))  # as Feast reads it
        settings = dict(YAML(typ="safe", pure=True).load(text) or {})
    except (OSError, YAMLError, ValueError) as error:
        raise ConfigError([f"{path.relative_to(root)}: cannot be read: {brief(error)}"]) from error
    if registry is not None:
        settings["registry"] = registry
    options: Any = online or settings.get("online_store") or {"type": ONLINE, "path": ONLINE_PATH}
    options = {"type": options} if isinstance(options, str) else dict(options)
    return Stores(root / folder, settings.get("project", re.sub(r"\W", "_", root.name)), options, settings)


def in_scratch(stores: Stores, scratch: Path, *, replay: bool) -> Stores:
    """Return the same stores in a scratch folder, under a separate project name.

    With `replay` the configured online store is kept, unless it is a file.
    """
    online = stores.online if replay else {"type": ONLINE}
    if "path" in online or online["type"] in (ONLINE, "sqlite"):
        online = {**online, "path": str(scratch / "online.db")}
    settings = {**stores.settings, "registry": str(scratch / "registry.db")}
    return replace(stores, project=f"{stores.project}_replay_{os.getpid()}", online=online, settings=settings)


def offline_store(
    configured: dict[str, Any] | None, settings: dict[str, Any], folder: str, *, local: bool, inexact: bool
) -> dict[str, Any] | str:
    """Return the offline store: that of glue.yaml, or of `feature_store.yaml`, or this package's own.

    A plain `duckdb` whose sources are all local files is replaced by this package's store, which is a subclass. With
    any other store glue knows less (`Repository.exact` is false). Such a store does not report when a value became
    known, so a value from after its label cannot be detected, and a row counts as found if a value is not null.
    `featurize` warns, and the embedded online store is filled through Feast.

    Raises:
        ConfigError: the store's joins are not exact, and `inexact` does not accept that.
    """
    store = configured or settings.get("offline_store") or {"type": OFFLINE}
    check_exact(store, folder, inexact=inexact)
    if configured is None and store in ("duckdb", {"type": "duckdb"}) and local:
        store = {"type": OFFLINE}
    if store == OFFLINE or (isinstance(store, dict) and store.get("type") == OFFLINE):
        return {**(store if isinstance(store, dict) else {}), "type": OFFLINE, "with_timestamps": True}
    return store  # type: ignore[no-any-return]


def check_exact(offline: str | dict[str, Any], folder: str, *, inexact: bool) -> None:
    """Check that the offline store is not known to lose rows or return wrong values.

    Raises:
        ConfigError: it is, and `inexact` does not accept that.
    """
    kind = offline if isinstance(offline, str) else str(offline.get("type", "dask"))
    if kind in INEXACT and not inexact:
        raise ConfigError(
            [f"{folder}/feature_store.yaml offline_store: {kind!r} is not exact: {INEXACT[kind]}"],
            hint="offline_store: {type: duckdb}; or features.inexact_store: true to accept it",
        )


def registry_options(given: str | dict[str, Any]) -> str | dict[str, Any]:
    """Return the registry's options. A local file is written atomically, in Feast's own format."""
    options = {"path": given} if isinstance(given, str) else dict(given)
    of_feast = {"registry_type", "registry_store_type"} & options.keys() or "://" in str(options.get("path", "://"))
    return given if of_feast else {**options, "registry_store_type": REGISTRY}

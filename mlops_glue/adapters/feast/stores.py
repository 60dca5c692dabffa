"""Which stores a Feast repository has, by `feature_store.yaml` and glue.yaml. Imports no Feast.

`feature_store.yaml` needs to name nothing of this package, so that Feast alone can open it. What it leaves open gets
the stores of this package (`offline_store`, `Stores.embedded`). An online store that is named is taken as it is:
`sqlite` is a file of the user's, in Feast's form. What glue.yaml's `features` says goes before all of that.
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
        folder: of the repository.
        project: Feast's name of it.
        online: options of the online store, its `type` among them.
        settings: everything in `feature_store.yaml`.
    """

    folder: Path
    project: str
    online: dict[str, Any]
    settings: dict[str, Any]

    @property
    def online_file(self) -> Path | None:
        """The file of the online store, where it is one."""
        return self.folder / self.online["path"] if "path" in self.online else None

    @property
    def embedded(self) -> Path | None:
        """The file of this package's online store; None: another one is configured."""
        return self.folder / self.online.get("path", ONLINE_PATH) if self.online["type"] == ONLINE else None

    @property
    def is_served(self) -> bool:
        """Is the online store, or the registry, on a server?"""
        registry = self.settings.get("registry")
        return self.online_file is None or (isinstance(registry, dict) and "registry_type" in registry)

    @property
    def redis(self) -> Servers | None:
        """Where Redis is, if it can be read without Feast; None: it cannot, or another store is configured."""
        registry = self.settings.get("registry")
        versioned = isinstance(registry, dict) and registry.get("enable_online_feature_view_versioning")
        own_keys = self.settings.get("entity_key_serialization_version", 3) != 3
        return None if self.online["type"] != "redis" or versioned or own_keys else parse_servers(self.online)


def read_stores(
    root: Path, folder: str, online: dict[str, Any] | None = None, registry: str | dict[str, Any] | None = None
) -> Stores:
    """Read `feature_store.yaml`; `online` takes the place of its online store, `registry` that of its registry.

    Raises:
        ConfigError: it cannot be read.
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
    """The same in a scratch folder, under a project name of its own.

    With `replay` the configured online store stays, unless it is a file.
    """
    online = stores.online if replay else {"type": ONLINE}
    if "path" in online or online["type"] in (ONLINE, "sqlite"):
        online = {**online, "path": str(scratch / "online.db")}
    settings = {**stores.settings, "registry": str(scratch / "registry.db")}
    return replace(stores, project=f"{stores.project}_replay_{os.getpid()}", online=online, settings=settings)


def offline_store(
    configured: dict[str, Any] | None, settings: dict[str, Any], folder: str, *, local: bool, inexact: bool
) -> dict[str, Any] | str:
    """The offline store: the one of glue.yaml, else of `feature_store.yaml`, else this package's own.

    A bare `duckdb`, where every source is a local file, is this package's own too: it is a subclass. With any other one
    glue knows less (`Repository.exact` is false): when a joined value was known is not said, so a value later than its
    label is not found, and a row counts as found where a value is not null; `featurize` warns, and the embedded online
    store is filled through Feast.

    Raises:
        ConfigError: its joins are not exact, and `inexact` does not accept that.
    """
    store = configured or settings.get("offline_store") or {"type": OFFLINE}
    check_exact(store, folder, inexact=inexact)
    if configured is None and store in ("duckdb", {"type": "duckdb"}) and local:
        store = {"type": OFFLINE}
    if store == OFFLINE or (isinstance(store, dict) and store.get("type") == OFFLINE):
        return {**(store if isinstance(store, dict) else {}), "type": OFFLINE, "with_timestamps": True}
    return store  # type: ignore[no-any-return]


def check_exact(offline: str | dict[str, Any], folder: str, *, inexact: bool) -> None:
    """The offline store neither loses nor mis-values rows.

    Raises:
        ConfigError: it is known to, and `inexact` does not allow it.
    """
    kind = offline if isinstance(offline, str) else str(offline.get("type", "dask"))
    if kind in INEXACT and not inexact:
        raise ConfigError(
            [f"{folder}/feature_store.yaml offline_store: {kind!r} is not exact: {INEXACT[kind]}"],
            hint="offline_store: {type: duckdb}; features.inexact_store: true takes it all the same",
        )


def registry_options(given: str | dict[str, Any]) -> str | dict[str, Any]:
    """The registry, where it is a local file, written whole or not at all: the same file, in Feast's form."""
    options = {"path": given} if isinstance(given, str) else dict(given)
    of_feast = {"registry_type", "registry_store_type"} & options.keys() or "://" in str(options.get("path", "://"))
    return given if of_feast else {**options, "registry_store_type": REGISTRY}

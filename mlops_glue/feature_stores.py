"""The Feast repository of a project and its stores in an environment. Does not need Arrow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files
from mlops_glue.adapters.feast.online_file import OnlineFile
from mlops_glue.adapters.feast.redis import RedisReader, can_read
from mlops_glue.adapters.feast.repository import Repository
from mlops_glue.adapters.feast.stores import Stores, read_stores
from mlops_glue.config import Config
from mlops_glue.records import FeatureList


def open_repository(config: Config, root: Path, scratch: Path) -> Repository:
    """Open the project's Feast repository, with a registry and an online store in a scratch folder."""
    found = _repository(config, root, scratch=scratch)
    found.apply()
    return found


def open_live(config: Config, root: Path, *, replay_in: Path | None = None) -> Repository:
    """Open the project's Feast repository with the registry and online store of this environment.

    With `replay_in`, the registry is in that scratch folder, and the online store uses a separate project.
    """
    return _repository(config, root, **_live(config), scratch=replay_in, replay=replay_in is not None)


def _live(config: Config) -> dict[str, Any]:
    """Return the online store and the registry that override those of `feature_store.yaml`."""
    return {
        "online": configs.resolve(config.features.online_store, "features.online_store"),
        "registry": configs.resolve(config.features.registry, "features.registry"),
    }


def _repository(config: Config, root: Path, **options: Any) -> Repository:
    offline = configs.resolve(config.features.offline_store, "features.offline_store")
    return Repository(root, config.features.repo, offline=offline, inexact=config.features.inexact_store, **options)


def stores(config: Config, root: Path) -> Stores:
    """Return the stores of the repository in this environment, without importing Feast."""
    return read_stores(root, config.features.repo, **_live(config))


def lookup_of(config: Config, root: Path, bundle: Path) -> dict[str, Any] | None:
    """Return how the workers of a model look up its online features; None if it has no features in Feast.

    glue's own store is read without Feast (`embedded`), other stores through `feast`: `serving.lookup` then uses
    `redis_reader` to check if Redis can be read without Feast. A view that is computed on demand needs Feast.
    """
    listed = bundle / "features.json"
    if not listed.is_file():
        return None
    found, on_demand = stores(config, root), any(view["on_demand"] for view in files.read_json(listed)["views"])
    if found.embedded is None or on_demand:
        return {"type": "feast", "options": {"root": str(root), "env": config.environment}}
    return {"type": "embedded", "options": {"path": str(found.embedded), "project": found.project}}


def redis_reader(config: Config, root: Path, features: FeatureList, timeout_s: float) -> RedisReader | None:
    """Create a reader of a model's features in Redis without Feast; None for another store, or if Feast is needed.

    Its keys are in the order of `features.asked_by`, its values in the order of `features.columns`.
    """
    found = stores(config, root)
    if found.redis is None or not all(can_read(view, features.types) for view in features.views):
        return None
    columns = [*features.columns.values()]
    return RedisReader(found.redis, found.project, features.views, features.asked_by, columns, timeout_s)


def is_empty(config: Config, root: Path, features: FeatureList) -> bool:
    """Return whether the online store is empty for all views of a model; False if only Feast could find out.

    Raises:
        GlueError: the store does not answer.
    """
    found = stores(config, root)
    if found.embedded is not None:
        tables = [f"{found.project}_{view.of}" for view in features.views if not view.on_demand]
        return OnlineFile(found.embedded).is_empty(tables)
    if (reader := redis_reader(config, root, features, 5.0)) is not None:
        return asyncio.run(reader.size()) == 0
    return False

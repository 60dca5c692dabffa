"""Chooses the first version that a server serves, and then follows the registry. A worker never imports MLflow."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.delivery import fetch, record
from mlops_glue.errors import ToolError
from mlops_glue.pipeline import up_to_date
from mlops_glue.processes import run_apart
from mlops_glue.records import Servable
from mlops_glue.serving.follow import Follower
from mlops_glue.serving.settings import Settings
from mlops_glue.serving.slots import read_state

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store


def initial_version(
    root: Path, config: configs.Config, env: str | None, version: int | None
) -> tuple[Servable, str | None]:
    """Return the version to serve first.

    Returns:
        The version, and why the registry could not be reached, or None. In that case the version is the one that was
        served last.

    Raises:
        GlueError: there is no version that can be served.
    """
    stamp = _registry_stamp(root, config)
    last = read_state(_last_served(root, env)) if version is None else None
    if last is not None and last.get("model") != config.model_name:
        last = None
    if last is not None and stamp is not None and last.get("registry") == stamp:
        # The registry has not been written to since it was last read, and importing MLflow takes seconds. A model with
        # features is fetched again, because their definitions are outside the registry.
        found = Servable(**last["servable"])
        if found.lookup is None and Path(found.folder).is_dir():
            return found, None
    left = fetch.as_run_left_it(root, config, version)
    delivery = record.read(root) if left else None
    if left and delivery and delivery["digest"]:
        found = fetch.kept(root, config, *left, delivery["digest"], delivery["fingerprint"])
    else:
        # a separate process imports MLflow and Feast and then ends, so that the server stays small
        try:
            found = run_apart(_fetch, root, env, version, does="asks the registry")
        except ToolError as error:
            if last is None:
                raise
            return Servable(**last["servable"]), error.message
    if version is None:
        _remember(root, env, config.model_name, found, stamp)
    return found, None


def _registry_stamp(root: Path, config: configs.Config) -> list[int] | None:
    """Return the stamp of the project's own registry; None if it is elsewhere, or too new to be unique."""
    found = up_to_date.stamp(root / layout.TRACKING_DB) if config.tracking.uri is None else None
    return found if found is not None and time.time_ns() - found[1] > up_to_date.CLOCK_S * 1e9 else None


def _fetch(root: Path, env: str | None, version: int | None) -> Servable:
    """Fetch a version from the registry; runs in another process."""
    config = configs.load(root, env, needs=configs.A_MODEL)
    store, chosen = fetch.chosen_version(fetch.opened(root, config, create=False), root, config, version)
    with tempfile.TemporaryDirectory() as scratch:
        return fetch.fetch(store, root, config, chosen, Path(scratch))


def _remember(root: Path, env: str | None, model: str, version: Servable, registry: list[int] | None = None) -> None:
    """Remember the version for a start without the registry, and for a start after which it has not changed."""
    last = {"model": model, "servable": version.to_dict(), "registry": registry}
    files.write_json(_last_served(root, env), last)


def _last_served(root: Path, env: str | None) -> Path:
    return root / layout.SERVED / f"last-{env or 'default'}.json"


def follow_registry(settings: Settings, at_once: bool) -> None:
    """Fetch and try the versions that the aliases name, and leave them for the workers; runs until the server ends."""
    root, env = settings.root, settings.env
    config = configs.load(root, env, needs=configs.A_MODEL)
    stores: list[Store] = []

    def ask(alias: str) -> int | None:
        if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
            raise ToolError(f"{layout.TRACKING_DB} does not exist")  # SQLite would create an empty file
        if stores and stores[0].away is not None:
            stores.clear()
        if not stores:
            stores.append(fetch.opened(root, config, create=False))
        return stores[0].get_alias(config.model_name, alias)

    def bring(version: int) -> Servable:
        with tempfile.TemporaryDirectory(dir=settings.state) as scratch:
            return fetch.fetch(stores[0], root, config, version, Path(scratch))

    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # the file may be replaced between polls
    Follower(settings, ask, bring, partial(_remember, root, env, config.model_name)).run(at_once)

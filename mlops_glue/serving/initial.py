"""What a server begins with, and the process that then follows the registry. What answers never imports MLflow."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.delivery import fetch
from mlops_glue.errors import ToolError
from mlops_glue.pipeline import up_to_date
from mlops_glue.processes import run_apart
from mlops_glue.records import Servable
from mlops_glue.serving.follow import Follower
from mlops_glue.serving.settings import Settings
from mlops_glue.serving.slots import load_and_self_test, read_state

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

INSTANCE = "run-"


@contextlib.contextmanager
def state_folder(root: Path) -> Iterator[Path]:
    """A folder that the processes of this server share; those of servers that were killed are removed."""
    place = root / layout.SERVED
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)
    for old in place.glob(f"{INSTANCE}*"):
        with contextlib.suppress(OSError), (old / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=INSTANCE) as folder:
        new = Path(folder) / ".lock"
        with new.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # before it has its name: nobody takes the folder for an abandoned one
            new.rename(Path(folder) / "lock")
            yield Path(folder)


def initial_version(
    root: Path, config: configs.Config, env: str | None, version: int | None, state: Path
) -> tuple[Servable, str | None]:
    """What is served first.

    Returns:
        The version, and why the registry could not be asked, where that was so: then it is what was served last.

    Raises:
        GlueError: there is no version that can be served.
    """
    if version is None and (same := unchanged_champion(root, config, env)) is not None:
        return same, None
    registry = _registry_stamp(root, config)
    left = fetch.as_run_left_it(root, config, env, version)
    delivery = files.read_json(root / layout.DELIVERY) if left else {}
    if left and delivery.get("digest"):
        found = fetch.kept(root, config, env, *left, delivery["digest"], delivery["fingerprint"])
    else:
        # MLflow and Feast are imported in a process of their own, which ends: what serves stays small
        try:
            found = run_apart(_fetch, root, env, version, state, does="asks the registry")
        except ToolError as error:
            last = read_state(_last_served(root, env)) if version is None else None
            if last is None or last.get("model") != config.model_name:
                raise
            return Servable(**last["servable"]), error.message
    if version is None:
        _remember(root, env, config.model_name, found, registry)
    return found, None


def unchanged_champion(root: Path, config: configs.Config, env: str | None) -> Servable | None:
    """What was served last, where nobody has written to the project's own registry since it was asked.

    To import MLflow takes seconds. A model with features is fetched anew: their definitions lie outside the registry.
    """
    last = read_state(_last_served(root, env)) or {}
    if last.get("registry") is None or last["registry"] != _registry_stamp(root, config):
        return None
    found = Servable(**last["servable"])
    is_same = last["model"] == config.model_name and found.lookup is None and Path(found.folder).is_dir()
    return found if is_same else None


def _registry_stamp(root: Path, config: configs.Config) -> list[int] | None:
    """Of the project's own registry; None where it is elsewhere, or so young that a write may not change it."""
    found = up_to_date.stamp(root / layout.TRACKING_DB) if config.tracking.uri is None else None
    return found if found is not None and time.time_ns() - found[1] > up_to_date.CLOCK_S * 1e9 else None


def _fetch(root: Path, env: str | None, version: int | None, state: Path) -> Servable:
    """In another process: from the registry."""
    config = configs.load(root, env, needs=configs.A_MODEL)
    store, chosen = fetch.chosen_version(fetch.opened(root, config, create=False), root, config, version)
    with tempfile.TemporaryDirectory(dir=state) as scratch:
        return fetch.fetch(store, root, config, env, chosen, Path(scratch))


def _remember(root: Path, env: str | None, model: str, version: Servable, registry: list[int] | None = None) -> None:
    """For a start without the registry, and for one after which nobody has written to it."""
    last = {"model": model, "servable": version.to_dict(), "registry": registry}
    files.write_json(_last_served(root, env), last)


def _last_served(root: Path, env: str | None) -> Path:
    return root / layout.SERVED / f"last-{env or 'default'}.json"


def follow_registry(root: Path, env: str | None, settings: Settings, parent: int, at_once: bool) -> None:
    """In a process of its own, for ever: what the aliases name is fetched and tried, and left for the workers."""
    config = configs.load(root, env, needs=configs.A_MODEL)
    stores: list[Store] = []

    def ask(alias: str) -> int | None:
        if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
            raise ToolError(f"{layout.TRACKING_DB} is not there")  # SQLite would make an empty one
        if not stores:
            stores.append(fetch.opened(root, config, create=False))
        return stores[0].get_alias(config.model_name, alias)

    def bring(version: int) -> Servable:
        with tempfile.TemporaryDirectory(dir=settings.state) as scratch:
            found = fetch.fetch(stores[0], root, config, env, version, Path(scratch))
        load_and_self_test(settings, found)
        return found

    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # the file may be another one next time
    follower = Follower(settings, ask, bring, partial(_remember, root, env, config.model_name))
    follower.run(settings.options.poll_s, parent, at_once)

"""Starts a server: checks that it may listen, loads the first version once, and runs its processes."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout, secrets
from mlops_glue.errors import MissingExtra, UsageError
from mlops_glue.records import Servable
from mlops_glue.serving import http_server, initial
from mlops_glue.serving.initial import follow_registry
from mlops_glue.serving.model import Model
from mlops_glue.serving.settings import PROBLEM, Settings
from mlops_glue.serving.ship import Shipping, ship
from mlops_glue.serving.slots import load_and_self_test
from mlops_glue.serving.supervisor import ManagedProcess, Supervisor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a server runs."""

    command: str  # that starts it
    root: Path  # the project, or the folder where a package keeps its log
    examples: Path | None = None  # folder of requests that are too long to paste
    env: str | None = None  # an entry of `environments`
    registry_error: str | None = None  # why the registry could not be asked at the start


Served = tuple[Settings, Place]


@contextlib.contextmanager
def project(
    root: Path, given: dict[str, Any], version: int | None, env: str | None, *, check: bool, insecure: bool
) -> Iterator[Served]:
    """A version of the project's registry.

    Args:
        root: the project.
        given: options that replace those of the section `serve`.
        version: a model version; default the champion, which is then followed.
        env: an entry of `environments`.
        check: nothing will listen.
        insecure: others may ask without a key.
    """
    env = env or os.environ.get("GLUE_ENV")
    config = configs.load(root, env, needs=configs.A_MODEL)
    options = config.serve.model_copy(update=given)
    check_keys(options)
    if not check:
        check_open(options, insecure)
    with initial.state_folder(root) as state:
        first, registry_error = initial.initial_version(root, config, env, version, state)
        alias = "champion" if version is None else None
        spool = prepared_spool(root, options)
        settings = Settings(first, config.model_name, alias, options, state=str(state), spool=spool)
        yield settings, Place("glue serve", root, root / layout.SERVED, env, registry_error)


@contextlib.contextmanager
def package(
    folder: Path, given: dict[str, Any], online_store: str | None, state: str | None, *, check: bool, insecure: bool
) -> Iterator[Served]:
    """What `glue package` wrote: no project, no registry, no MLflow.

    Args:
        folder: the package.
        given: options that replace those of its `serve.json`.
        online_store: the file with the features; default the one in the folder.
        state: a folder that stays.
        check: nothing will listen. An image is checked while it is built, where no key is.
        insecure: others may ask without a key.

    Raises:
        UsageError: the folder is no package.
    """
    if not (folder / "serve.json").is_file():
        raise UsageError(f"--folder {folder}: is no folder that glue package wrote", hint="glue package FOLDER")
    about = files.read_json(folder / "serve.json")
    secrets.note(configs.references(about["serve"]))
    # there is no registry to ask for other versions
    options = configs.Serve.model_validate(about["serve"]).model_copy(update={**given, "shadow": None, "canary": None})
    store = None
    if about["online_store"]:
        path = online_store or str(folder / "online_store.db")
        store = {"type": "embedded", "options": {**about["online_store"], "path": path}}
    state = None if check else state or os.environ.get("GLUE_STATE")
    if not check:
        check_keys(options)
        check_open(options, insecure)
        if options.prediction_log and not state and not Path(options.prediction_log).is_absolute():
            log.warning("warning: the prediction log ends with this process; a folder that stays: --state DIR")
    first = Servable(about["version"], str(folder / "bundle"), about["digest"], about["fingerprint"], store)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(state or scratch)
        spool = None if check else prepared_spool(root, options)
        settings = Settings(first, about["name"], None, options, state=scratch, spool=spool)
        yield settings, Place(f"python {shlex.quote(str(folder))}", root)


def check_keys(options: configs.Serve) -> None:
    """Can each key be sent in a header? Space around it is no part of it: a mounted file ends with a line break.

    Raises:
        ConfigError: a variable is not set, or empty.
        UsageError: its value is none that a client can send.
    """
    for name in options.api_keys:
        key = configs.resolve(name, "serve.api_keys").strip()
        if not key or any(not "!" <= letter <= "~" for letter in key):
            problem = "has a character that no header takes" if key else "is empty"
            hint = f"export {name[2:-1]}=…: letters, digits and signs of ASCII, without a space"
            raise UsageError(f"{layout.CONFIG} serve.api_keys: {name} {problem}", hint=hint)


def check_open(options: configs.Serve, insecure: bool) -> None:
    """Is it safe to listen there?

    Raises:
        UsageError: others may ask, and nothing asks them for a key.
    """
    if not http_server.is_loopback(options.host) and not options.api_keys and not insecure:
        raise UsageError(
            f"--host {options.host} is open to others, and serve.api_keys in {layout.CONFIG} names no key",
            hint="serve: {api_keys: ['${GLUE_API_KEY}']}; or --insecure where a proxy asks for keys",
        )


def prepared_spool(root: Path, options: configs.Serve) -> str | None:
    """The folder where predictions wait to be shipped; None where they are not logged.

    Raises:
        ConfigError: a variable that the log refers to is not set; better known before anything is answered.
    """
    if options.prediction_log is None:
        return None
    configs.resolve(options.prediction_log, "serve.prediction_log")
    if options.log.hash_key is not None:
        configs.resolve(options.log.hash_key, "serve.log.hash_key")
    spool = root / layout.SPOOL
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(spool)


def run(settings: Settings, place: Place, announce: Callable[[Model, str], None]) -> int:
    """Answer until told to stop.

    Args:
        settings: of each worker.
        place: where the server runs.
        announce: called with the model and the server's URL, before the first request is answered.

    Returns:
        The exit code.
    """
    try:
        import uvicorn  # noqa: F401 - here, so that no worker needs to
    except ImportError as error:
        raise MissingExtra("uvicorn", "serving") from error
    assert settings.state is not None
    state, options = Path(settings.state), settings.options
    settings = replace(settings, parent=os.getpid())
    if place.registry_error is not None:  # the process that follows the registry removes this when it can ask
        reason = f"the registry could not be asked: {place.registry_error}; this is what was served last"
        files.write_text(state / f"registry{PROBLEM}", reason + "\n")
    with http_server.listen(options.host, options.port) as listening:
        # before any worker loads it: what is wrong is reported once, in one line
        model = load_and_self_test(settings, settings.first)
        announce(model, http_server.url_of(*listening.getsockname()[:2]))
        del model
        gc.collect()
        workers = [
            ManagedProcess(f"worker {n + 1}", http_server.run_worker, (settings, listening))
            for n in range(options.workers)
        ]
        return Supervisor(workers, _sidecars(settings, place), state).run(options.drain_s, options.shutdown_s)


def _sidecars(settings: Settings, place: Place) -> list[ManagedProcess]:
    """The processes that do not answer: one asks the registry, one ships the log."""
    options, sidecars = settings.options, []
    others = bool(options.shadow or options.canary)
    if settings.alias is not None or others:
        at_once = others or place.registry_error is not None
        arguments = (place.root, place.env, settings, os.getpid(), at_once)
        sidecars.append(ManagedProcess("registry watch", follow_registry, arguments))
    if settings.spool is not None and options.prediction_log is not None:
        to = configs.resolve(options.prediction_log, "serve.prediction_log")
        destination = to if "://" in to else str(place.root / to)
        shipping = Shipping(settings.spool, destination, str(settings.state), os.getpid(), options.log)
        sidecars.append(ManagedProcess("prediction log", ship, (shipping,)))
    return sidecars

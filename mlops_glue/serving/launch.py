"""Starts a server: checks that it may listen, loads the first version once, and runs the processes."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout, secrets
from mlops_glue.bundle import MODELS
from mlops_glue.errors import UsageError
from mlops_glue.log_place import check_driver
from mlops_glue.processes import FORK, run_apart
from mlops_glue.records import Servable
from mlops_glue.serving import http_server, initial
from mlops_glue.serving.initial import follow_registry
from mlops_glue.serving.listening import is_loopback, listen, url_of
from mlops_glue.serving.model import Model
from mlops_glue.serving.settings import PROBLEM, Settings
from mlops_glue.serving.ship import ship
from mlops_glue.serving.slots import load
from mlops_glue.serving.supervisor import ManagedProcess, Supervisor

log = logging.getLogger(__name__)


@contextlib.contextmanager
def project(
    root: Path, given: dict[str, Any], version: int | None, env: str | None, *, check: bool, insecure: bool
) -> Iterator[Settings]:
    """Prepare to serve a version from the project's registry.

    Args:
        root: the project.
        given: options that replace those of the section `serve`.
        version: a model version; by default the champion, which is then followed.
        env: an entry of `environments`.
        check: only check; the server will not listen.
        insecure: allow requests from other machines without a key.
    """
    env = env or os.environ.get("GLUE_ENV")
    config = configs.load(root, env, needs=configs.A_MODEL)
    options = config.serve.model_copy(update=given)
    check_keys(options)
    if not check:
        check_open(options, insecure)
    with tempfile.TemporaryDirectory(prefix="glue-serve-") as scratch:
        first, registry_error = initial.initial_version(root, config, env, version)
        yield Settings(
            first,
            config.model_name,
            Path(scratch),
            "champion" if version is None else None,
            options,
            spool=prepared_spool(root, options),
            root=root,
            env=env,
            examples=root / layout.SERVED,
            registry_error=registry_error,
        )


@contextlib.contextmanager
def package(
    folder: Path, given: dict[str, Any], online_store: str | None, state: str | None, *, check: bool, insecure: bool
) -> Iterator[Settings]:
    """Prepare to serve a folder that `glue package` wrote, without project, registry or MLflow.

    Args:
        folder: the package.
        given: options that replace those of its `serve.json`.
        online_store: the file with the features; by default the one in the folder.
        state: a folder for data that must survive the process.
        check: only check; the server will not listen. An image is checked during its build, when no key is set.
        insecure: allow requests from other machines without a key.

    Raises:
        UsageError: the folder is not a package.
    """
    if not (folder / "serve.json").is_file():
        raise UsageError(f"--folder {folder}: not a folder that glue package wrote", hint="glue package FOLDER")
    about = files.read_json(folder / "serve.json")
    secrets.note(configs.references(about["serve"]))
    # there is no registry to ask for other versions
    options = configs.Serve.model_validate(about["serve"]).model_copy(update={**given, "shadow": None, "canary": None})
    store = None
    if about["online_store"]:
        path = online_store or str(folder / "online_store.db")
        store = {"type": "embedded", "options": {**about["online_store"], "path": path}}
    first = Servable(
        about["version"], str(folder / "bundle"), about["digest"], about["fingerprint"], store, about["trust"]
    )
    with tempfile.TemporaryDirectory(prefix="glue-serve-") as scratch:
        root, spool = Path(state or os.environ.get("GLUE_STATE") or scratch), None
        if not check:
            check_keys(options)
            check_open(options, insecure)
            spool = prepared_spool(root, options)
            if options.prediction_log and root == Path(scratch) and not Path(options.prediction_log).is_absolute():
                log.warning("warning: the prediction log is lost when this process ends; to keep it: --state DIR")
        command = f"python {shlex.quote(str(folder))}"
        yield Settings(first, about["name"], Path(scratch), None, options, spool=spool, command=command, root=root)


def check_keys(options: configs.Serve) -> None:
    """Check that a client can send each key in a header.

    Surrounding space is ignored, because a mounted file ends with a newline.

    Raises:
        ConfigError: a variable is not set, or empty.
        UsageError: a client cannot send its value.
    """
    for name in options.api_keys:
        key = configs.resolve(name, "serve.api_keys").strip()
        if not key or any(not "!" <= letter <= "~" for letter in key):
            problem = "has a character that is not allowed in a header" if key else "is empty"
            hint = f"export {name[2:-1]}=…: ASCII letters, digits and punctuation, without spaces"
            raise UsageError(f"{layout.CONFIG} serve.api_keys: {name} {problem}", hint=hint)


def check_open(options: configs.Serve, insecure: bool) -> None:
    """Check that the address is safe to listen on.

    Raises:
        UsageError: other machines could send requests without a key.
    """
    if not is_loopback(options.host) and not options.api_keys and not insecure:
        raise UsageError(
            f"--host {options.host} is open to other machines, and serve.api_keys in {layout.CONFIG} names no key",
            hint="serve: {api_keys: ['${GLUE_API_KEY}']}; or --insecure if a proxy checks keys",
        )


def prepared_spool(root: Path, options: configs.Serve) -> Path | None:
    """Create the folder where predictions wait to be shipped; None if they are not logged.

    Raises:
        ConfigError: a variable that the log refers to is not set; it is checked before the first request.
        MissingExtra: the driver of the log's destination is not installed.
    """
    if options.prediction_log is None:
        return None
    check_driver(configs.resolve(options.prediction_log, "serve.prediction_log"))
    if options.log.hash_key is not None:
        configs.resolve(options.log.hash_key, "serve.log.hash_key")
    spool = root / layout.SPOOL
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return spool


def run(settings: Settings, announce: Callable[[Model, str], None]) -> int:
    """Serve until a signal stops the server, and return the exit code.

    `announce` is called with the model and the server's URL.
    """
    options, settings = settings.options, replace(settings, parent=os.getpid())
    if settings.registry_error is not None:  # the process that follows the registry deletes the file when it succeeds
        reason = f"the registry could not be reached: {settings.registry_error}; serving the last known version"
        files.write_text(settings.state / f"registry{PROBLEM}", reason + "\n")
    with listen(options.host, options.port) as listening:
        # before the workers load the model, so that a problem is reported once, in one line
        arguments = settings, announce, url_of(*listening.getsockname()[:2])
        if (Path(settings.first.folder) / MODELS[0]).is_file():
            _try_model(*arguments)
            gc.collect()
        else:  # an estimator may start OpenMP threads, and a fork of a process with such threads can hang
            run_apart(_try_model, *arguments, does="loads the model", start=FORK)
        workers = [
            ManagedProcess(f"worker {n + 1}", http_server.run_worker, (settings, listening))
            for n in range(options.workers)
        ]
        supervisor = Supervisor(workers, _sidecars(settings), settings.state, listening)
        return supervisor.run(options.drain_s, options.shutdown_s)


def _try_model(settings: Settings, announce: Callable[[Model, str], None], url: str) -> None:
    """Load the first version, score its example, and announce it."""
    model = load(settings, settings.first)
    model.self_test()
    announce(model, url)


def _sidecars(settings: Settings) -> list[ManagedProcess]:
    """Return the processes that answer no requests: one follows the registry, one ships the log."""
    options, sidecars = settings.options, []
    has_others = bool(options.shadow or options.canary)
    if settings.alias is not None or has_others:
        at_once = has_others or settings.registry_error is not None
        sidecars.append(ManagedProcess("registry watch", follow_registry, (settings, at_once)))
    if settings.spool is not None and options.prediction_log is not None:
        to = configs.resolve(options.prediction_log, "serve.prediction_log")
        destination = to if "://" in to else str(settings.root / to)
        sidecars.append(ManagedProcess("prediction log", ship, (settings, destination)))
    return sidecars

"""`glue serve`: the champion over HTTP."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.commands.predict import as_run_left_it
from mlops_glue.delivery import fetch as fetching
from mlops_glue.errors import CheckFailed, GlueError, MissingExtra, ToolError, UsageError
from mlops_glue.pipeline import up_to_date
from mlops_glue.processes import run_apart
from mlops_glue.records import Servable
from mlops_glue.secrets import redacted
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.serving.log import LogSettings
    from mlops_glue.serving.model import Model
    from mlops_glue.serving.worker import Settings

INSTANCE = "run-"
LONG = 600  # characters of an example; a longer one is in a file


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    version: int | None = None,
    check: bool = False,
    insecure: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Serve the champion, or check that it can be served."""
    root = layout.find_root()
    env = env or os.environ.get("GLUE_ENV")
    config = configs.load(root, env, needs=configs.A_MODEL)
    given = {"host": host, "port": port, "workers": workers}
    options = config.serve.model_copy(update={k: v for k, v in given.items() if v is not None})
    try:
        from mlops_glue.serving import server
    except ImportError as error:
        raise MissingExtra(str(error.name or error), "serving") from error
    check_keys(options)
    if not check:
        check_open(options, server.is_loopback(options.host), insecure)
    with _instance(root) as state:
        first, told = _first(root, config, env, version, state)
        alias = "champion" if version is None else None
        settings = settings_of(options, first, config.model_name, alias, state, root, access_log=not quiet)
        if check:
            return check_servable(settings, as_json, server.address(options.host, options.port), root)
        return listen(settings, options, root, env, state, told)


def listen(
    settings: Settings, options: configs.Serve, root: Path, env: str | None, state: Path, unasked: str | None
) -> int:
    """Answer until told to stop.

    Args:
        settings: of each worker.
        options: the section `serve`.
        root: the project, or where a package keeps its log.
        env: an entry of `environments`.
        state: the folder that the processes share.
        unasked: why the registry could not be asked.

    Returns:
        The exit code.
    """
    from mlops_glue.serving import server
    from mlops_glue.serving.live import tried
    from mlops_glue.serving.worker import PROBLEM

    if unasked is not None:  # until it can be: then the process that follows it takes this away
        said = f"the registry could not be asked: {unasked}; this is what was served last"
        files.write_text(state / f"registry{PROBLEM}", said + "\n")
    with server.bound(options.host, options.port) as listening:
        # no worker has loaded it yet, so it is tried: what is wrong is told in one line, and not by each of them
        model = tried(settings, settings.first)
        _tell(model, server.address(*listening.getsockname()[:2]), options, root, unasked)
        del model
        gc.collect()
        return server.run(
            settings,
            listening,
            workers=options.workers,
            shutdown_s=options.shutdown_s,
            drain_s=options.drain_s,
            beside=_beside(root, env, options, settings, state, at_once=unasked is not None),
            tell=console.progress,
        )


def settings_of(
    options: configs.Serve, first: Servable, name: str, alias: str | None, state: Path, root: Path, *, access_log: bool
) -> Settings:
    """What every worker is told.

    Args:
        options: the section `serve`.
        first: what is served until something else is wanted.
        name: of the registered model.
        alias: that is followed; None: `first` stays.
        state: the folder that the processes share.
        root: where the prediction log waits to be shipped.
        access_log: a line for each request.
    """
    from mlops_glue.serving.worker import Settings

    return Settings(
        first=first,
        name=name,
        alias=alias,
        unseen=options.unseen == "allow",
        keys=[one[2:-1] for one in options.api_keys],
        cors=options.cors,
        max_rows=options.max_rows,
        max_body_bytes=options.max_body_bytes,
        max_in_flight=options.max_in_flight,
        timeout_s=options.timeout_s,
        lookup_timeout_s=options.lookup_timeout_s,
        lookup_cache_s=options.lookup_cache_s,
        not_found_share=options.not_found_share,
        access_log=access_log,
        shadow=options.shadow,
        canary=options.canary.alias if options.canary else None,
        canary_share=options.canary.share if options.canary else 0.0,
        log=_log(root, options),
        state=str(state),
    )


def check_keys(options: configs.Serve) -> None:
    """Can each key be sent in a header? Space around it is no part of it: a mounted file ends with a line break.

    Raises:
        ConfigError: a variable is not set, or empty.
        UsageError: its value is none that a client can send.
    """
    for name in options.api_keys:
        key = configs.resolve(name, "serve.api_keys").strip()
        if not key or any(not "!" <= letter <= "~" for letter in key):
            said = "has a character that no header takes" if key else "is empty"
            hint = f"export {name[2:-1]}=…: letters, digits and signs of ASCII, without a space"
            raise UsageError(f"{layout.CONFIG} serve.api_keys: {name} {said}", hint=hint)


def check_open(options: configs.Serve, loopback: bool, insecure: bool) -> None:
    """Is it safe to listen there?

    Raises:
        UsageError: others may ask, and nothing asks them for a key.
    """
    if not loopback and not options.api_keys and not insecure:
        raise UsageError(
            f"--host {options.host} is open to others, and serve.api_keys in {layout.CONFIG} names no key",
            hint="serve: {api_keys: ['${GLUE_API_KEY}']}; or --insecure where a proxy asks for keys",
        )


@contextlib.contextmanager
def _instance(root: Path) -> Iterator[Path]:
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
            fcntl.flock(lock, fcntl.LOCK_EX)  # before it has its name, so that nobody takes this for left behind
            new.rename(Path(folder) / "lock")
            yield Path(folder)


def _first(
    root: Path, config: configs.Config, env: str | None, version: int | None, state: Path
) -> tuple[Servable, str | None]:
    """What is served first, and why it is not what the registry has, where it could not be asked."""
    from mlops_glue.serving.live import told as read

    if version is None and (same := _as_asked_last(root, config, env)) is not None:
        return same, None
    registry = _registry_file(root, config)
    left = as_run_left_it(root, config, env, version)
    told = files.read_json(root / layout.DELIVERY) if left else {}
    if left and told.get("digest"):
        found = fetching.kept(root, config, env, *left, told["digest"], told["fingerprint"])
    else:
        # MLflow and Feast are imported in a process of their own, which ends; what serves stays small
        try:
            found = run_apart(_fetched, root, env, version, state, does="asks the registry")
        except ToolError as error:
            kept = read(_last(root, env)) if version is None else None
            if kept is None or kept.get("model") != config.model_name:
                raise
            return Servable(**kept["servable"]), error.message
    if version is None:
        _remember(root, env, config.model_name, found, registry)
    return found, None


def _as_asked_last(root: Path, config: configs.Config, env: str | None) -> Servable | None:
    """What was served last, where the project's own registry was not written to since it was asked.

    To import MLflow takes seconds. A model with features is looked at anew: their definitions lie outside the registry.
    """
    from mlops_glue.serving.live import told as read

    kept = read(_last(root, env)) or {}
    if kept.get("registry") is None or kept["registry"] != _registry_file(root, config):
        return None
    found = Servable(**kept["servable"])
    same = kept["model"] == config.model_name and found.lookup is None and Path(found.folder).is_dir()
    return found if same else None


def _registry_file(root: Path, config: configs.Config) -> list[int] | None:
    """Stamp of the project's own registry; None where it is elsewhere, or so young that a write may not change it."""
    found = up_to_date.stamp(root / layout.TRACKING_DB) if config.tracking.uri is None else None
    return found if found is not None and time.time_ns() - found[1] > up_to_date.CLOCK_S * 1e9 else None


def _fetched(root: Path, env: str | None, version: int | None, state: Path) -> Servable:
    """In another process: from the registry."""
    config = configs.load(root, env, needs=configs.A_MODEL)
    store, chosen = fetching.chosen_version(fetching.opened(root, config, create=False), root, config, version)
    with tempfile.TemporaryDirectory(dir=state) as scratch:
        return fetching.fetch(store, root, config, env, chosen, Path(scratch))


def _remember(root: Path, env: str | None, model: str, what: Servable, registry: list[int] | None = None) -> None:
    """What a start without the registry begins with, and one for which nothing was written to it since."""
    files.write_json(_last(root, env), {"model": model, "servable": what.to_dict(), "registry": registry})


def _last(root: Path, env: str | None) -> Path:
    return root / layout.SERVED / f"last-{env or 'default'}.json"


def _log(root: Path, options: configs.Serve) -> LogSettings | None:
    if options.prediction_log is None:
        return None
    from mlops_glue.serving.log import LogSettings

    configs.resolve(options.prediction_log, "serve.prediction_log")  # told before anything is answered
    spool = root / layout.SPOOL
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = options.log
    if log.hash_key is not None:
        configs.resolve(log.hash_key, "serve.log.hash_key")
    return LogSettings(
        spool=str(spool),
        full=log.full,
        omit=log.omit,
        hash=log.hash,
        hash_key=log.hash_key[2:-1] if log.hash_key else None,
        rotate_s=log.rotate_s,
        rotate_bytes=log.rotate_bytes,
    )


def _beside(
    root: Path, env: str | None, options: configs.Serve, settings: Settings, state: Path, *, at_once: bool
) -> dict[str, tuple[Callable[..., None], tuple[Any, ...]]]:
    """The processes that do not answer: one asks the registry, one ships the log."""
    from mlops_glue.serving.ship import Shipping, ship

    made: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {}
    if settings.alias is not None or settings.shadow or settings.canary:
        at_once = at_once or bool(settings.shadow or settings.canary)
        made["registry watch"] = (follow, (root, env, settings, options.poll_s, os.getpid(), at_once))
    if settings.log is not None and options.prediction_log is not None:
        to = configs.resolve(options.prediction_log, "serve.prediction_log")
        where = to if "://" in to else str(root / to)
        kept = options.log
        shipping = Shipping(settings.log.spool, where, str(state), os.getpid(), kept.keep_days, kept.keep_bytes)
        made["prediction log"] = (ship, (shipping,))
    return made


def follow(root: Path, env: str | None, settings: Settings, poll_s: float, parent: int, at_once: bool) -> None:
    """In a process of its own, for ever: what the aliases name is fetched, tried, and left for the workers to take."""
    from mlops_glue.serving.follow import Follower
    from mlops_glue.serving.live import tried

    config = configs.load(root, env, needs=configs.A_MODEL)
    stores: list[Store] = []

    def ask(alias: str) -> int | None:
        if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
            raise ToolError(f"{layout.TRACKING_DB} is not there")  # any more; SQLite would make an empty one
        if not stores:
            stores.append(fetching.opened(root, config, create=False))
        return stores[0].get_alias(config.model_name, alias)

    def bring(version: int) -> Servable:
        with tempfile.TemporaryDirectory(dir=settings.state) as scratch:
            found = fetching.fetch(stores[0], root, config, env, version, Path(scratch))
        tried(settings, found)
        return found

    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # the file may be another one next time
    Follower(settings, ask, bring, partial(_remember, root, env, config.model_name)).run(poll_s, parent, at_once)


def check_servable(settings: Settings, as_json: bool, url: str, root: Path | None, starts: str = "glue serve") -> int:
    """Load the bundle, score its example, print the contract; `starts` is the command that serves it."""
    from mlops_glue.serving.live import tried

    try:
        model = tried(settings, settings.first)
        said = model.answers(model.contract.matrices(model.contract.of_table(model.examples)))
    except GlueError as error:
        raise CheckFailed(f"{settings.name} v{settings.first.version} cannot be served: {error.message}") from error
    if as_json:
        told = {"name": model.name, "version": model.version, "format": model.format, "digest": model.digest}
        console.result_json({**told, "schema": model.contract.json_schema, "example": model.examples, "answers": said})
        return 0
    console.result(f"{model.name} v{model.version} ({model.format}) can be served: {len(said)} example rows are scored")
    order = {name: at for at, name in enumerate(model.contract.order)}  # of a row without names
    for one in sorted(model.contract.fields, key=lambda field: order.get(field.name, -1)):
        must = "required" if one.required else "may be left out"
        kinds = " or ".join(sorted({kind.__name__ for kind in one.types} - ({"int"} if float in one.types else set())))
        console.result(f"  {one.name}  {one.kind} ({kinds}), {must}{', may be null' if one.nullable else ''}")
    console.result(f"{starts}, then  {_curl(model, url, root, keyed=bool(settings.keys))}", whole=True)
    console.result(f"answers  {json.dumps(said[0])}")
    return 0


def _tell(model: Model, url: str, options: configs.Serve, root: Path, unasked: str | None) -> None:
    """Say what is served where, and how to ask."""
    many = f", {options.workers} workers" if options.workers > 1 else ""
    if unasked is not None:
        console.progress(f"the registry could not be asked ({unasked}); this is what was served last")
    console.progress(f"{model.name} v{model.version} ({model.format}) on {url}{many}; its pages: {url}/docs")
    if options.prediction_log is not None:
        console.progress(f"answered predictions are kept in {redacted(options.prediction_log)}")
        _warn_of_log(model, options.log)
    console.progress(f"try  {_curl(model, url, root, keyed=bool(options.api_keys))}", whole=True)


def _warn_of_log(model: Model, log: configs.PredictionLog) -> None:
    """A name that is misspelt hides nothing; one that this version does not take may be of another, and is no error."""
    for key, names in (("omit", log.omit), ("hash", log.hash)):
        for name in names:
            if name not in model.contract.place:
                guess = did_you_mean(name, list(model.contract.place))
                console.progress(f"warning: serve.log.{key}: v{model.version} takes no {name!r} ({guess})")


def _curl(model: Model, url: str, root: Path | None, *, keyed: bool) -> str:
    """A request that can be pasted, with a row of the training data; a long one is in a file of `root`, if any."""
    from mlops_glue.serving.contract import asked_rows

    body = json.dumps(asked_rows(model.examples, model.features)[0], ensure_ascii=False)
    sent = shlex.quote(body)
    if len(sent) > LONG and root is not None:
        file = root / layout.SERVED / "example.json"
        files.write_text(file, body + "\n")
        sent = shlex.quote(f"@{os.path.relpath(file)}")
    key = " -H 'Authorization: Bearer KEY'" if keyed else ""
    url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")  # all addresses are none to ask
    return f"curl -s {url}/predict -H 'Content-Type: application/json'{key} -d {sent}"

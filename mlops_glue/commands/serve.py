"""`glue serve`: the champion over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.commands.predict import as_run_left_it, of_registry, opened
from mlops_glue.errors import CheckFailed, GlueError, MissingExtra, ToolError, UsageError

if TYPE_CHECKING:
    from mlops_glue.serving.model import Model
    from mlops_glue.serving.worker import Settings

KEPT = 3  # bundles of former versions
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
    config = configs.load(root, env)
    given = {"host": host, "port": port, "workers": workers}
    options = config.serve.model_copy(update={k: v for k, v in given.items() if v is not None})
    try:
        from mlops_glue.serving import server
        from mlops_glue.serving.worker import Settings, Worker
    except ImportError as error:
        raise MissingExtra(str(error.name or error), "serving") from error
    if not check:
        _check_open(options, server.is_loopback(options.host), insecure)
    found = _bundle(root, config, env, version)
    settings = Settings(
        folder=str(found.folder),
        digest=found.digest,
        name=config.model_name,
        version=found.version,
        fingerprint=found.fingerprint,
        alias="champion" if version is None else None,
        unseen=options.unseen == "allow",
        keys=[one[2:-1] for one in options.api_keys],
        cors=options.cors,
        max_rows=options.max_rows,
        max_body_bytes=options.max_body_bytes,
        max_in_flight=options.max_in_flight,
        timeout_s=options.timeout_s,
        lookup_timeout_s=options.lookup_timeout_s,
        lookup_cache_s=options.lookup_cache_s,
        lookup=_lookup(config, root, env, found.folder),
        access_log=not quiet,
    )
    if check:
        return _check(settings, as_json, f"http://{options.host}:{options.port}", root)
    listening = server.bound(options.host, options.port)
    url = server.address(listening)
    with listening, _shared(root, settings, options.workers) as shared:
        alone = Worker(shared) if options.workers == 1 else None
        # of many workers none loads here, so it is tried: what is wrong is told in one line, and not by each of them
        _tell(alone.model if alone else _tried(shared), url, options.workers, root, keyed=bool(settings.keys))
        return server.run(shared, listening, workers=options.workers, shutdown_s=options.shutdown_s, alone=alone)


def _check_open(options: configs.Serve, loopback: bool, insecure: bool) -> None:
    for name in options.api_keys:
        if not configs.resolve(name, "serve.api_keys"):
            raise UsageError(f"{layout.CONFIG} serve.api_keys: {name} is empty", hint=f"export {name[2:-1]}=…")
    if not loopback and not options.api_keys and not insecure:
        raise UsageError(
            f"--host {options.host} is open to others, and serve.api_keys in {layout.CONFIG} names no key",
            hint="serve: {api_keys: ['${GLUE_API_KEY}']}; or --insecure where a proxy asks for keys",
        )


class Found(NamedTuple):
    """A version's bundle, and what was recorded when it was registered."""

    version: int
    folder: Path
    digest: str
    fingerprint: str


def _bundle(root: Path, config: configs.Config, env: str | None, version: int | None) -> Found:
    """A private copy of the bundle that is to be served."""
    kept = root / layout.SERVED
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.chmod(0o700)
    left = as_run_left_it(root, config, env, version)
    told = io.read_json(root / layout.DELIVERY) if left else {}
    if left and told.get("digest"):
        found = Found(*left, told["digest"], told["fingerprint"])
        return found._replace(folder=_copied(found, kept))
    # MLflow and Feast are imported in a process of their own, which ends; what serves stays small
    with tempfile.TemporaryDirectory(dir=kept) as scratch, ProcessPoolExecutor(1, get_context("spawn")) as other:
        try:
            found = other.submit(_fetched, root, env, version, Path(scratch)).result()
        except BrokenProcessPool as error:
            raise ToolError("the process that asks the registry was ended") from error
        return found._replace(folder=_copied(found, kept))


def _fetched(root: Path, env: str | None, version: int | None, scratch: Path) -> Found:
    """In another process: the bundle from the registry; its features are defined as when it was trained."""
    config = configs.load(root, env)
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, FINGERPRINT

    store = opened(root, config)
    number, folder = of_registry(store, root, config, version, scratch)
    tags = store.tags(config.model_name, number)
    listed = folder / "features.json"
    if listed.is_file():
        from mlops_glue import features
        from mlops_glue.records import FeatureList

        with tempfile.TemporaryDirectory() as registry:
            repository = features.open_repository(config, root, Path(registry))
            taken = FeatureList.from_dict(io.read_json(listed))
            features.check_definitions(repository, taken, features.transform_hash(config, root))
    return Found(number, folder, tags[BUNDLE_DIGEST], tags[FINGERPRINT])


def _copied(found: Found, kept: Path) -> Path:
    """A copy that no run and nobody else writes to; former ones but the last few are removed."""
    target = kept / f"v{found.version}-{found.digest[:12]}"
    if not target.is_dir():
        temporary = Path(tempfile.mkdtemp(dir=kept))
        shutil.copytree(found.folder, temporary, dirs_exist_ok=True, symlinks=True)
        temporary.chmod(0o700)
        with contextlib.suppress(OSError):  # another glue serve was quicker
            temporary.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
    os.utime(target)
    mine = re.compile(r"v\d+-[0-9a-f]{12}")
    former = sorted((p for p in kept.iterdir() if mine.fullmatch(p.name)), key=lambda p: p.stat().st_mtime)
    for old in former[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _lookup(config: configs.Config, root: Path, env: str | None, folder: Path) -> dict[str, Any] | None:
    """How a worker finds features, where the model has some in Feast."""
    if not (folder / "features.json").is_file():
        return None
    from mlops_glue import features

    packed = features.packed_store(config, root)
    on_demand = any(view["on_demand"] for view in io.read_json(folder / "features.json")["views"])
    if packed is None or on_demand:
        return {"type": "feast", "options": {"root": str(root), "env": env}}
    return {"type": "packed", "options": {"path": str(packed[0]), "project": packed[1]}}


def _tried(settings: Settings) -> Model:
    from mlops_glue.serving.worker import load

    model = load(settings)
    model.self_test()
    return model


def _check(settings: Settings, as_json: bool, url: str, root: Path) -> int:
    """Load the bundle, score its example, print the contract."""
    from mlops_glue.serving.worker import load

    try:
        model = load(settings)
        said = model.self_test()
    except GlueError as error:
        raise CheckFailed(f"{settings.name} v{settings.version} cannot be served: {error.message}") from error
    if as_json:
        told = {"name": model.name, "version": model.version, "format": model.format, "digest": model.digest}
        console.result_json({**told, "schema": model.contract.json_schema, "example": model.examples, "answers": said})
        return 0
    console.result(f"{model.name} v{model.version} ({model.format}) can be served: {len(said)} example rows are scored")
    for one in model.contract.fields:
        must = "required" if one.required else "may be left out"
        kinds = " or ".join(sorted({kind.__name__ for kind in one.types} - ({"int"} if float in one.types else set())))
        console.result(f"  {one.name}  {one.kind} ({kinds}), {must}{', may be null' if one.nullable else ''}")
    console.result(f"glue serve, then  {_curl(model, url, root, keyed=bool(settings.keys))}")
    console.result(f"answers  {json.dumps(said[0])}")
    return 0


def _tell(model: Model, url: str, workers: int, root: Path, *, keyed: bool) -> None:
    many = f", {workers} workers" if workers > 1 else ""
    console.progress(f"{model.name} v{model.version} ({model.format}) on {url}{many}; its pages: {url}/docs")
    console.progress(f"try  {_curl(model, url, root, keyed=keyed)}")


def _curl(model: Model, url: str, root: Path, *, keyed: bool) -> str:
    """A request that can be pasted, with a row of the training data."""
    from mlops_glue.serving.contract import asked_rows

    body = json.dumps(asked_rows(model.examples, model.features)[0], ensure_ascii=False)
    sent = shlex.quote(body)
    if len(sent) > LONG:
        io.write_text(root / layout.SERVED / "example.json", body + "\n")
        sent = f"@{layout.SERVED}/example.json"
    key = " -H 'Authorization: Bearer KEY'" if keyed else ""
    return f"curl -s {url}/predict -H 'Content-Type: application/json'{key} -d {sent}"


@contextlib.contextmanager
def _shared(root: Path, settings: Settings, workers: int) -> Iterator[Settings]:
    """With a folder for the workers' counters, where there are several."""
    if workers == 1:
        yield settings
        return
    from dataclasses import replace

    with tempfile.TemporaryDirectory(dir=root / layout.SERVED, prefix="counters-") as folder:
        yield replace(settings, counters=folder)

"""`glue serve`: the champion over HTTP, or what a folder of `glue package` holds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import console, layout
from mlops_glue.errors import CheckFailed, GlueError, MissingExtra, UsageError, first_line
from mlops_glue.secrets import redacted

if TYPE_CHECKING:
    from mlops_glue.serving.launch import Place
    from mlops_glue.serving.model import Model
    from mlops_glue.serving.settings import Settings


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
    folder: str | None = None,
    online_store: str | None = None,
    state: str | None = None,
) -> int:
    """Serve a model, or check that it can be served."""
    options = {name: n for name, n in (("host", host), ("port", port), ("workers", workers)) if n is not None}
    if folder is None and (online_store is not None or state is not None):
        raise UsageError("--online-store and --state are for a package", hint="glue serve --folder FOLDER")
    if folder is not None and (version is not None or env is not None):
        raise UsageError("a package has one version, made for one environment", hint="without --version and --env")
    with _installed(folder):
        from mlops_glue.serving import launch

        if folder is None:
            source = launch.project(layout.find_root(), options, version, env, check=check, insecure=insecure)
        else:
            source = launch.package(Path(folder), options, online_store, state, check=check, insecure=insecure)
        with source as (settings, place):
            settings = replace(settings, access_log=not quiet)
            if check:
                return _check(settings, place, as_json=as_json)
            return launch.run(settings, place, partial(_announce, settings, place))


@contextlib.contextmanager
def _installed(folder: str | None) -> Iterator[None]:
    """What is not installed is reported with the command that installs it."""
    try:
        yield
    except (ImportError, MissingExtra) as error:
        if folder is None:
            raise error if isinstance(error, MissingExtra) else MissingExtra(str(error.name), "serving") from error
        from mlops_glue.serving.install_hint import install_hint

        raise GlueError(first_line(error), hint=install_hint(Path(folder))) from error


def _check(settings: Settings, place: Place, *, as_json: bool) -> int:
    """Load the bundle, score its example, print the contract."""
    from mlops_glue.serving import describe, http_server
    from mlops_glue.serving.slots import load

    try:
        model = load(settings, settings.first)
        answers = model.self_test()
    except GlueError as error:
        raise CheckFailed(f"{settings.name} v{settings.first.version} cannot be served: {error.message}") from error
    if as_json:
        console.result_json(describe.as_record(model, answers))
        return 0
    console.result(
        f"{model.name} v{model.version} ({model.format}) can be served: {len(answers)} example rows are scored"
    )
    for line in describe.field_lines(model):
        console.result(line)
    options = settings.options
    url = http_server.url_of(options.host, options.port)
    request = describe.curl(model, url, place.examples, with_key=bool(options.api_keys))
    console.result(f"{place.command}, then  {request}")
    console.result(f"answers  {json.dumps(answers[0])}")
    return 0


def _announce(settings: Settings, place: Place, model: Model, url: str) -> None:
    """Print what is served where, and how to ask."""
    from mlops_glue.serving import describe

    options = settings.options
    if place.registry_error is not None:
        reason = place.registry_error
        console.progress(f"the registry could not be asked ({reason}); this is what was served last")
    workers = f", {options.workers} workers" if options.workers > 1 else ""
    console.progress(f"{model.name} v{model.version} ({model.format}) on {url}{workers}; its pages: {url}/docs")
    if options.prediction_log is not None:
        console.progress(f"answered predictions are kept in {redacted(options.prediction_log)}")
        for warning in describe.log_warnings(model, options.log):
            console.progress(f"warning: {warning}")
    request = describe.curl(model, url, place.examples, with_key=bool(options.api_keys))
    console.progress(f"try  {request}")

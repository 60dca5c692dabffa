"""`glue serve`: serve the champion, or the model in a folder of `glue package`, over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import console, files, layout
from mlops_glue.errors import CheckFailed, GlueError, MissingExtra, UsageError, first_line
from mlops_glue.secrets import redacted
from mlops_glue.serving.listening import asked_at, url_of
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from mlops_glue.config import PredictionLog
    from mlops_glue.serving.model import Model
    from mlops_glue.serving.settings import Settings

LONG = 600  # characters; a longer example is written to a file


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
        raise UsageError("--online-store and --state require --folder", hint="glue serve --folder FOLDER")
    if folder is not None and (version is not None or env is not None):
        raise UsageError(
            "a package contains one version, built for one environment", hint="leave out --version and --env"
        )
    with _installed(folder):
        from mlops_glue.serving import launch

        if folder is None:
            source = launch.project(layout.find_root(), options, version, env, check=check, insecure=insecure)
        else:
            source = launch.package(Path(folder), options, online_store, state, check=check, insecure=insecure)
        with source as settings:
            if check:
                return _check(settings, as_json=as_json)
            return launch.run(replace(settings, access_log=not quiet), partial(_announce, settings))


@contextlib.contextmanager
def _installed(folder: str | None) -> Iterator[None]:
    """Report a missing package with the command that installs it."""
    try:
        yield
    except (ImportError, MissingExtra) as error:
        if folder is None:
            raise error if isinstance(error, MissingExtra) else MissingExtra(str(error.name), "serving") from error
        from mlops_glue.serving.install_hint import install_hint

        raise GlueError(first_line(error), hint=install_hint(Path(folder))) from error


def _check(settings: Settings, *, as_json: bool) -> int:
    """Load the bundle, score its example, print the contract."""
    from mlops_glue.serving.slots import load

    try:
        model = load(settings, settings.first)
        answers = model.self_test()
    except GlueError as error:
        raise CheckFailed(f"{settings.name} v{settings.first.version} cannot be served: {error.message}") from error
    if as_json:
        console.result_json({**model.about(), "example": model.examples, "answers": answers})
        return 0
    console.result(
        f"{model.name} v{model.version} ({model.form}) can be served: {len(answers)} example rows were scored"
    )
    for line in _field_lines(model):
        console.result(line)
    options = settings.options
    url = url_of(options.host, options.port)
    request = _curl(model, url, settings)
    console.result(f"{settings.command}, then  {request}")
    console.result(f"answers  {json.dumps(answers[0])}")
    return 0


def _announce(settings: Settings, model: Model, url: str) -> None:
    """Print the model, its URL, and an example request."""
    options = settings.options
    if settings.registry_error is not None:
        reason = settings.registry_error
        console.progress(f"the registry could not be reached ({reason}); serving the last known version")
    workers = f", {options.workers} workers" if options.workers > 1 else ""
    console.progress(f"{model.name} v{model.version} ({model.form}) on {url}{workers}; documentation: {url}/docs")
    if options.prediction_log is not None:
        console.progress(f"answered predictions are logged in {redacted(options.prediction_log)}")
        for warning in _log_warnings(model, options.log):
            console.progress(f"warning: {warning}")
    request = _curl(model, url, settings)
    console.progress(f"try  {request}")


def _field_lines(model: Model) -> list[str]:
    """Return a line for each field of a row: first the keys, then the columns in positional order."""
    order = {name: at for at, name in enumerate(model.contract.order)}
    lines = []
    for field in sorted(model.contract.fields, key=lambda field: order.get(field.name, -1)):
        kinds = sorted({kind.__name__ for kind in field.types} - ({"int"} if float in field.types else set()))
        needed = "optional, may be null" if field.nullable else "required"
        lines.append(f"  {field.name}  {field.kind} ({' or '.join(kinds)}), {needed}")
    return lines


def _curl(model: Model, url: str, settings: Settings) -> str:
    """Return a curl command with a row of the training data; a project stores a long row in a file."""
    from mlops_glue.serving.contract import without_looked_up

    body = json.dumps(without_looked_up(model.examples, model.features)[0], ensure_ascii=False)
    data = shlex.quote(body)
    if len(data) > LONG and settings.examples is not None:
        file = settings.examples / "example.json"
        files.write_text(file, body + "\n")
        data = shlex.quote(f"@{os.path.relpath(file)}")
    key = " -H 'Authorization: Bearer KEY'" if settings.options.api_keys else ""
    return f"curl -s {asked_at(url)}/predict -H 'Content-Type: application/json'{key} -d {data}"


def _log_warnings(model: Model, log: PredictionLog) -> list[str]:
    """Return warnings of unknown names in `serve.log`; not errors, because another version may have the field."""
    return [
        f"serve.log.{key}: v{model.version} has no field {name!r} ({did_you_mean(name, list(model.contract.position))})"
        for key, names in (("omit", log.omit), ("hash", log.hash))
        for name in names
        if name not in model.contract.position
    ]

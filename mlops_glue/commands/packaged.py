"""What runs in the folder that `glue package` wrote: no project, no registry, no MLflow."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_glue import console, telemetry
from mlops_glue.errors import GlueError, MissingExtra, first_line


def main(folder: Path, words: list[str]) -> int:
    """Serve the bundle in the folder, or check that it can be served. Returns the exit code."""
    telemetry.off()
    try:
        return _serve(folder, words)
    except KeyboardInterrupt:
        return 130
    except (ImportError, MissingExtra) as problem:
        return console.ended(_not_installed(folder, problem))
    except Exception as problem:
        return console.ended(problem)


def _not_installed(folder: Path, problem: ImportError | MissingExtra) -> GlueError:
    words = ["pip", "install", "--requirement", str(folder / "requirements.txt")]
    if any((folder / "wheels").glob("*.whl")):
        words[2:2] = ["--no-index", "--find-links", str(folder / "wheels")]
    return GlueError(first_line(problem), hint=shlex.join(words))


def _within(least: int, most: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        if not least <= int(word) <= most:
            raise argparse.ArgumentTypeError(f"{word} is not from {least} to {most}")
        return int(word)

    return number


def _options(folder: Path, words: list[str], about: dict[str, Any]) -> argparse.Namespace:
    options = about["serve"]
    parser = argparse.ArgumentParser(prog=f"python {folder}", description=f"{about['name']} v{about['version']}")
    parser.add_argument("--check", action="store_true", help="load the model, score its example, print the contract")
    parser.add_argument("--json", action="store_true", help="with --check: as JSON")
    parser.add_argument("--host", default=options["host"])
    parser.add_argument("--port", type=_within(0, 65535), default=options["port"])
    parser.add_argument("--workers", type=_within(1, 256), default=options["workers"])
    parser.add_argument("--insecure", action="store_true", help="take requests from other machines without an API key")
    parser.add_argument("--quiet", action="store_true", help="no access log")
    parser.add_argument("--online-store", default=str(folder / "online_store.db"), help="the file with the features")
    parser.add_argument("--state", help="a folder that stays: the prediction log is kept there until it is shipped")
    return parser.parse_args(words)


def _serve(folder: Path, words: list[str]) -> int:
    # what is not installed is told in a line, so nothing that needs it is imported before
    from mlops_glue import config as configs
    from mlops_glue import files, secrets
    from mlops_glue.commands import serve as serving
    from mlops_glue.config import Serve
    from mlops_glue.records import Servable
    from mlops_glue.serving import server

    about = files.read_json(folder / "serve.json")
    given = _options(folder, words, about)
    kept = Serve.model_validate(about["serve"])
    options = kept.model_copy(update={"host": given.host, "port": given.port, "workers": given.workers})
    options = options.model_copy(update={"shadow": None, "canary": None})  # there is no registry to ask
    secrets.note(configs.references(about["serve"]))
    if not given.check:  # what builds an image checks it where no key is
        serving.check_keys(options)
        serving.check_open(options, server.is_loopback(options.host), given.insecure)
    online = about["online_store"]
    lookup = {"type": "packed", "options": {**online, "path": given.online_store}} if online else None
    first = Servable(about["version"], str(folder / "bundle"), about["digest"], about["fingerprint"], lookup)
    state = None if given.check else given.state or os.environ.get("GLUE_STATE")
    log = options.prediction_log
    if log and not state and not given.check and not Path(log).is_absolute():
        console.progress("warning: the prediction log ends with this process; a folder that stays: --state DIR")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(state) if state else Path(scratch)
        settings = serving.settings_of(
            options, first, about["name"], None, Path(scratch), place, access_log=not given.quiet
        )
        if given.check:
            url, starts = server.address(options.host, options.port), f"python {shlex.quote(str(folder))}"
            return serving.check_servable(settings, given.json, url, None, starts)
        return serving.listen(settings, options, place, None, Path(scratch), None)

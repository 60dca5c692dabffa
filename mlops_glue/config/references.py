"""References to variables of the environment: which there are, and their values at the moment of use."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from mlops_glue import secrets
from mlops_glue.config.models import Config
from mlops_glue.errors import ConfigError
from mlops_glue.layout import CONFIG


def references(value: Any) -> list[str]:
    """The names of the variables that a section, as built-ins, refers to; sorted."""
    return sorted(set(secrets.REFERENCE.findall(json.dumps(value, default=str))))


def remote_url(config: Config) -> str | None:
    """Where DVC's remote is, with its variables put in; None leaves it to `.dvc/config`."""
    return config.data.remote and resolve(config.data.remote, "data.remote")


def tracking_uri(config: Config) -> str | None:
    """Where MLflow keeps runs, with its variables put in; None is the project's own database."""
    return config.tracking.uri and resolve(config.tracking.uri, "tracking.uri")


def resolved(value: Any, where: str) -> Any:
    """A section with its variables put in; for the moment of use, never to be kept or told."""
    if isinstance(value, dict):
        return {key: resolved(one, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, where) for one in value]
    return resolve(value, where) if isinstance(value, str) else value


def with_scheme(url: str, where: str) -> str:
    """A URL, or a folder, of which a variable may hold the very beginning; what else is in variables stays there.

    Raises:
        ConfigError: that variable is not set, so nobody knows which of the two it is.
    """
    return resolve(url, where) if url.startswith("${") else url


def resolve(value: str, where: str) -> str:
    """Replace each `${NAME}` by the environment's value.

    Raises:
        ConfigError: a variable is not set, or empty; its name is told, never a value.
    """

    def one(match: re.Match[str]) -> str:
        name = match.group(1)
        secrets.note([name])
        value = os.environ.get(name)
        if not value:
            # a secret of GitHub's that is not there, or that a fork does not get, is an empty text in its jobs
            said = f"environment variable {name} is {'not set' if value is None else 'empty'}"
            raise ConfigError([f"{CONFIG} {where}: {said}"], hint=f"export {name}=…")
        return value

    return secrets.REFERENCE.sub(one, value)

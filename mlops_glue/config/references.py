"""`${NAME}` in `glue.yaml`: the environment variables that it refers to, and their values at the time of use."""

from __future__ import annotations

import json
import os
from typing import Any, TypeVar

from mlops_glue import secrets
from mlops_glue.config.models import Config
from mlops_glue.errors import ConfigError
from mlops_glue.layout import CONFIG

Value = TypeVar("Value")


def references(value: Any) -> list[str]:
    """Return the sorted names of the variables that a section, as built-ins, refers to."""
    return sorted(set(secrets.REFERENCE.findall(json.dumps(value, default=str))))


def resolve(value: Value, where: str) -> Value:
    """Replace each `${NAME}` in text, at any depth of built-ins. The result must not be stored or printed.

    `where` is the value's key in `glue.yaml`, or a command-line option.

    Raises:
        ConfigError: a variable is not set, or is empty; the message contains its name, never a value.
    """
    resolved: Any = value
    if isinstance(value, dict):
        resolved = {key: resolve(item, f"{where}.{key}") for key, item in value.items()}
    elif isinstance(value, list):
        resolved = [resolve(item, where) for item in value]
    elif isinstance(value, str):
        resolved = secrets.REFERENCE.sub(lambda reference: _variable(reference[1], where), value)
    return resolved  # type: ignore[no-any-return]


def _variable(name: str, where: str) -> str:
    secrets.note([name])
    value = os.environ.get(name)
    if not value:
        # GitHub passes an empty value for a secret that does not exist or that a fork may not read
        problem = f"environment variable {name} is {'not set' if value is None else 'empty'}"
        place = where if where.startswith("--") else f"{CONFIG} {where}"
        raise ConfigError([f"{place}: {problem}"], hint=f"export {name}=…")
    return value


def remote_url(config: Config) -> str | None:
    """Return the URL of DVC's remote; None leaves it to `.dvc/config`."""
    return resolve(config.data.remote, "data.remote")


def tracking_uri(config: Config) -> str | None:
    """Return MLflow's tracking URI; None stands for the project's own database."""
    return resolve(config.tracking.uri, "tracking.uri")

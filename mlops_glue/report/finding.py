"""A finding of `glue doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_glue.config import Config


@dataclass(frozen=True)
class Finding:
    """The result of a check. `fix` is a command or an edit; a problem sets exit code 1, a note does not."""

    level: str  # ok, note, problem
    what: str
    fix: str | None = None


def in_environment(command: str, config: Config) -> str:
    """Add the config's environment to a glue command."""
    return f"{command} --env {config.environment}" if config.environment else command

"""One thing that `glue doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_glue.config import Config


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `fix` is what to type; a problem makes the exit code 1, a note does not."""

    level: str  # ok, note, problem
    what: str
    fix: str | None = None


def in_environment(command: str, config: Config) -> str:
    """A command of glue's, as it is typed for the environment of a config."""
    return f"{command} --env {config.environment}" if config.environment else command

"""The values of `glue.yaml` as a config, or everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlops_glue.config.checks import cross_checks
from mlops_glue.config.models import Config
from mlops_glue.config.problems import Problem, pydantic_problem


def validate(values: dict[str, Any], root: Path, *, tables: bool) -> tuple[Config | None, list[Problem]]:
    """Check each key, then the sections against each other.

    Args:
        values: the sections as built-ins.
        root: the project folder.
        tables: must the tables of `data.sources` exist?

    Returns:
        A config without the sections that are wrong, None where no pipeline is left; and every problem.
    """
    problems: list[Problem] = []
    config: Config | None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        # one problem a place: a value that fits no branch of a union fails each of them
        problems += dict(pydantic_problem(values, details) for details in reversed(error.errors())).items()
        config = _sound_part(values, error)
    if config is not None:
        problems += cross_checks(config, root, tables=tables)
    return config, problems


def _sound_part(values: dict[str, Any], error: ValidationError) -> Config | None:
    """What can still be checked where some sections are wrong: a config without these."""
    wrong = {details["loc"][0] for details in error.errors()}
    if "environments" in wrong:
        wrong.add("ci")  # it names one of them
    sound = {name: section for name, section in values.items() if name not in wrong}
    if "data" not in sound or "train" not in values:
        return None
    return Config.model_validate({"glue": 1, "project": "any", "train": {}, **sound})

"""Read and check `glue.yaml`, with or without an environment."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mlops_glue import secrets
from mlops_glue.config.checks import cross_checks, missing_tables
from mlops_glue.config.environments import doubled_paths, in_environment, merged, misplaced_keys
from mlops_glue.config.fields import PATTERN_HELP, VARIABLE
from mlops_glue.config.models import Config, known_keys
from mlops_glue.config.parse import Location, Problem, parse, read
from mlops_glue.config.references import references
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.layout import CONFIG
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

A_MODEL, ANYTHING = ("model",), ("anything",)  # for `needs` of `load`


def load(
    root: Path,
    env: str | None = None,
    *,
    tables: bool = True,
    needs: Sequence[str] = ("data", "train"),
    text: str | None = None,
) -> Config:
    """Read and check `glue.yaml`.

    Args:
        root: the project folder.
        env: name of an entry of `environments`; default `GLUE_ENV`; "" for none, even if `GLUE_ENV` is set.
        tables: whether the tables must exist; in a new clone they do not exist yet.
        needs: sections that are required; or `A_MODEL`: a pipeline or a registered model; or `ANYTHING`: any use of
            glue, even without a pipeline.
        text: the future contents of the file; default: the current contents.

    Raises:
        ConfigError: with every problem found, in file order.
    """
    document = parse(read(root / CONFIG) if text is None else text.removeprefix("\ufeff"))
    values = document.values
    secrets.note(references(values))
    env = os.environ.get("GLUE_ENV") if env is None else env
    config, problems = validate(values, root, tables=tables and not env)
    if config is not None:
        problems += _environment_problems(config, root, problems)
    if config is not None and tables and env and not problems:
        own = (
            "environments",
            env,
        )  # check this environment's tables; problems of a path that it overrides have its lines
        for location, problem in missing_tables(in_environment(config, env), root):
            problems.append(((*own, *location) if (*own, *location) in document.lines else location, problem))
    only = only_does(config) if config is not None and needs and not problems else None
    if needs == ANYTHING:
        needs = () if only is not None else ("data", "train")
    elif only is not None and not (needs == A_MODEL and only[0].startswith("serves")):
        raise UsageError(f"this project only {only[0]}: {CONFIG} has no data and no train", hint=only[1])
    problems += [((key,), "is required") for key in needs if key not in values and needs != A_MODEL]
    if problems or config is None:
        shown = sorted({(document.line(problem[0]), _worded(problem)) for problem in problems})
        raise ConfigError([f"{CONFIG}:{line} {text}" for line, text in shown])
    return in_environment(config, env)


def validate(values: dict[str, Any], root: Path, *, tables: bool) -> tuple[Config | None, list[Problem]]:
    """Build the config from sections as built-ins; return it, or None if a key is wrong, and every problem.

    The sections are checked against each other only if all keys are valid.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        # one problem per location: a value that fits no branch of a union fails each branch
        return None, list(dict(_pydantic_problem(values, details) for details in reversed(error.errors())).items())
    return config, list(cross_checks(config, root, tables=tables))


def _environment_problems(config: Config, root: Path, known: list[Problem]) -> Iterator[Problem]:
    """Yield problems of the config in each environment that are not known already."""
    found = list(misplaced_keys(config))
    yield from found or doubled_paths(config)
    for env in config.environments:
        if not any(location[1] == env for location, _ in found):
            for location, text in validate(merged(config, env), root, tables=False)[1]:
                if (location, text) not in known:
                    yield ("environments", env, *location), text


def only_does(config: Config) -> tuple[str, str] | None:
    """Describe what a project without a pipeline does, and its command; None if it has a pipeline or does nothing."""
    given = config.model_fields_set
    if {"data", "train"} & given:
        return None
    if {"registry", "serve", "package"} & given:
        return f"serves {config.model_name}", "glue serve; to add a newer version: glue adopt .. --model NAME/VERSION"
    if "tracking" in given:
        return "tracks", "glue track -- python train.py"
    return ("monitors", "glue monitor --reference TABLE --current TABLE") if "monitor" in given else None


def located(root: Path, error: ConfigError) -> ConfigError:
    """Return the error with a line number added to each problem that begins with `glue.yaml a.b.c: …`."""
    document = parse(read(root / CONFIG))

    def with_line(key: re.Match[str]) -> str:
        location = tuple(int(part) if part.isdigit() else part for part in key[1].split("."))
        return f"{CONFIG}:{document.line(location)} {key[1]}"

    named_key = re.compile(rf"^{re.escape(CONFIG)} ([^ :]+)")
    return ConfigError([named_key.sub(with_line, problem) for problem in error.problems], hint=error.hint)


def _worded(problem: Problem) -> str:
    """Format a problem as `section.key: what is wrong`."""
    location, text = problem
    return f"{'.'.join(map(str, location))}: {text}"


def _pydantic_problem(values: dict[str, Any], error: ErrorDetails) -> Problem:
    """Convert an error of pydantic's to a problem, with its location in the file."""
    location, value = _in_file(values, error)
    if error["type"] == "extra_forbidden":
        return location, f"unknown key ({did_you_mean(str(location[-1]), known_keys(location[:-1]))})"
    if error["type"] == "missing":
        return location, "is required"
    pattern = error.get("ctx", {}).get("pattern")
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] in ("model_type", "dict_type"):
        text = "should be a section with keys"
    elif error["type"] == "string_pattern_mismatch":
        text = PATTERN_HELP.get(str(pattern), text)
    # a URL may contain a secret, and so may text written instead of a variable's name
    may_be_secret = "://" in str(value) or pattern == VARIABLE
    is_shown = not (may_be_secret or value is None or isinstance(value, dict | list))
    return location, f"{text}, not {value!r}" if is_shown else text


def _in_file(values: Any, error: ErrorDetails) -> tuple[Location, Any]:
    """Return the location of an error and the value there, without the union branches that pydantic adds."""
    location: Location = ()
    for part in error["loc"]:
        with contextlib.suppress(LookupError, TypeError):
            location, values = (*location, part), values[part]
    return ((*location, error["loc"][-1]), None) if error["type"] == "missing" else (location, values)

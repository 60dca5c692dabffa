"""Reading and checking `glue.yaml`, for one environment or for none."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from mlops_glue import secrets
from mlops_glue.config.checks import cross_checks
from mlops_glue.config.fields import PATTERN_HELP, VARIABLE
from mlops_glue.config.models import ENVIRONMENT_KEYS, Config
from mlops_glue.config.parse import Location, Problem, parse, read
from mlops_glue.config.references import references
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.layout import CONFIG
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

A_MODEL = ("model",)  # for `needs` of `load`


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
        env: name of an entry of `environments`; default `GLUE_ENV`; "" for none, whatever is set.
        tables: must the tables be there? In a new clone they are not yet.
        needs: sections that must be there, or `A_MODEL`: a pipeline or a registered model.
        text: what the file will hold; default what it holds.

    Raises:
        ConfigError: with every problem found, in file order.
    """
    document = parse(read(root / CONFIG) if text is None else text.removeprefix("\ufeff"))
    values = document.values
    secrets.note(references(values))
    config, problems = validate(values, root, tables=tables)
    if config is not None:
        problems += _environment_problems(config, root, problems)
    only = only_does(config) if config is not None and needs and not problems else None
    if only is not None and not (needs == A_MODEL and only[0].startswith("serves")):
        raise UsageError(f"this project only {only[0]}: {CONFIG} has no data and no train", hint=only[1])
    problems += [((key,), "is required") for key in needs if key not in values and needs != A_MODEL]
    if problems or config is None:
        shown = sorted({(document.line(problem[0]), _worded(problem)) for problem in problems})
        raise ConfigError([f"{CONFIG}:{line} {text}" for line, text in shown])
    return in_environment(config, os.environ.get("GLUE_ENV") if env is None else env)


def validate(values: dict[str, Any], root: Path, *, tables: bool) -> tuple[Config | None, list[Problem]]:
    """The config of sections as built-ins, None where a key is wrong; and every problem.

    The sections are checked against each other where all keys are sound.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        # one problem a place: a value that fits no branch of a union fails each of them
        return None, list(dict(_pydantic_problem(values, details) for details in reversed(error.errors())).items())
    return config, list(cross_checks(config, root, tables=tables))


def in_environment(config: Config, env: str | None) -> Config:
    """The config, loaded without an environment, as it is in one.

    Raises:
        ConfigError: there is no such environment.
    """
    if not env:
        return config
    if env not in config.environments:
        raise ConfigError([f"{CONFIG} environments: no {env!r} ({did_you_mean(env, list(config.environments))})"])
    merged = Config.model_validate(_merged(config, env))
    merged._environment = env
    return merged


def _environment_problems(config: Config, root: Path, known: list[Problem]) -> Iterator[Problem]:
    """What is wrong with the config in each environment, and is not known already."""
    for env, sections in config.environments.items():
        misplaced = list(_misplaced_keys(env, sections))
        yield from misplaced
        for location, text in [] if misplaced else validate(_merged(config, env), root, tables=False)[1]:
            if (location, text) not in known:
                yield ("environments", env, *location), text


def _misplaced_keys(env: str, sections: dict[str, Any]) -> Iterator[Problem]:
    """What an environment cannot change, or nothing knows."""
    for name, section in sections.items():
        is_open = name in ENVIRONMENT_KEYS and isinstance(section, dict)
        for location in [(name, key) for key in section] if is_open else [(name,)]:
            allowed = ENVIRONMENT_KEYS[name] if is_open else tuple(ENVIRONMENT_KEYS)
            *outer, key = location
            if key in allowed:
                continue
            problem = "is the same in every environment; only where things live may differ"
            if key not in _known_keys(tuple(outer)):
                problem = f"unknown key ({did_you_mean(str(key), list(allowed))})"
            yield ("environments", env, *location), problem


def _merged(config: Config, env: str) -> dict[str, Any]:
    merged: dict[str, Any] = _over(config.model_dump(exclude_unset=True), config.environments[env])
    return merged


def _over(below: Any, above: Any) -> Any:
    """A mapping over another one, key by key at every depth.

    A store of another type takes nothing from the one below: its options differ.
    """
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if above.get("type", below.get("type")) != below.get("type"):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def only_does(config: Config) -> tuple[str, str] | None:
    """What a project without a pipeline does, and its command; None where it has a pipeline, or does nothing."""
    given = config.model_fields_set
    if {"data", "train"} & given:
        return None
    if {"registry", "serve", "package"} & given:
        return f"serves {config.model_name}", "glue serve; a newer version of it: glue adopt .. --model NAME/VERSION"
    if "tracking" in given:
        return "tracks", "glue track -- python train.py"
    return ("monitors", "glue monitor --reference TABLE --current TABLE") if "monitor" in given else None


def located(root: Path, error: ConfigError) -> ConfigError:
    """An error whose problems begin with `glue.yaml a.b.c: …`, with the line of each such key."""
    document = parse(read(root / CONFIG))

    def with_line(key: re.Match[str]) -> str:
        location = tuple(int(part) if part.isdigit() else part for part in key[1].split("."))
        return f"{CONFIG}:{document.line(location)} {key[1]}"

    named_key = re.compile(rf"^{re.escape(CONFIG)} ([^ :]+)")
    return ConfigError([named_key.sub(with_line, problem) for problem in error.problems], hint=error.hint)


def _worded(problem: Problem) -> str:
    """`section.key: what is wrong`."""
    location, text = problem
    return f"{'.'.join(map(str, location))}: {text}"


def _pydantic_problem(values: dict[str, Any], error: ErrorDetails) -> Problem:
    """One error of pydantic's, with the location that the file has."""
    location, value = _in_file(values, error)
    if error["type"] == "extra_forbidden":
        return location, f"unknown key ({did_you_mean(str(location[-1]), _known_keys(location[:-1]))})"
    if error["type"] == "missing":
        return location, "is required"
    pattern = error.get("ctx", {}).get("pattern")
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] in ("model_type", "dict_type"):
        text = "should be a section, with keys of its own"
    elif error["type"] == "string_pattern_mismatch":
        text = PATTERN_HELP.get(str(pattern), text)
    # a URL may hold a secret, and so may a text in the place of a variable's name
    may_be_secret = "://" in str(value) or pattern == VARIABLE
    is_shown = not (may_be_secret or value is None or isinstance(value, dict | list))
    return location, f"{text}, not {value!r}" if is_shown else text


def _in_file(values: Any, error: ErrorDetails) -> tuple[Location, Any]:
    """The location of an error and the value there, without the branches of unions that pydantic adds."""
    location: Location = ()
    for part in error["loc"]:
        with contextlib.suppress(LookupError, TypeError):
            location, values = (*location, part), values[part]
    return ((*location, error["loc"][-1]), None) if error["type"] == "missing" else (location, values)


def _known_keys(location: Location) -> list[str]:
    """The keys of the section at a location, empty where it has no model."""
    annotation: Any = Config
    for part in location:
        model = _model_in(annotation)
        field = model.model_fields.get(part) if model is not None else None
        annotation = field.annotation if field is not None else annotation  # an item of a list, or a name of the user's
    model = _model_in(annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `dict[str, Source]` or `Canary | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)

"""`environments`: a config as it is in one of them, and what is wrong with it there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlops_glue.config.fields import Section
from mlops_glue.config.models import ENVIRONMENT_KEYS, Config, Data, Features
from mlops_glue.config.parse import Document
from mlops_glue.config.problems import Problem
from mlops_glue.config.validate import validate
from mlops_glue.errors import ConfigError
from mlops_glue.layout import CONFIG
from mlops_glue.suggest import did_you_mean


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


def environment_problems(config: Config, document: Document, root: Path, known: list[Problem]) -> Iterator[Problem]:
    """What is wrong with the config in each environment, and is not known already.

    A problem is reported where the value comes from: in the environment, or in the section that it lies over.
    """
    for env, sections in config.environments.items():
        misplaced = list(_misplaced_keys(env, sections))
        yield from misplaced
        if misplaced:
            continue
        for location, text in validate(_merged(config, env), root, tables=False)[1]:
            in_env = ("environments", env, *location)
            if (location, text) in known or (in_env, text) in known:
                continue
            if document.depth(in_env) - 2 >= document.depth(location):
                yield in_env, text
            else:
                yield location, f"{text} (in environments.{env})"


def _misplaced_keys(env: str, sections: dict[str, Any]) -> Iterator[Problem]:
    """What an environment cannot change, or nothing knows."""
    for name, section in sections.items():
        if name not in ENVIRONMENT_KEYS:
            yield ("environments", env, name), _why_not(name, Config, ENVIRONMENT_KEYS)
            continue
        keys = ENVIRONMENT_KEYS[name]
        if keys is not None and isinstance(section, dict):
            model: type[Section] = Data if name == "data" else Features
            wrong = [key for key in section if key not in keys]
            yield from ((("environments", env, name, key), _why_not(key, model, keys)) for key in wrong)


def _why_not(key: str, model: type[Section], known: Iterable[str]) -> str:
    if key in model.model_fields:
        return "is the same in every environment; only where things live may differ"
    return f"unknown key ({did_you_mean(str(key), list(known))})"


def _merged(config: Config, env: str) -> dict[str, Any]:
    sections = config.model_dump(exclude_unset=True)
    merged: dict[str, Any] = _over(sections, config.environments[env])
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

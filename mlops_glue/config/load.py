"""Reading and checking `glue.yaml`, for one environment or for none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlops_glue import secrets
from mlops_glue.config.checks import cross_checks
from mlops_glue.config.edit import set_key
from mlops_glue.config.models import Config
from mlops_glue.config.parse import line_of, parse, plain, read
from mlops_glue.config.problems import Problem, located_text, pydantic_problem
from mlops_glue.config.references import references
from mlops_glue.errors import ConfigError, UsageError, did_you_mean
from mlops_glue.layout import CONFIG

A_MODEL = ("model",)  # for `needs` of `load`


def load(
    root: Path,
    env: str | None = None,
    overrides: Mapping[str, str] | None = None,
    *,
    tables: bool = True,
    needs: Sequence[str] = ("data", "train"),
    text: str | None = None,
) -> Config:
    """Read and check `glue.yaml`.

    Args:
        root: the project folder.
        env: name of an entry of `environments`; default `GLUE_ENV`; "" for none, whatever is set.
        overrides: dotted keys to YAML text, e.g. `{"train.params.max_iter": "300"}`; not written back.
        tables: must the tables be there? In a new clone they are not yet.
        needs: sections that must be there, or `A_MODEL`: a pipeline or a registered model.
        text: what the file will hold; default what it holds.

    Raises:
        ConfigError: with every problem found, in file order.
    """
    tree = parse(read(root / CONFIG) if text is None else text.removeprefix("\ufeff"))
    for key, value in (overrides or {}).items():
        set_key(tree, key, value)
    secrets.note(references(plain(tree)))
    rest, gone, found = checked(plain(tree), root, tables=tables)
    if rest is not None and all(loc[0] == "environments" for loc in gone):
        found += [one for one in _environment_problems(rest, tree, root, found) if not _moot(*one, gone)]
    only = only_does(rest) if rest is not None and needs and not found else None
    if only is not None and not (needs == A_MODEL and only[0].startswith("serves")):
        raise UsageError(f"this project only {only[0]}: {CONFIG} has no data and no train", hint=only[1])
    found += [((key,), "is required") for key in needs if key not in tree and needs != A_MODEL]
    if found or rest is None:
        problems = sorted({(line_of(tree, loc), located_text(loc, what)) for loc, what in found})
        raise ConfigError([f"{CONFIG}:{line} {said}" for line, said in problems])
    return in_environment(rest, os.environ.get("GLUE_ENV") if env is None else env)


def only_does(config: Config) -> tuple[str, str] | None:
    """What a project without a pipeline is for, and its command; None of one that has a pipeline, or nothing at all."""
    given = config.model_fields_set
    if {"data", "train"} & given:
        return None
    if {"registry", "serve", "package"} & given:
        return f"serves {config.model_name}", "glue serve; a newer version of it: glue adopt .. --model NAME/VERSION"
    if "tracking" in given:
        return "tracks", "glue track -- python train.py"
    return ("monitors", "glue monitor --reference TABLE --current TABLE") if "monitor" in given else None


def checked(sections: Any, root: Path, *, tables: bool) -> tuple[Config | None, list[tuple[Any, ...]], list[Problem]]:
    """A config without what is wrong in it, if that leaves one; the places of what is wrong; every problem."""
    gone: list[tuple[Any, ...]] = []
    found: list[Problem] = []
    config: Config | None
    try:
        config = Config.model_validate(sections)
    except ValidationError as error:
        # one problem a place: a value that fits no branch of a union fails each of them
        found += dict(pydantic_problem(sections, one) for one in reversed(error.errors())).items()
        config, gone = _without(sections, error)
    if config is not None:
        found += [one for one in cross_checks(config, root, tables=tables) if not _moot(*one, gone)]
    return config, gone, found


def _without(tree: Any, error: ValidationError) -> tuple[Config | None, list[tuple[Any, ...]]]:
    """What is left of a config once each value that is wrong is taken away, and what these were.

    None where that is no config, or its pipeline's sections are not there to hold the others against.
    """
    gone: list[tuple[Any, ...]] = []
    for _ in range(5):  # without a value another one may be wrong
        for one in error.errors():
            lacking = one["type"] == "missing"
            if not lacking and any(one["loc"][: len(loc)] == loc for loc in gone):
                continue
            node, path = tree, []
            for part in one["loc"]:
                if not isinstance(node, dict) or part not in node:  # a list goes as a whole
                    break
                path.append((node, part))
                node = node[part]
            if lacking and len(path) == len(one["loc"]) - 1:
                node[one["loc"][-1]] = 1 if one["loc"] == ("glue",) else "no-such-name"
                gone.append(one["loc"])
            elif path:
                path[-1][0].pop(path[-1][1])
                gone.append(tuple(part for _, part in path))
        try:
            config = Config.model_validate(tree)
        except ValidationError as again:
            error = again
        else:
            return (config if {"data", "train"} <= config.model_fields_set else None), gone
    return None, gone


def _moot(loc: tuple[Any, ...], said: str, gone: list[tuple[Any, ...]]) -> bool:
    """Is a finding about what was taken away, or held against it?"""
    about = any(loc[: len(one)] == one or one[: len(loc)] == loc or ".".join(map(str, one)) in said for one in gone)
    named = any(one[0] == "environments" or (one[:2] == ("data", "sources") and len(one) < 4) for one in gone)
    return about or (named and said.startswith(("no source", "no environment")))


def located(root: Path, error: ConfigError) -> ConfigError:
    """The same error, with the line of each key that it names as `glue.yaml a.b.c: …`."""
    tree = parse(read(root / CONFIG))
    said = []
    for problem in error.problems:
        found = re.match(rf"{re.escape(CONFIG)} ([^ :]+)", problem)
        if found is not None:
            loc = tuple(int(part) if part.isdigit() else part for part in found.group(1).split("."))
            problem = f"{CONFIG}:{line_of(tree, loc)}{problem[len(CONFIG) :]}"
        said.append(problem)
    return ConfigError(said, hint=error.hint)


def in_environment(config: Config, env: str | None) -> Config:
    """The config, loaded without an environment, as it is in one.

    Raises:
        ConfigError: there is no such environment.
    """
    if not env:
        return config
    if env not in config.environments:
        raise ConfigError([f"{CONFIG} environments: no {env!r} ({did_you_mean(env, list(config.environments))})"])
    made = Config.model_validate(_in_environment(config, env))
    made._environment = env
    return made


def _in_environment(config: Config, env: str) -> dict[str, Any]:
    """The sections as built-ins: those of the environment over the others, key by key at every depth."""
    sections = config.model_dump(exclude_unset=True)
    merged: dict[str, Any] = _over(sections, config.environments[env].model_dump(exclude_unset=True))
    return merged


def _over(below: Any, above: Any) -> Any:
    """A mapping over another one. A store of another type takes nothing from the one below: its options differ."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if above.get("type", below.get("type")) != below.get("type"):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _environment_problems(config: Config, tree: Any, root: Path, known: list[Problem]) -> Iterator[Problem]:
    """What is wrong with the config as it is in each environment, and not already without one."""
    for env in config.environments:
        for loc, what in checked(_in_environment(config, env), root, tables=False)[2]:
            there = ("environments", env, *loc)
            if (loc, what) in known or (there, what) in known:
                continue
            comes_from_there = _depth(tree, there) - 2 >= _depth(tree, loc)
            yield (there, what) if comes_from_there else (loc, f"{what} (in environments.{env})")


def _depth(tree: Any, loc: tuple[Any, ...]) -> int:
    """How much of a location is in the file."""
    for at, part in enumerate(loc):
        inside = part in tree if isinstance(tree, dict) else isinstance(tree, list) and part in range(len(tree))
        if not inside:
            return at
        tree = tree[part]
    return len(loc)

"""`environments` of `glue.yaml`: sections that override the others, key by key, in the chosen environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mlops_glue.config.models import PLACES, Config, known_keys
from mlops_glue.config.parse import Location, Problem
from mlops_glue.errors import ConfigError
from mlops_glue.layout import CONFIG
from mlops_glue.suggest import did_you_mean

KINDS = ("type", "registry_type")  # keys that select the kind of a store, and so its options


def in_environment(config: Config, env: str | None) -> Config:
    """Return a config that was loaded without an environment as it is in environment `env`.

    Raises:
        ConfigError: there is no such environment.
    """
    if not env:
        return config
    if env not in config.environments:
        raise ConfigError([f"{CONFIG} environments: no {env!r} ({did_you_mean(env, list(config.environments))})"])
    made = Config.model_validate(merged(config, env))
    made._environment = env
    return made


def merged(config: Config, env: str) -> dict[str, Any]:
    """Return the sections as built-ins, overridden by those of an environment."""
    made: dict[str, Any] = _over(config.model_dump(exclude_unset=True), config.environments[env])
    return made


def _over(below: Any, above: Any) -> Any:
    """Override one mapping with another, key by key at every depth.

    A store of another kind inherits nothing, because its options differ.
    """
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if any(above.get(kind, below.get(kind)) != below.get(kind) for kind in KINDS):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def misplaced_keys(config: Config) -> Iterator[Problem]:
    """Yield keys that an environment cannot change, and unknown keys."""
    places = [place.split(".") for place in PLACES]
    for env, sections in config.environments.items():
        yield from ((("environments", env, *at), text) for at, text in _misplaced(config, sections, (), places))


def _misplaced(config: Config, section: dict[str, Any], at: Location, places: list[list[str]]) -> Iterator[Problem]:
    """Yield misplaced keys below one location; `places` are the allowed keys there, each as the rest of its path."""
    sources = [] if config.data is None else list(config.data.sources)
    open_keys = [name for place in places for name in (sources if place[0] == "*" else place[:1])]
    for key, value in section.items():
        here = (*at, key)
        within = [place[1:] for place in places if place[0] == key or (place[0] == "*" and key in sources)]
        if not within:
            known = sources if places[0][0] == "*" else known_keys(at)
            problem = "must be the same in every environment; only where things live may differ"
            if key not in known:
                problem = f"unknown key ({did_you_mean(str(key), list(dict.fromkeys(open_keys)))})"
            yield here, problem
        elif all(within) and isinstance(value, dict):
            yield from _misplaced(config, value, here, within)


def doubled_paths(config: Config) -> Iterator[Problem]:
    """Yield paths that name different tables in different environments: DVC identifies files by path."""
    if config.data is None:
        return
    owner = {os.path.normpath(source.path): name for name, source in config.data.sources.items()}
    for env, sections in config.environments.items():
        tables = (sections.get("data") or {}).get("sources") or {}
        for name, places in tables.items() if isinstance(tables, dict) else ():
            path = places.get("path") if isinstance(places, dict) else None
            if isinstance(path, str) and owner.setdefault(os.path.normpath(path), name) != name:
                other = owner[os.path.normpath(path)]
                yield (
                    ("environments", env, "data", "sources", name, "path"),
                    f"{path!r} is already the path of table {other!r}",
                )

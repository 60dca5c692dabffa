"""The effective values of `glue.yaml` in an environment, each with its origin; secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_glue import secrets
from mlops_glue.config.fields import Section
from mlops_glue.config.load import load
from mlops_glue.config.models import Config
from mlops_glue.config.parse import Document, Location, parse, read
from mlops_glue.config.references import references
from mlops_glue.layout import CONFIG


@dataclass(frozen=True)
class Value:
    """One value.

    Attributes:
        shown: the value as built-ins; a password is `***`, and a variable stays `${NAME}`.
        line: its line in `glue.yaml`; None for a default.
        environment: the environment whose section sets it; None if none does.
        variables: the names of the environment variables that it refers to.
        plain: the value as in the file, for comparison only; it must not be shown.
    """

    shown: Any
    line: int | None
    environment: str | None
    variables: list[str]
    plain: Any

    @property
    def origin(self) -> str:
        """Describe where the value comes from."""
        if self.line is None:
            return "default"
        return f"{CONFIG}:{self.line}" + (f" environments.{self.environment}" if self.environment else "")


def effective(root: Path, env: str | None) -> dict[str, Value]:
    """Return every value by its dotted key, in the order of the sections; `env` is as for `load`.

    Raises:
        ConfigError: the file is not valid, or has no such environment.
    """
    document, config = parse(read(root / CONFIG)), load(root, env, tables=False, needs=())
    return {".".join(map(str, at)): _value(document, config, at, plain) for at, plain in _leaves(config, ())}


def differences(one: dict[str, Value], other: dict[str, Value]) -> dict[str, tuple[Value | None, Value | None]]:
    """Return the values that differ, by key; a side is None if it has no such key because its section is empty."""
    pairs = {key: (one.get(key), other.get(key)) for key in {**one, **other}}
    return {key: pair for key, pair in pairs.items() if _text(pair[0]) != _text(pair[1])}


def _text(value: Value | None) -> str:
    """Return a text for comparison: 1, 1.0 and true differ; an empty section equals an absent one."""
    return "" if value is None or value.plain in (None, {}) else repr(value.plain)


def _leaves(section: Section | dict[str, Any], at: Location) -> Iterator[tuple[Location, Any]]:
    """Yield every value that is not a section, with its location; a list is one value, an absent section has none."""
    names = list(type(section).model_fields) if isinstance(section, Section) else list(section)
    for name in names if at else [name for name in names if name != "environments"]:
        value = getattr(section, name) if isinstance(section, Section) else section[name]
        if isinstance(value, Section) or (isinstance(value, dict) and value):
            yield from _leaves(value, (*at, name))
        elif at or value is not None:
            yield (*at, name), value


def _value(document: Document, config: Config, at: Location, plain: Any) -> Value:
    plain = [one.model_dump() if isinstance(one, Section) else one for one in plain] if _is_list(plain) else plain
    above = ("environments", config.environment, *at)
    line, environment = document.lines.get(at), None
    if config.environment and above in document.lines:
        line, environment = document.lines[above], config.environment
    return Value(secrets.masked(plain, str(at[-1])), line, environment, references(plain), plain)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)

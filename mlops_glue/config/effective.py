"""The values of `glue.yaml` that count in an environment, each with where it comes from; what is secret is masked."""

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
        shown: as built-ins; a password is `***`, and what a variable holds is `${NAME}`.
        line: where it stands in `glue.yaml`; None: it is a default.
        environment: in whose section it stands; None: in none.
        variables: the names of those that it refers to.
        plain: as it stands in the file; to compare with, and not to be shown.
    """

    shown: Any
    line: int | None
    environment: str | None
    variables: list[str]
    plain: Any

    @property
    def origin(self) -> str:
        """In words."""
        if self.line is None:
            return "default"
        return f"{CONFIG}:{self.line}" + (f" environments.{self.environment}" if self.environment else "")


def effective(root: Path, env: str | None) -> dict[str, Value]:
    """Every value by its dotted key, in the order of the sections; `env` as `load` takes it.

    Raises:
        ConfigError: the file is not sound, or has no such environment.
    """
    document, config = parse(read(root / CONFIG)), load(root, env, tables=False, needs=())
    return {".".join(map(str, at)): _value(document, config, at, plain) for at, plain in _leaves(config, ())}


def differences(one: dict[str, Value], other: dict[str, Value]) -> dict[str, tuple[Value | None, Value | None]]:
    """The values that differ, by key; None where one side has no such key: there its section is empty."""
    pairs = {key: (one.get(key), other.get(key)) for key in {**one, **other}}
    return {key: pair for key, pair in pairs.items() if _text(pair[0]) != _text(pair[1])}


def _text(value: Value | None) -> str:
    """To be compared: 1, 1.0 and true are not equal; an empty section is as none, for its keys say what differs."""
    return "" if value is None or value.plain in (None, {}) else repr(value.plain)


def _leaves(section: Section | dict[str, Any], at: Location) -> Iterator[tuple[Location, Any]]:
    """What is no section itself, with its location; a list is one value, and an absent section is none."""
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

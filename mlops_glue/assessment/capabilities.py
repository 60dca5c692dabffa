"""The tables of `capabilities.toml`: the evidence of each capability, what the levels require, and what to do next.

Sources of the levels and of the checklist:
    Google Cloud, "MLOps: Continuous delivery and automation pipelines in machine learning"; Microsoft, "Machine
    Learning Operations maturity model"; Breck, Cai, Nielsen, Salib, Sculley, "The ML Test Score", IEEE Big Data 2017.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple


class Capability(NamedTuple):
    """Something that a team can do with its models."""

    name: str
    area: str
    title: str


class Use(NamedTuple):
    """A name that shows a capability in a Python file that imports one of the libraries."""

    capability: str
    libraries: frozenset[str]
    name: str  # "*" is any name of the library
    of_library: bool  # counts only when called on the library itself
    keyword: str  # counts only with this argument; empty: always


class FileRule(NamedTuple):
    """A file whose path matches shows a capability if one of its lines matches too."""

    capability: str
    path: re.Pattern[str]
    line: re.Pattern[str]
    what: str


class Level(NamedTuple):
    """A level of a maturity model: what it needs beyond the level below, and what of that every repository shows."""

    name: str
    needs: tuple[str, ...]
    shows: tuple[str, ...]


class Proposal(NamedTuple):
    """What to do if a capability is missing, what to measure, and the command for a project made by glue."""

    capability: str
    says: str
    measure: str
    command: str


def _rows(rows: list[list[str]], cells: int) -> list[list[str]]:
    return [[*row, *[""] * (cells - len(row))] for row in rows]


def _uses(rows: list[list[str]]) -> dict[str, list[Use]]:
    """Return the rules for Python, by the last part of the name that they look for."""
    out: dict[str, list[Use]] = {"*": []}
    for capability, libraries, names in _rows(rows, 3):
        for name in names.split():
            bare, _, keyword = name.rstrip(")").partition("(")
            of_library = bare.startswith("=") or (bare == "*" and not keyword)
            use = Use(capability, frozenset(libraries.split()), bare.lstrip("="), of_library, keyword)
            out.setdefault(use.name.rpartition(".")[2], []).append(use)
    return out


def _patterns(rows: list[list[str]]) -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile(pattern)) for name, pattern in rows]


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

SOURCES: dict[str, str] = _TABLES["sources"]
CAPABILITIES = {
    name: Capability(name, area, title)
    for area, found in _TABLES["capabilities"].items()
    for name, title in found.items()
}
USES = _uses(_TABLES["python"])
HINTS = {package: name for name, packages in _TABLES["hints"].items() for package in packages.split()}
NAMED = _patterns(_TABLES["named"])
FILES = [
    FileRule(name, re.compile(path, re.I), re.compile(line, re.I), what) for name, path, line, what in _TABLES["files"]
]
CI_FILES = re.compile("|".join(_TABLES["ci_files"]))
SERVES = re.compile("|".join(_TABLES["serves"]))
COMMANDS = _patterns(_TABLES["commands"])
ACTIONS = _patterns(_TABLES["actions"])
LEVELS = {
    model: [Level(name, tuple(needs.split()), tuple(shows.split())) for name, needs, shows in _rows(rows, 3)]
    for model, rows in _TABLES["levels"].items()
}
RUBRIC = {
    section: [(says, names.split()) for says, names in _rows(rows, 2)] for section, rows in _TABLES["rubric"].items()
}
PROPOSALS = [Proposal(*row) for row in _rows(_TABLES["steps"], 4)]
WITHOUT_TRAINING = frozenset(_TABLES["without_training"])  # the other proposals need a model
OF_WHAT_IS_SERVED = frozenset(_TABLES["of_what_is_served"])

"""The sightings of `scan` in a repository, and the best one for each capability; `capabilities.toml` has the rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mlops_glue.assessment.capabilities import CAPABILITIES, Capability
from mlops_glue.assessment.python import Module
from mlops_glue.assessment.tree import Tree, is_test, printable

EXAMPLE = re.compile(
    r"(?i)(demos?|examples?|samples?|tutorials?|playground|sandbox|scratch|legacy|deprecated|archived?)\d*"
)
SCRIPTS = {"training", "endpoint", "pipeline", "container"}  # if only a notebook shows one of these, it is a hint
IN_TESTS = {"tests", "lint", "data_validation"}  # code in tests counts for these
NAMES = {  # pattern of the file name that a reader would open first
    "training": "train",
    "ci_trains": "train",
    "retraining": "train",
    "pipeline": "train|pipeline|flow|dvc",
    "evaluation": "eval|train",
    "tuning": "tun|train",
    "registry": "regist|train",
    "promotion": "promot",
    "data_validation": "valid|quality",
    "drift": "drift|monitor",
    "endpoint": "serv|api|app|main|score",
    "tracking": "train|track",
}
MAX_SIGHTINGS = 50  # of one capability


@dataclass(frozen=True)
class Sighting:
    """One place that shows a capability. It never quotes the file, which may contain a secret."""

    path: str
    line: int  # 0: the whole file
    what: str
    hint: str = ""  # why this is only a hint

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{printable(self.path)}:{self.line}" if self.line else printable(self.path)


@dataclass(frozen=True)
class Answer:
    """`found`, `hint` or `not_found`, with the best place that shows it."""

    capability: Capability
    answer: str
    seen: Sighting | None = None
    more: int = 0  # number of other files that show it


@dataclass
class Evidence:
    """The sightings, by capability."""

    tree: Tree
    found: dict[str, list[Sighting]] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    shows: dict[str, set[str]] = field(default_factory=dict)  # the capabilities of each Python file
    texts: dict[str, str] = field(default_factory=dict)  # CI files and files that CI may run, without comments
    facts: dict[str, str] = field(default_factory=dict)  # figures for the strategy page
    unread: list[str] = field(default_factory=list)  # Python files and glue.yaml files that cannot be read

    def see(self, capability: str, path: str, line: int, what: str, hint: str = "") -> None:
        """Record a sighting."""
        kept = self.found.setdefault(capability, [])
        if len(kept) < MAX_SIGHTINGS:
            kept.append(Sighting(path, line, what[:80], hint or _weakness(path, capability)))

    def answers(self) -> dict[str, Answer]:
        """Return one answer for each capability."""
        out = {}
        for name, capability in CAPABILITIES.items():
            seen = sorted(self.found.get(name, ()), key=lambda sighting: _order(sighting, name))
            if not seen:
                out[name] = Answer(capability, "not_found")
                continue
            files = {sighting.path for sighting in seen if bool(sighting.hint) == bool(seen[0].hint)}
            out[name] = Answer(capability, "hint" if seen[0].hint else "found", seen[0], len(files) - 1)
        return out


def _weakness(path: str, capability: str) -> str:
    """Return why the file shows the capability only as a hint; empty if it is not only a hint."""
    if is_test(path) and capability not in IN_TESTS:
        return "only in tests"
    parts = (part.partition(".")[0] for part in PurePosixPath(path).parts)
    if any(EXAMPLE.fullmatch(word) for part in parts for word in re.split(r"[^A-Za-z0-9]+", part)):
        return "only in an example"
    return "only in a notebook" if path.endswith(".ipynb") and capability in SCRIPTS else ""


def _order(seen: Sighting, capability: str) -> tuple[bool, int, int, bool, int, str, int]:
    """Return a sort key: the project's own files come before templates, notebooks and tests."""
    stem = PurePosixPath(seen.path).stem.lower()
    weakness = ("", "only in a notebook", "only in an example", "only in tests").index(_weakness(seen.path, capability))
    apart = 3 * is_test(seen.path) + 2 * seen.path.endswith(".ipynb") + ("{{" in seen.path)
    other = not re.search(NAMES.get(capability, ""), f"{stem} {seen.what if capability == 'ci_trains' else ''}")
    other = other or seen.what.startswith(("streamlit", "gradio"))
    return bool(seen.hint), weakness, apart, other, seen.path.count("/"), seen.path, seen.line

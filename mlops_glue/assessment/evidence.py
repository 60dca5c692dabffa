"""What was seen in a repository: a signal, and the file and line that shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlops_glue.assessment import python, shell
from mlops_glue.assessment.tree import Tree, printable

KEPT = 20  # sightings of a signal


@dataclass(frozen=True)
class Sighting:
    """One place that shows a signal. It never quotes the file: a line may hold a secret."""

    path: str
    line: int  # 0: the file as a whole
    what: str

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{printable(self.path)}:{self.line}" if self.line else printable(self.path)


@dataclass(frozen=True)
class Run:
    """A command that something runs: `change`, `schedule` (of CI), `stage` (of DVC), `image`, `make`, `script`."""

    command: shell.Command
    path: str
    line: int
    where: frozenset[str]


@dataclass
class Evidence:
    """What was seen, by signal."""

    tree: Tree
    found: dict[str, list[Sighting]] = field(default_factory=dict)
    modules: dict[str, python.Module] = field(default_factory=dict)
    of_module: dict[str, set[str]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    makefiles: dict[str, dict[str, tuple[list[str], list[tuple[str, int]]]]] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parsed_bytes: int = 0
    yaml_bytes: int = 0

    def see(self, signal: str, path: str, line: int, what: str) -> None:
        """Take down a sighting; of each signal the first few."""
        kept = self.found.setdefault(signal, [])
        if len(kept) < KEPT:
            kept.append(Sighting(path, line, what[:80]))

    def note(self, text: str) -> None:
        """Take down what a reader should know."""
        if text not in self.notes:
            self.notes.append(text)

    def __contains__(self, signal: str) -> bool:
        return signal in self.found

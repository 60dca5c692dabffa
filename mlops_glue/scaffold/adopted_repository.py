"""Read a repository that glue did not create: training scripts, tables, pipelines, Feast views."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from mlops_glue.assessment.tree import Tree, is_test, printable, scan
from mlops_glue.delivery.tracked_run import flatten
from mlops_glue.files import read_yaml
from mlops_glue.scaffold import feast
from mlops_glue.scaffold import script as scripts
from mlops_glue.scaffold.feast import FeastView
from mlops_glue.scaffold.script import Script
from mlops_glue.streaming import SUFFIXES

MOST_TABLES = 50  # tables that are examined

log = logging.getLogger(__name__)


@dataclass
class Repository:
    """The scripts, tables and views that a project can build on."""

    top: Path
    tree: Tree
    scripts: list[Script] = field(default_factory=list)
    stage_of: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # script: its stage, arguments
    feast: list[FeastView] = field(default_factory=list)

    @property
    def tables(self) -> list[str]:
        """Every file whose name ends like a table's."""
        return [path for path in self.tree.files if path.lower().endswith(SUFFIXES)]

    def name_of(self, table: Path) -> str:
        """Return the name of a table to show to the user."""
        return printable(str(table.relative_to(self.top) if table.is_relative_to(self.top) else table))

    def tables_after(self, named: list[Path]) -> list[Path]:
        """Return the named tables, then every other table of the repository."""
        others = [self.top / path for path in sorted(self.tables, key=scripts.place)]
        return [table for table in dict.fromkeys([*named, *others]) if self._is_table(table)][:MOST_TABLES]

    def tables_of(self, script: Script) -> tuple[list[Path], list[str]]:
        """Return the tables that a script reads, those that it fits on first, and notes on missing or moved tables."""
        by_name: dict[str, list[str]] = {}
        for path in self.tables:
            by_name.setdefault(path.rpartition("/")[2], []).append(path)
        found: list[Path] = []
        notes: list[str] = []
        for text in script.tables:
            places = [(base / text).resolve() for base in (self.top, (self.top / script.path).parent)]
            files = [place for place in places if place.is_file()]
            twins = by_name.get(PureWindowsPath(text).name, [])  # handles both kinds of slash
            if not files and len(twins) == 1 and "://" not in text:  # `/kaggle/input/titanic/train.csv`
                files = [(self.top / twins[0]).resolve()]
                notes.append(f"{text}, which {printable(script.path)} reads, is assumed to be {printable(twins[0])}")
            elif not files:
                notes.append(f"{text}, which {printable(script.path)} reads, {feast.absent(self.top, text)}")
            found += files[:1]
        return [table for table in dict.fromkeys(found) if self._is_table(table)], notes

    def _is_table(self, file: Path) -> bool:
        is_inside = file.is_relative_to(self.top)
        return is_inside and file.name.lower().endswith(SUFFIXES) and file.stat().st_size > 0


def look(top: Path) -> Repository:
    """Read the training scripts, and the files that define how they run; log what cannot be read."""
    found = Repository(top, scan(top))
    settings: dict[tuple[str, ...], Any] = {}
    for path in found.tree.files:
        name = path.rpartition("/")[2]
        if name in ("params.yaml", "params.yml"):
            settings |= flatten(_read_yaml(found, path))
        elif name in ("dvc.yaml", "MLproject"):
            _read_pipeline(found, path)
        elif name == "feature_store.yaml":
            views, notes = feast.views((top / path).parent)
            found.feast += views
            for note in notes:
                log.info("%s: %s", printable(path), note)
    for path in found.tree.files:
        if path.endswith((".py", ".ipynb")) and not is_test(path) and (text := found.tree.text(path)):
            _read_script(found, path, text, settings)
    return found


def _read_script(found: Repository, path: str, text: bytes, settings: dict[tuple[str, ...], Any]) -> None:
    script = scripts.read(path, text, settings, found.stage_of.get(path, ("", []))[1])
    if script is None:
        log.info("%s cannot be read as Python: left out", printable(path))
    elif script.fits and (script.estimator is not None or script.tiers[0]):
        found.scripts.append(script)
        if script.skipped:
            log.info("%s: %s cannot be read as Python: left out", printable(path), ", ".join(script.skipped))


def _read_yaml(found: Repository, path: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return read_yaml(found.top / path)
    except (YAMLError, OSError, ValueError, RecursionError):
        log.info("%s cannot be read as YAML: left out", printable(path))
        return None


def _read_pipeline(found: Repository, path: str) -> None:
    """Record the scripts that the repository's own pipeline runs."""
    tree = _read_yaml(found, path)
    entries = tree.get("stages" if path.endswith("dvc.yaml") else "entry_points") if isinstance(tree, dict) else None
    for name, entry in (entries if isinstance(entries, dict) else {}).items():
        command = entry.get("cmd") or entry.get("command") if isinstance(entry, dict) else None
        words = str(command or "").split()
        for at, word in enumerate(words):
            if word.endswith(".py"):
                folder = path.rpartition("/")[0]
                found.stage_of[f"{folder}/{word}".lstrip("/")] = (f"{path} {name}", words[at + 1 :])

"""The project that `glue init` creates: missing files are written, the user's files stay.

The files are glue.yaml, README.md, .gitignore, .dvcignore and tests/ (`templates/project`), model.py if the table is
small and no estimator was named (`plan`), feature_repo/ or features.py if Feast is used, the tables in data/raw with a
`.dvc` each and DVC's .gitignore, dvc.yaml, .dvc/, `.glue/generated.json` (the record, `manifest`) and
`.glue/schema.json`. If anything fails, `undo` reverts everything: it removes new paths, and restores the others and
git's index.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import StageError
from mlops_glue.files import atomic, write_text
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.scaffold import manifest, undo
from mlops_glue.scaffold.commit import due
from mlops_glue.scaffold.manifest import Answers
from mlops_glue.scaffold.merge import File, written
from mlops_glue.scaffold.plan import path_in


@dataclass(frozen=True)
class NewProject:
    """A project folder, which may not exist yet, with its planned content."""

    root: Path
    answers: Answers  # the values of the templates
    sources: Sequence[Path]  # the tables, inside or outside the project
    queried: Mapping[Path, dict[str, Any]] = field(default_factory=dict)  # metadata of tables from a query

    @cached_property
    def files(self) -> dict[str, str]:
        """The text of every file by path."""
        return manifest.render(self.answers)

    @cached_property
    def missing(self) -> dict[str, str]:
        """The text of every file to write."""
        return {path: text for path, text in self.files.items() if not (self.root / path).exists()}

    @cached_property
    def tables(self) -> list[str]:
        """The path of each table in the project."""
        return [path_in(self.root, file) for file in self.sources]

    @cached_property
    def pointers(self) -> list[str]:
        """The `.dvc` files of the tables that git does not track."""
        paths = [path for path in self.tables if not git.is_tracked(self.root, path)]
        return [dvc.pointer(self.root, path) or f"{path}.dvc" for path in paths]

    def kept(self) -> list[str]:
        """Return a line for each file that stays, with the entries that an ignore file lacks."""
        lines = []
        for path in [path for path in self.files if path not in self.missing]:
            present = (self.root / path).read_text(encoding="utf-8", errors="replace").splitlines()
            lacking = [x for x in self.files[path].splitlines() if x not in present] if path.endswith("ignore") else []
            lines.append(f"kept {path}" + (f"; add to it: {' '.join(lacking)}" if lacking else ""))
        return lines

    def check(self) -> None:
        """Check that everything can be written, git ignores none of it, and an existing `glue.yaml` is valid.

        Raises:
            UsageError: a file is in the way, or git ignores a file.
            ConfigError: the project's own `glue.yaml` is invalid.
        """
        others = [*self.pointers, "dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED]
        undo.check(self.root, [*self.missing, *others])
        dvc_yaml.check_names(self.root)
        if layout.CONFIG not in self.missing:
            configs.load(self.root, tables=False)

    def would_write(self) -> list[str]:
        """Return every path that `write` creates."""
        others = [*self.tables, layout.GENERATED, "dvc.yaml", ".dvc/config"]
        return sorted([*self.missing, *(path for path in others if not (self.root / path).exists())])

    def write(self) -> str | None:
        """Write everything, or nothing if it fails. Return the command that commits it; None outside git."""
        new = [File(path, "new", text) for path, text in self.missing.items()]
        parts = manifest.recorded(manifest.load(self.root), "init", self.answers, self.files, self.missing)
        with written(self.root, new, parts, [*self.tables, *self.pointers]):
            dvc.init(self.root, git=git.init(self.root))
            for source, path in zip(self.sources, self.tables, strict=True):
                self._add_table(source, path)
            config = configs.load(self.root)
            dvc_yaml.sync(config, self.root)
            dvc_yaml.name_remote(config, self.root)
            return due(self.root, "glue init", [*self.missing, *self.pointers, "dvc.yaml"])

    def _add_table(self, source: Path, path: str) -> None:
        if not (self.root / path).exists():
            with atomic(self.root / path) as temporary:
                shutil.copyfile(source, temporary)
        if source in self.queried:
            dvc.keep(self.root, path, self.queried[source])
        elif not git.is_tracked(self.root, path):
            dvc.add(self.root, path)


def generate_tables(template: str, folder: Path) -> list[Path]:
    """Run the template's own script, as its user may do later, and return the tables that it writes.

    Raises:
        StageError: the script failed.
    """
    for path, text in manifest.render({template: {}}).items():
        write_text(folder / path, text)
    done = subprocess.run(
        [sys.executable, "data/generate.py"], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise StageError(f"template {template}: data/generate.py: {done.stderr.strip().splitlines()[-1]}")
    return sorted((folder / layout.RAW).iterdir())

"""The project that `glue init` makes: what is missing is written, what the user has stays.

That is glue.yaml, README.md, .gitignore, .dvcignore and tests/ (`templates/project`), model.py where the table is
small and no estimator was named (`plan`), feature_repo/ or features.py where Feast is used, the tables in data/raw
with a `.dvc` each and DVC's .gitignore, dvc.yaml, .dvc/, `.glue/generated.json` (the record, `manifest`) and
`.glue/schema.json`. Where anything fails, `undo` takes back all of it: new paths are removed, others and git's index
are as they were.
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
    """A project folder, there or not, with what is to be in it."""

    root: Path
    answers: Answers  # what the templates take
    sources: Sequence[Path]  # the tables, wherever they lie
    queried: Mapping[Path, dict[str, Any]] = field(default_factory=dict)  # what is known of those that a query gave

    @cached_property
    def files(self) -> dict[str, str]:
        """The text of every file by path."""
        return manifest.render(self.answers)

    @cached_property
    def missing(self) -> dict[str, str]:
        """The text of every file that is to be written."""
        return {path: text for path, text in self.files.items() if not (self.root / path).exists()}

    @cached_property
    def tables(self) -> list[str]:
        """Where each table is, or will be, in the project."""
        return [path_in(self.root, file) for file in self.sources]

    @cached_property
    def pointers(self) -> list[str]:
        """The `.dvc` files of the tables that git does not hold itself."""
        paths = [path for path in self.tables if not git.is_tracked(self.root, path)]
        return [dvc.pointer(self.root, path) or f"{path}.dvc" for path in paths]

    def kept(self) -> list[str]:
        """A line for each file that stays, with what an ignore file lacks."""
        lines = []
        for path in [path for path in self.files if path not in self.missing]:
            held = (self.root / path).read_text(encoding="utf-8", errors="replace").splitlines()
            lacking = [x for x in self.files[path].splitlines() if x not in held] if path.endswith("ignore") else []
            lines.append(f"kept {path}" + (f"; it should have: {' '.join(lacking)}" if lacking else ""))
        return lines

    def check(self) -> None:
        """Everything can be written, git would take it, and a `glue.yaml` that is there already is sound.

        Raises:
            UsageError: a file is in the way, or git ignores one.
            ConfigError: the project's own `glue.yaml` is wrong.
        """
        others = [*self.pointers, "dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED]
        undo.check(self.root, [*self.missing, *others])
        dvc_yaml.check_names(self.root)
        if layout.CONFIG not in self.missing:
            configs.load(self.root, tables=False)

    def would_write(self) -> list[str]:
        """Every path that `write` makes."""
        others = [*self.tables, layout.GENERATED, "dvc.yaml", ".dvc/config"]
        return sorted([*self.missing, *(path for path in others if not (self.root / path).exists())])

    def write(self) -> str | None:
        """Write everything, or nothing where it fails. Returns what to type to commit it; None outside git."""
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
    """Run the template's own script, as its user may do later, and return the tables that it makes.

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

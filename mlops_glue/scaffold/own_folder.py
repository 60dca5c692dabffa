"""The folder `glue/` of an adopted repository. Everything that glue writes is in it; who removes it removes glue."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from pathlib import Path

from mlops_glue import layout
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import manifest, merge


def free_place(top: Path, path: str) -> Path:
    """The folder that will hold all that is written.

    Args:
        top: the repository.
        path: as the user named it.

    Raises:
        UsageError: the folder exists already, or the repository does not.
    """
    if not top.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue adopt .")
    root = top / layout.ADOPTED
    for place in (top / layout.CONFIG, root):
        if place.exists():
            raise UsageError(f"{place} is there already", hint="glue run" if (root / layout.CONFIG).is_file() else None)
    return root


def as_diff(files: Mapping[str, str]) -> str:
    """New files as `git diff` shows them; of the JSON Schema only how long it is."""
    lines: list[str] = []
    for name, text in files.items():
        path = f"{layout.ADOPTED}/{name}"
        if name == layout.SCHEMA:
            lines.append(f"+++ {path} ({len(text.splitlines())} lines: the JSON Schema of {layout.CONFIG})")
        else:
            lines += difflib.unified_diff([], text.splitlines(), "/dev/null", path, lineterm="")
    return "\n".join(lines)


def written(
    root: Path, files: Mapping[str, str], answers: manifest.Answers, made: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[None]:
    """Make the folder with these files and their record; it is removed again where the block fails.

    Args:
        root: the folder, which is not there yet.
        files: the texts to write, by path.
        answers: the values of the templates.
        made: the texts of all templates, where some are not to be written; default `files`.
    """
    parts = manifest.recorded({}, "init", answers, made or files, files)
    return merge.written(root, [merge.File(path, "new", text) for path, text in files.items()], parts, [])

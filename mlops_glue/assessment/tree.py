"""The files of any repository, and their text, within limits of size and number. No link is followed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mlops_glue import files
from mlops_glue.source import NOTEBOOK_BYTES

FILE_BYTES = 512 << 10  # of one file; a larger file is not text that people wrote
TOTAL_BYTES = 64 << 20
TEXTS = 20_000  # files that are opened
FILES = 500_000  # files that are listed
SKIPPED = {  # folders of tools, and of other people's code
    *(".git", ".hg", ".svn", ".venv", "venv", "virtualenv", "site-packages", "node_modules", "__pycache__", ".eggs"),
    *(".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints", ".glue"),
    *(".terraform", "mlruns", "mlartifacts", "vendor", "third_party", "third-party", "bower_components", ".cache"),
}
APART = {"docs", "doc", "examples", "example", "samples", "tutorials"}  # they show what readers of them may do


@dataclass
class Tree:
    """The files below a folder, nearest first, and what could not be read."""

    root: Path
    files: list[str] = field(default_factory=list)  # relative, with slashes
    unreadable: list[str] = field(default_factory=list)
    left_out: int = 0  # number of files beyond the limits
    opened: int = 0
    read_bytes: int = 0

    def text(self, path: str) -> bytes | None:
        """Return the content of a file; None if it is binary, too big, unreadable or beyond the limits."""
        if self.opened >= TEXTS or self.read_bytes >= TOTAL_BYTES:
            self.left_out += 1
            return None
        self.opened += 1
        most = NOTEBOOK_BYTES if path.endswith(".ipynb") else FILE_BYTES
        try:
            with open(self.root / path, "rb", buffering=0) as file:  # noqa: PTH123 - a hundred thousand of them
                found = file.read(most + 1) or b""
        except OSError:
            self.unreadable.append(path)
            return None
        self.read_bytes += len(found)
        if len(found) > most:
            self.left_out += 1
            return None
        return None if b"\0" in found[:8192] else found


def scan(root: Path, apart: Set[str] = frozenset(APART)) -> Tree:
    """List the files below a folder, except in folders whose name is in `apart`.

    Links are neither followed nor listed, so a loop of links does no harm.
    """
    tree = Tree(root)
    waiting = deque([""])
    while waiting:
        folder = waiting.popleft()
        try:
            with os.scandir(root / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            tree.unreadable.append(folder or ".")
            continue
        if any(entry.name in ("pyvenv.cfg", "conda-meta") for entry in entries):
            continue  # an environment, whatever its name
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in apart and not _is_skipped(entry.name, folder):
                    waiting.append(path)
            elif entry.is_file(follow_symlinks=False):
                if len(tree.files) < FILES:
                    tree.files.append(path)
                else:
                    tree.left_out += 1
    return tree


def _is_skipped(name: str, folder: str) -> bool:
    return name in SKIPPED or (folder.endswith(".dvc") and name in ("cache", "tmp", "plots"))


def printable(path: str) -> str:
    """Return a path as one line of text, whatever bytes its name has."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return files.one_line(text)


def is_test(path: str) -> bool:
    """Return whether a file belongs to tests: what tests call does not show what the project does."""
    pure = PurePosixPath(path)
    named = pure.name.startswith("test_") or pure.stem.endswith("_test") or pure.name == "conftest.py"
    return named or bool({"tests", "test"} & set(pure.parts[:-1]))

"""A file that glue wrote and the user edited: what this version's templates make of it is merged into the edits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlops_glue import __version__
from mlops_glue.adapters import git
from mlops_glue.errors import CheckFailed
from mlops_glue.scaffold import manifest

OURS = "yours"  # how the marks of a conflict call the file as it is
CHANGES = ("new", "updated", "merged", "conflict", "removed")


@dataclass(frozen=True)
class File:
    """One file as it will be."""

    path: str  # from the project folder
    outcome: str  # one of CHANGES, or unchanged, deleted (by the user), yours (not glue's)
    text: str | None = None  # None: not there


def merge(root: Path, path: str, part: manifest.Part, new: str | None, mark: str = "") -> File:
    """A file by what it is, what it was made as, and what it would be made as now.

    Args:
        root: the project folder.
        path: the file.
        part: what was written, and by whom.
        new: its text by the current templates; None where it is not asked for any more.
        mark: how it begins while it is glue's.
    """
    there, base = read(root / path), part.files.get(path)
    if there is None and (new is None or path not in part.files):
        return File(path, "unchanged" if new is None else "new", new)
    if there is None:
        return File(path, "yours" if base is None else "deleted")
    if there == new:
        return File(path, "unchanged", new)
    if base is None or not there.startswith(mark) or (new is None and there != base):
        return File(path, "yours", there)
    if new is None:
        return File(path, "removed")
    if base == new:
        return File(path, "unchanged", there)
    if there == base:
        return File(path, "updated", new)
    return _three_way(path, there, base, new, part.version)


def _three_way(path: str, there: str, base: str, new: str, version: str) -> File:
    labels = (OURS, f"as glue {version} wrote it", f"glue {__version__}")
    ours, common, theirs = (text.encode("utf-8", "surrogateescape") for text in (there, base, new))
    merged, conflicts = git.merge_file(ours, common, theirs, labels)
    text = merged.decode("utf-8", "surrogateescape")
    return File(path, "conflict" if conflicts else "unchanged" if text == there else "merged", text)


def check_resolved(root: Path, parts: dict[str, manifest.Part]) -> None:
    """No file holds a conflict of an earlier merge.

    Raises:
        CheckFailed: one does.
    """
    for path in (path for part in parts.values() for path in part.files):
        for number, line in enumerate((read(root / path) or "").splitlines(), 1):
            if line == f"<<<<<<< {OURS}":
                raise CheckFailed(f"{path}:{number} holds both sides of a merge", hint="choose, then again")


def read(place: Path) -> str | None:
    """The text with bare line feeds; None where there is no such file."""
    if not place.is_file():
        return None
    return place.read_bytes().decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def as_it_was(place: Path, text: str) -> bytes:
    """With the line ends that the file has."""
    ends = "\r\n" if place.exists() and b"\r\n" in place.read_bytes() else "\n"
    return text.replace("\n", ends).encode("utf-8", "surrogateescape")

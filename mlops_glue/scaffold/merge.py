"""Merge this version's text of files that glue wrote into the user's edits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlops_glue import files, layout
from mlops_glue.adapters import git
from mlops_glue.errors import CheckFailed
from mlops_glue.scaffold import manifest, undo
from mlops_glue.scaffold.manifest import Part
from mlops_glue.version import __version__

OURS = "yours"  # the name of the user's side in conflict markers
CHANGES = ("new", "updated", "merged", "conflict", "removed")


@dataclass(frozen=True)
class File:
    """One file as it will be."""

    path: str  # from the project folder
    outcome: str  # one of CHANGES, or unchanged, deleted (by the user), yours (not glue's)
    text: str | None = None  # None: no such file


def merge(root: Path, path: str, part: Part, new: str | None, mark: str = "") -> File:
    """Decide what a file will be, from its current text, the text that glue wrote and the text it would write now.

    Args:
        root: the project folder.
        path: the file.
        part: the record of what was written.
        new: its text by the current templates; None if it is no longer needed.
        mark: how the file starts as long as it is glue's.
    """
    current, base = read(root / path), part.files.get(path)
    if current is None and (new is None or path not in part.files):
        return File(path, "unchanged" if new is None else "new", new)
    if current is None:
        return File(path, "yours" if base is None else "deleted")
    if current == new:
        return File(path, "unchanged", new)
    if base is None or not current.startswith(mark) or (new is None and current != base):
        return File(path, "yours", current)
    if new is None:
        return File(path, "removed")
    if base == new:
        return File(path, "unchanged", current)
    if current == base:
        return File(path, "updated", new)
    labels = (OURS, f"as glue {part.version} wrote it", f"glue {__version__}")
    ours, common, theirs = (text.encode("utf-8", "surrogateescape") for text in (current, base, new))
    merged, has_conflicts = git.merge_file(ours, common, theirs, labels)
    text = merged.decode("utf-8", "surrogateescape")
    return File(path, "conflict" if has_conflicts else "unchanged" if text == current else "merged", text)


def check_resolved(root: Path, parts: dict[str, Part]) -> None:
    """Check that no file contains a conflict of an earlier merge.

    Raises:
        CheckFailed: a file does.
    """
    for path in (path for part in parts.values() for path in part.files):
        for number, line in enumerate((read(root / path) or "").splitlines(), 1):
            if line == f"<<<<<<< {OURS}":
                raise CheckFailed(f"{path}:{number} contains an unresolved conflict", hint="resolve it, then run again")


def after(part: Part, merged: list[File], made: Mapping[str, str | None]) -> Part:
    """Return the record for when the files are written: the base of the next merge is what was rendered now."""
    bases = {file.path: None if file.outcome == "yours" else made[file.path] for file in merged}
    texts = {path: text for path, text in bases.items() if text is not None or made[path] is not None}
    return replace(part, version=__version__, files=texts)


@contextlib.contextmanager
def written(root: Path, merged: list[File], parts: dict[str, Part], others: list[str]) -> Iterator[None]:
    """Write the files and the record, then run the block; if anything fails, restore everything.

    Args:
        root: the project folder, which is created if it does not exist.
        merged: files; those that change are written.
        parts: the record, by command.
        others: the paths that the block writes.
    """
    changed = [file for file in merged if file.outcome in CHANGES]
    undo.check(root, [file.path for file in changed if file.outcome == "new"])
    with undo.undone_on_failure(root, [*(file.path for file in changed), layout.GENERATED, *others]):
        for file in changed:
            write(root / file.path, file)
        if parts != manifest.load(root):
            manifest.write(root, parts)
        yield


def write(place: Path, file: File) -> None:
    """Write a file with the line endings that it already has, or remove it."""
    if file.text is None:
        place.unlink()
        return
    ends = "\r\n" if place.exists() and b"\r\n" in place.read_bytes() else "\n"
    with files.atomic(place) as temporary:
        temporary.write_bytes(file.text.replace("\n", ends).encode("utf-8", "surrogateescape"))


def read(place: Path) -> str | None:
    """Return the text with bare line feeds; None if there is no such file."""
    if not place.is_file():
        return None
    return place.read_bytes().decode("utf-8", "surrogateescape").replace("\r\n", "\n")

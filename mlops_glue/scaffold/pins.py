"""The packages that a package of glue's needs: those that are installed here, pinned, with hashes if they are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue.errors import MissingExtra

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# one package of a lock file: its name, version and hashes
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)[^\n]*\\\n((?:[ \t]+--hash=\S+[ \t\\]*\n?)+)", re.MULTILINE)


def pinned(names: list[str], lock: Path) -> tuple[list[str], bool]:
    """Lines of a requirements file.

    Args:
        names: of packages.
        lock: a requirements file that may have their hashes.

    Returns:
        The lines, and whether they have hashes, which either all have or none.

    Raises:
        MissingExtra: one is not installed.
    """
    versions = dict(sorted(_closure(names)))
    hashes = _hashes(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    hashed = all(pin in hashes for pin in versions.items())
    return [hashes[pin] if hashed else "==".join(pin) for pin in versions.items()], hashed


def _closure(names: list[str]) -> Iterator[tuple[str, str]]:
    """Each installed package that the names need, and its version."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    todo, done = [Requirement(name) for name in names], set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in done:
            continue
        done.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError as error:
            raise MissingExtra(name, "serving") from error
        yield name, found.version
        todo += [other for other in map(Requirement, found.requires or []) if _applies(other, extras)]


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _hashes(text: str) -> dict[tuple[str, str], str]:
    """What a lock file says of each package, by name and version."""
    return {
        (name.lower(), version): " \\\n    ".join([f"{name}=={version}", *re.findall(r"--hash=\S+", hashes)])
        for name, version, hashes in ENTRY.findall(text)
    }

"""What the jobs of the workflows install: `requirements.in`, and the lock file that `make lock` makes of it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

WHEEL = r"^\./vendor/mlops_glue-([^-]+)-.*?\.whl"  # where no index has this glue


def unlocked(root: Path, name: str) -> str | None:
    """A package that `requirements.in` asks for and the lock file has not; "" where there is no lock file.

    Args:
        root: the project folder.
        name: the lock file.
    """
    from packaging.utils import canonicalize_name

    if not (root / name).is_file():
        return ""
    text = re.sub(WHEEL, r"mlops-glue==\1", (root / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?(?:==([^ ;\\]+)| @)", text, re.MULTILINE)
    locked = {canonicalize_name(package): version for package, version in found}
    for need in _needs(root / "requirements.in"):
        version = locked.get(canonicalize_name(need.name))
        if version is None or (version and not need.specifier.contains(version, prereleases=True)):
            return str(need).partition(";")[0].strip()
    return None


def _needs(file: Path) -> Iterator[Requirement]:
    """What a file asks for, with what the extras of glue in it need."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            need = Requirement(re.sub(WHEEL, "mlops-glue", line.partition(" #")[0].strip()))
        except InvalidRequirement:  # a comment, an option, a path
            continue
        yield need
        if need.name == "mlops-glue":
            of_glue = [Requirement(text) for text in importlib.metadata.requires("mlops-glue") or []]
            yield from (n for n in of_glue if n.marker and any(n.marker.evaluate({"extra": e}) for e in need.extras))

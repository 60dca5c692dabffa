"""How to install what a folder of `glue package` needs. It imports nothing that may be missing."""

from __future__ import annotations

import shlex
from pathlib import Path


def install_hint(folder: Path) -> str:
    """The command; with the folder's own wheels, where it has some, no network is needed."""
    words = ["pip", "install", "--requirement", str(folder / "requirements.txt")]
    if any((folder / "wheels").glob("*.whl")):
        words[2:2] = ["--no-index", "--find-links", str(folder / "wheels")]
    return shlex.join(words)

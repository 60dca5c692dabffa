"""The command that installs the requirements of a packaged folder. It imports nothing that may be missing."""

from __future__ import annotations

import shlex
from pathlib import Path


def install_hint(folder: Path) -> str:
    """Return the command. If the folder contains wheels, it needs no network."""
    words = ["pip", "install", "--requirement", str(folder / "requirements.txt")]
    if any((folder / "wheels").glob("*.whl")):
        words[2:2] = ["--no-index", "--find-links", str(folder / "wheels")]
    return shlex.join(words)

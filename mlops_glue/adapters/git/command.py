"""One git command: run in a folder, its output as text or as bytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_glue.errors import ToolError

ANSWER_S = 60.0


def run(
    folder: Path,
    *words: str,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    text: bool = True,
    timeout_s: float | None = ANSWER_S,
) -> subprocess.CompletedProcess[Any]:
    """Run git; how it ended is the caller's to look at. `env` is added to this process's variables.

    Raises:
        ToolError: git is not installed, or does not end in time.
    """
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", *words],  # a question does not write git's index
            cwd=folder,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=text,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolError("git is not installed", hint="install git") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"git {_name(words)}: does not end") from error


def output(folder: Path, *words: str, **options: Any) -> Any:
    """What git prints, as text or bytes, by the options of `run`.

    Raises:
        ToolError: git fails.
    """
    done = run(folder, *words, **options)
    if done.returncode:
        problem = done.stderr if isinstance(done.stderr, str) else done.stderr.decode(errors="replace")
        raise ToolError(f"git {_name(words)}: {problem.strip()}")
    return done.stdout


def _name(words: tuple[str, ...]) -> str:
    """The subcommand, behind the settings of `-c`."""
    return next(word for word in words if not word.startswith("-") and "=" not in word)

"""Run one git command in a folder; its output is text or bytes."""

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
    """Run git; the caller checks the return code. `env` is added to this process's environment.

    Raises:
        ToolError: git is not installed, or does not finish in time.
    """
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", *words],  # a read-only command must not write git's index
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
        raise ToolError(f"git {_name(words)}: did not finish within {error.timeout:g} s") from error


def output(folder: Path, *words: str, **options: Any) -> Any:
    """Return git's output, as text or bytes; the options are those of `run`.

    Raises:
        ToolError: git fails.
    """
    done = run(folder, *words, **options)
    if done.returncode:
        problem = done.stderr if isinstance(done.stderr, str) else done.stderr.decode(errors="replace")
        raise ToolError(f"git {_name(words)}: {problem.strip()}")
    return done.stdout


def _name(words: tuple[str, ...]) -> str:
    """Return the subcommand, which follows the `-c` settings."""
    return next(word for word in words if not word.startswith("-") and "=" not in word)

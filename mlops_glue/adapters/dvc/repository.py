"""A project as DVC sees it, and DVC's errors as glue's."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_glue import telemetry
from mlops_glue.adapters.dvc.lock import REGENERATE_LOCK, REGENERATE_STAGES
from mlops_glue.errors import GlueError, MissingExtra, ToolError, causes, first_line

REMOTE = "glue"  # what `.dvc/config` calls the remote of the project's configuration
EXTRAS = {"s3": "s3", "gs": "gcs", "azure": "azure"}  # of glue, by the scheme of a remote
MAX_MESSAGE = 1000  # characters of one of DVC's


def silence() -> None:
    """Let DVC log nothing; its errors are raised."""
    for name in ("dvc", "dvc_data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def open_repo(root: Path, remote: str | None = None, texts: Mapping[Path, str] | None = None) -> Iterator[Any]:
    """DVC's `Repo` of a project; the working folder is in it, and what DVC prints is dropped.

    It is a new one for each operation, because its caches are never read again.

    Args:
        root: the project folder.
        remote: the default remote, a URL or a folder; default what `.dvc/config` says.
        texts: the text that DVC is to see of a file, by its path.

    Raises:
        MissingExtra: DVC is not installed.
        GlueError: the error of a stage that ran in this process.
        ToolError: DVC could not do its work.
    """
    telemetry.off()
    try:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo

        from mlops_glue.adapters.dvc.project_files import ProjectFiles
    except ImportError as error:
        raise MissingExtra("dvc", "pipeline") from error
    silence()
    before = Path.cwd()
    os.chdir(root)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            Repo(str(root), fs=ProjectFiles(texts), config=_with_remote(root, remote)) as repo,
        ):
            repo.fs.hash_jobs = repo.config["core"].get("checksum_jobs") or repo.fs.hash_jobs
            with _plugins_named(repo):
                yield repo
    except sqlite3.Error as error:  # its state, in .dvc/tmp
        raise ToolError(f"DVC's state: {error}", hint=f"make room, or look at {root / '.dvc' / 'tmp'}") from error
    except LockError as error:
        raise ToolError("DVC's lock is held by another process", hint="wait for it to end, then again") from error
    except DvcException as error:
        raise _translated(root, error) from error
    finally:
        os.chdir(before)


def _with_remote(root: Path, remote: str | None) -> dict[str, Any] | None:
    if remote is None:
        return None
    url = remote if "://" in remote else str(root / remote)
    return {"core": {"remote": REMOTE}, "remote": {REMOTE: {"url": url}}}


@contextlib.contextmanager
def _plugins_named(repo: Any) -> Iterator[None]:
    """Say which extra of glue a remote needs that DVC has no plugin for."""
    try:
        yield
    except ImportError as error:
        config = repo.config
        url = config["remote"].get(config["core"].get("remote"), {}).get("url", "")
        extra = EXTRAS.get(url.partition("://")[0])
        hint = f'pip install "mlops-glue[{extra}]"' if extra else None
        raise ToolError(f"DVC: {first_line(error)}", hint=hint) from error


def _translated(root: Path, error: Exception) -> GlueError:
    """The error of a stage, or DVC's as one line, with what repairs a file of DVC's that is broken or missing."""
    from dvc.config import ConfigError
    from dvc.scm import SCMError
    from dvc.utils.serialize import ParseError
    from dvc.utils.strictyaml import YAMLValidationError

    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, GlueError):
            return cause
    if not (root / ".dvc").is_dir():
        return _not_initialised(root)
    message = _joined(chain)
    for cause in chain:
        if isinstance(cause, ConfigError):
            return ToolError(f".dvc/config: {message}", hint="git checkout .dvc/config")
        if isinstance(cause, SCMError):
            return ToolError(f"DVC: {message}", hint="git init")
        if isinstance(cause, ParseError | YAMLValidationError):
            return _unreadable(os.path.relpath(root / cause.path, root), first_line(chain[-1], MAX_MESSAGE))
    return ToolError(f"DVC: {message}")


def _joined(chain: list[BaseException]) -> str:
    """The messages of a chain of exceptions, without those that repeat the end of the one before."""
    messages: list[str] = []
    for cause in chain:
        message = first_line(cause, MAX_MESSAGE)
        if not messages or not messages[-1].endswith(message):
            messages.append(message)
    return ": ".join(messages)


def _not_initialised(root: Path) -> ToolError:
    git = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    option = " --no-scm" if git is None else " --subdir" if git != root else ""
    return ToolError(
        f"{root / '.dvc'} is not there, where DVC keeps its settings and its cache",
        hint=f"git checkout .dvc, or: dvc init{option}; glue run",
    )


def _unreadable(file: str, reason: str) -> ToolError:
    repairs = {"dvc.lock": REGENERATE_LOCK, "dvc.yaml": REGENERATE_STAGES}
    if file.endswith(".dvc"):
        repairs[file] = f"rm {file}; dvc add {file.removesuffix('.dvc')}"
    repair = f", or: {repairs[file]}" if file in repairs else ""
    return ToolError(f"{file}: DVC cannot read it: {reason}", hint=f"git checkout {file}{repair}")

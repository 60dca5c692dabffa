"""Opens a project as DVC's `Repo`, and translates DVC's errors."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mlops_glue import telemetry, waiting
from mlops_glue.adapters.dvc.lock import REGENERATE_LOCK, REGENERATE_STAGES
from mlops_glue.errors import GlueError, MissingExtra, ToolError, causes, first_line

if TYPE_CHECKING:
    from dvc.repo import Repo

REMOTE = "glue"  # the name in `.dvc/config` of the remote that glue.yaml configures
MAX_MESSAGE = 1000  # characters of a message of DVC
P = ParamSpec("P")
Result = TypeVar("Result")


def answered(work: Callable[P, Result]) -> Callable[P, Result]:
    """Give a function that talks to DVC's remote the time limit of a store."""

    @wraps(work)
    def limited(*args: P.args, **kwargs: P.kwargs) -> Result:
        return waiting.answered("DVC's remote", lambda: work(*args, **kwargs))

    return limited


def silence() -> None:
    """Silence DVC's logging; its errors are raised as exceptions."""
    for name in ("dvc", "dvc_data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def open_repo(root: Path, remote: str | None = None, dvc_yaml: str | None = None) -> Iterator[Repo]:
    """Open DVC's `Repo` of a project, with the project as working directory; DVC's output is discarded.

    Each operation opens a new `Repo`, because DVC never refreshes its caches. `remote` (a URL or a folder) replaces
    the default remote of DVC's config, and `dvc_yaml` the text of the project's file.

    Raises:
        MissingExtra: DVC is not installed.
        GlueError: the error of a stage that ran in this process.
        ToolError: DVC failed.
    """
    import sqlite3

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
            Repo(str(root), fs=ProjectFiles(root, dvc_yaml), config=_with_remote(root, remote)) as repo,
        ):
            repo.fs.hash_jobs = repo.config["core"].get("checksum_jobs") or repo.fs.hash_jobs
            yield repo
    except ImportError as error:  # a plugin of DVC's
        extras = 'pip install "mlops-glue[s3]", [gcs] or [azure], for the kind of remote'
        raise ToolError(f"DVC: {first_line(error)}", hint=extras) from error
    except sqlite3.Error as error:  # its state, in .dvc/tmp
        raise ToolError(f"DVC's state: {error}", hint=f"free disk space, or check {root / '.dvc' / 'tmp'}") from error
    except LockError as error:
        raise ToolError("DVC's lock is held by another process", hint="wait for it to end, and try again") from error
    except DvcException as error:
        raise _translated(root, error) from error
    finally:
        os.chdir(before)


def _with_remote(root: Path, remote: str | None) -> dict[str, Any] | None:
    if remote is None:
        return None
    url = remote if "://" in remote else str(root / remote)
    return {"core": {"remote": REMOTE}, "remote": {REMOTE: {"url": url}}}


def _translated(root: Path, error: Exception) -> GlueError:
    """Return the error of a stage, or DVC's error in one line with a command that repairs a broken or missing file."""
    from dvc.config import ConfigError
    from dvc.scm import SCMError
    from dvc.utils.serialize import ParseError
    from dvc.utils.strictyaml import YAMLValidationError

    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, GlueError):
            return cause
    if not (root / ".dvc").is_dir():
        missing = f"{root / '.dvc'} does not exist; DVC keeps its settings and its cache there"
        return ToolError(missing, hint="git checkout .dvc, or: dvc init; glue run")
    message = ": ".join(dict.fromkeys(first_line(cause, MAX_MESSAGE) for cause in chain))
    for cause in chain:
        if isinstance(cause, ConfigError):
            return ToolError(f".dvc/config: {message}", hint="git checkout .dvc/config")
        if isinstance(cause, SCMError):
            return ToolError(f"DVC: {message}", hint="git init")
        if isinstance(cause, ParseError | YAMLValidationError):
            return _unreadable(os.path.relpath(root / cause.path, root), first_line(chain[-1], MAX_MESSAGE))
    return ToolError(f"DVC: {message}")


def _unreadable(file: str, reason: str) -> ToolError:
    repairs = {"dvc.lock": REGENERATE_LOCK, "dvc.yaml": REGENERATE_STAGES}
    if file.endswith(".dvc"):
        repairs[file] = f"rm {file}; dvc add {file.removesuffix('.dvc')}"
    repair = f", or: {repairs[file]}" if file in repairs else ""
    return ToolError(f"{file}: DVC cannot read it: {reason}", hint=f"git checkout {file}{repair}")

"""Initialises DVC in a project, and lets it track files."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files
from mlops_glue.adapters.dvc.repository import open_repo, silence
from mlops_glue.errors import MissingExtra, ToolError

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

META = "glue"  # the key under which glue stores facts in a `.dvc` file


def init(root: Path, *, git: bool) -> None:
    """Run `dvc init` once, with analytics and update checks off; `git`: the project is in a git repository."""
    if (root / ".dvc" / "config").is_file():
        return
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError as error:
        raise MissingExtra("dvc", "pipeline") from error
    silence()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # a project in a folder of a bigger git repository needs subdir
            Repo.init(str(root), no_scm=not git, subdir=git and not (root / ".git").exists()).close()
    except DvcException as error:
        raise ToolError(f"dvc init: {error}") from error
    with open_repo(root) as repo, repo.config.edit("repo") as config:
        config["core"].update(analytics=False, check_update=False, autostage=False)


def pointer(root: Path, path: str) -> str | None:
    """Return the `.dvc` file by which DVC tracks a path or a folder around it; None if it does not."""
    if not (root / ".dvc").is_dir():
        return None
    with open_repo(root) as repo:
        output = _output_of(repo, root, path)
        return Path(os.path.relpath(output.stage.path, root)).as_posix() if output is not None else None


def add(root: Path, path: str) -> None:
    """Let DVC track a file unless it already does. The content goes to the cache, its hash to `path.dvc`."""
    with open_repo(root) as repo:
        if _output_of(repo, root, path) is None:
            repo.add(path)


def keep(root: Path, path: str, about: dict[str, Any]) -> None:
    """Let DVC track a file's present content, and store `about` in `path.dvc`, in the `meta` that DVC ignores."""
    with open_repo(root) as repo:
        (stage,) = repo.add(path)
        stage.meta = {**(stage.meta or {}), META: {**about, "md5": stage.outs[0].hash_info.value}}
        stage.dump()


def about(root: Path, path: str) -> dict[str, Any] | None:
    """Return what `keep` stored about a file, and its MD5; None for any other file."""
    from ruamel.yaml.error import YAMLError

    try:
        found = files.read_yaml(root / f"{path}.dvc")
        return dict(found["meta"][META])
    except (OSError, LookupError, TypeError, YAMLError):
        return None


def _output_of(repo: Repo, root: Path, path: str) -> Output | None:
    """Return the output at a path or at a folder around it; None if there is none."""
    local = (output for output in repo.index.outs if output.protocol == "local")
    return next((output for output in local if Path(root, path).is_relative_to(output.fs_path)), None)


def metrics(folder: Path) -> dict[str, Any]:
    """Return, by path, the content of the metrics files that DVC finds in the repository around a folder.

    Raises:
        ToolError: DVC cannot read its own files.
    """
    with open_repo(folder) as repo:
        # a file that is missing or invalid has an error instead of data
        found = repo.metrics.show(hide_workspace=False).get("", {}).get("data", {})
        return {path: entry["data"] for path, entry in found.items() if entry.get("data")}

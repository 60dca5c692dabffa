"""DVC's remote: its entry in `.dvc/config`, and transfers to and from it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue.adapters.dvc.repository import REMOTE, answered, open_repo
from mlops_glue.errors import GlueError, ToolError, brief
from mlops_glue.files import atomic

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo


def has_remote(root: Path) -> bool:
    """Does DVC's own config name a default remote?"""
    return default_remote(root) is not None


def default_remote(root: Path) -> str | None:
    """Return the folder or URL of the default remote in DVC's own config; None if there is none."""
    if not (root / ".dvc").is_dir():
        return None
    with open_repo(root) as repo:
        name = repo.config["core"].get("remote")
        return str(repo.config["remote"].get(name, {}).get("url", name)) if name else None


def name_remote(root: Path, url: str, *, here_alone: bool) -> None:
    """Write a remote to DVC's own config, so that plain `dvc pull` finds it; other settings are kept.

    It becomes the default remote unless the project has another. A folder is relative to the project. With
    `here_alone` it is written to `.dvc/config.local`, which git ignores.
    """
    from configobj import ConfigObj, ConfigObjError  # what DVC reads and writes its config with

    folder = root / ".dvc"
    places = [folder / name for name in ("config", "config.local")]
    try:
        shared, local = (ConfigObj(_lines(place)) for place in places)
    except (ConfigObjError, UnicodeDecodeError):  # DVC will report it
        return
    place, config = (places[1], local) if here_alone else (places[0], shared)
    before = config.dict()
    is_folder = "://" not in url and not Path(url).expanduser().is_absolute()
    config.setdefault(f'remote "{REMOTE}"', {})["url"] = os.path.relpath(root / url, folder) if is_folder else url
    if not any(settings.get("core", {}).get("remote") for settings in (shared, local)):
        config.setdefault("core", {})["remote"] = REMOTE
    if config.dict() == before or not folder.is_dir():
        return
    with atomic(place) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in config.write()), encoding="utf-8")
        if here_alone:
            temporary.chmod(0o600)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


@answered
def pull(root: Path, remote: str | None) -> tuple[str, list[str]]:
    """Pull every table that DVC tracks and no stage produces, and the run-cache.

    Returns:
        A line for people, and the tables that were left alone because their changed content is not in the cache.

    Raises:
        ToolError: there is no remote, it does not answer, or a table is missing.
    """
    with open_repo(root, remote) as repo, remote_errors():
        from dvc.exceptions import CheckoutError

        where = _check_remote(repo)
        tables = {stage.addressing: stage.outs for stage in repo.index.stages if stage.cmd is None}
        changed = {name: [str(out) for out in outs if _is_only_here(repo, out)] for name, outs in tables.items()}
        fetched = 0
        try:
            if wanted := [name for name in tables if not changed[name]]:
                fetched = repo.pull(targets=wanted)["stats"]["fetched"]
        except CheckoutError as error:
            missing = ", ".join(map(str, error.target_infos))
            raise ToolError(
                f"{missing}: neither in DVC's cache nor in its remote", hint="glue run --push, on a machine that has it"
            ) from error
        repo.stage_cache.pull(None)
        line = f"pulled {_files(fetched)} from {where}"
        return line, [path for paths in changed.values() for path in paths]


@answered
def push(root: Path, remote: str | None) -> str:
    """Push the tables, the results of the stages and the run-cache to the remote, and return a line for people.

    Raises:
        ToolError: there is no remote, or it does not answer.
    """
    with open_repo(root, remote) as repo, remote_errors():
        from dvc.stage.cache import RunCacheNotSupported

        where = _check_remote(repo)
        with contextlib.suppress(RunCacheNotSupported):  # `dvc push --run-cache` would always count it as pushed
            repo.stage_cache.push(None)
        return f"pushed {_files(repo.push())} to {where}"


def try_remote(root: Path, remote: str | None) -> tuple[str, int | None]:
    """Write an empty file to the remote and delete it; if the remote is a folder, only check its permissions.

    Returns:
        The folder or URL of the remote, and the free bytes if it is a folder.

    Raises:
        ToolError: there is no remote, it does not answer, or it cannot be written.
    """
    with open_repo(root, remote) as repo, remote_errors():
        where, there = _check_remote(repo), repo.cloud.get_remote_odb()
        if there.fs.protocol == "local":
            folder = next(place for place in (Path(there.path), *Path(there.path).parents) if place.exists())
            if not os.access(folder, os.W_OK):
                raise ToolError(f"DVC's remote {where}: {folder} is not writable", hint=f"chmod u+w {folder}")
            return where, shutil.disk_usage(folder).free
        from uuid import uuid4

        probe = there.fs.join(there.path, f"glue-doctor-{uuid4().hex}")
        there.fs.pipe_file(probe, b"")
        there.fs.remove(probe)
        return where, None


@answered
def send(root: Path, kept: dict[str, str], remote: str | None) -> str:
    """Send files from DVC's cache to its remote, even if no commit and no file of the project refers to them.

    Args:
        root: the project.
        kept: MD5 by path, relative to the project.
        remote: the remote; by default the one in DVC's own config.

    Returns:
        The folder or URL of the remote.

    Raises:
        ToolError: there is no remote, it does not answer, or a file is in neither the cache nor the remote.
    """
    with open_repo(root, remote) as repo, remote_errors():
        from dvc_data.hashfile.hash_info import HashInfo

        where = _check_remote(repo)
        repo.cloud.push([HashInfo("md5", md5) for md5 in kept.values()])
        there = repo.cloud.get_remote_odb()
        if lost := [path for path, md5 in kept.items() if not there.exists(md5)]:
            raise ToolError(f"{', '.join(lost)}: neither in DVC's cache nor in its remote {where}")
        return where


@answered
def get(root: Path, rev: str, paths: list[str], into: Path, remote: str | None) -> None:
    """Copy files as they were in a commit, from the cache or the remote; files that it did not have are skipped.

    Raises:
        ToolError: the commit had a file that is in neither the cache nor the remote.
    """
    with open_repo(root, remote) as repo, remote_errors(), repo.switch(rev):
        commit_files = repo.dvcfs
        for path in paths:
            if commit_files.exists(f"/{path}"):
                (into / path).parent.mkdir(parents=True, exist_ok=True)
                try:
                    (into / path).write_bytes(commit_files.open(f"/{path}", "rb").read())
                except OSError as error:
                    raise ToolError(f"{path} is neither in DVC's cache nor in its remote") from error


@contextlib.contextmanager
def remote_errors() -> Iterator[None]:
    """Translate the exceptions of a remote's file system; each file system has its own."""
    import sqlite3

    from dvc.exceptions import DvcException

    try:
        yield
    except (GlueError, DvcException, OSError, ImportError, sqlite3.Error):  # translated elsewhere
        raise
    except Exception as error:
        raise ToolError(f"DVC's remote: {brief(error)}") from error


def _check_remote(repo: Repo) -> str:
    """Return the folder or URL of the default remote."""
    name = repo.config["core"].get("remote")
    if not name:
        raise ToolError("DVC has no remote", hint="dvc remote add --default NAME URL")
    url: str = repo.config["remote"][name]["url"]
    return url if "://" in url else os.path.normpath(url)


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def _is_only_here(repo: Repo, out: Output) -> bool:
    """Was the output changed, so that its content is not in the cache?"""
    if not out.exists:
        return False
    now = out.get_hash()
    return now != out.hash_info and not repo.cache.local.exists(now.value)

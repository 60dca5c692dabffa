"""Restores raw data by its hash, from DVC's cache or remote to another folder; the cache is only read."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlops_glue.adapters.dvc.remote import has_remote, remote_errors
from mlops_glue.adapters.dvc.repository import answered, open_repo
from mlops_glue.errors import GlueError


def restore(root: Path, into: Path, wanted: dict[str, str], remote: str | None, scratch: Path) -> dict[str, str]:
    """Copy files from DVC's cache or remote.

    The project's present cache and remote are used: an earlier `.dvc/config` may not know them.

    Args:
        root: the user's project.
        into: the same project in a worktree. Its cache becomes `scratch`, so that its stages start from nothing.
        wanted: MD5 by path, relative to the project.
        remote: the remote; by default the one in DVC's own config.
        scratch: an empty folder.

    Returns:
        By path, why a file could not be restored. All other files are in `into`; their hashes are not checked.
    """
    local = into / ".dvc" / "config.local"
    local.parent.mkdir(exist_ok=True)
    local.write_text(f"[cache]\n    dir = {scratch}\n", encoding="utf-8")
    for path in wanted:
        (into / path).parent.mkdir(parents=True, exist_ok=True)
    missing = {}
    with open_repo(root) as repo:
        for path, md5 in wanted.items():
            place = Path(repo.cache.local.oid_to_path(md5))
            if place.is_file():
                shutil.copyfile(place, into / path)
            else:
                missing[path] = md5
    return _fetch(root, into, missing, remote) if missing else {}


def _fetch(root: Path, into: Path, wanted: dict[str, str], remote: str | None) -> dict[str, str]:
    """Copy files from the remote; return, by path, why a file could not be restored."""
    if remote is None and not has_remote(root):
        return dict.fromkeys(wanted, "not in DVC's cache, and DVC has no remote")
    try:
        lost = _get(root, into, wanted, remote)
    except (GlueError, OSError) as error:
        why = f"not in DVC's cache, and the remote does not answer: {getattr(error, 'message', error)}"
        return dict.fromkeys(wanted, why)
    return dict.fromkeys(lost, "neither in DVC's cache nor in its remote")


@answered
def _get(root: Path, into: Path, wanted: dict[str, str], remote: str | None) -> list[str]:
    """Copy files from the remote; return those that it does not have."""
    lost = []
    with open_repo(root, remote) as repo, remote_errors():
        there = repo.cloud.get_remote_odb()
        for path, md5 in wanted.items():
            try:
                there.fs.get_file(there.oid_to_path(md5), str(into / path))
            except FileNotFoundError:
                lost.append(path)
    return lost

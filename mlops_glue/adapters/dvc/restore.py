"""Raw data as it was, by its hash, from DVC's cache or its remote into another folder; the cache is only read."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlops_glue.adapters.dvc.remote import remote_errors
from mlops_glue.adapters.dvc.repository import open_repo
from mlops_glue.errors import GlueError


def restore(root: Path, into: Path, wanted: dict[str, str], remote: str | None, scratch: Path) -> dict[str, str]:
    """Bring files that DVC keeps.

    Args:
        root: the user's project.
        into: the same project in a worktree. Its own cache becomes `scratch`, so its stages start from nothing.
        wanted: MD5 by path, relative to the project.
        remote: where to look beside the cache, if not where DVC's own config says.
        scratch: an empty folder.

    Returns:
        By path: why it cannot be had. Everything else is in `into`; whether it is what was recorded is not checked.
    """
    with open_repo(root) as repo:
        places = {path: Path(repo.cache.local.oid_to_path(md5)) for path, md5 in wanted.items()}
    ours, theirs = root / ".dvc" / "config.local", into / ".dvc" / "config.local"
    theirs.parent.mkdir(exist_ok=True)
    settings = ours.read_text(encoding="utf-8") if ours.is_file() else ""
    theirs.write_text(f"{settings}\n[cache]\n    dir = {scratch}\n", encoding="utf-8")
    missing: dict[str, str] = {}
    for path, md5 in wanted.items():
        place = places[path]
        if not place.is_file():
            place = scratch / "files" / "md5" / md5[:2] / md5[2:]
            try:
                with open_repo(into, remote) as repo, remote_errors():
                    repo.fetch(targets=[path])
            except GlueError as error:
                missing[path] = error.message
                continue
        if not place.is_file():
            missing[path] = "neither DVC's cache nor its remote has it"
            continue
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, into / path)
    return missing

"""Is everything plainly as the last complete run left it? Answered from bytes and stamps of files; no tool is imported.

`snapshot` before and after DVC's reproduce, then `record`: `.glue/unchanged.json` holds the control files (`dvc.yaml`,
`dvc.lock`, `glue.yaml`, every `.dvc`, …) by SHA-256 and whatever the lock names by MD5 and stamp. `seen` is not None
only where all of that is the same. It must never be so where `dvc status` says otherwise: all that is not plain (a
stage with `always_changed`, `foreach` or `wdir`, a second `dvc.yaml`, an import, another hash) is left to DVC.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_glue import __version__, files, layout
from mlops_glue.modules import code_of, versions

FORMAT = 3
YOUNG_S = 0.05  # a file changed so recently may change again without a new time stamp: file systems' clocks are coarse
MOST_ENTRIES = 20_000  # of the project's folders; beyond, DVC looks
PLAIN = {"cmd", "deps", "outs", "params", "metrics", "plots", "desc", "meta"}
Snapshot = dict[str, str | None]
Stamp = list[int]


def as_left(root: Path, env: str | None) -> dict[str, Any] | None:
    """What `seen` gives, where the last run ended, was of this environment, and left the registry as it is."""
    before = None if (root / layout.RUNNING).exists() else seen(root)
    return before if before is not None and before["store_unchanged"] and before["env"] == env else None


def snapshot(root: Path) -> Snapshot | None:
    """SHA-256 of every file that tells DVC or glue what to do; None for one that is absent. None: too many to look."""
    names = {layout.CONFIG, "dvc.yaml", "dvc.lock", ".dvc/config", ".dvc/config.local", ".dvcignore"}
    found = _told_to_dvc(root)
    return None if found is None else {name: _sha256(root / name) for name in sorted(names | set(found))}


def record(root: Path, at_start: Snapshot | None, after: Snapshot | None, told: dict[str, Any]) -> None:
    """Keep what `seen` compares with; nothing is kept, and DVC will look, where something is not plain.

    Args:
        root: the project folder.
        at_start: taken before DVC's reproduce, after `dvc.yaml` was brought up to date.
        after: taken right after it.
        told: what the next run needs to say the same: `code` (import paths of the user's own code), `features` (folder
            of the Feast repository, or None), `stores` (the local MLflow database, and the record of what the online
            store was filled with; None where MLflow is elsewhere), `there` (files that must be there; reading an online
            store changes its stamp) and anything else.
    """
    path = root / layout.UNCHANGED
    path.unlink(missing_ok=True)
    if at_start is None or after is None or {**at_start, "dvc.lock": ""} != {**after, "dvc.lock": ""}:
        return  # somebody wrote while we worked
    hashes = _hashes(root, after)
    if hashes is None:
        return
    stamps = {name: _stamps(root / name) for name in hashes}
    stores = told.get("stores")
    if any(_md5(root / name, stamps[name]) != md5 for name, md5 in hashes.items()) or snapshot(root) != after:
        return
    of_stores = {name: stamp(root / name) for name in stores or []}
    code = code_of(told["code"], told["features"], root)
    kept = {
        "format": FORMAT,
        "glue": __version__,
        "control": after,
        "files": {name: [md5, stamps[name]] for name, md5 in hashes.items()},
        "code": code,
        "packages": versions(told["code"], code, root),
        "delivery": _sha256(root / layout.DELIVERY),
        "stores": of_stores,
        "told": told,
    }
    newest = max((one[1] for group in stamps.values() if group for one in group.values()), default=0)
    _wait_until_old(max([newest, *(one[1] for one in of_stores.values() if one)]))
    _keep(path, kept)


def _keep(path: Path, kept: dict[str, Any]) -> None:
    """With its own hash: what is torn, or edited, is never believed."""
    files.write_json(path, kept | {"sha256": _digest(kept)})


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        return kept if kept.pop("sha256") == _digest(kept) else None
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return None


def _digest(kept: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def seen(root: Path) -> dict[str, Any] | None:
    """What `record` was told, where nothing that matters has changed since; else None.

    A file with another stamp is hashed. `told["store_unchanged"]` says whether the local stores are untouched.
    """
    path = root / layout.UNCHANGED
    kept = _kept(path)
    if kept is None or (kept["format"], kept["glue"]) != (FORMAT, __version__) or snapshot(root) != kept["control"]:
        return None
    if code_of(kept["told"]["code"], kept["told"]["features"], root) != kept["code"]:
        return None
    if versions(kept["told"]["code"], kept["code"], root) != kept["packages"]:
        return None
    if _sha256(root / layout.DELIVERY) != kept["delivery"]:
        return None
    fresh = False
    for name, (md5, old) in kept["files"].items():
        now = _stamps(root / name)
        if now is None:
            return None
        if now != old:
            if _md5(root / name, now) != md5:
                return None
            if time.time_ns() - max(one[1] for one in now.values()) > YOUNG_S * 1e9:
                kept["files"][name], fresh = [md5, now], True
    if fresh:
        _keep(path, kept)
    stores = kept["stores"]
    there = all((root / name).exists() for name in kept["told"]["there"])
    same = (
        there
        and bool(stores)
        and all(before is not None and stamp(root / name) == before for name, before in stores.items())
    )
    return {**kept["told"], "store_unchanged": same}


def _told_to_dvc(root: Path) -> list[str] | None:
    """Every `dvc.yaml`, `*.dvc` and `.dvcignore` in the project, relative; None: too many entries, or one is closed."""
    ignored = {".git", ".dvc"}
    if (root / ".dvcignore").is_file():
        lines = (root / ".dvcignore").read_text(encoding="utf-8", errors="replace").split()
        ignored |= {line.strip("/") for line in lines if not set(line) & set("*?![#")}
    found, waiting, looked = [], [str(root)], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as opened:
                entries = list(opened)
        except OSError:  # closed to us, or gone: DVC says what it makes of it
            return None
        for entry in entries:
            looked += 1
            if entry.name in ("dvc.yaml", ".dvcignore") or entry.name.endswith(".dvc"):
                if entry.is_file():
                    found.append(os.path.relpath(entry.path, root).replace(os.sep, "/"))
            elif entry.is_dir(follow_symlinks=False) and entry.name not in ignored:
                waiting.append(entry.path)
        if looked > MOST_ENTRIES:
            return None
    return found


def _hashes(root: Path, after: Snapshot) -> dict[str, str] | None:
    """MD5 by path of all that the lock and the `.dvc` files name; None where something there is not plain."""
    out: dict[str, str] = {}
    entries: list[tuple[str, dict[str, Any]]] = []
    for name in after:
        if name.endswith("/dvc.yaml"):
            return None
        if name.endswith(".dvc"):
            tracked = files.read_yaml(root / name)
            if not set(tracked) <= {"outs", "desc", "meta", "md5"}:
                return None
            entries += [(os.path.dirname(name), entry) for entry in tracked["outs"]]  # noqa: PTH120 - a relative text
    defined = files.read_yaml(root / "dvc.yaml")
    locked = files.read_yaml(root / "dvc.lock")["stages"]
    if set(defined) & {"vars"}:
        return None
    for name, stage in defined["stages"].items():
        lock = locked.get(name)
        if not set(stage) <= PLAIN or not stage.get("deps") or lock is None or stage["cmd"] != lock["cmd"]:
            return None
        if set(lock.get("params", {})) - {layout.CONFIG}:
            return None
        for key in ("deps", "outs"):
            entries += [("", entry) for entry in lock.get(key, [])]
    for folder, entry in entries:
        path = os.path.normpath(os.path.join(folder, entry["path"])).replace(os.sep, "/")  # noqa: PTH118 - as above
        if "://" in entry["path"] or entry.get("hash") != "md5" or out.setdefault(path, entry["md5"]) != entry["md5"]:
            return None
    return out


def stamp(path: Path) -> Stamp | None:
    """Modified, changed (ns), bytes, inode. A change of content changes the second, whatever is done to the first."""
    try:
        at = path.stat()
    except OSError:
        return None
    return [at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino]


def _stamps(path: Path) -> dict[str, Stamp] | None:
    """The stamp of a file under "", or of every file in a folder under its relative path; None if it is not there."""
    if not path.is_dir():
        one = stamp(path)
        return None if one is None else {"": one}
    out = {}
    for file in _files(path):
        one = stamp(file)
        if one is None:
            return None
        out[file.relative_to(path).as_posix()] = one
    return out


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(here, name) for name in sorted(names))


def _md5(path: Path, stamps: dict[str, Stamp] | None) -> str | None:
    """DVC's hash of a file or folder; None where it changes under the reading."""
    if not stamps:
        return None
    try:
        if "" in stamps:
            md5 = _file_md5(path)
        else:
            listed = [{"md5": _file_md5(path / name), "relpath": name} for name in stamps]
            listed.sort(key=lambda one: one["relpath"])
            md5 = hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    except OSError:
        return None
    return md5 if _stamps(path) == stamps else None


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _wait_until_old(changed_ns: int) -> None:
    """Until a later change of the newest file must give it another time stamp."""
    time.sleep(min(max(changed_ns / 1e9 + YOUNG_S - time.time(), 0), YOUNG_S))

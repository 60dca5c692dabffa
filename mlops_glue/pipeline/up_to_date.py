"""Check by file stamps whether everything is as the last complete run left it, without importing any tool.

`delivery.run` asks only for a run without options, and records only a run that published and was allowed to promote.

Take a `snapshot` of the control files (`dvc.yaml`, `dvc.lock`, `glue.yaml`, every `.dvc`, …) before and after DVC's
reproduce, then `record` the run: `.glue/unchanged.json` contains the SHA-256 of the control files and the stamp of
every file that the lock names. `load` returns the record only if all of that is the same. It must never do so if
`dvc status` reports a change: whatever is not simple (a stage with `always_changed`, `foreach` or `wdir`, a second
`dvc.yaml`, an import, another hash, a file that was only touched) is left to DVC.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.modules import code_of, versions
from mlops_glue.version import __version__

FORMAT = 6
CLOCK_S = 0.05  # a file changed more recently may change again without a new stamp: file systems' clocks are coarse
MAX_ENTRIES = 20_000  # in the project's folders; with more, DVC checks
PLAIN_KEYS = {"cmd", "deps", "outs", "params", "metrics", "plots", "desc", "meta"}
Snapshot = dict[str, str | None]
Stamp = list[int]


@dataclass(frozen=True)
class LastRun:
    """What the next run needs to report the same result without DVC."""

    stages: list[str]
    import_paths: list[str | None]  # of the user's own code that the stages run
    feature_repo: str | None  # None: no features are joined
    stores: list[str] | None  # MLflow's database, and the record of the online store; None: MLflow is elsewhere
    required: list[str]  # other files that must exist: an online store, whose stamp changes when it is read
    inputs: list[str]  # the files that belong in a commit of the result
    env: str | None


def load(root: Path, env: str | None) -> LastRun | None:
    """Return the record of the last run if nothing that matters has changed since; else None."""
    record = None if (root / layout.RUNNING).exists() else _read(root / layout.UNCHANGED)
    if record is None or (record["format"], record["glue"]) != (FORMAT, __version__):
        return None
    last = LastRun(**record["run"])
    code = record["code"]
    unchanged = (
        last.env == env
        and snapshot(root) == record["control"]
        and code_of(last.import_paths, last.feature_repo, root) == code
        and versions(last.import_paths, code, root) == record["packages"]
        and _sha256(root / layout.DELIVERY) == record["delivery"]
        and all(_stamps(root / name) == stamps for name, stamps in record["files"].items())
        and all((root / name).exists() for name in last.required)
        and bool(record["stores"])
        and all(before is not None and stamp(root / name) == before for name, before in record["stores"].items())
    )
    return last if unchanged else None


def snapshot(root: Path) -> Snapshot | None:
    """Return the SHA-256 of every control file of DVC and glue, None for a missing file; None if there are too many."""
    found = _control_files(root)
    if found is None:
        return None
    names = {layout.CONFIG, "dvc.yaml", "dvc.lock", ".dvc/config", ".dvc/config.local", ".dvcignore", *found}
    return {name: _sha256(root / name) for name in sorted(names)}


def record(root: Path, before: Snapshot | None, after: Snapshot | None, run: LastRun) -> None:
    """Write what `load` compares with; write nothing, so that DVC will check, if something is not simple.

    The snapshots are from right before DVC's reproduce, with `dvc.yaml` already up to date, and from right after it.
    """
    path = root / layout.UNCHANGED
    path.unlink(missing_ok=True)
    if before is None or after is None or {**before, "dvc.lock": ""} != {**after, "dvc.lock": ""}:
        return  # somebody wrote to a control file during the run
    hashes = _hashes(root, after)
    if hashes is None:
        return
    stamps = {name: _stamps(root / name) for name in hashes}
    if any(_md5(root / name, stamps[name]) != md5 for name, md5 in hashes.items()) or snapshot(root) != after:
        return
    stores = {name: stamp(root / name) for name in run.stores or []}
    code = code_of(run.import_paths, run.feature_repo, root)
    content = {
        "format": FORMAT,
        "glue": __version__,
        "control": after,
        "files": stamps,
        "code": code,
        "packages": versions(run.import_paths, code, root),
        "delivery": _sha256(root / layout.DELIVERY),
        "stores": stores,
        "run": asdict(run),
    }
    of_files = [found for group in stamps.values() for found in (group or {}).values()]
    newest = max((changed for _, changed, *_ in [*of_files, *filter(None, stores.values())]), default=0)
    # until a later change of the newest file must give it another stamp
    time.sleep(min(max(newest / 1e9 + CLOCK_S - time.time(), 0), CLOCK_S))
    files.write_json(path, content | {"sha256": _digest(content)})


def _read(path: Path) -> dict[str, Any] | None:
    """Return the record if its own hash is right: a truncated or edited file is never trusted."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content if content.pop("sha256") == _digest(content) else None
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _control_files(root: Path) -> list[str] | None:
    """Return every `dvc.yaml`, `*.dvc` and `.dvcignore`, relative; None if too many, or a folder is unreadable."""
    ignored = {".git", ".dvc"}
    if (root / ".dvcignore").is_file():
        lines = (root / ".dvcignore").read_text(encoding="utf-8", errors="replace").split()
        ignored |= {line.strip("/") for line in lines if not set(line) & set("*?![#")}
    found, waiting, looked = [], [str(root)], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as opened:
                entries = list(opened)
        except OSError:  # unreadable, or removed in the meantime
            return None
        looked += len(entries)
        for entry in entries:
            if entry.name in ("dvc.yaml", ".dvcignore") or entry.name.endswith(".dvc"):
                if entry.is_file():
                    found.append(os.path.relpath(entry.path, root).replace(os.sep, "/"))
            elif entry.is_dir(follow_symlinks=False) and entry.name not in ignored:
                waiting.append(entry.path)
        if looked > MAX_ENTRIES:
            return None
    return found


def _hashes(root: Path, control: Snapshot) -> dict[str, str] | None:
    """Return the MD5 of all files that `dvc.lock` and the `.dvc` files name, by path; None if one is not simple."""
    defined = files.read_yaml(root / "dvc.yaml")
    lock = files.read_yaml(root / "dvc.lock")["stages"]
    is_plain = "vars" not in defined and not any(name.endswith("/dvc.yaml") for name in control)
    entries: list[tuple[str, dict[str, str]]] = []
    for name in (name for name in control if name.endswith(".dvc")):
        content = files.read_yaml(root / name)
        is_plain &= set(content) <= {"outs", "desc", "meta", "md5"}
        entries += [(os.path.normpath(Path(name).parent / entry["path"]), entry) for entry in content.get("outs", [])]
    for name, stage in defined["stages"].items():
        locked = lock.get(name, {})
        is_plain &= set(stage) <= PLAIN_KEYS and bool(stage.get("deps")) and stage.get("cmd") == locked.get("cmd")
        is_plain &= set(locked.get("params", {})) <= {layout.CONFIG}
        entries += [(os.path.normpath(e["path"]), e) for key in ("deps", "outs") for e in locked.get(key, [])]
    hashes: dict[str, str] = {}
    for path, entry in entries:
        md5 = entry.get("md5", "")
        is_plain &= "://" not in entry["path"] and entry.get("hash") == "md5" and hashes.setdefault(path, md5) == md5
    return hashes if is_plain else None


def stamp(path: Path) -> Stamp | None:
    """Return mtime, ctime (ns), size and inode; None if there is no such file.

    A change of content changes ctime, even if somebody resets mtime.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]


def _stamps(path: Path) -> dict[str, Stamp] | None:
    """Return the stamp of a file under "", or of every file in a folder by relative path; None if one is missing."""
    if not path.is_dir():
        found = stamp(path)
        return None if found is None else {"": found}
    stamps = {}
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if (found := stamp(file)) is None:
                return None
            stamps[file.relative_to(path).as_posix()] = found
    return stamps


def _md5(path: Path, stamps: dict[str, Stamp] | None) -> str | None:
    """Return DVC's hash of a file or folder; None if it changes while it is read."""
    if not stamps:
        return None
    try:
        if "" in stamps:
            md5 = _file_md5(path)
        else:
            listed = [{"md5": _file_md5(path / name), "relpath": name} for name in stamps]
            listed.sort(key=lambda file: file["relpath"])
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

"""Reports which stages would run, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.adapters.dvc.changes import differences
from mlops_glue.adapters.dvc.lock import locked
from mlops_glue.adapters.dvc.repository import open_repo
from mlops_glue.files import parse_yaml

if TYPE_CHECKING:
    from dvc.stage import Stage


def status(root: Path, text: str | None = None) -> dict[str, list[str]]:
    """Return, for each stage of the pipeline in order, why it would run; empty if it would not.

    `text` replaces the content of `dvc.yaml`.
    """
    return pending(root, text)[0]


def pending(root: Path, text: str | None = None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what would run with `dvc.yaml`, or with a text that replaces its content.

    Returns:
        The reasons of each stage; and for each stage without a reason, the stages with a reason that it depends on
        directly or indirectly. It runs if their outputs change.
    """
    if text is not None and not (root / "dvc.yaml").is_file():
        return {name: ["first run"] for name in parse_yaml(text)["stages"]}, {}
    with open_repo(root, dvc_yaml=text) as repo, repo.lock:
        from networkx import descendants  # DVC's own graph

        lock = locked(root)
        stages = {stage.addressing: stage for stage in repo.index.stages if stage.cmd is not None}
        why = {name: reasons(stage, lock) for name, stage in stages.items()}
        upstream: dict[str, list[str]] = {}
        for name, stage in stages.items():
            needed = set() if why[name] else descendants(repo.index.graph, stage)
            if found := [other for other in stages if why[other] and stages[other] in needed]:
                upstream[name] = found
        return why, upstream


def changed_data(root: Path) -> dict[str, str]:
    """Return the change, such as `modified`, of each changed file that DVC tracks and no stage produces."""
    with open_repo(root) as repo, repo.lock:
        changes: dict[str, str] = {}
        for stage in repo.index.stages:
            if stage.cmd is None:
                for entry in stage.status().get(stage.addressing, []):
                    if isinstance(entry, dict):
                        changes |= {path: str(what) for path, what in entry.get("changed outs", {}).items()}
        return changes


def reasons(stage: Stage, lock: dict[str, Any]) -> list[str]:
    """Return why DVC would run a stage: the changed files, parameters or command; empty if it would not run."""
    if not any(dep.hash_info for dep in stage.deps):
        return ["first run"]  # nothing is in dvc.lock
    found = dropped(stage, lock)
    for entry in stage.status().get(stage.addressing, []):
        if entry == "changed command" and not found:
            found.append("command changed")
        if not isinstance(entry, dict):
            continue
        for path, what in {**entry.get("changed deps", {}), **entry.get("changed outs", {})}.items():
            if isinstance(what, dict):
                found += _changed_params(stage, path, what)
            else:
                found.append(f"{path} {what}")
    return found


def dropped(stage: Stage, lock: dict[str, Any]) -> list[str]:
    """Return the parameters of a glue stage in `dvc.lock` that were removed from `glue.yaml`, so the default applies.

    DVC compares only the parameters that `dvc.yaml` names, and `dvc.yaml` cannot name a key that is not in the file.
    """
    entry = lock.get(stage.addressing, {})
    if not str(stage.cmd).startswith("glue stage ") or entry.get("cmd") != stage.cmd:
        return []
    named = {dep.def_path: set(dep.params) for dep in stage.deps if hasattr(dep, "read_params")}
    return [
        f"{name} {old} -> {new}"
        for path, params in entry.get("params", {}).items()
        for key, value in params.items()
        if key not in named.get(path, ())
        for name, old, new in differences(key, value, None)
    ]


def _changed_params(stage: Stage, path: str, changed: dict[str, Any]) -> list[str]:
    """Return each changed parameter of a file with its old and new value."""
    out: list[str] = []
    for dep in stage.deps:
        if dep.def_path != path or not hasattr(dep, "read_params"):
            continue
        old, new = (dep.hash_info.value or {}) if dep.hash_info else {}, dep.read_params()
        for name in changed:
            out += [f"{key} {a} -> {b}" for key, a, b in differences(name, old.get(name), new.get(name))]
    return out or [f"{path}: {', '.join(changed)}"]

"""The commit that a change is compared with: its `dvc.lock`, and the results that DVC stores for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files, layout, tables
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import DataError, GlueError, first_line
from mlops_glue.report import facts

if TYPE_CHECKING:
    import pyarrow as pa

Lock = dict[str, Any]  # the stages of a `dvc.lock`
SHORT = 7  # digits of a commit


class BaseRevision:
    """The files of a commit, branch or tag, fetched into an empty folder from DVC's cache or its remote."""

    def __init__(self, root: Path, rev: str, remote: str | None, folder: Path) -> None:
        self.rev, self.folder, self._root, self._remote = rev, folder, root, remote
        self.name = rev[:SHORT] if re.fullmatch(r"[0-9a-f]{40}", rev) else rev[:40]
        self.lock: Lock = (self._yaml("dvc.lock") or {}).get("stages", {})
        self.problem = ""
        try:
            if self.lock:
                dvc.get(root, rev, [facts.EVALUATION, layout.COLUMNS, layout.FEATURE_LIST], folder, remote)
        except GlueError as error:
            self.problem = f"the result of {self.name} cannot be read: {error.message}"

    def _yaml(self, path: str) -> Any:
        from ruamel.yaml.error import YAMLError

        text = git.show(self._root, self.rev, path)
        try:
            return files.parse_yaml(text) if text else None
        except YAMLError as error:
            raise DataError(f"{path} of {self.name} cannot be read: {first_line(error)}") from error

    def stale(self) -> list[str]:
        """Return the config keys and tables that differ between the commit's `dvc.lock` and its own files."""
        config, changed = self._yaml(layout.CONFIG), []
        for stage in self.lock.values():
            for key, value in stage.get("params", {}).get(layout.CONFIG, {}).items():
                now = config
                for part in key.split("."):
                    now = now.get(part) if isinstance(now, dict) else None
                changed += [name for name, _, _ in dvc.differences(key, value, now)]
        for dep in self.lock.get("ingest", {}).get("deps", []):
            tracked = self._yaml(f"{dep['path']}.dvc")
            if tracked and tracked["outs"][0].get("md5") != dep.get("md5"):
                changed.append(dep["path"])
        return list(dict.fromkeys(changed))

    def json(self, path: str) -> Any:
        """Read a JSON file; None if it does not exist."""
        return files.read_json(self.folder / path) if (self.folder / path).is_file() else None

    def file(self, path: str) -> Path | None:
        """Fetch a file and return its path; None if the commit does not have it."""
        if not self.hash(path):
            return None
        if not (self.folder / path).is_file():
            dvc.get(self._root, self.rev, [path], self.folder, self._remote)
        return self.folder / path

    def table(self, path: str) -> pa.Table | None:
        """Read a Parquet file; None if the commit does not have it."""
        file = self.file(path)
        return tables.read_parquet(file) if file is not None else None

    def hash(self, path: str) -> str:
        """MD5 of an output; "" if there is none."""
        return outputs(self.lock).get(path, "")


def outputs(lock: Lock) -> dict[str, str]:
    """The MD5 of each output in a `dvc.lock`, by path."""
    return {out["path"]: str(out.get("md5", "")) for stage in lock.values() for out in stage.get("outs", [])}


def changes(base: dict[str, Any], head: dict[str, Any]) -> list[str]:
    """Return the files and parameters that differ between two `dvc.lock` entries of a stage."""
    files_of = [{dep["path"]: dep.get("md5") for dep in stage.get("deps", [])} for stage in (base, head)]
    found = [path for path in {**files_of[0], **files_of[1]} if files_of[0].get(path) != files_of[1].get(path)]
    params = [stage.get("params", {}).get(layout.CONFIG, {}) for stage in (base, head)]
    for key in {**params[0], **params[1]}:
        found += [f"{k} {a} -> {b}" for k, a, b in dvc.differences(key, params[0].get(key), params[1].get(key))]
    return found + (["command"] if base.get("cmd") != head.get("cmd") else [])

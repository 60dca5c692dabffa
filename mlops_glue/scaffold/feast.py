"""Read the views of an existing Feast repository from the syntax trees of its definitions, without running them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlops_glue import source as sources
from mlops_glue.scaffold.script import Reader
from mlops_glue.scaffold.values import Unknown
from mlops_glue.source import dotted

CLOCK = "event_timestamp"  # Feast's default name for the time of a label


@dataclass
class FeastView:
    """One view of a table in a local file."""

    name: str
    path: Path
    entities: list[str] = field(default_factory=list)  # their join keys
    timestamp: str | None = None
    created: str | None = None
    ttl_days: float | None = None
    fields: list[str] = field(default_factory=list)  # empty: every column


def views(folder: Path) -> tuple[list[FeastView], list[str]]:
    """Return the views of a folder's repository that read a local file, and a note on each other view."""
    trees = [sources.read(file.name, file.read_bytes()) for file in sorted(folder.rglob("*.py"))]
    body = [node for read in trees if read is not None for node in read.tree.body]
    reader = Reader("definitions.py", ast.Module(body, []), {}, [])
    found: list[FeastView] = []
    notes: list[str] = []
    for call, name in reader.calls:
        kind = name.rpartition(".")[2] if name.startswith("feast.") else ""
        if kind in ("FeatureView", "BatchFeatureView"):
            view = _view(_evaluate(reader, call), folder)
            if isinstance(view, FeastView):
                found.append(view)
            else:
                notes.append(view)
        elif kind in ("on_demand_feature_view", "StreamFeatureView"):
            notes.append(f"the view of {kind} is left out: copy it to glue/feature_repo to name it in features.use")
    return found, notes


def _evaluate(reader: Reader, node: ast.expr) -> Any:
    """Return the value of an expression, or None; for a call its class as `kind`, and its named arguments."""
    last = (reader.bound.get(node.id) or [node])[-1] if isinstance(node, ast.Name) else node
    if isinstance(last, ast.List | ast.Tuple):
        return [_evaluate(reader, one) for one in last.elts]
    if isinstance(last, ast.Call) and (name := dotted(last.func, reader.names)).startswith("feast."):
        given = dict(zip(["name"], last.args, strict=False)) | {k.arg: k.value for k in last.keywords if k.arg}
        return {"kind": name.rpartition(".")[2], **{key: _evaluate(reader, value) for key, value in given.items()}}
    try:
        return reader.value(last)
    except Unknown:
        return None


def _view(view: dict[str, Any], folder: Path) -> FeastView | str:
    """Return the view, or the note why it is left out."""
    name = str(view.get("name") or "?")
    source = view.get("source") or view.get("batch_source") or view.get("input")
    source = source if isinstance(source, dict) else {"kind": "an unknown source"}
    path = source.get("path")
    if source["kind"] != "FileSource" or not isinstance(path, str):
        return f"view {name} reads {source['kind']}: left out, as its table is not here"
    files = [file for base in (folder, folder.parent) if (file := (base / path).resolve()).is_file()]
    if not files:
        return f"view {name} reads {path}, which {absent(folder, path)}"
    keys = [key for entity in view.get("entities") or [] for key in _keys(entity)]
    schema = [one["name"] for one in view.get("schema") or view.get("features") or [] if isinstance(one, dict)]
    ttl = view.get("ttl")
    return FeastView(
        name,
        files[0],
        keys,
        source.get("timestamp_field") or source.get("event_timestamp_column"),
        source.get("created_timestamp_column"),
        ttl / timedelta(days=1) if isinstance(ttl, timedelta) else None,
        [str(column) for column in schema if column not in keys],
    )


def _keys(entity: Any) -> list[str]:
    """Return the join keys of an entity, also of an entity that is only named."""
    if isinstance(entity, dict):
        entity = entity.get("join_keys") or entity.get("join_key") or entity.get("name")
    return [str(key) for key in entity] if isinstance(entity, list) else [str(entity)] if entity else []


def has_dvc(folder: Path) -> bool:
    """Return whether the repository that contains a folder uses DVC."""
    return any((one / ".dvc").is_dir() for one in (folder, *folder.parents))


def absent(folder: Path, path: str) -> str:
    """Return the note that a file which a script names does not exist, and how to get it."""
    how = ": save it in the repository" if "://" in path else ": dvc pull?" if has_dvc(folder) else ""
    return f"does not exist{how}"

"""The views of a Feast repository that is there: by the syntax trees of its definitions, which are not run."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue import source as sources
from mlops_glue.scaffold.script import Reader
from mlops_glue.scaffold.values import Unknown
from mlops_glue.source import dotted

CLOCK = "event_timestamp"  # what Feast calls the time of a label, unless told otherwise
DAY_S = 86_400
SPANS = {"days": 1.0, "weeks": 7.0, "hours": 1 / 24, "minutes": 1 / 1440, "seconds": 1 / DAY_S}  # of timedelta, in days


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
    """Of the repository in a folder: the views that read a local file, and what else is told of the others."""
    found: list[FeastView] = []
    notes: list[str] = []
    reader = Reader("definitions.py", ast.Module([], []), {}, [])
    calls: list[ast.Call] = []
    for file in sorted(folder.rglob("*.py")):
        read = sources.read(file.name, file.read_bytes())
        if read is not None:
            of_file = Reader(file.name, read.tree, {}, [])
            reader.bound |= of_file.bound
            reader.names |= of_file.names
            calls += [call for call, name in of_file.calls if name.startswith("feast.")]
    for call in calls:
        kind = dotted(call.func, reader.names).rpartition(".")[2]
        if kind in ("FeatureView", "BatchFeatureView"):
            view = _view(reader, call, folder)
            if isinstance(view, FeastView):
                found.append(view)
            else:
                notes.append(view)
        elif kind in ("on_demand_feature_view", "StreamFeatureView"):
            notes.append(f"what {kind} makes is not brought in: features.use takes it once it is in glue/feature_repo")
    return found, notes


def _view(reader: Reader, call: ast.Call, folder: Path) -> FeastView | str:
    """The view, or why it is not brought in."""
    given = _arguments(call)
    name = str(_value(reader, given.get("name")) or "?")
    source = _call(reader, given.get("source") or given.get("batch_source") or given.get("input"))
    of = _arguments(source) if source is not None else {}
    kind = dotted(source.func, reader.names).rpartition(".")[2] if source is not None else "what is not clear"
    path = _value(reader, of.get("path"))
    if kind != "FileSource" or not isinstance(path, str):
        return f"view {name} reads {kind}: not brought in, as no table of it is here"
    there = [one for base in (folder, folder.parent) if (one := (base / path).resolve()).is_file()]
    if not there:
        return f"view {name} reads {path}, which {absent(folder, path)}"
    schema = _list(reader, given.get("schema") or given.get("features"))
    keys = [key for one in _list(reader, given.get("entities")) for key in _keys(reader, one)]
    names = [str(_value(reader, _arguments(one).get("name"))) for one in schema if isinstance(one, ast.Call)]
    clock = of.get("timestamp_field") or of.get("event_timestamp_column")
    return FeastView(
        name,
        there[0],
        keys,
        _value(reader, clock),
        _value(reader, of.get("created_timestamp_column")),
        _days(reader, given.get("ttl")),
        [one for one in names if one not in keys],
    )


def _arguments(call: ast.Call) -> dict[str, ast.expr]:
    """By name; Feast's classes take a name or nothing by place."""
    return {**({"name": call.args[0]} if call.args else {}), **{k.arg: k.value for k in call.keywords if k.arg}}


def _call(reader: Reader, node: ast.expr | None) -> ast.Call | None:
    """The call that an expression, or the variable that it is, comes from."""
    last = (reader.bound.get(node.id) or [node])[-1] if isinstance(node, ast.Name) else node
    return last if isinstance(last, ast.Call) else None


def _list(reader: Reader, node: ast.expr | None) -> list[ast.expr]:
    last = (reader.bound.get(node.id) or [node])[-1] if isinstance(node, ast.Name) else node
    return list(last.elts) if isinstance(last, ast.List | ast.Tuple) else []


def _keys(reader: Reader, node: ast.expr) -> list[str]:
    """The join keys of an entity, or of one that is named as text."""
    made = _call(reader, node)
    given = _arguments(made) if made is not None else {}
    joined = _value(reader, given.get("join_keys")) or _value(reader, given.get("join_key"))
    keys = joined or _value(reader, given.get("name") if made is not None else node)
    return [str(key) for key in keys] if isinstance(keys, list) else [str(keys)] if keys else []


def _days(reader: Reader, node: ast.expr | None) -> float | None:
    """Of a `timedelta(…)`."""
    made = _call(reader, node)
    if made is None:
        return None
    parts = [("days", one) for one in made.args[:1]] + [(k.arg, k.value) for k in made.keywords]
    spans = [(SPANS.get(str(name)), _value(reader, value)) for name, value in parts]
    numbers = [of * value for of, value in spans if of is not None and isinstance(value, int | float)]
    return float(sum(numbers)) if len(numbers) == len(spans) else None


def _value(reader: Reader, node: ast.expr | None) -> Any:
    try:
        return None if node is None else reader.value(node)
    except Unknown:
        return None


def has_dvc(folder: Path) -> bool:
    """Does DVC keep files of the repository that a folder is in?"""
    return any((one / ".dvc").is_dir() for one in (folder, *folder.parents))


def absent(folder: Path, path: str) -> str:
    """That a file which a script names is not there, and what would bring it."""
    how = ": save it in the repository" if "://" in path else ": dvc pull?" if has_dvc(folder) else ""
    return f"is not there{how}"

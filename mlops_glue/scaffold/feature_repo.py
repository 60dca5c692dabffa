"""The Feast repository that `glue init` proposes for tables: entities, views with their types and TTL."""

from __future__ import annotations

import importlib.util
import keyword
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlops_glue import files, layout
from mlops_glue.dates import WRITE_DATES, as_datetime, infer_day_first
from mlops_glue.errors import DataError, MissingExtra, UsageError, first_line
from mlops_glue.parsing import is_text

CREATED = re.compile(r"(?i)^(created|ingested|inserted|loaded|recorded|known)(_?(at|on|time|timestamp|date))?$")
DAY_S = 86_400
IMPORTED = {"timedelta", "Entity", "FeatureView", "Field", "FileSource", "ValueType"}  # in the template
IMPORTED |= {"Bool", "Float64", "Int64", "String", "UnixTimestamp"}


@dataclass(frozen=True)
class NewView:
    """A view as the template of the definitions takes it."""

    name: str
    of: Any  # the table that it reads
    path: str  # relative to the Feast repository
    entities: list[str]
    timestamp: str
    created: str | None
    ttl_days: int
    ttl_reason: str
    fields: list[tuple[str, str]]


def created(dates: list[str]) -> str | None:
    """The date column that says when a row became known, by its name."""
    return next((name for name in dates if CREATED.match(name)), None)


def views(tables: list[Any], label: Any, target: str, notes: list[str]) -> list[NewView]:
    """A view for each table of features; of a single table with entity and timestamp, one of its own columns.

    Args:
        tables: `Table`s of `glue init`.
        label: the one that has the target.
        target: the column to predict.
        notes: what the user should know is added.
    """
    others = [table for table in tables if table is not label]
    if not others and not (label.entities and isinstance(label.when, str)):
        return []
    if importlib.util.find_spec("feast") is None:
        if others:
            raise MissingExtra("feast", "features")
        notes.append('no Feast repository is written: feast is not installed (pip install "mlops-glue[features]")')
        return []
    if others and not isinstance(label.when, str):
        raise UsageError(
            f"{label.file.name}: which column says when a label was so? Features are joined as known at its time",
            hint="--timestamp COLUMN",
        )
    if not others and _twins(label):
        notes.append(
            f"no Feast repository is written: rows of {label.file.name} share {label.entities[0]} and {label.when}, so "
            "its columns tell of the row, not of the entity at a time"
        )
        return []
    _check_types(tables)
    taken = {_variable(key): key for table in tables for key in table.entities}
    twins = sorted({key for table in tables for key in table.entities} - set(taken.values()))
    if twins:
        raise UsageError(
            f"--entity {twins[0]} and {taken[_variable(twins[0])]}: both would be called {_variable(twins[0])}",
            hint="rename one of the columns",
        )
    found = [_view(table, table is label, target, notes) for table in others or [label]]
    names: list[str] = []
    for view in found:  # Feast takes names that differ in case alone for one
        names.append(identifier(view.name, {name.casefold() for name in (*taken, *names)}))
    return [replace(view, name=name) for view, name in zip(found, names, strict=True)]


def as_in_feast(view: NewView, found: Sequence[Any]) -> list[NewView]:
    """The view as a Feast repository has it: its name, TTL and fields; several where several read the table."""
    own = [one for one in found if one.path == view.of.file]
    made = []
    for one in own:
        days = view.ttl_days if one.ttl_days is None else math.ceil(one.ttl_days)
        reason = view.ttl_reason if one.ttl_days is None else "as in the repository's own view"
        fields = [(name, kind) for name, kind in view.fields if not one.fields or name in one.fields]
        name = identifier(one.name, set())
        made.append(replace(view, name=name, ttl_days=days, ttl_reason=reason, fields=fields))
    return made or [view]


def identifier(text: str, taken: set[str]) -> str:
    """A name in Python, and so in Feast: letters, digits and `_`, no word of the language's, none that is taken."""
    name = re.sub(r"\W", "_", text)
    if not name.isidentifier() or keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in IMPORTED:
        name = f"table_{name}"
    name = name if name.isidentifier() else re.sub(r"[^A-Za-z0-9_]", "_", name)  # \w has more than Python takes
    name = f"table{name}" if name.startswith("_") else name
    return name if name.casefold() not in taken else identifier(f"{name}_2", taken)


def _twins(table: Any) -> bool:
    keys = table.rows.select([*table.entities, table.when])
    return bool(keys.group_by(keys.column_names).aggregate([]).num_rows < keys.num_rows)


def _check_types(tables: list[Any]) -> None:
    """A key is of one type wherever it stands."""
    seen: dict[str, tuple[str, str]] = {}
    for table in tables:
        for key in table.entities:
            kind = _type(table.rows.schema.field(key).type)
            if key in seen and seen[key][0] != kind:
                raise UsageError(
                    f"--entity {key}: is {seen[key][0]} in {seen[key][1]} and {kind} in {table.file.name}",
                    hint="write it the same way in both",
                )
            seen[key] = (kind, table.file.name)


def _type(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return "Int64"
    if pa.types.is_floating(kind):
        return "Float64"
    if pa.types.is_boolean(kind):
        return "Bool"
    if is_text(kind):
        return "String"
    return "UnixTimestamp" if pa.types.is_timestamp(kind) else ""


def _view(table: Any, is_label: bool, target: str, notes: list[str]) -> NewView:
    fields = []
    for p in table.usable:
        kind = _type(table.rows.schema.field(p.name).type)
        fits = {"number": ("Int64", "Float64"), "category": ("String",), "boolean": ("Bool",)}
        if p.name == target or p.kind is None:
            if p.kind is None and not is_label:
                notes.append(f"{table.file.name}: left out {p.name!r}: {p.reason}")
            continue
        odd = re.search(r"[:@]|__", p.name)
        if kind in fits.get(p.kind, ("UnixTimestamp",)) and odd is None:
            fields.append((p.name, kind))
        elif not is_label:  # of the labels' table it stays a column
            why = f"Feast takes no {odd.group()!r} in a name" if odd else f"it is a {p.kind} written as text"
            notes.append(f"{table.file.name}: left out {p.name!r}: {why}")
    days, reason = time_to_live(table)
    path = layout.TABLE if is_label else f"{layout.INGESTED}/{table.name}.parquet"
    return NewView(
        table.name,
        table,
        f"../{path}",
        [_variable(key) for key in table.entities],
        table.when or "event_timestamp",
        table.created,
        days,
        reason,
        fields,
    )


def _variable(key: str) -> str:
    return identifier(f"entity_{key}", set())


def time_to_live(table: Any) -> tuple[int, str]:
    """Twice the gap that 95 % of the rows of an entity keep to the one before; for ever where nothing repeats."""
    if table.when is None:
        return 0, "for ever: the table has no clock"
    frame = table.rows.select([*table.entities, table.when]).to_pandas()
    clock = table.rows.column(table.when)
    try:
        frame[table.when] = as_datetime(clock, infer_day_first(clock))
    except (ValueError, TypeError) as error:
        raise DataError(f"{table.file.name}: timestamp {table.when}: {first_line(error)}", hint=WRITE_DATES) from None
    gaps = frame.sort_values(table.when).groupby(table.entities)[table.when].diff().dropna()
    if gaps.empty:
        return 0, "for ever: no entity has a second row"
    usual = gaps.quantile(0.95).total_seconds() / DAY_S
    return max(1, math.ceil(2 * usual)), f"twice the {usual:.3g} days in which 95 % of the rows follow; 0 is for ever"


def answers(found: list[NewView], project: str) -> dict[str, Any]:
    """What `files` takes, as JSON has it."""
    keys = {_variable(key): key for view in found for key in view.of.entities}
    kinds = {key: _type(view.of.rows.schema.field(key).type) for view in found for key in view.of.entities}
    entities = [
        {"variable": variable, "key": key, "type": "INT64" if kinds[key] == "Int64" else "STRING"}
        for variable, key in keys.items()
    ]
    named = re.sub(r"\W", "_", project).lstrip("_") or "project"
    views = [{key: value for key, value in vars(view).items() if key != "of"} for view in found]
    return {"project": named, "entities": entities, "views": views}


def repository_files(answers: dict[str, Any]) -> dict[str, str]:
    """`feature_store.yaml` and `definitions.py` by path."""
    settings = (layout.feature_repo() / "feature_store.yaml").read_text(encoding="utf-8")
    page = layout.templates() / "feast" / "definitions.py"
    return {
        "feature_repo/feature_store.yaml": settings.replace(
            "project: fraud_detection", f"project: {answers['project']}", 1
        ),
        "feature_repo/definitions.py": files.render(page, answers),
    }

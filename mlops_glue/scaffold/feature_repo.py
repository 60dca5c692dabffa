"""The Feast repository that `glue init` proposes for tables: entities, and views with their types and TTL."""

from __future__ import annotations

import importlib.util
import keyword
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_glue import files, layout
from mlops_glue.dates import WRITE_DATES, as_datetime, infer_day_first
from mlops_glue.errors import DataError, MissingExtra, UsageError, first_line
from mlops_glue.parsing import is_text
from mlops_glue.words import equal_but_for_case

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.scaffold.feast import FeastView
    from mlops_glue.scaffold.infer import Table

DAY_S = 86_400
IMPORTED = {"timedelta", "Entity", "FeatureView", "Field", "FileSource", "ValueType"}  # in the template
IMPORTED |= {"Bool", "Float64", "Int64", "String", "UnixTimestamp"}
FITTING = {"number": ("Int64", "Float64"), "category": ("String",), "boolean": ("Bool",)}  # types by column kind


@dataclass(frozen=True)
class NewView:
    """A view to define."""

    name: str
    table: Table  # the table that it reads
    path: str  # relative to the Feast repository
    ttl_days: int
    ttl_reason: str
    fields: list[tuple[str, str]]  # with their types


def views(tables: list[Table], label: Table, target: str, notes: list[str]) -> list[NewView]:
    """Return a view for each table of features; for a single table with entity and timestamp, a view of its columns.

    What the user should know is added to `notes`.

    Raises:
        UsageError: the labels have no timestamp, a key has two types, or columns of a table differ only in case.
        MissingExtra: Feast is not installed.
    """
    others = [table for table in tables if table is not label]
    if not others and not (label.entities and isinstance(label.when, str)):
        return []
    if importlib.util.find_spec("feast") is None:
        if others:
            raise MissingExtra("feast", "features")
        notes.append('wrote no Feast repository: feast is not installed (pip install "mlops-glue[features]")')
        return []
    if others and not isinstance(label.when, str):
        raise UsageError(
            f"{label.file.name}: which column is the time of a label? Features are joined with the values known then",
            hint="--timestamp COLUMN",
        )
    if not others and _has_twins(label):
        notes.append(
            f"wrote no Feast repository: rows of {label.file.name} share {label.entities[0]} and {label.when}, so its "
            "columns describe the row, not the entity at a time"
        )
        return []
    for table in others or [label]:
        if twins := equal_but_for_case(table.rows.column_names):
            problem = f"columns {twins} differ only in case, which Feast's stores do not tell apart"
            if others:
                raise UsageError(f"{table.file.name}: {problem}", hint="rename all but one")
            notes.append(f"wrote no Feast repository: {label.file.name}: {problem}")
            return []
    _check_types(tables)
    found = []
    taken = {variable.casefold() for variable in _variables(tables).values()}
    for table in others or [label]:
        name = identifier(table.name, taken)
        taken.add(name.casefold())  # Feast treats names that differ only in case as the same
        days, reason = time_to_live(table)
        path = layout.TABLE if table is label else f"{layout.INGESTED}/{table.name}.parquet"
        fields = _fields(table, target, notes if table is not label else [])
        found.append(NewView(name, table, f"../{path}", days, reason, fields))
    return found


def as_in_feast(view: NewView, found: Sequence[FeastView]) -> list[NewView]:
    """Return the view with the name, TTL and fields of the existing Feast view; several if several read the table."""
    made = []
    for own in (own for own in found if own.path == view.table.file):
        fields = [(name, kind) for name, kind in view.fields if not own.fields or name in own.fields]
        named = replace(view, name=identifier(own.name, set()), fields=fields)
        if own.ttl_days is not None:
            named = replace(named, ttl_days=math.ceil(own.ttl_days), ttl_reason="as in the repository's own view")
        made.append(named)
    return made or [view]


def identifier(text: str, taken: set[str]) -> str:
    """Return the text as a free name in Python, and so in Feast: letters, digits and `_`, but no keyword."""
    name = re.sub(r"\W", "_", text)
    if not name.isidentifier() or keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in IMPORTED:
        name = f"table_{name}"
    name = name if name.isidentifier() else re.sub(r"[^A-Za-z0-9_]", "_", name)  # \w matches more than Python allows
    name = f"table{name}" if name.startswith("_") else name
    return name if name.casefold() not in taken else identifier(f"{name}_2", taken)


def _variables(tables: list[Table]) -> dict[str, str]:
    """Return the variable of each entity, by its key."""
    made: dict[str, str] = {}
    for key in (key for table in tables for key in table.entities):
        made.setdefault(key, identifier(f"entity_{key}", {name.casefold() for name in made.values()}))
    return made


def _has_twins(table: Table) -> bool:
    """Return whether two rows share keys and time."""
    keys = table.rows.select([*table.entities, str(table.when)])
    return bool(keys.group_by(keys.column_names).aggregate([]).num_rows < keys.num_rows)


def _check_types(tables: list[Table]) -> None:
    """Check that a key has the same type in every table.

    Raises:
        UsageError: a key has two types.
    """
    seen: dict[str, tuple[str, str]] = {}
    for table in tables:
        for key in table.entities:
            kind = _type(table.rows.schema.field(key).type)
            first, file = seen.setdefault(key, (kind, table.file.name))
            if first != kind:
                raise UsageError(
                    f"--entity {key}: is {first} in {file} and {kind} in {table.file.name}",
                    hint="write it the same way in both",
                )


def _type(kind: pa.DataType) -> str:
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


def _fields(table: Table, target: str, notes: list[str]) -> list[tuple[str, str]]:
    """Return the columns that become fields, with their types; a note explains why another column does not."""
    fields = []
    for p in (p for p in table.usable if p.name != target):
        kind = _type(table.rows.schema.field(p.name).type)
        odd = re.search(r"[:@]|__", p.name)
        if p.kind is None:
            notes.append(f"{table.file.name}: left out {p.name!r}: {p.reason}")
        elif odd is not None:
            notes.append(f"{table.file.name}: left out {p.name!r}: Feast does not allow {odd.group()!r} in a name")
        elif kind not in FITTING.get(p.kind, ("UnixTimestamp",)):
            notes.append(f"{table.file.name}: left out {p.name!r}: it is a {p.kind} written as text")
        else:
            fields.append((p.name, kind))
    return fields


def time_to_live(table: Table) -> tuple[int, str]:
    """Return twice the gap that 95 % of an entity's rows keep to the row before, with the reason; 0 means for ever."""
    if not isinstance(table.when, str):
        return 0, "for ever: the table has no timestamp"
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
    reason = f"twice the {usual:.3g} days within which 95 % of the rows follow the row before; 0 means for ever"
    return max(1, math.ceil(2 * usual)), reason


def answers(found: list[NewView], project: str) -> dict[str, Any]:
    """Return the values of the template, as JSON values."""
    variables = _variables([view.table for view in found])
    kinds = {key: _type(view.table.rows.schema.field(key).type) for view in found for key in view.table.entities}
    entities = [
        {"variable": variable, "key": key, "type": "INT64" if kinds[key] == "Int64" else "STRING"}
        for key, variable in variables.items()
    ]
    views = [
        {
            "name": view.name,
            "path": view.path,
            "entities": [variables[key] for key in view.table.entities],
            "timestamp": view.table.when or "event_timestamp",
            "created": view.table.created,
            "ttl_days": view.ttl_days,
            "ttl_reason": view.ttl_reason,
            "fields": view.fields,
        }
        for view in found
    ]
    return {"project": re.sub(r"\W", "_", project).lstrip("_") or "project", "entities": entities, "views": views}


def repository_files(answers: dict[str, Any]) -> dict[str, str]:
    """Return the text of `feature_store.yaml` and `definitions.py`, by path."""
    settings = (layout.feature_repo() / "feature_store.yaml").read_text(encoding="utf-8")
    own = settings.replace("project: fraud_detection", f"project: {answers['project']}", 1)
    page = files.render(layout.templates() / "feast" / "definitions.py", answers)
    return {"feature_repo/feature_store.yaml": own, "feature_repo/definitions.py": page}

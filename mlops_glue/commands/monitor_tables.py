"""`glue monitor --reference A --current B`: has one table another distribution than the other? No model, no project."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.commands.init import read_or_sample
from mlops_glue.errors import DataError, UsageError, did_you_mean
from mlops_glue.monitoring.drift import Version, Watch
from mlops_glue.monitoring.window import Sampled, pieces_of
from mlops_glue.pipeline.featurize import column_of
from mlops_glue.pipeline.profile import STEADY, Profile, find_timestamp, infer_task, profile
from mlops_glue.schema import Kind, Schema, encode
from mlops_glue.summary import Reference, inputs, outcome, summarised

PAGE_ROWS = 2000  # of each table
SHOWN = 12  # columns in the terminal


def monitor_tables(
    reference: str, current: str, *, page: bool = True, as_json: bool = False, env: str | None = None
) -> int:
    """Compare them by the limits of `monitor` in `glue.yaml`, where there is one. Returns 1 where they differ.

    Args:
        reference: a table, whose columns and kinds count; a column `prediction` counts as what a model said.
        current: the table that is compared with it.
        page: draw Evidently's page.
        as_json: print the whole verdict.
        env: an entry of `environments`.
    """
    for option, name in (("--reference", reference), ("--current", current)):
        io.existing(f"{option} {name}", Path(name))
    root, settings = _project(env)
    with contextlib.ExitStack() as stack:
        painter = None
        if page:  # it imports for seconds, meanwhile
            from mlops_glue.adapters.evidently import Painter

            painter = stack.enter_context(Painter())
        notes: list[str] = []
        table = read_or_sample(Path(reference), notes)
        sampled, before = Sampled(PAGE_ROWS), Sampled(PAGE_ROWS)
        before.add(table)

        def pieces(schema: Schema) -> Iterator[Any]:
            for piece in pieces_of(Path(current), schema.types, schema.decimal):
                sampled.add(piece)
                yield piece

        told, version = compared(table, pieces, settings, Path(reference))
        told |= {"reference": reference, "current": current, "page": None, "notes": notes}
        if painter is not None:
            both = before.table(), sampled.table()
            about = {"title": f"{Path(current).name} against {Path(reference).name}"}
            painter.draw(root / layout.PAGE, *both, version.schema, told["columns"], told, about)
            told["page"] = str(root / layout.PAGE)
    _tell(told, as_json)
    return 1 if told["verdict"] == "drift" else 0


def _project(env: str | None) -> tuple[Path, configs.Monitor]:
    """Where the page goes, and the limits: the project's, else this folder and the defaults."""
    try:
        root = layout.find_root()
    except UsageError:
        return Path.cwd(), configs.Monitor()
    return root, configs.load(root, env, tables=False, needs=()).monitor


def compared(
    reference: Any, current: Callable[[Schema], Iterable[Any]], settings: configs.Monitor, where: Path
) -> tuple[dict[str, Any], Version]:
    """One table against another one: the verdict of the monitor, and what was compared with.

    Args:
        reference: a table, as `io.read_table` gives it.
        current: the other one in pieces, given what the columns are.
        settings: `monitor`.
        where: the reference's file, for messages.
    """
    version, left_out = as_version(where, reference)
    watch = Watch(version)
    for piece in current(version.schema):
        watch.add(piece)
    told = watch.verdict(settings)
    del told["version"]
    told["other_columns"] = [name for name in told["other_columns"] if name not in left_out]
    return told | {"left_out": left_out}, version


def as_version(path: Path, table: Any) -> tuple[Version, dict[str, str]]:
    """A table as what another one is compared with, and the columns that are left out, with the reason.

    A column that is empty, or has one value only, teaches a model nothing; here it counts: it may fill, or move.
    """
    import pyarrow as pa

    names = table.column_names
    apart = [name for name in names if name == "prediction" or name.startswith("probability_")]
    found = profile(table.drop_columns(apart))
    when = find_timestamp(found)  # differs between any two periods, and is no drift
    clock = [when] if isinstance(when, str) else when or []
    kinds = {p.name: p.kind or steady(p, table.column(p.name)) for p in found if p.name not in clock}
    decimal = io.read_as(table)["decimal"]
    columns = [column_of(name, kind, table.column(name), decimal) for name, kind in kinds.items() if kind is not None]
    if not columns:
        raise DataError(f"{path}: no column is left to compare", hint=did_you_mean("", names))
    task, labels = "regression", None
    if "prediction" in names:
        task = infer_task(table.column("prediction"))
        labels = None if task == "regression" else sorted(table.column("prediction").unique().drop_null().to_pylist())
    schema = Schema(task, "", columns, labels, decimal=decimal)
    encoded = pa.table(encode(table, schema, where=str(path)))
    summaries = {name: summarised(encoded.column(name), method) for name, method in inputs(schema).items()}
    said = outcome(schema, names)
    prediction = summarised(table.column(said[0]), said[1]) if said else None
    weights = dict.fromkeys(summaries, 1 / len(summaries))
    reasons = {p.name: p.reason for p in found if p.name not in clock and kinds[p.name] is None}
    left_out = reasons | dict.fromkeys(clock, "it says when")
    return Version(0, schema, Reference(summaries, weights, prediction), path), left_out


def steady(found: Profile, values: Any) -> Kind | None:
    """The kind of a column with one value or none; None where it is of another type than those that are read.

    A constant date is left out: it says of when a table is, and is another one in every other table.
    """
    import pyarrow as pa

    if found.reason not in STEADY or pa.types.is_temporal(values.type):
        return None
    if pa.types.is_boolean(values.type):
        return "boolean"
    return "number" if io.is_number(values.type) or pa.types.is_decimal(values.type) else "category"


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.result_json(told)
        return
    notes = list(told["notes"])
    for name, reason in told["left_out"].items():
        notes.append(f"left out {name!r}: {reason}")
    for name in told["other_columns"]:
        notes.append(f"{name!r} is not in {told['reference']}")
    for note in notes:
        console.progress(note)
    for name in told["drifted"][:SHOWN]:
        one = told["columns"][name]
        far = "" if one["distance"] is None else f"  {one['distance']:.3f}  (from {_number(one['threshold'])})"
        console.result(f"  {name}  {one['why']}{far}")
    if told["prediction"] is not None and told["prediction"]["drifted"]:
        one = told["prediction"]
        console.result(f"  prediction  {_number(one['distance'])}  (from {_number(one['threshold'])})")
    share = ""
    if told["drift_share"] is not None:
        share = (
            f"; {len(told['drifted'])} of {len(told['columns'])} columns drift (alert above {told['threshold']:.0%})"
        )
    console.result(
        f"{told['current']} against {told['reference']}, {console.rows(told['rows'])}: {told['verdict']}{share}"
    )
    if told["page"] is not None:
        console.result(told["page"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:z.3f}"

"""`glue monitor --reference A --current B`: has one table another distribution than the other? No model, no project."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.commands.init import read_or_sample
from mlops_glue.errors import DataError, UsageError, did_you_mean
from mlops_glue.monitoring.drift import Version, Watch
from mlops_glue.monitoring.window import Sampled, pieces_of
from mlops_glue.pipeline.featurize import column_of
from mlops_glue.pipeline.profile import find_timestamp, infer_task, profile
from mlops_glue.schema import Schema, encode
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
        version, left_out = _as_version(Path(reference), table)
        watch, sampled, before = Watch(version), Sampled(PAGE_ROWS), Sampled(PAGE_ROWS)
        before.add(table)
        for piece in pieces_of(Path(current), version.schema.types, version.schema.decimal):
            watch.add(piece)
            sampled.add(piece)
        told = watch.verdict(settings)
        del told["version"]
        told["other_columns"] = [name for name in told["other_columns"] if name not in left_out]
        told |= {"reference": reference, "current": current, "left_out": left_out, "page": None}
        if painter is not None:
            both = before.table(), sampled.table()
            painter.draw(root / layout.PAGE, *both, version.schema, told["columns"], told)
            told["page"] = str(root / layout.PAGE)
    _tell(told, notes, as_json)
    return 1 if told["verdict"] == "drift" else 0


def _project(env: str | None) -> tuple[Path, configs.Monitor]:
    """Where the page goes, and the limits: the project's, else this folder and the defaults."""
    try:
        root = layout.find_root()
    except UsageError:
        return Path.cwd(), configs.Monitor()
    return root, configs.load(root, env, tables=False, needs=()).monitor


def _as_version(path: Path, table: Any) -> tuple[Version, dict[str, str]]:
    """A table as what another one is compared with, and the columns that are left out, with the reason."""
    import pyarrow as pa

    names = table.column_names
    apart = [name for name in names if name == "prediction" or name.startswith("probability_")]
    found = profile(table.drop_columns(apart))
    when = find_timestamp(found)  # differs between any two periods, and is no drift
    clock = [when] if isinstance(when, str) else when or []
    columns = []
    for p in found:
        if p.kind is not None and p.name not in clock:
            columns.append(column_of(p.name, p.kind, table.column(p.name), io.read_as(table)["decimal"]))
    if not columns:
        raise DataError(f"{path}: no column is left to compare", hint=did_you_mean("", names))
    task, labels = "regression", None
    if "prediction" in names:
        task = infer_task(table.column("prediction"))
        labels = None if task == "regression" else sorted(table.column("prediction").unique().drop_null().to_pylist())
    schema = Schema(task, "", columns, labels, decimal=io.read_as(table)["decimal"])
    encoded = pa.table(encode(table, schema, where=str(path)))
    summaries = {name: summarised(encoded.column(name), method) for name, method in inputs(schema).items()}
    said = outcome(schema, names)
    prediction = summarised(table.column(said[0]), said[1]) if said else None
    weights = dict.fromkeys(summaries, 1 / len(summaries))
    left_out = {p.name: p.reason for p in found if p.kind is None} | dict.fromkeys(clock, "it says when")
    return Version(0, schema, Reference(summaries, weights, prediction), path), left_out


def _tell(told: dict[str, Any], notes: list[str], as_json: bool) -> None:
    if as_json:
        console.result_json(told)
        return
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
    console.result(f"{told['current']} against {told['reference']}, {told['rows']:,} rows: {told['verdict']}{share}")
    if told["page"] is not None:
        console.result(told["page"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

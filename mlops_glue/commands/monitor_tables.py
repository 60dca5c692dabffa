"""`glue monitor --reference A --current B`: compare the distributions of two tables, without a model or project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import console, layout, tables
from mlops_glue.adapters.evidently import Painter
from mlops_glue.errors import UsageError
from mlops_glue.monitoring import wording
from mlops_glue.monitoring.sample import PAGE_ROWS, RowSample
from mlops_glue.monitoring.tables import compared
from mlops_glue.monitoring.window import pieces_of
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa


def monitor_tables(
    reference: str, current: str, *, page: bool = True, as_json: bool = False, env: str | None = None
) -> int:
    """Compare the tables by the limits of `monitor` in `glue.yaml`, if there is one. Return 1 if they differ."""
    for option, name in (("--reference", reference), ("--current", current)):
        tables.find_table(f"{option} {name}", Path(name))
    root, settings = _project(env)
    with (
        Painter() if page else contextlib.nullcontext() as painter
    ):  # imports its packages in the background for seconds
        notes: list[str] = []
        table = tables.read_or_sample(Path(reference), notes)
        sampled, before = RowSample(PAGE_ROWS), RowSample(PAGE_ROWS)
        before.add(table)

        def pieces(schema: Schema) -> Iterator[pa.Table]:
            for piece in pieces_of(Path(current), schema.types, schema.decimal):
                sampled.add(piece)
                yield piece

        verdict, version = compared(table, pieces, settings, Path(reference))
        verdict |= {"reference": reference, "current": current, "page": None, "notes": notes}
        if painter is not None:
            both = before.table(), sampled.table()
            about = {"title": f"{Path(current).name} against {Path(reference).name}"}
            painter.draw(root / layout.PAGE, *both, version.schema, verdict["columns"], verdict, about)
            verdict["page"] = str(root / layout.PAGE)
    _print(verdict, as_json)
    return 1 if verdict["verdict"] == "drift" else 0


def _project(env: str | None) -> tuple[Path, configs.Monitor]:
    """Return the page's folder and the limits: the project's, else this folder and the defaults."""
    try:
        root = layout.find_root()
    except UsageError:
        return Path.cwd(), configs.Monitor()
    return root, configs.load(root, env, tables=False, needs=()).monitor


def _print(verdict: wording.Verdict, as_json: bool) -> None:
    if as_json:
        console.result_json(verdict)
        return
    left_out = [f"left out {name!r}: {reason}" for name, reason in verdict["left_out"].items()]
    unknown = [f"{name!r} is not in {verdict['reference']}" for name in verdict["other_columns"]]
    for note in (*verdict["notes"], *left_out, *unknown):
        console.progress(note)
    for line in filter(None, [*wording.drifted_columns(verdict), wording.sampled(verdict)]):
        console.result(f"  {line}")
    console.result(wording.headline(f"{verdict['current']} against {verdict['reference']}", verdict))
    if verdict["page"] is not None:
        console.result(verdict["page"])

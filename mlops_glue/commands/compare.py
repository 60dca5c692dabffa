"""`glue compare`: versions, runs, commits or files of metrics side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, files, layout, pages
from mlops_glue.delivery.fetch import read_only
from mlops_glue.delivery.side_by_side import SideBySide, side_by_side
from mlops_glue.delivery.sides import resolve
from mlops_glue.report import side_by_side as report
from mlops_glue.scaffold.outputs import output_file


def compare(
    what: Sequence[str] = (), *, output: str | None = None, as_json: bool = False, env: str | None = None
) -> int:
    """Print the differences and the holdout's metrics; with `output`, also write a page."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    if output is not None:
        output_file(root, output, config)
    store = read_only(root, config)
    found = side_by_side(config, root, store, resolve(config, root, store, what), draw=output is not None)
    if output is not None:
        target = Path(output)
        frame = pages.Frame(
            config.project,
            [f"model {config.model_name}"],
            datetime.now(UTC).isoformat(timespec="seconds"),
            pages.links(target.resolve().parent, "compare") if target.stem == "compare" else (),
        )
        files.write_text(target, report.page(found, frame))
        console.progress(f"wrote {output}")
    if as_json:
        console.result_json(files.json_value(report.record(found)))
    else:
        _print(found)
    return 0


def _print(found: SideBySide) -> None:
    for line in report.headlines(found):
        console.result(line)
    for at, table in enumerate(report.all_tables(found)):
        if at or found.comparisons:
            console.result()
        console.result(table.title)
        if table.rows:
            console.table(table.rows, table.head)
        for note in table.notes:
            console.result(note)
    for heading, lines in report.code(found):
        console.result()
        for line in [heading, *lines]:
            console.result(line)
    for problem in found.problems if found.comparisons else []:
        console.progress(problem)

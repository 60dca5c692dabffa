"""Evidently's page of a window, drawn from a sample of the rows of the version that has most."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, tables
from mlops_glue.drift import prediction_column, sample_part
from mlops_glue.monitoring.drift import Version
from mlops_glue.monitoring.observe import Observed
from mlops_glue.monitoring.sample import PAGE_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.evidently import Painter


def draw(root: Path, observed: Observed, record: dict[str, Any], painter: Painter | None) -> None:
    """Draw the page, and note in the record where it is."""
    record["page"] = None
    if painter is None or not observed.monitors:
        return
    (monitor, rows), verdict = observed.monitors[0], record["versions"][0]
    columns = verdict["columns"] | ({"prediction": verdict["prediction"]} if verdict["prediction"] else {})
    about = {"title": f"{record['model']} v{monitor.version.number}", **link_to_report(root)}
    if observed.since is not None:
        about["window"] = f"{observed.since:%Y-%m-%d %H:%M} to {observed.until:%Y-%m-%d %H:%M} UTC"
    reference, current = samples(monitor.version, rows)
    painter.draw(root / layout.PAGE, reference, current, monitor.version.schema, columns, verdict, about)
    record["page"] = layout.PAGE


def link_to_report(root: Path) -> dict[str, str]:
    """The way from the page to the project's report, where there is one."""
    report = root / layout.REPORT
    return {"back": os.path.relpath(report, (root / layout.PAGE).parent)} if report.is_file() else {}


def samples(version: Version, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows of the reference and of the window, each with one column `prediction`: what prediction drift is about."""
    sample = tables.read_parquet(version.folder / layout.SAMPLE)
    train, holdout = (sample_part(sample, part) for part in ("train", "test"))
    return _with_prediction(version, train, holdout), _with_prediction(version, rows, rows)


def _with_prediction(version: Version, table: pa.Table, predicted: pa.Table) -> pa.Table:
    """Rows of a table, with predictions that may be of other rows."""
    found = prediction_column(version.schema, predicted.column_names)
    if found is not None:
        values = predicted.column(found[0]).take(np.arange(table.num_rows) % predicted.num_rows)
        table = table.drop([name for name in table.column_names if name == "prediction"])
        table = table.append_column("prediction", values)
    return table.take(tables.evenly_spaced(table.num_rows, PAGE_ROWS))

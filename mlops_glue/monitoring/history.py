"""What is left of each run of the monitor: the whole verdict, a row of history, gauges."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files, layout, tables
from mlops_glue.errors import GlueError, ToolError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
OF_PERFORMANCE = ("metric", "value", "low", "high", "estimated", "labelled", "coverage")


def keep(root: Path, record: dict[str, Any]) -> None:
    """Write `latest.json`, add to the history, replace the gauges: each whatever becomes of the others.

    Raises:
        ToolError: the first that could not be written.
    """
    month = f"{record['time']:%Y-%m}.parquet"
    writes: list[tuple[str, Callable[[], None]]] = [
        (layout.LATEST, lambda: files.write_json(root / layout.LATEST, record)),
        (layout.HISTORY, lambda: _add(root / layout.HISTORY / month, _row(record))),
        (layout.GAUGES, lambda: files.write_text(root / layout.GAUGES, "".join(gauges(record)))),
    ]
    problem = None
    for path, write in writes:
        try:
            write()
        except (OSError, ValueError, GlueError) as error:
            message = f"{path}: what the monitor found is not kept: {first_line(error)}"
            problem = problem or ToolError(message, hint=f"is there room, and may {path} be written?")
    if problem is not None:
        raise problem


def _add(path: Path, row: pa.Table) -> None:
    """A row more; a file that is torn, or no history, is put aside."""
    import pyarrow as pa

    if os.path.lexists(path):
        try:
            row = pa.concat_tables([tables.read_parquet(path), row], promote_options="default")
        except (OSError, ValueError) as error:  # Arrow's errors are among these
            named = f"{layout.HISTORY}/{files.set_aside(path).name}"
            torn = f"{layout.HISTORY}/{path.name} cannot be read ({first_line(error, 80)})"
            log.warning("warning: %s: it is %s now", torn, named)
    tables.write_parquet(path, row)


def past(root: Path) -> pa.Table | None:
    """Every run so far, the oldest first; None where there was none. What cannot be read is left out."""
    import pyarrow as pa

    found: pa.Table | None = None
    for file in sorted((root / layout.HISTORY).glob("*.parquet")):
        with contextlib.suppress(OSError, ValueError):
            table = tables.read_parquet(file)
            found = table if found is None else pa.concat_tables([found, table], promote_options="default")
    return found


def _row(record: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    micros = pa.timestamp("us", "UTC")
    types = {
        **dict.fromkeys(("time", "since", "until"), micros),
        **dict.fromkeys(("env", "model", "versions"), pa.string()),
        "rows": pa.int64(),
        "verdict": pa.string(),
        **dict.fromkeys(("drift_share", "prediction_drift"), pa.float64()),
        "metric": pa.string(),
        **dict.fromkeys(("value", "low", "high"), pa.float64()),
        "estimated": pa.bool_(),
        "labelled": pa.int64(),
        "coverage": pa.float64(),
        "columns": pa.string(),
    }
    main = record["versions"][0] if record["versions"] else {"columns": {}}
    performance = record["performance"] or {}
    row = {
        **{key: record[key] for key in ("time", "since", "until", "env", "model", "rows", "verdict")},
        **{key: record[key] for key in ("drift_share", "prediction_drift")},
        **{key: performance.get(key) for key in OF_PERFORMANCE},
        "versions": ",".join(str(version["version"]) for version in record["versions"]),
        "columns": json.dumps({name: version["distance"] for name, version in main["columns"].items()}),
    }
    return pa.Table.from_pylist([row], pa.schema(list(types.items())))


def gauges(record: dict[str, Any]) -> list[str]:
    """The run in Prometheus' text format, for node_exporter's textfile collector."""
    model = {"model": record["model"], "env": record["env"] or ""}
    out = _gauge("glue_monitor_run_timestamp_seconds", "When the monitor ran.", [(model, record["time"].timestamp())])
    verdicts = [({**model, "verdict": v}, float(v == record["verdict"])) for v in VERDICTS]
    out += _gauge("glue_monitor_verdict", "1 for the verdict of the last run of the monitor.", verdicts)
    by_version = [({**model, "version": str(version["version"])}, version) for version in record["versions"]]
    for key, text in (("rows", "Rows compared."), ("drift_share", "Share of the weight that drifted.")):
        out += _gauge(f"glue_monitor_{key}", text, [(labels, version[key]) for labels, version in by_version])
    distances = [(labels, (version["prediction"] or {}).get("distance")) for labels, version in by_version]
    out += _gauge("glue_monitor_prediction_distance", "Distance of the predictions from the holdout's.", distances)
    columns = [
        ({**labels, "column": name}, of) for labels, version in by_version for name, of in version["columns"].items()
    ]
    for key, text in COLUMN_GAUGES.items():
        out += _gauge(f"glue_monitor_column_{key}", text, [(labels, of[key]) for labels, of in columns])
    return out


VERDICTS = ("ok", "drift", "performance", "not enough data")
COLUMN_GAUGES = {
    "distance": "Distance of a column from what the version was trained on.",
    "threshold": "Distance from which a column counts as drifted.",
    "null_share": "Share of nulls in a column.",
}


def _gauge(name: str, text: str, samples: Sequence[tuple[dict[str, str], float | None]]) -> list[str]:
    known = [(labels, value) for labels, value in samples if value is not None and math.isfinite(value)]
    head = [f"# HELP {name} {text}\n", f"# TYPE {name} gauge\n"] if known else []
    return head + [f"{name}{{{_labels(labels)}}} {value:.10g}\n" for labels, value in known]


def _labels(labels: dict[str, str]) -> str:
    escaped = {k: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())

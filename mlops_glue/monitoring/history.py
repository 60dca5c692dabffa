"""The files that each monitoring run writes: the complete record, a line of history, and gauges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.errors import ToolError, first_line
from mlops_glue.monitoring.wording import Record

OF_RUN = ("env", "model", "rows", "verdict", "drift_share", "prediction_drift")
OF_PERFORMANCE = ("metric", "value", "low", "high", "estimated", "labelled", "coverage")
VERDICTS = ("ok", "drift", "performance", "not enough data")
GAUGES = {
    "run_timestamp_seconds": "Time of the last monitoring run.",
    "verdict": "1 for the verdict of the last monitoring run.",
    "rows": "Number of rows compared.",
    "drift_share": "Share of the column weight that drifted.",
    "prediction_distance": "Distance of the predictions from the holdout predictions.",
    "column_distance": "Distance of a column from the training data.",
    "column_threshold": "Distance above which a column counts as drifted.",
    "column_null_share": "Share of nulls in a column.",
    "performance": "Metric on the rows in the window; estimated if too few rows have a label.",
    "performance_low": "Lower end of the metric's 95 % interval.",
    "performance_high": "Upper end of the metric's 95 % interval.",
    "performance_holdout": "The same metric on the holdout.",
}


def keep(root: Path, record: Record) -> None:
    """Write `latest.json`, the history and the gauges. A failure in one does not stop the others.

    Raises:
        ToolError: a file could not be written; reports the first failure.
    """
    writes: dict[str, Callable[[], None]] = {
        layout.LATEST: partial(files.write_json, root / layout.LATEST, record),
        layout.HISTORY: partial(_add, root / layout.HISTORY, record),
        layout.GAUGES: lambda: files.write_text(root / layout.GAUGES, gauges(record)),
    }
    problem = None
    for path, write in writes.items():
        try:
            write()
        except OSError as error:
            message = f"{path}: the monitoring result was not saved: {first_line(error)}"
            problem = problem or ToolError(message, hint=f"check the free disk space and the permissions of {path}")
    if problem is not None:
        raise problem


def _add(path: Path, record: Record) -> None:
    main = record["versions"][0]["columns"] if record["versions"] else {}
    times = {key: record[key] and record[key].isoformat(timespec="seconds") for key in ("time", "since", "until")}
    line = {
        **times,
        **{key: record[key] for key in OF_RUN},
        **{key: (record["performance"] or {}).get(key) for key in OF_PERFORMANCE},
        "versions": [version["version"] for version in record["versions"]],
        "columns": {name: column["distance"] for name, column in main.items()},
    }
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:  # starts a new line, in case a killed run left an incomplete one
        file.write(f"\n{json.dumps(files.json_value(line), ensure_ascii=False)}")


def past(root: Path) -> Iterator[dict[str, Any]]:
    """Yield all runs, oldest first. Incomplete lines from killed runs are skipped."""
    path = root / layout.HISTORY
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            run = json.loads(line)
        except ValueError:
            continue
        yield run


def gauges(record: Record) -> str:
    """Return the run in Prometheus' text format, for node_exporter's textfile collector."""
    run = {"model": record["model"], "env": record["env"] or ""}
    samples = [("run_timestamp_seconds", run, record["time"].timestamp())]
    samples += [("verdict", {**run, "verdict": verdict}, float(verdict == record["verdict"])) for verdict in VERDICTS]
    for version in record["versions"]:
        labels = {**run, "version": str(version["version"])}
        samples += [(key, labels, version[key]) for key in ("rows", "drift_share")]
        samples.append(("prediction_distance", labels, (version["prediction"] or {}).get("distance")))
        measured = version["performance"]
        if measured is not None and measured["value"] is not None:
            of_metric = {**labels, "metric": measured["metric"], "estimated": str(measured["estimated"]).lower()}
            samples.append(("performance", of_metric, measured["value"]))
            samples += [(f"performance_{end}", of_metric, measured[end]) for end in ("low", "high")]
            samples.append(("performance_holdout", of_metric, measured["holdout"]["value"]))
        for name, column in version["columns"].items():
            of_column = {**labels, "column": name}
            samples += [(f"column_{key}", of_column, column[key]) for key in ("distance", "threshold", "null_share")]
    lines = []
    for name, text in GAUGES.items():
        known = [(labels, value) for key, labels, value in samples if key == name and value is not None]
        lines += [f"# HELP glue_monitor_{name} {text}", f"# TYPE glue_monitor_{name} gauge"] if known else []
        lines += [f"glue_monitor_{name}{{{_labels(at)}}} {value:.10g}" for at, value in known if math.isfinite(value)]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    escaped = {k: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())

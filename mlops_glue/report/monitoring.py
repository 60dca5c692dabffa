"""What the monitor found: its last run in full, the runs before in a line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.errors import first_line
from mlops_glue.monitoring.history import past

MOST_RUNS = 20


@dataclass(frozen=True)
class Monitoring:
    """The last run of the monitor and those before."""

    log: bool  # does `glue serve` keep what it is asked?
    problem: str | None = None
    latest: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)  # of the same model and environment, newest first
    versions: list[dict[str, Any]] = field(default_factory=list)  # of the last run, with a list of columns


def monitoring(config: configs.Config, root: Path) -> Monitoring:
    """What the last runs of the monitor found; where something cannot be read, that it is so."""
    log = config.serve.prediction_log is not None
    if not (root / layout.LATEST).is_file():
        return Monitoring(log)
    try:
        latest = files.read_json(root / layout.LATEST)
        own = [run for run in past(root) if (run["model"], run["env"]) == (latest["model"], latest["env"])]
        runs = own[-MOST_RUNS:][::-1]
        versions = [{**version, "columns": _columns(version, runs)} for version in latest["versions"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Monitoring(log, f"{layout.MONITORING} cannot be read: {first_line(error)}")
    return Monitoring(log, None, latest, runs, versions)


def _columns(version: Mapping[str, Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a version was asked, by column: the prediction, then what drifted, then by weight; and the run before."""
    own = [run for run in runs if run["versions"][:1] == [version["version"]]]
    before = own[1] if len(own) > 1 else {"columns": {}, "prediction_drift": None}
    rows = [
        {**found, "name": name, "before": before["columns"].get(name)} for name, found in version["columns"].items()
    ]
    rows.sort(key=lambda row: (not row["drifted"], -row["weight"]))
    if version["prediction"]:
        prediction = {**version["prediction"], "name": "prediction", "weight": None}
        rows.insert(0, {**prediction, "before": before["prediction_drift"]})
    return rows

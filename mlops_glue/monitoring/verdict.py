"""What a run of the monitor found, as one record: the verdict of the window is the worst of its versions'."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue.errors import GlueError
from mlops_glue.monitoring import wording
from mlops_glue.monitoring.observe import Observed

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

WORST_FIRST = (*wording.ALERTING, "ok")


def findings(config: configs.Config, now: datetime, observed: Observed, answering: set[int]) -> dict[str, Any]:
    """The whole record, which `latest.json` keeps."""
    versions = [rows.monitor.verdict(config.monitor) | {"performance": rows.performance} for rows in observed.versions]
    shares = [version["drift_share"] for version in versions if version["drift_share"] is not None]
    distances = [version["prediction"]["distance"] for version in versions if version["prediction"]]
    record = {
        "time": now,
        "since": observed.since,
        "until": observed.until,
        "env": config.environment,
        "model": config.model_name,
        "rows": sum(version["rows"] for version in versions),
        "min_rows": config.monitor.min_rows,
        "drift_share": max(shares, default=None),
        "prediction_drift": max((distance for distance in distances if distance is not None), default=None),
        "problems": [*observed.problems, *filter(None, map(wording.unanswered, versions))],
        "versions": versions,
    }
    combine_verdicts(record, answering, target=config.monitor.drift.target)
    return record


def combine_verdicts(record: dict[str, Any], answering: set[int], *, target: bool) -> None:
    """Put performance, and drift of the labels where `target` asks for it, into the verdicts of versions and window."""
    for version in record["versions"]:
        performance = version["performance"]
        if performance is not None and performance["verdict"] == "performance":
            version["verdict"] = "performance"
        elif target and version["verdict"] == "ok" and wording.label_drift(performance):
            version["verdict"] = "drift"
        version["former"] = version["version"] not in answering
    current = [version for version in record["versions"] if not version["former"]]
    found = {version["verdict"] for version in current}
    record["verdict"] = next((verdict for verdict in WORST_FIRST if verdict in found), "not enough data")
    record["performance"] = next((version["performance"] for version in current if version["performance"]), None)


def answering_versions(store: Store, config: configs.Config, observed: Observed) -> set[int]:
    """The versions that still answer: what a former one was asked is reported, and alarms nobody."""
    aliases = ["champion", *([config.serve.canary.alias] if config.serve.canary else [])]
    try:
        return {number for alias in aliases if (number := store.get_alias(config.model_name, alias)) is not None}
    except GlueError as error:  # the registry is gone since the bundles came
        observed.problems.append(f"every version counts, as it is not known which one answers: {error.message}")
        return {rows.version.number for rows in observed.versions}

"""What a run of the monitor found, as a message takes it."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.monitoring import alerts, wording
from mlops_glue.monitoring.verdict import ALERTING

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

log = logging.getLogger(__name__)
COLUMNS = 8  # of a message for programs


def alert(config: configs.Config, root: Path, store: Store, record: dict[str, Any], now: datetime) -> None:
    """Send what is new to the channels, and add to the record what came of it.

    Which alerts are open is kept in the registry too: the machine of a job ends with the job, and the next one must
    know.
    """
    if not (config.monitor.alerts.channels or config.monitor.alerts.webhooks):
        return
    model = config.model_name
    shared = alerts.Shared(
        lambda: store.get_model_tag(model, alerts.TAG), lambda state: store.set_model_tag(model, alerts.TAG, state)
    )
    sent = alerts.notify(root, config.monitor.alerts, summary(record, root), now=now, shared=shared)
    record["alert"] = {"event": sent.event, "since": sent.since, "sent": sent.sent, "problems": sent.problems}
    for line in (*(f"not told: {problem}" for problem in sent.problems), *sent.notes):
        log.warning("warning: %s", line)


def summary(record: dict[str, Any], root: Path) -> dict[str, Any]:
    """What was found as `alerts.notify` takes it: what, by how much, where to look."""
    current = [version for version in record["versions"] if not version["former"]]
    columns = [
        {"column": name, **{key: version["columns"][name][key] for key in ("distance", "threshold", "why")}}
        for version in current
        for name in version["drifted"]
    ]
    shares = [version["drift_share"] for version in current if version["drift_share"] is not None]
    env = f" --env {record['env']}" if record["env"] else ""
    return {
        "model": record["model"],
        "env": record["env"],
        "verdict": record["verdict"],
        "severity": _severity(record, max(shares, default=0.0)),
        "time": record["time"].isoformat(timespec="seconds"),
        "window": [time and time.isoformat(timespec="seconds") for time in (record["since"], record["until"])],
        "rows": record["rows"],
        "drift_share": max(shares, default=0.0),
        "columns": columns[:COLUMNS],
        "performance": record["performance"],
        "report": str(root / (record.get("page") or layout.LATEST)),
        "look": f"glue monitor{env}",
        "lines": wording.incident(current, record["performance"]),
    }


def _severity(record: dict[str, Any], share: float) -> float:
    """The share of the weight that drifted, or a tenth of how many times the allowed drop was lost."""
    performance, lost = record["performance"], 0.0
    if performance is not None and performance["verdict"] == "performance":
        lost = max((performance["worse"] or 0.0) / (performance["drop"] or 1.0) / 10, alerts.WORSE)
    return max(share, lost, alerts.WORSE if record["verdict"] in ALERTING else 0.0)

"""Alerts: sent when an incident begins, when it becomes worse, and when it is resolved.

Open incidents are stored in a tag of the registered model, so that all machines share them. An alert counts as sent
once a channel accepted it; an alert that no channel accepted is due again in the next run. If the registry cannot
record an alert, it may be sent twice, but is not lost. The caller holds the monitor's lock.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, NonNegativeFloat, TypeAdapter

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.config import Alerts, span
from mlops_glue.errors import GlueError
from mlops_glue.monitoring import wording

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

log = logging.getLogger(__name__)
Event = Literal["opened", "worse", "resolved", "test"]
Findings = dict[str, Any]  # as `summary` returns it
Message = dict[str, Any]  # as `make_message` returns it
Send = Callable[[Message], None]  # sends a message; raises GlueError
TRIES, FIRST_PAUSE_S = 3, 1.0
TAG = "glue.alerts"  # of the registered model
WORSE = 0.1  # the increase in severity that is reported as worse
COLUMNS = 8  # in a message for programs


class Incident(BaseModel):
    """The alerts sent about a model in one environment.

    Attributes:
        open: whether the last conclusive verdict was bad.
        since: when the incident began, in ISO 8601.
        announced: whether a channel accepted the alert that it began.
        event: the event of the last alert.
        severity: the severity in the last alert.
        sent_at: when the last alert was sent.
        missing: the channels that have not accepted the last alert.
    """

    open: bool = False
    since: str | None = None
    announced: bool = False
    event: Event | None = None
    severity: NonNegativeFloat = 0.0
    sent_at: AwareDatetime | None = None
    missing: list[str] = []


INCIDENTS = TypeAdapter(dict[str, Incident])  # by environment


@dataclass(frozen=True)
class Notified:
    """The alerts of one run.

    Attributes:
        event: the event of the alert that was due, or None.
        since: when the open incident began, in ISO 8601.
        sent: the channels that accepted an alert.
        problems: the channels that did not, with the reason.
    """

    event: Event | None
    since: str | None
    sent: list[str]
    problems: list[str]


def channels(options: Alerts) -> dict[str, Send]:
    """Return a send function for each channel of `monitor.alerts`, by its key in `glue.yaml` and its variables' names.

    The URLs are secrets: they are resolved when they are used, and never printed. For a channel that needs a package,
    `scaffold.workflows` contains the extra.
    """
    found: dict[str, Send] = {}
    for at, url in enumerate(options.channels):
        where = f"monitor.alerts.channels.{at}"
        found[_named(where, url)] = partial(_by_apprise, where, url)
    for at, hook in enumerate(options.webhooks):
        where = f"monitor.alerts.webhooks.{at}"
        found[_named(where, hook.url)] = partial(_by_webhook, where, hook)
    return found


def _named(where: str, url: str) -> str:
    names = configs.references(url)
    return where + (f" ({', '.join(names)})" if names else "")


def _by_apprise(where: str, url: str, message: Message) -> None:
    from mlops_glue.adapters import apprise

    apprise.send(configs.resolve(url, where), message["title"], message["text"])


def _by_webhook(where: str, hook: configs.Webhook, message: Message) -> None:
    from mlops_glue.adapters import webhook

    secret = configs.resolve(hook.secret, f"{where}.secret") if hook.secret is not None else None
    body = json.dumps(message, ensure_ascii=False).encode()
    webhook.send(configs.resolve(hook.url, f"{where}.url"), body, message["id"], secret)


def deliver(message: Message, to: dict[str, Send], seconds: float) -> dict[str, str | None]:
    """Send to all channels in parallel. Return each channel's problem, or None if it accepted the message.

    Each channel has three attempts with increasing pauses. The time limit for all channels is `seconds`.
    """
    out: dict[str, str | None] = {}
    end = time.monotonic() + seconds

    def attempt(name: str, send: Send) -> None:
        problem = None
        for at in range(TRIES):
            try:
                send(message)
                out[name] = None
                return
            except GlueError as error:
                problem = error.message
            except Exception as error:  # from a channel's own library
                problem = type(error).__name__
            pause = FIRST_PAUSE_S * 2**at * random.uniform(0.5, 1)  # noqa: S311 - jitter
            if at + 1 == TRIES or time.monotonic() + pause > end:
                break
            time.sleep(pause)
        out[name] = problem

    threads = [threading.Thread(target=attempt, args=channel, daemon=True) for channel in to.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    answers = dict(out)
    return {name: answers.get(name, f"did not answer within {seconds:g} s") for name in to}


def alert(config: configs.Config, root: Path, store: Store, record: wording.Record, now: datetime) -> None:
    """Send the alerts that are due, and add the result to the record."""
    if not channels(config.monitor.alerts):
        return
    result = notify(config.monitor.alerts, summary(record, root), store, now)
    record["alert"] = vars(result)
    for problem in result.problems:
        log.warning("warning: alert not sent: %s", problem)


def notify(options: Alerts, findings: Findings, store: Store, now: datetime) -> Notified:
    """Send an alert if one is due, or else the last alert to the channels that have not accepted it."""
    model, env = findings["model"], findings["env"] or ""
    before = _incidents(store, model).get(env, Incident())
    incident = follow(before, findings)
    event = due(incident, findings, now, span(options.cooldown))
    to = channels(options)
    if event is None:
        verdict = findings["verdict"]
        fits = verdict == "ok" if incident.event == "resolved" else verdict in wording.ALERTING
        to = {name: send for name, send in to.items() if fits and name in incident.missing}
    results: dict[str, str | None] = {}
    if to:
        message = make_message(event or incident.event or "opened", findings, incident.since)
        results = deliver(message, to, options.timeout_s)
        missing = [name for name, problem in results.items() if problem is not None]
        if len(missing) < len(to):
            incident = after(incident, event, findings, now, missing)
    if incident != before:
        _keep(store, model, env, incident)
    sent = [name for name, problem in results.items() if problem is None]
    problems = [f"{name}: {problem}" for name, problem in results.items() if problem is not None]
    return Notified(event, incident.since if incident.open else None, sent, problems)


def _incidents(store: Store, model: str) -> dict[str, Incident]:
    """Read the incidents from the registry, by environment."""
    try:
        return INCIDENTS.validate_json(store.get_model_tag(model, TAG) or "{}")
    except (GlueError, ValueError):
        log.warning("warning: the registry's tag %s cannot be read: an alert may be sent again", TAG)
        return {}


def _keep(store: Store, model: str, env: str, incident: Incident) -> None:
    """Record an incident in the registry, without changing those of other environments."""
    try:
        incidents = _incidents(store, model) | {env: incident}
        store.set_model_tag(model, TAG, INCIDENTS.dump_json(incidents).decode())
    except GlueError as error:
        log.warning("warning: the alert was not recorded in the registry and may be sent again: %s", error.message)


def follow(incident: Incident, findings: Findings) -> Incident:
    """Return the incident after a verdict. An inconclusive verdict (not enough data) changes nothing."""
    if findings["verdict"] in wording.ALERTING and not incident.open:
        new = {"open": True, "since": findings["time"], "announced": False, "severity": 0.0, "missing": []}
        return incident.model_copy(update=new)
    if findings["verdict"] == "ok" and incident.open and not incident.announced:
        return incident.model_copy(update={"open": False})
    return incident


def due(incident: Incident, findings: Findings, now: datetime, cooldown: timedelta) -> Event | None:
    """Return the alert that is due.

    Within the cooldown after an alert, no incident is opened and none is reported as worse. The end of an announced
    incident is always reported.
    """
    if findings["verdict"] == "ok":
        return "resolved" if incident.open else None
    if findings["verdict"] not in wording.ALERTING or (
        incident.sent_at is not None and now - incident.sent_at < cooldown
    ):
        return None
    if not incident.announced:
        return "opened"
    return "worse" if findings["severity"] >= incident.severity + WORSE else None


def after(incident: Incident, event: Event | None, findings: Findings, now: datetime, missing: list[str]) -> Incident:
    """Return the incident after a channel accepted an alert, or the last one again. `missing` channels have not."""
    if event is None:
        return incident.model_copy(update={"missing": missing})
    is_open = event != "resolved"
    sent = {"open": is_open, "announced": is_open, "event": event, "severity": findings["severity"], "sent_at": now}
    return incident.model_copy(update={**sent, "missing": missing})


def summary(record: wording.Record, root: Path) -> Findings:
    """Return a run's findings for a message: the columns that drifted, by how much, and where to look."""
    current = [version for version in record["versions"] if not version["former"]]
    columns = [
        {"column": name, **{key: version["columns"][name][key] for key in ("distance", "threshold", "why")}}
        for version in current
        for name in version["drifted"]
    ]
    share = max((version["drift_share"] or 0.0 for version in current), default=0.0)
    env = f" --env {record['env']}" if record["env"] else ""
    return {
        "model": record["model"],
        "env": record["env"],
        "verdict": record["verdict"],
        "severity": _severity(record, share),
        "time": record["time"].isoformat(timespec="seconds"),
        "window": [time and time.isoformat(timespec="seconds") for time in (record["since"], record["until"])],
        "rows": record["rows"],
        "drift_share": share,
        "columns": columns[:COLUMNS],
        "performance": record["performance"],
        "report": str(root / (record.get("page") or layout.LATEST)),
        "look": f"glue monitor{env}",
        "lines": wording.incident(current, record["performance"]),
    }


def _severity(record: wording.Record, share: float) -> float:
    """Return the share of the weight that drifted, or if it is larger, a tenth of the drop relative to the limit."""
    performance, lost = record["performance"], 0.0
    if performance is not None and performance["verdict"] == "performance":
        lost = (performance["worse"] or 0.0) / (performance["drop"] or 1.0) / 10
    return max(share, lost, WORSE if record["verdict"] in wording.ALERTING else 0.0)


def make_message(event: Event, findings: Findings, since: str | None) -> Message:
    """Build a message: `title` and `text` for people, and all values for programs."""
    model = findings["model"] + (f" in {findings['env']}" if findings["env"] else "")
    problem = {"performance": "performance dropped", "drift": "drift detected"}.get(findings["verdict"], "")
    title = {
        "opened": f"{model}: {problem}",
        "worse": f"{model}: worse since the last alert: {problem}",
        "resolved": f"{model}: resolved, back to normal",
        "test": f"{model}: test alert",
    }[event]
    lines = [
        *findings["lines"],
        f"since {since}" if since else "",
        f"report: {findings['report']}",
        f"details: {findings['look']}",
    ]
    facts = {key: value for key, value in findings.items() if key != "lines"}
    text = "\n".join(line for line in lines if line)
    return {"id": f"msg_{uuid.uuid4().hex}", "type": event, "title": title, "text": text, **facts, "since": since}


def send_test(options: Alerts, model: str, env: str | None, report: Path) -> dict[str, str | None]:
    """Send a test to every channel. Return each channel's problem, or None if it accepted the message."""
    findings = {"model": model, "env": env, "verdict": "ok", "report": str(report), "look": "glue monitor"}
    lines = ["Nothing is wrong: this is a test alert."]
    return deliver(make_message("test", findings | {"lines": lines}, None), channels(options), options.timeout_s)

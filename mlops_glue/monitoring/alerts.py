"""Alerts: one when an incident begins, one when it becomes worse, one when it is over.

Which incidents are open is kept in a tag of the registered model, where every machine finds it. An alert counts as sent
once a channel has taken it: one that reached nobody is due again in the next run. So is one that the registry could not
note: it may come twice, and is not lost. The caller holds the monitor's lock.
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
Findings = dict[str, Any]  # what `summary` gives
Message = dict[str, Any]  # what `make_message` gives
Send = Callable[[Message], None]  # takes a message; raises GlueError
TRIES, FIRST_PAUSE_S = 3, 1.0
TAG = "glue.alerts"  # of the registered model
WORSE = 0.1  # more of the weight has drifted, or of the allowed drop is lost
COLUMNS = 8  # of a message for programs


class Incident(BaseModel):
    """What has been sent about a model in one environment.

    Attributes:
        open: the last verdict that was good or bad is bad.
        since: when the incident began, in ISO 8601.
        announced: a channel has taken that it began.
        event: of the last alert.
        severity: of the last alert.
        sent_at: when the last alert was sent.
        missing: channels that have not taken the last alert.
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
    """What came of one run.

    Attributes:
        event: of the alert that was due, or None.
        since: when the open incident began, in ISO 8601.
        sent: channels that took an alert.
        problems: channels that did not, and why.
    """

    event: Event | None
    since: str | None
    sent: list[str]
    problems: list[str]


def channels(options: Alerts) -> dict[str, Send]:
    """How to send to each channel of `monitor.alerts`, by its key in `glue.yaml` and the names of its variables.

    The URLs are secrets: they are looked up when they are used, and never printed. A kind of channel that needs a
    package has its extra in `scaffold.workflows` too.
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
    """Send to all at once; the problem of each channel, None where it took the message.

    Each has three tries with growing pauses, and all of them together `seconds`: a channel that hangs costs no more.
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
            except Exception as error:  # of a channel's own library
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
    return {name: answers.get(name, f"did not answer in {seconds:g} s") for name in to}


def alert(config: configs.Config, root: Path, store: Store, record: wording.Record, now: datetime) -> None:
    """Send what is new to the channels, and add to the record what came of it."""
    if not channels(config.monitor.alerts):
        return
    result = notify(config.monitor.alerts, summary(record, root), store, now)
    record["alert"] = vars(result)
    for problem in result.problems:
        log.warning("warning: not sent: %s", problem)


def notify(options: Alerts, findings: Findings, store: Store, now: datetime) -> Notified:
    """Send an alert where one is due, else the last one to the channels that have not taken it."""
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
    """What the registry keeps, by environment."""
    try:
        return INCIDENTS.validate_json(store.get_model_tag(model, TAG) or "{}")
    except (GlueError, ValueError):
        log.warning("warning: the registry's tag %s cannot be read: an alert may be sent again", TAG)
        return {}


def _keep(store: Store, model: str, env: str, incident: Incident) -> None:
    """Note an incident in the registry; those of other environments stay."""
    try:
        incidents = _incidents(store, model) | {env: incident}
        store.set_model_tag(model, TAG, INCIDENTS.dump_json(incidents).decode())
    except GlueError as error:
        log.warning("warning: the registry does not note the alert, which may be sent again: %s", error.message)


def follow(incident: Incident, findings: Findings) -> Incident:
    """The incident after a verdict; one that is neither good nor bad (not enough data) changes nothing."""
    if findings["verdict"] in wording.ALERTING and not incident.open:
        new = {"open": True, "since": findings["time"], "announced": False, "severity": 0.0, "missing": []}
        return incident.model_copy(update=new)
    if findings["verdict"] == "ok" and incident.open and not incident.announced:
        return incident.model_copy(update={"open": False})
    return incident


def due(incident: Incident, findings: Findings, now: datetime, cooldown: timedelta) -> Event | None:
    """The alert that is due.

    Within the cooldown after an alert no other one says that something began or became worse. That an announced
    incident is over is always sent.
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
    """The incident once a channel has taken an alert, or the last one again; `missing` have not."""
    if event is None:
        return incident.model_copy(update={"missing": missing})
    is_open = event != "resolved"
    sent = {"open": is_open, "announced": is_open, "event": event, "severity": findings["severity"], "sent_at": now}
    return incident.model_copy(update={**sent, "missing": missing})


def summary(record: wording.Record, root: Path) -> Findings:
    """What a run findings as a message has it: what drifted, by how much, where to look."""
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
    """The share of the weight that drifted, or a tenth of how many times the allowed drop was lost."""
    performance, lost = record["performance"], 0.0
    if performance is not None and performance["verdict"] == "performance":
        lost = (performance["worse"] or 0.0) / (performance["drop"] or 1.0) / 10
    return max(share, lost, WORSE if record["verdict"] in wording.ALERTING else 0.0)


def make_message(event: Event, findings: Findings, since: str | None) -> Message:
    """A message: for people `title` and `text`, for programs all of it."""
    model = findings["model"] + (f" in {findings['env']}" if findings["env"] else "")
    what = {"performance": "performs worse", "drift": "drifts"}.get(findings["verdict"], "is as it was trained")
    title = {
        "opened": f"{model} {what}",
        "worse": f"{model}: worse since the last alert; it {what}",
        "resolved": f"{model}: over, it {what}",
        "test": f"{model}: a test of the alerts",
    }[event]
    lines = [
        *findings["lines"],
        f"since {since}" if since else "",
        f"report: {findings['report']}",
        f"look: {findings['look']}",
    ]
    facts = {key: value for key, value in findings.items() if key != "lines"}
    text = "\n".join(line for line in lines if line)
    return {"id": f"msg_{uuid.uuid4().hex}", "type": event, "title": title, "text": text, **facts, "since": since}


def send_test(options: Alerts, model: str, env: str | None, report: Path) -> dict[str, str | None]:
    """Send a test to every channel; the problem of each, None where it took the message."""
    findings = {"model": model, "env": env, "verdict": "ok", "report": str(report), "look": "glue monitor"}
    lines = ["Nothing is wrong: this is a test of the alerts."]
    return deliver(make_message("test", findings | {"lines": lines}, None), channels(options), options.timeout_s)

"""Who is told, and when: once when something begins, when it becomes worse, when it is over.

The state of each model is in one file, replaced as a whole, under a lock that is held while messages are sent: two
monitors at once tell of one thing once. What a channel did not take is tried again by the next run.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from mlops_glue import config as configs
from mlops_glue import io, layout
from mlops_glue.config import Alerts, span
from mlops_glue.errors import GlueError, ToolError

Event = Literal["opened", "worse", "resolved", "test"]
TRIES, FIRST_PAUSE_S = 3, 1.0
ANSWER_S = 5.0  # for one answer of a webhook
WORSE = 0.1  # by so much more of the weight drifted, or of the allowed drop lost again
LOCK_S = 120.0


@dataclass(frozen=True)
class Channel:
    """One place to tell.

    Attributes:
        name: its key in `glue.yaml`, and the name of its variable: all that is ever told of it.
        send: takes a message; raises GlueError.
    """

    name: str
    send: Callable[[dict[str, Any]], None]


@dataclass
class Told:
    """What came of one run.

    Attributes:
        event: what was new, or None.
        since: when the incident that is open began, in ISO 8601.
        sent: channels that took what they had to.
        problems: channels that did not, and why.
    """

    event: Event | None = None
    since: str | None = None
    sent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def channels(options: Alerts) -> list[Channel]:
    """Every channel of `monitor.alerts`; its variables are looked up when it is used."""
    found = [Channel(_named("channels", at, url), _by_apprise(url, at)) for at, url in enumerate(options.channels)]
    return found + [
        Channel(_named("webhooks", at, one.url), _by_webhook(one, at)) for at, one in enumerate(options.webhooks)
    ]


def _named(key: str, at: int, url: str) -> str:
    """A place by its key: its URL is a secret, the names of variables in it are not."""
    names = configs.references(url)
    return f"monitor.alerts.{key}.{at}" + (f" ({', '.join(names)})" if names else "")


def _by_apprise(url: str, at: int) -> Callable[[dict[str, Any]], None]:
    def send(message: dict[str, Any]) -> None:
        from mlops_glue.adapters import apprise

        apprise.send(configs.resolve(url, f"monitor.alerts.channels.{at}"), message["title"], message["text"])

    return send


def _by_webhook(hook: configs.Webhook, at: int) -> Callable[[dict[str, Any]], None]:
    def send(message: dict[str, Any]) -> None:
        where = f"monitor.alerts.webhooks.{at}"
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "mlops-glue"}
        if hook.secret is not None:
            headers |= signed(configs.resolve(hook.secret, f"{where}.secret"), message["id"], time.time(), body)
        _post(configs.resolve(hook.url, f"{where}.url"), body, headers)

    return send


def signed(secret: str, message: str, at: float, body: bytes) -> dict[str, str]:
    """The headers of a signed message, as the specification of standardwebhooks.com has them.

    `webhook-signature` is `v1,` and the base64 form of HMAC-SHA256 over `id.timestamp.body`. A secret that begins with
    `whsec_` is the base64 form of the key, any other one is the key.
    """
    is_base64 = secret.startswith("whsec_")
    key = base64.b64decode(secret.removeprefix("whsec_")) if is_base64 else secret.encode()
    signature = hmac.new(key, f"{message}.{int(at)}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


class _Stays(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the body."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    if not url.startswith(("http://", "https://")):
        raise ToolError("is no http:// or https:// URL")
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if at:  # urllib would take it for a part of the host's name
        headers = headers | {"Authorization": f"Basic {base64.b64encode(unquote(user).encode()).decode()}"}
    asked = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), body, headers)  # noqa: S310 - see above
    try:
        with urllib.request.build_opener(_Stays).open(asked, timeout=ANSWER_S):
            return
    except urllib.error.HTTPError as error:
        raise ToolError(f"answered {error.code}") from None
    except (OSError, ValueError) as error:  # of what it says nothing is told: it may hold the URL
        reason = getattr(error, "reason", error)
        raise ToolError(f"did not answer ({type(reason).__name__})") from None


def delivered(message: dict[str, Any], to: list[Channel], seconds: float) -> dict[str, str | None]:
    """Send to all at once; what went wrong by channel, None where it took the message.

    Each has three tries with growing pauses, and all of them together `seconds`: a channel that hangs costs no more.
    """
    out: dict[str, str | None] = {}
    end = time.monotonic() + seconds

    def send(channel: Channel) -> None:
        said = None
        for at in range(TRIES):
            try:
                channel.send(message)
                out[channel.name] = None
                return
            except GlueError as error:
                said = error.message
            except Exception as error:  # of a channel's own library
                said = type(error).__name__
            pause = FIRST_PAUSE_S * 2**at * random.uniform(0.5, 1)  # noqa: S311 - jitter
            if at + 1 == TRIES or time.monotonic() + pause > end:
                break
            time.sleep(pause)
        out[channel.name] = said

    threads = [threading.Thread(target=send, args=[one], daemon=True) for one in to]
    for one in threads:
        one.start()
    for one in threads:
        one.join(max(end - time.monotonic(), 0))
    said = dict(out)
    return {one.name: said.get(one.name, f"did not answer in {seconds:g} s") for one in to}


def tell(root: Path, options: Alerts, found: dict[str, Any], *, now: datetime | None = None) -> Told:
    """Tell of what the monitor found, where there is something new to tell.

    Args:
        root: the project.
        options: `monitor.alerts`.
        found: what `summary` gives.
        now: the time, for tests.
    """
    from filelock import FileLock, Timeout

    now = now or datetime.now(UTC)
    lock = root / layout.ALERTS_LOCK
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, timeout=LOCK_S):
            return _tell(root / layout.ALERTS, options, found, now)
    except Timeout:
        return Told(problems=["another monitor is telling, too long: nothing was sent"])


def _tell(path: Path, options: Alerts, found: dict[str, Any], now: datetime) -> Told:
    states, problem = _states(path)
    of = f"{found['model']} {found['env'] or ''}".strip()
    event, state = step(states.get(of, {}), found, now, span(options.cooldown))
    there = channels(options)
    if event is not None:
        message = worded(event, found, state["since"])
        state["waiting"] = [*state.get("waiting", []), *({"to": c.name, "message": message} for c in there)]
    told = Told(event, state["since"] if state["open"] else None, problems=[problem] if problem else [])
    states[of] = state
    io.write_json(path, states)  # before it is sent: who is killed now tells again, and does not forget
    for message, to in _waiting(state, there):
        for name, problem in delivered(message, to, options.timeout_s).items():
            if problem is not None:
                told.problems.append(f"{name}: {problem}")
                continue
            told.sent.append(name)
            state["waiting"] = [w for w in state["waiting"] if w["to"] != name or w["message"] != message]
    names = {one.name for one in there}
    state["waiting"] = [w for w in state.get("waiting", []) if w["to"] in names][-20:]
    io.write_json(path, states)
    return told


def without_messages(path: Path) -> str:
    """The state of all models as text, without what still waits to be sent."""
    states, _ = _states(path)
    return json.dumps({of: {**state, "waiting": []} for of, state in states.items()}, sort_keys=True)


def _states(path: Path) -> tuple[dict[str, Any], str | None]:
    """The state by model, and what is wrong with the file."""
    try:
        states = io.read_json(path) if path.is_file() else {}
        if isinstance(states, dict) and all(isinstance(one, dict) for one in states.values()):
            return states, None
    except ValueError:
        pass
    return {}, f"{path.name} cannot be read: who was told of what is not known, and begins anew"


def _waiting(state: dict[str, Any], there: list[Channel]) -> Iterator[tuple[dict[str, Any], list[Channel]]]:
    """Each message that somebody has not got yet, the oldest first."""
    messages = {w["message"]["id"]: w["message"] for w in state.get("waiting", [])}
    for key, message in messages.items():
        missing = {w["to"] for w in state["waiting"] if w["message"]["id"] == key}
        yield message, [one for one in there if one.name in missing]


def step(
    state: dict[str, Any], found: dict[str, Any], now: datetime, cooldown: timedelta
) -> tuple[Event | None, dict[str, Any]]:
    """What is new for those who are told, and the state after it.

    A verdict that is neither good nor bad (not enough data) changes nothing. Within the cooldown after a message that
    something began or became worse, or is over, no other one says that it began or became worse; one that it is over
    always goes out, if that it began did.
    """
    state = {"open": False, "since": None, "severity": 0.0, "told": None, "said": False, **state}
    bad = found["verdict"] in ("drift", "performance")
    quiet = state["told"] is not None and now - datetime.fromisoformat(state["told"]) < cooldown
    if bad and not state["open"]:
        state |= {"open": True, "since": found["time"], "severity": 0.0, "said": False}
    if bad:
        grown = not state["said"] or found["severity"] >= state["severity"] + WORSE
        if quiet or not grown:
            return None, state
        event: Event = "worse" if state["said"] else "opened"
        return event, {**state, "severity": found["severity"], "told": now.isoformat(), "said": True}
    if found["verdict"] != "ok" or not state["open"]:
        return None, state
    over = {**state, "open": False, "severity": 0.0, "said": False}
    return ("resolved", {**over, "told": now.isoformat()}) if state["said"] else (None, over)


def worded(event: Event, found: dict[str, Any], since: str | None) -> dict[str, Any]:
    """A message: for people `title` and `text`, for programs all of it."""
    of = found["model"] + (f" in {found['env']}" if found["env"] else "")
    what = {"performance": "performs worse", "drift": "drifts"}.get(found["verdict"], "is as it was trained")
    title = {
        "opened": f"{of} {what}",
        "worse": f"{of}: worse since the last alert; it {what}",
        "resolved": f"{of}: over, it {what}",
        "test": f"{of}: a test of the alerts",
    }[event]
    lines = [*found["lines"], f"since {since}" if since else "", f"report: {found['report']}", f"look: {found['look']}"]
    kept = {key: value for key, value in found.items() if key != "lines"}
    text = "\n".join(line for line in lines if line)
    return {"id": f"msg_{uuid.uuid4().hex}", "type": event, "title": title, "text": text, **kept, "since": since}

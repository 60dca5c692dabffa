"""Who is told, and when: once when something begins, when it becomes worse, when it is over.

The state of each model is in one file, replaced as a whole, under a lock that is held while messages are sent: two
monitors at once tell of one thing once. What a channel did not take is tried again by the next run. Other machines know
the state from the registry: of two states of one thing the later one counts. Where a state cannot be read, kept or
locked, the message goes out all the same: it may come twice, and is not lost.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.config import Alerts, span
from mlops_glue.errors import GlueError, first_line

Event = Literal["opened", "worse", "resolved", "test"]
TRIES, FIRST_PAUSE_S = 3, 1.0
TAG = "glue.alerts"  # of the registered model: which alerts are open
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
class Notified:
    """What came of one run.

    Attributes:
        event: what was new, or None.
        since: when the incident that is open began, in ISO 8601.
        sent: channels that took what they had to.
        problems: channels that did not, and why.
        notes: what else went wrong: who was told of what is not known, or not kept.
    """

    event: Event | None = None
    since: str | None = None
    sent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shared:
    """The place where other machines find what was told: text, of all models. Both raise GlueError."""

    read: Callable[[], str | None]
    write: Callable[[str], None]


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
        from mlops_glue.adapters import webhook

        where = f"monitor.alerts.webhooks.{at}"
        secret = configs.resolve(hook.secret, f"{where}.secret") if hook.secret is not None else None
        body = json.dumps(message, ensure_ascii=False).encode()
        webhook.send(configs.resolve(hook.url, f"{where}.url"), body, message["id"], secret)

    return send


def deliver(message: dict[str, Any], to: list[Channel], seconds: float) -> dict[str, str | None]:
    """Send to all at once; what went wrong by channel, None where it took the message.

    Each has three tries with growing pauses, and all of them together `seconds`: a channel that hangs costs no more.
    """
    out: dict[str, str | None] = {}
    end = time.monotonic() + seconds

    def send(channel: Channel) -> None:
        problem = None
        for at in range(TRIES):
            try:
                channel.send(message)
                out[channel.name] = None
                return
            except GlueError as error:
                problem = error.message
            except Exception as error:  # of a channel's own library
                problem = type(error).__name__
            pause = FIRST_PAUSE_S * 2**at * random.uniform(0.5, 1)  # noqa: S311 - jitter
            if at + 1 == TRIES or time.monotonic() + pause > end:
                break
            time.sleep(pause)
        out[channel.name] = problem

    threads = [threading.Thread(target=send, args=[channel], daemon=True) for channel in to]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    answers = dict(out)
    return {channel.name: answers.get(channel.name, f"did not answer in {seconds:g} s") for channel in to}


def notify(
    root: Path,
    options: Alerts,
    found: dict[str, Any],
    *,
    now: datetime | None = None,
    shared: Shared | None = None,
) -> Notified:
    """Send what the monitor found to the channels, where it is new.

    Args:
        root: the project.
        options: `monitor.alerts`.
        found: what `summary` gives.
        now: the time, for tests.
        shared: where other machines look.
    """
    from filelock import FileLock, Timeout

    now = now or datetime.now(UTC)
    lock, result = root / layout.ALERTS_LOCK, Notified()
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(exist_ok=True)
            stack.enter_context(FileLock(lock, timeout=LOCK_S))
        except Timeout:
            return Notified(problems=["another monitor is telling, too long: nothing was sent"])
        except OSError as error:
            result.notes.append(f"{layout.ALERTS_LOCK}: {first_line(error)}: another monitor may tell of the same")
        _notify(root / layout.ALERTS, options, found, now, shared, result)
    return result


def _notify(
    path: Path, options: Alerts, found: dict[str, Any], now: datetime, shared: Shared | None, result: Notified
) -> None:
    states = merged(_states(path, result), _theirs(shared, result))
    of = f"{found['model']} {found['env'] or ''}".strip()
    before = states.get(of, {})
    result.event, state = step(before, found, now, span(options.cooldown))
    available = channels(options)
    if result.event is not None:
        message = make_message(result.event, found, state["since"])
        state["waiting"] = [*state.get("waiting", []), *({"to": c.name, "message": message} for c in available)]
        state["arrived"] = False
    if state != before:
        state["at"] = now.isoformat()
    result.since = state["since"] if state["open"] else None
    states[of] = state
    _keep(path, states, result)  # before it is sent: who is killed now tells again, and does not forget
    for message, to in _waiting(state, available):
        for name, problem in deliver(message, to, options.timeout_s).items():
            if problem is not None:
                result.problems.append(f"{name}: {problem}")
                continue
            result.sent.append(name)
            state["arrived"] = True
            state["waiting"] = [w for w in state["waiting"] if w["to"] != name or w["message"] != message]
    names = {one.name for one in available}
    state["waiting"] = [w for w in state.get("waiting", []) if w["to"] in names][-20:]
    _keep(path, states, result)
    _share(shared, states, result)


def _keep(path: Path, states: dict[str, Any], result: Notified) -> None:
    try:
        files.write_json(path, states)
    except OSError as error:
        said = f"{layout.ALERTS}: cannot be written ({first_line(error)}): the next run may tell again"
        result.notes += [said] if said not in result.notes else []


def _theirs(shared: Shared | None, result: Notified) -> dict[str, Any]:
    """What the registry has; with the registry away this machine's file has to do."""
    if shared is None:
        return {}
    try:
        return _read(shared.read() or "{}")
    except GlueError:
        return {}
    except ValueError:
        result.notes.append("who was told, as the registry has it, cannot be read: this machine's file counts")
        return {}


def _share(shared: Shared | None, states: dict[str, Any], result: Notified) -> None:
    """Bring into the registry what is later here; what other machines wrote meanwhile stays."""
    if shared is None:
        return
    mine = {of: _for_others(state) for of, state in states.items()}
    try:
        theirs = _theirs(shared, Notified())
        both = merged(theirs, mine)
        if both != theirs:
            shared.write(json.dumps(both, sort_keys=True))
    except GlueError as error:
        result.notes.append(f"who was told is not in the registry, so another machine may tell again: {error.message}")


def _for_others(state: dict[str, Any]) -> dict[str, Any]:
    """A state as other machines see it: without waiting messages, and what reached nobody was not told."""
    untold = {} if state.get("arrived", True) else {"said": False, "told": None}
    return {**state, **untold, "waiting": []}


def merged(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """States by model, of two machines: the later one of each.

    What waits to be sent is this machine's, unless the other one has told of it since.
    """
    out = dict(mine)
    for of, state in theirs.items():
        here = mine.get(of)
        if here is None or str(state.get("at", "")) > str(here.get("at", "")):
            waiting = [] if state.get("arrived") else (here or {}).get("waiting", [])
            out[of] = {**state, "waiting": waiting}
    return out


def _states(path: Path, result: Notified) -> dict[str, Any]:
    """The state by model of this machine; a file that is torn is put aside."""
    try:
        return _read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError):
        said = f"{path.name} cannot be read: who was told of what is not known, and begins anew"
        with contextlib.suppress(OSError):
            said += f"; it is {files.set_aside(path).name} now"
        result.notes.append(said)
        return {}


def _read(text: str) -> dict[str, Any]:
    """States of JSON.

    Raises:
        ValueError: it is none, or holds what no state is.
    """
    states = json.loads(text)
    if not isinstance(states, dict) or not all(isinstance(one, dict) and _is_state(one) for one in states.values()):
        raise ValueError("no states")
    return states


def _is_state(one: dict[str, Any]) -> bool:
    try:
        times = [datetime.fromisoformat(one[key]) for key in ("told", "at") if one.get(key) is not None]
        waiting = all(w["to"] and w["message"]["id"] for w in one.get("waiting", []))
        return waiting and all(when.tzinfo for when in times) and float(one.get("severity", 0.0)) >= 0
    except (ValueError, TypeError, KeyError):
        return False


def _waiting(state: dict[str, Any], available: list[Channel]) -> Iterator[tuple[dict[str, Any], list[Channel]]]:
    """Each message that somebody has not got yet, the oldest first."""
    messages = {w["message"]["id"]: w["message"] for w in state.get("waiting", [])}
    for key, message in messages.items():
        missing = {w["to"] for w in state["waiting"] if w["message"]["id"] == key}
        yield message, [one for one in available if one.name in missing]


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


def make_message(event: Event, found: dict[str, Any], since: str | None) -> dict[str, Any]:
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


def send_test(options: Alerts, model: str, env: str | None, report: Path) -> dict[str, str | None]:
    """Send a test to every channel; what went wrong by channel, None where it took the message."""
    found = {"model": model, "env": env, "verdict": "ok", "report": str(report), "look": "glue monitor"}
    lines = ["Nothing is wrong: somebody tries whether alerts arrive."]
    return deliver(make_message("test", found | {"lines": lines}, None), channels(options), options.timeout_s)

"""One alert for each incident, whoever takes it, hangs or is gone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_glue import files, layout
from mlops_glue.config import Alerts, Webhook
from mlops_glue.errors import ToolError
from mlops_glue.monitoring import alerts

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a key of 24 bytes or so").decode()


class Taker(BaseHTTPRequestHandler):
    """Answers each POST with the next of `server.answers`, 204 when there is none, and keeps it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        code = server.answers.pop(0) if server.answers else 204
        server.got.append(({name.lower(): value for name, value in self.headers.items()}, body, code))
        self.send_response(code)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def taker() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    server.got, server.answers = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def to(server: Any, **more: Any) -> Alerts:
    url = f"http://127.0.0.1:{server.server_port}/a-secret-path"
    return Alerts(webhooks=[Webhook(url=url, secret="${HOOK_SECRET}")], **more)


def found(verdict: str = "drift", severity: float = 0.4, at: datetime = NOON) -> dict[str, Any]:
    return {
        "model": "penguins",
        "env": "prod",
        "verdict": verdict,
        "severity": severity,
        "time": at.isoformat(),
        "report": "/p/monitoring/report.html",
        "look": "glue monitor --env prod",
        "lines": ["drifted: 40% of the weight (alert from 30%)", "  bill_length: distribution, 0.9"],
    }


def events(server: Any) -> list[str]:
    return [json.loads(body)["type"] for _, body, code in server.got if code == 204]


def test_a_webhook_is_signed_and_says_what_is_wrong(tmp_path: Path, taker: Any) -> None:
    told = alerts.notify(tmp_path, to(taker), found(), now=NOON)
    assert told.event == "opened" and told.problems == [] and told.sent == ["monitor.alerts.webhooks.0"]
    (named, body, _), *_ = taker.got
    signed = f"{named['webhook-id']}.{named['webhook-timestamp']}.".encode() + body
    mine = hmac.new(b"a key of 24 bytes or so", signed, hashlib.sha256).digest()
    assert named["webhook-signature"] == "v1," + base64.b64encode(mine).decode()
    assert abs(int(named["webhook-timestamp"]) - time.time()) < 5
    said = json.loads(body)
    assert said["title"] == "penguins in prod drifts" and said["type"] == "opened" and said["since"] == NOON.isoformat()
    for part in ("40% of the weight", "bill_length", f"since {NOON.isoformat()}", "report.html", "--env prod"):
        assert part in said["text"]


def test_once_for_each_incident(tmp_path: Path, taker: Any) -> None:
    """Opened, not again, not within the cooldown, worse, over; and no flapping."""
    script = [
        (0, "ok", 0.0, None),
        (1, "drift", 0.40, "opened"),
        (2, "drift", 0.42, None),
        (3, "drift", 0.70, None),  # worse, within the cooldown
        (13, "drift", 0.44, None),  # after it, not worse
        (14, "drift", 0.55, "worse"),
        (30, "not enough data", 0.0, None),
        (31, "drift", 0.55, None),
        (32, "ok", 0.0, "resolved"),
        (33, "ok", 0.0, None),
        (34, "drift", 0.4, None),  # within the cooldown: not told
        (35, "ok", 0.0, None),  # and so neither is its end
        (60, "drift", 0.4, "opened"),
    ]
    for hour, verdict, severity, event in script:
        at = NOON + timedelta(hours=hour)
        told = alerts.notify(tmp_path, to(taker, cooldown="12h"), found(verdict, severity, at), now=at)
        assert told.event == event, hour
    assert events(taker) == ["opened", "worse", "resolved", "opened"]
    assert json.loads(taker.got[1][1])["since"] == (NOON + timedelta(hours=1)).isoformat()


def test_two_monitors_at_once_tell_once(tmp_path: Path, taker: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: alerts.notify(tmp_path, to(taker), found(), now=NOON), range(4)))
    assert sorted(str(one.event) for one in told) == ["None", "None", "None", "opened"]
    assert events(taker) == ["opened"]


def test_a_user_in_the_url_is_authentication(tmp_path: Path, taker: Any) -> None:
    url = f"http://me:a%40b@127.0.0.1:{taker.server_port}/x?y=1"
    told = alerts.notify(tmp_path, Alerts(webhooks=[Webhook(url=url)]), found(), now=NOON)
    assert told.sent and not told.problems
    assert taker.got[0][0]["authorization"] == "Basic " + base64.b64encode(b"me:a@b").decode()
    with pytest.raises(ValueError, match="is no http:// or https:// URL"):
        Webhook(url="ftp://me:hidden@h/x")


TORN = ["garbage", "[]", '{"penguins prod": 1}', '{"penguins prod": {"told": "noon"}}', '{"m": {"waiting": [1]}}', "\0"]


@pytest.mark.parametrize("text", TORN)
def test_a_state_that_cannot_be_read_is_told_and_begun_anew(text: str, tmp_path: Path, taker: Any) -> None:
    files.write_text(tmp_path / layout.ALERTS, text)
    told = alerts.notify(tmp_path, to(taker), found(), now=NOON)
    assert told.event == "opened" and told.sent and "alerts.json cannot be read" in told.notes[0]
    assert (tmp_path / f"{layout.ALERTS}.torn").read_text() == text and "alerts.json.torn" in told.notes[0]
    again = alerts.notify(tmp_path, to(taker), found(), now=NOON)
    assert (again.event, again.problems, again.notes) == (None, [], [])


def test_a_webhook_that_fails_is_tried_again(tmp_path: Path, taker: Any) -> None:
    taker.answers[:] = [500, 302, 204]
    told = alerts.notify(tmp_path, to(taker), found(), now=NOON)
    assert told.sent and not told.problems
    ids = {headers["webhook-id"] for headers, *_ in taker.got}
    assert len(taker.got) == 3 and len(ids) == 1  # who got it twice can tell


def test_a_dead_channel_is_told_and_gets_it_later(tmp_path: Path, taker: Any, monkeypatch: Any) -> None:
    """Once it lives again; the others got it at once, and do not get it again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("DEAD", f"http://127.0.0.1:{port}/t0p-secret")
    options = to(taker).model_copy(update={"webhooks": [*to(taker).webhooks, Webhook(url="${DEAD}")]})
    told = alerts.notify(tmp_path, options, found(), now=NOON)
    assert told.sent == ["monitor.alerts.webhooks.0"]
    assert told.problems == ["monitor.alerts.webhooks.1 (DEAD): did not answer (ConnectionError)"]
    assert "t0p-secret" not in (tmp_path / layout.ALERTS).read_text()
    monkeypatch.setenv("DEAD", f"http://127.0.0.1:{taker.server_port}/")
    told = alerts.notify(tmp_path, options, found(), now=NOON + timedelta(hours=1))
    assert told.event is None and told.sent == ["monitor.alerts.webhooks.1 (DEAD)"]
    assert events(taker) == ["opened", "opened"]
    told = alerts.notify(tmp_path, options, found(), now=NOON + timedelta(hours=2))
    assert told.sent == [] and len(taker.got) == 2


def test_a_channel_that_hangs_costs_a_bounded_time(tmp_path: Path, taker: Any) -> None:
    """One that takes the connection and never answers; and one that answers a byte now and then."""
    with socket.socket() as silent, socket.socket() as slow:
        hooks = []
        for one in (silent, slow):
            one.bind(("127.0.0.1", 0))
            one.listen()
            hooks.append(Webhook(url=f"http://127.0.0.1:{one.getsockname()[1]}/"))

        def drip() -> None:
            connection, _ = slow.accept()
            with connection, contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 200 OK" + b" " * 1000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        options = to(taker, timeout_s=1.5)
        options = options.model_copy(update={"webhooks": [*hooks, *options.webhooks]})
        began = time.monotonic()
        told = alerts.notify(tmp_path, options, found(), now=NOON)
        assert time.monotonic() - began < 30  # and not the 100 s that it would drip
        assert told.sent == ["monitor.alerts.webhooks.2"]
        assert [one.endswith("did not answer in 1.5 s") for one in told.problems] == [True, True]


def test_through_apprise(tmp_path: Path, taker: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CHAT", f"json://user:hidden@127.0.0.1:{taker.server_port}/x")
    options = Alerts(channels=["${CHAT}", "no-such-service://hidden"])
    told = alerts.notify(tmp_path, options, found(), now=NOON)
    assert told.sent == ["monitor.alerts.channels.0 (CHAT)"]
    assert told.problems == ["monitor.alerts.channels.1: is no URL that Apprise knows"]
    said = json.loads(taker.got[0][1])
    assert said["title"] == "penguins in prod drifts" and "bill_length" in said["message"]
    assert "hidden" not in repr(told) + (tmp_path / layout.ALERTS).read_text()


def test_a_variable_that_is_not_set(tmp_path: Path) -> None:
    told = alerts.notify(tmp_path, Alerts(channels=["${NOT_THERE}"]), found(), now=NOON)
    assert "environment variable NOT_THERE is not set" in told.problems[0]


def test_killed_after_it_was_decided(tmp_path: Path, taker: Any, monkeypatch: Any) -> None:
    """What was decided is on the disk before it is sent: the next run sends it."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(alerts, "deliver", killed)
        with pytest.raises(KeyboardInterrupt):
            alerts.notify(tmp_path, to(taker), found(), now=NOON)
    assert files.read_json(tmp_path / layout.ALERTS)["penguins prod"]["open"]
    told = alerts.notify(tmp_path, to(taker), found(), now=NOON + timedelta(minutes=1))
    assert told.event is None and events(taker) == ["opened"]


def test_what_cannot_be_kept_is_sent_all_the_same(tmp_path: Path, taker: Any) -> None:
    """The state is a folder, the lock another one; the registry is away."""
    for name in (layout.ALERTS, layout.ALERTS_LOCK):
        (tmp_path / name / "x").mkdir(parents=True)

    def away(*_: Any) -> Any:
        raise ToolError("the registry is away")

    shared = alerts.Shared(away, away)
    told = alerts.notify(tmp_path, to(taker), found(), now=NOON, shared=shared)
    assert told.event == "opened" and told.sent and not told.problems
    said = "\n".join(told.notes)
    for part in ("alerts.lock", "alerts.json cannot be read", "alerts.json.torn", "the registry is away"):
        assert part in said


class Registry:
    """A tag that machines share."""

    def __init__(self, text: str | None = None) -> None:
        self.text, self.writes = text, 0

    def write(self, text: str) -> None:
        self.text, self.writes = text, self.writes + 1

    @property
    def shared(self) -> alerts.Shared:
        return alerts.Shared(lambda: self.text, self.write)


def test_two_machines_tell_once_and_what_reached_nobody_is_told_by_the_other(tmp_path: Path, taker: Any) -> None:
    """Machine `a` and machine `b`, each with a file of its own, of which the later state counts."""
    registry, at = Registry(), NOON

    def tell(machine: str, verdict: str, hours: int, options: Alerts | None = None, **more: Any) -> alerts.Notified:
        what = {**found(verdict, at=at + timedelta(hours=hours)), **more}
        to_whom, now = options or to(taker, cooldown="1h"), at + timedelta(hours=hours)
        return alerts.notify(tmp_path / machine, to_whom, what, now=now, shared=registry.shared)

    for machine in ("a", "b"):
        (tmp_path / machine).mkdir()
        assert tell(machine, "ok", 0).event is None  # so that both have a file
    assert tell("b", "drift", 1, env="dev").event == "opened"
    assert tell("a", "drift", 2).event == "opened"
    assert tell("b", "drift", 4).event is None
    assert tell("b", "ok", 6).event == "resolved"
    assert tell("a", "ok", 8).event is None
    assert tell("a", "drift", 9, env="dev").event is None  # it is `b` who told of it
    assert events(taker) == ["opened", "opened", "resolved"]
    writes = registry.writes
    assert tell("a", "ok", 10).event is None and registry.writes == writes  # nothing new

    with socket.socket() as free:  # nobody listens
        free.bind(("127.0.0.1", 0))
        dead = Alerts(webhooks=[Webhook(url=f"http://127.0.0.1:{free.getsockname()[1]}/")], timeout_s=1, cooldown="1h")
    lost = tell("a", "drift", 12, dead)
    assert lost.event == "opened" and not lost.sent
    assert tell("b", "drift", 13).event == "opened"
    assert tell("a", "drift", 14).sent == []  # it need not any more
    assert events(taker) == ["opened", "opened", "resolved", "opened"]
    assert json.loads(registry.text or "")["penguins prod"]["waiting"] == []


@pytest.mark.parametrize("text", TORN)
def test_a_torn_tag_of_the_registry_hides_no_alert(text: str, tmp_path: Path, taker: Any) -> None:
    registry = Registry(text)
    told = alerts.notify(tmp_path, to(taker), found(), now=NOON, shared=registry.shared)
    assert told.event == "opened" and told.sent and "as the registry has it, cannot be read" in told.notes[0]
    assert json.loads(registry.text or "")["penguins prod"]["open"]

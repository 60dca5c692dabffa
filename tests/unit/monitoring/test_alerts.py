"""One alert for each incident, whichever channel takes it, hangs or is gone."""

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
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

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


class Registry:
    """Where machines find the incidents: a tag of the model."""

    def __init__(self, text: str | None = None) -> None:
        self.text, self.writes, self.is_away = text, 0, False

    def get_model_tag(self, model: str, key: str) -> str | None:
        if self.is_away:
            raise ToolError("the registry is away")
        assert (model, key) == ("penguins", alerts.TAG)
        return self.text

    def set_model_tag(self, model: str, key: str, text: str) -> None:
        if self.is_away:
            raise ToolError("the registry is away")
        self.text, self.writes = text, self.writes + 1

    def of(self, env: str) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self.text or "")[env]
        return kept


@pytest.fixture
def registry() -> Any:
    return Registry()


def events(server: Any) -> list[str]:
    return [json.loads(body)["type"] for _, body, code in server.got if code == 204]


def test_a_webhook_is_signed_and_says_what_is_wrong(registry: Any, taker: Any) -> None:
    told = alerts.notify(to(taker), found(), registry, NOON)
    assert told.event == "opened" and told.problems == [] and told.sent == ["monitor.alerts.webhooks.0"]
    (named, body, _), *_ = taker.got
    signed = f"{named['webhook-id']}.{named['webhook-timestamp']}.".encode() + body
    mine = hmac.new(b"a key of 24 bytes or so", signed, hashlib.sha256).digest()
    assert named["webhook-signature"] == "v1," + base64.b64encode(mine).decode()
    assert abs(int(named["webhook-timestamp"]) - time.time()) < 5
    said = json.loads(body)
    assert (
        said["title"] == "penguins in prod: drift detected"
        and said["type"] == "opened"
        and said["since"] == NOON.isoformat()
    )
    for part in ("40% of the weight", "bill_length", f"since {NOON.isoformat()}", "report.html", "--env prod"):
        assert part in said["text"]


def test_once_for_each_incident(registry: Any, taker: Any) -> None:
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
        told = alerts.notify(to(taker, cooldown="12h"), found(verdict, severity, at), registry, at)
        assert told.event == event, hour
    assert events(taker) == ["opened", "worse", "resolved", "opened"]
    assert json.loads(taker.got[1][1])["since"] == (NOON + timedelta(hours=1)).isoformat()


def test_a_user_in_the_url_is_authentication(registry: Any, taker: Any) -> None:
    url = f"http://me:a%40b@127.0.0.1:{taker.server_port}/x?y=1"
    told = alerts.notify(Alerts(webhooks=[Webhook(url=url)]), found(), registry, NOON)
    assert told.sent and not told.problems
    assert taker.got[0][0]["authorization"] == "Basic " + base64.b64encode(b"me:a@b").decode()
    with pytest.raises(ValueError, match="is not an http:// or https:// URL"):
        Webhook(url="ftp://me:hidden@h/x")


def test_a_webhook_that_fails_is_tried_again(registry: Any, taker: Any) -> None:
    taker.answers[:] = [500, 302, 204]
    told = alerts.notify(to(taker), found(), registry, NOON)
    assert told.sent and not told.problems
    ids = {headers["webhook-id"] for headers, *_ in taker.got}
    assert len(taker.got) == 3 and len(ids) == 1  # who got it twice can tell


def test_a_dead_channel_is_told_and_gets_it_later(registry: Any, taker: Any, monkeypatch: Any) -> None:
    """Once it lives again; the others got it at once, and do not get it again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("DEAD", f"http://127.0.0.1:{port}/t0p-secret")
    options = to(taker).model_copy(update={"webhooks": [*to(taker).webhooks, Webhook(url="${DEAD}")]})
    told = alerts.notify(options, found(), registry, NOON)
    assert told.sent == ["monitor.alerts.webhooks.0"]
    assert told.problems == ["monitor.alerts.webhooks.1 (DEAD): did not answer (ConnectionError)"]
    assert "t0p-secret" not in registry.text and registry.of("prod")["missing"] == ["monitor.alerts.webhooks.1 (DEAD)"]
    monkeypatch.setenv("DEAD", f"http://127.0.0.1:{taker.server_port}/")
    told = alerts.notify(options, found(), registry, NOON + timedelta(hours=1))
    assert told.event is None and told.sent == ["monitor.alerts.webhooks.1 (DEAD)"]
    assert events(taker) == ["opened", "opened"]
    told = alerts.notify(options, found(), registry, NOON + timedelta(hours=2))
    assert told.sent == [] and len(taker.got) == 2


def test_a_channel_that_hangs_costs_a_bounded_time(registry: Any, taker: Any) -> None:
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
        told = alerts.notify(options, found(), registry, NOON)
        assert time.monotonic() - began < 30  # and not the 100 s that it would drip
        assert told.sent == ["monitor.alerts.webhooks.2"]
        assert [one.endswith("did not answer within 1.5 s") for one in told.problems] == [True, True]


def test_through_apprise(registry: Any, taker: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CHAT", f"json://user:hidden@127.0.0.1:{taker.server_port}/x")
    options = Alerts(channels=["${CHAT}", "no-such-service://hidden"])
    told = alerts.notify(options, found(), registry, NOON)
    assert told.sent == ["monitor.alerts.channels.0 (CHAT)"]
    assert told.problems == ["monitor.alerts.channels.1: not a URL that Apprise supports"]
    said = json.loads(taker.got[0][1])
    assert said["title"] == "penguins in prod: drift detected" and "bill_length" in said["message"]
    assert "hidden" not in repr(told) + registry.text


def test_a_variable_that_is_not_set(registry: Any) -> None:
    told = alerts.notify(Alerts(channels=["${NOT_THERE}"]), found(), registry, NOON)
    assert "environment variable NOT_THERE is not set" in told.problems[0]


def test_what_cannot_be_kept_is_sent_all_the_same(registry: Any, taker: Any, caplog: pytest.LogCaptureFixture) -> None:
    registry.is_away = True
    told = alerts.notify(to(taker), found(), registry, NOON)
    assert told.event == "opened" and told.sent and not told.problems
    assert "cannot be read" in caplog.text and "the alert was not recorded in the registry" in caplog.text


def test_machines_send_once_and_what_reached_nobody_is_sent_by_the_next(registry: Any, taker: Any) -> None:
    """Each environment has incidents of its own; a run in which nothing is new writes nothing."""

    def tell(verdict: str, hours: int, options: Alerts | None = None, **more: Any) -> alerts.Notified:
        at = NOON + timedelta(hours=hours)
        return alerts.notify(options or to(taker, cooldown="1h"), {**found(verdict, at=at), **more}, registry, at)

    assert tell("ok", 0).event is None and registry.writes == 0
    assert tell("drift", 1, env="dev").event == "opened"
    assert tell("drift", 2).event == "opened"
    assert tell("drift", 4).event is None
    assert tell("ok", 6).event == "resolved"
    assert tell("drift", 9, env="dev").event is None
    assert events(taker) == ["opened", "opened", "resolved"]
    writes = registry.writes
    assert tell("ok", 10).event is None and registry.writes == writes

    with socket.socket() as free:  # nobody listens
        free.bind(("127.0.0.1", 0))
        dead = Alerts(webhooks=[Webhook(url=f"http://127.0.0.1:{free.getsockname()[1]}/")], timeout_s=1, cooldown="1h")
    lost = tell("drift", 12, dead)
    assert lost.event == "opened" and not lost.sent and lost.problems
    at_once = tell("drift", 12)
    assert at_once.event == "opened" and at_once.sent and at_once.since == lost.since
    assert tell("drift", 13).sent == []
    over = tell("ok", 14, dead)
    assert over.event == "resolved" and not over.sent and over.since == lost.since
    assert tell("ok", 15).event == "resolved"
    assert events(taker) == ["opened", "opened", "resolved", "opened", "resolved"]
    assert tell("drift", 20, severity=0.2).event == "opened"
    lost = tell("drift", 22, dead, severity=0.5)
    assert lost.event == "worse" and not lost.sent
    assert tell("drift", 24, severity=0.2).sent == []  # it is as bad as was sent, and no channel lacks that
    assert tell("ok", 26).event == "resolved"
    assert tell("drift", 28, dead).sent == []
    assert tell("ok", 30).event is None  # nobody knows that it began


@pytest.mark.parametrize(
    "text", ["garbage", "[]", '{"prod": 1}', '{"prod": {"sent_at": "noon"}}', '{"m": {"missing": [1]}}']
)
def test_a_torn_tag_of_the_registry_hides_no_alert(
    text: str, registry: Any, taker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    registry.text = text
    told = alerts.notify(to(taker), found(), registry, NOON)
    assert told.event == "opened" and told.sent and "glue.alerts cannot be read" in caplog.text
    assert registry.of("prod")["open"]
    assert alerts.notify(to(taker), found(), registry, NOON).event is None

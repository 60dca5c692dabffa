"""What `glue doctor` finds of the places that `glue.yaml` names."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from mlops_glue import config as configs
from mlops_glue.config import Config
from mlops_glue.report.places import of_places

OURS = version("mlflow")
BASE = {"glue": 1, "project": "p"}


def found(root: Path, **sections: Any) -> list[tuple[str, str, str | None]]:
    config = Config.model_validate({**BASE, "environments": {"prod": sections}})
    findings, _ = of_places(root, configs.in_environment(config, "prod"))
    return [(one.level, one.what, one.fix) for one in findings]


@contextlib.contextmanager
def server(said: str, date: str | None = None, write: int = 404) -> Iterator[str]:
    """As a server of MLflow answers; its clock and its rights as they cannot be made here."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return date or super().date_time_string(timestamp)

        def answer(self, code: int, text: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            self.answer(200, said) if self.path == "/version" else self.answer(404, "{}")

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(write, "{}")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def of_server(root: Path, uri: str) -> list[tuple[str, str, str | None]]:
    return [one for one in found(root, tracking={"uri": uri}) if one[1].startswith("tracking.uri")]


def test_mlflow_s_version_clock_and_rights(tmp_path: Path) -> None:
    with server(OURS) as uri:
        (ok,) = of_server(tmp_path, uri)
        assert ok[0] == "ok" and f"MLflow {OURS} answers in " in ok[1] and "clock difference " in ok[1]
    with server("1.30.0", "Mon, 30 Nov 2020 12:00:00 GMT", 403) as uri:
        _, rights, clock, of_version = of_server(tmp_path, uri)
        assert rights[0] == "problem" and "MLflow refuses writes" in rights[1]
        assert clock[0] == "problem" and " s behind this machine's" in clock[1]
        assert of_version == (
            "problem",
            f"tracking.uri: the server runs MLflow 1.30.0, this machine has {OURS}",
            "pip install mlflow==1.30.0",
        )
    with server("<html>") as uri:
        assert "MLflow: this is not an MLflow server (HTTP " in found(tmp_path, tracking={"uri": uri})[0][1]


def test_what_does_not_answer_is_told_with_what_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        told = found(tmp_path, tracking={"uri": f"http://me:canary@127.0.0.1:{port}", "timeout_s": 0.5})
    look = "check that it is running, and check its address: glue config show --env prod"
    assert [(level, fix) for level, _, fix in told] == [("problem", look)]
    assert "does not answer: timed out" in told[0][1] and "canary" not in told[0][1]
    monkeypatch.setenv("R", f"postgresql+psycopg://me:canary-secret@127.0.0.1:{port}/feast")
    ((level, what, fix),) = found(tmp_path, features={"registry": {"registry_type": "sql", "path": "${R}"}})
    assert level == "problem" and what.startswith("features.registry: cannot connect to PostgreSQL")
    assert "canary" not in what + str(fix)
    monkeypatch.delenv("R")
    told = found(tmp_path, features={"registry": {"registry_type": "sql", "path": "${R}"}})
    assert told == [("problem", "glue.yaml features.registry: environment variable R is not set", "export R=…")]


def test_the_log_and_the_addresses_of_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "hooks.example.org/canary-secret")
    monitor = {"alerts": {"webhooks": [{"url": "${HOOK}"}, {"url": "https://h/x"}], "channels": ["slack"]}}
    told = found(tmp_path, serve={"prediction_log": "memory://log/of"}, monitor=monitor)
    assert told[0] == ("ok", "serve.prediction_log: memory://log/of answers and accepts rows", None)
    assert told[1][:2] == ("problem", "glue.yaml monitor.alerts.webhooks.0.url: must be an http:// or https:// URL")
    assert told[2][:2] == ("problem", "glue.yaml monitor.alerts.channels: must be a URL (slack)")
    test = "3 configured; to send a test alert: glue monitor --test-alert --env prod"
    assert told[3][1].endswith(test) and len(told) == 4
    (problem,) = found(tmp_path, serve={"prediction_log": "nowhere://log"})
    assert problem[0] == "problem" and "nowhere" in problem[1]

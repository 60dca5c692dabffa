"""Who reviewed a job of GitHub Actions, as a server says that answers as GitHub does; the token goes nowhere else."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_glue.adapters import github
from mlops_glue.delivery import audit
from mlops_glue.errors import ToolError

TOKEN = "ghs_canary0123456789"


def review(login: str, environment: str = "production", state: str = "approved") -> dict[str, Any]:
    """As in GitHub's documentation, without what is not read."""
    return {"state": state, "comment": "ok", "environments": [{"id": 1, "name": environment}], "user": {"login": login}}


@dataclass
class GitHub:
    """What is asked of the server, and what it answers."""

    url: str = ""
    code: int = 200
    answer: Any = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, authorization
    location: str | None = None


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    there = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there.asked.append((self.path, self.headers["Authorization"]))
            self.send_response(there.code)
            if there.location:
                self.send_header("Location", there.location)
            self.end_headers()
            self.wfile.write(there.answer if isinstance(there.answer, bytes) else json.dumps(there.answer).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there.url = f"http://127.0.0.1:{server.server_port}"
    variables = {
        "ACTIONS": "true",
        "API_URL": there.url,
        "SERVER_URL": "https://github.example.org",
        "TOKEN": TOKEN,
        "ACTOR": "github-actions[bot]",
        "TRIGGERING_ACTOR": "bob",
        "RUN_ID": "77",
        "RUN_ATTEMPT": "2",
        "REPOSITORY": "acme/project",
        "JOB": "deploy",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    yield there
    server.shutdown()
    server.server_close()


def test_the_reviewers_of_the_environment_are_known(api: GitHub) -> None:
    api.answer = [review("eve", state="rejected"), review("bob"), review("dan", "staging"), review("bob"), review("al")]
    assert github.reviewers("production") == ["bob", "al"]
    assert api.asked == [("/repos/acme/project/actions/runs/77/approvals", f"Bearer {TOKEN}")]


@pytest.mark.parametrize(
    ("code", "answer", "said"),
    [
        (403, [], "GitHub answered 403"),
        (404, [], "GitHub answered 404"),
        (500, [], "GitHub answered 500"),
        (302, [], "GitHub answered 302"),
        (200, b"<html>", "GitHub did not answer (JSONDecodeError)"),
        (200, {"message": "no"}, "GitHub's answer is not a list of reviews"),
        (200, [{"state": "approved"}], "GitHub's answer is not a list of reviews"),
    ],
)
def test_what_is_no_answer_is_told(
    api: GitHub, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, answer: Any, said: str
) -> None:
    api.code, api.answer, api.location = code, answer, f"{api.url}/elsewhere" if code == 302 else None
    with pytest.raises(ToolError) as caught:
        github.reviewers("production")
    assert caught.value.message == said
    assert (caught.value.hint == "permissions: {actions: read}") == (code in (403, 404))
    assert len(api.asked) == 1  # no redirect is followed: the token would go with it
    with caplog.at_level(logging.DEBUG):
        audit.recorder(tmp_path, None, "production")("m", "champion", 2, 1, event="promote")
    (entry,) = audit.entries(tmp_path)
    assert "reviewers" not in entry.content["actor"] and said in caplog.text
    assert TOKEN not in caplog.text + audit.text(tmp_path)


def test_the_token_is_not_sent_in_plain_text(api: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://api.example.org")
    with pytest.raises(ToolError, match="GITHUB_API_URL is not https"):
        github.reviewers("production")
    assert api.asked == []


def test_an_entry_says_who_ran_the_job_and_who_let_it(
    api: GitHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.answer = [review("bob"), review("al")]
    record = audit.recorder(tmp_path, None, "production")
    with caplog.at_level(logging.DEBUG):
        record("m", "champion", 2, 1, event="approve", reason="good on Mondays")
        record("m", "challenger", None, 2, event="promote")
    champion, challenger = (entry.content for entry in audit.entries(tmp_path))
    actor = champion["actor"]
    assert actor["reviewers"] == "bob, al" and actor["environment"] == "production"
    assert (actor["ci"], actor["triggered_by"], actor["run"], actor["attempt"]) == (
        "github-actions[bot]",
        "bob",
        "77",
        "2",
    )
    assert actor["url"] == "https://github.example.org/acme/project/actions/runs/77"
    assert "reviewers" not in challenger["actor"] and len(api.asked) == 1
    assert audit.described(champion).endswith(
        "champion v1 -> v2, approve by github-actions[bot], reviewed by bob, al: good on Mondays "
        "(https://github.example.org/acme/project/actions/runs/77)"
    )
    assert TOKEN not in caplog.text + audit.text(tmp_path)


def test_who_approves(api: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer = [review("bob")]
    assert audit.approvers(tmp_path, "production") == ["bob"]  # and not the bot that runs the job
    assert audit.approvers(tmp_path, "other") == []
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(ToolError, match="no GITHUB_TOKEN"):
        audit.approvers(tmp_path, "production")
    monkeypatch.delenv("GITHUB_ACTIONS")
    (here,) = audit.approvers(tmp_path, "production")
    assert here == audit.identity(audit.actor(tmp_path)) and "github" not in here


@pytest.mark.parametrize(
    ("email", "who"),
    [
        ("12345+Ada@users.noreply.github.com", "Ada"),
        ("ada@users.noreply.github.com", "ada"),
        ("ada@example.org", "ada@example.org"),
        ("ada@users.noreply.github.com.evil.org", "ada@users.noreply.github.com.evil.org"),
    ],
)
def test_a_person_is_the_same_at_a_laptop_and_in_a_job(email: str, who: str) -> None:
    assert audit.identity({"email": email, "account": "a"}) == who

"""`glue ui`: what it shows of a project in any state, to whom it answers, and when a page is to be loaded anew."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from starlette.testclient import TestClient

from mlops_glue import layout, pages
from mlops_glue.report.ui import application
from tests.support.project import Glue, run_stages, table
from tests.support.server import free_port

NAME = "<script>alert(1)</script>"
TEXT = """glue: 1
project: shown
data: {{sources: {{t: {{path: t.csv}}}}, labels: {{source: t, target: y}}}}
train: {{estimator: sklearn.linear_model.LogisticRegression}}
evaluate: {{slices: [town]}}
serve: {{port: {port}, prediction_log: '${{LOG_OF_MINE}}'}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages have run; nothing of it is registered."""
    folder = tmp_path_factory.mktemp("ui")
    table(town=[NAME, "Bonn", "Kiel"] * 20).to_csv(folder / "t.csv", index=False)
    (folder / layout.CONFIG).write_text(TEXT.format(port=free_port()))
    run_stages(folder, {})
    return folder


@pytest.fixture
def client(root: Path) -> TestClient:
    return TestClient(application(root, None, local=True), base_url="http://127.0.0.1:8010")


def test_every_page_is_there_and_says_what_to_do_next(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_OF_MINE", "s3://user:S3CRETKEY@bucket/log")
    said = {name: client.get(f"/{name}.html") for name in pages.NAMES}
    assert {one.status_code for one in said.values()} == {200}
    for name, next_step in (
        ("index", "No version is registered yet. Next: <code>glue run</code>"),
        ("monitoring", "glue monitor"),
        ("lineage", "shown has no champion"),
        ("card", "glue run"),
        ("compare", "glue run"),
        ("data", "town"),
        ("evaluation", "LogisticRegression"),
    ):
        assert next_step in said[name].text, name
    for name, one in said.items():
        assert NAME not in one.text and "S3CRET" not in one.text, name
        assert one.text.count("<script") == 1 and 'src="live.js"' in one.text  # its own
        assert one.headers["x-content-type-options"] == "nosniff" and one.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in one.text and "script-src 'self'" in one.text
    assert client.get("/").text == said["index"].text


def test_it_only_reads_and_only_its_pages(client: TestClient, root: Path) -> None:
    for path in ("/nothing.html", "/glue.yaml", "/../glue.yaml", "/%2e%2e/glue.yaml", "/..%2fglue.html", "/t.csv"):
        assert client.get(path).status_code == 404, path
    assert {client.request(method, "/").status_code for method in ("POST", "PUT", "DELETE", "OPTIONS")} == {405}
    for host in ("evil.example", "127.0.0.1.evil.example:8010", "[", "10.0.0.1"):
        refused = client.get("/", headers={"Host": host})
        assert refused.status_code == 421 and "shown" not in refused.text, host
    for host in ("localhost:8010", "127.0.0.1", "[::1]:8010"):
        assert client.get("/live.js", headers={"Host": host}).status_code == 200, host
    assert client.get("/evidently").status_code == 404
    (root / layout.PAGE).parent.mkdir(exist_ok=True)
    (root / layout.PAGE).write_text("<p>drawn</p>")
    drawn = client.get("/evidently")
    back = client.get("/reports/monitoring.html", follow_redirects=False)  # as the page has it where it lies
    assert back.headers["location"] == "/monitoring.html"
    assert drawn.text == "<p>drawn</p>" and drawn.headers["content-security-policy"].startswith(
        "sandbox allow-scripts;"
    )
    assert "allow-same-origin" not in drawn.headers["content-security-policy"]


def test_a_page_is_loaded_anew_when_something_has_changed_and_not_before(client: TestClient, root: Path) -> None:
    def live() -> tuple[str, str]:
        told = client.get("/live.json").json()
        return told["stamp"], " ".join(told["lines"])

    def shown() -> str:
        return client.get("/").text.partition('data-stamp="')[2].partition('"')[0]

    before = shown()
    assert live()[0] == before == shown() and "no server answers at http://127.0.0.1:" in live()[1]
    (root / layout.RUNNING).parent.mkdir(exist_ok=True)
    (root / layout.RUNNING).write_text(f"{os.getpid()} {time.time() - 5:.0f} train\n")
    text = (root / layout.CONFIG).read_text()
    (root / layout.CONFIG).write_text(text + "card: {owner: us}\n")
    stamp, line = live()
    assert stamp == before and "glue run: stage train, running for " in line  # the pages are those of before it
    (root / layout.RUNNING).unlink()
    assert live()[0] != before and shown() == live()[0]
    (root / layout.CONFIG).write_text(text + "card: {ownr: us}\n")
    broken = client.get("/data.html").text
    assert "card.ownr" in broken and "did you mean" in broken and 'aria-current="page">Data' in broken
    (root / layout.CONFIG).write_text(text)
    assert "Column types" in client.get("/data.html").text


@contextmanager
def ready(port: int, body: object, status: int = 200) -> Iterator[None]:
    """A server that says this of itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield
        server.shutdown()


def test_what_the_server_says_of_itself_is_shown(client: TestClient, root: Path) -> None:
    client.get("/")
    port = int((root / layout.CONFIG).read_text().partition("port: ")[2].partition(",")[0])
    url = f"http://127.0.0.1:{port}"
    about = {"model": "shown", "model_version": 3, "degraded": []}
    for body, status, line in (
        (about, 200, f"the server at {url} serves v3"),
        (about | {"degraded": ["the registry is gone"]}, 200, f"the server at {url} serves v3; the registry is gone"),
        (about, 503, f"the server at {url} is not ready"),
        (about | {"model": "theirs"}, 200, f"the server at {url} belongs to another project: it serves theirs v3"),
        ({"status": "ok"}, 200, f"the server at {url} is not glue serve"),
        ({}, 404, f"the server at {url} is not glue serve"),
        ([1], 200, f"the server at {url} is not glue serve"),
        ("<p>", 200, f"the server at {url} is not glue serve"),
    ):
        with ready(port, body, status):
            assert client.get("/live.json").json()["lines"] == [line]


def test_a_project_that_has_not_run_has_pages_too(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / layout.CONFIG).write_text(TEXT.format(port=1))
    fresh = TestClient(application(tmp_path, None, local=True), base_url="http://localhost")
    said = {name: fresh.get(f"/{name}.html").text for name in pages.NAMES}
    without = [name for name, text in said.items() if "glue run" not in text]
    assert without == ["monitoring"] and "glue monitor" in said["monitoring"]
    assert "this page cannot be rendered" not in "".join(said.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glue.yaml", "t.csv"]  # nothing was written


def test_a_project_without_a_pipeline_has_pages_too(tmp_path: Path) -> None:
    (tmp_path / layout.CONFIG).write_text("glue: 1\nproject: only\ntracking: {uri: null}\n")
    shown = TestClient(application(tmp_path, None, local=True), base_url="http://localhost")
    said = {name: shown.get(f"/{name}.html").text for name in pages.NAMES}
    for name, text in said.items():
        assert "glue track" in text or name == "monitoring", name
        assert "glue run" not in text and "this page cannot be rendered" not in text, name
    assert "This project only tracks: glue.yaml has no data and no train section." in said["index"]
    assert "Pipeline</b>" not in said["index"] and "Serving</h2>" not in said["index"]
    assert shown.get("/live.json").json()["lines"] == []
    (tmp_path / layout.CONFIG).write_text(f"glue: 1\nproject: only\nserve: {{port: {free_port()}}}\n")
    assert "This project only serves only" in shown.get("/").text and "Serving</h2>" in shown.get("/").text
    (tmp_path / layout.CONFIG).write_text("glue: 1\nproject: only\ntrain: {estimator: model:build}\n")
    assert "data: is required" in shown.get("/").text
    assert [path.name for path in tmp_path.iterdir()] == ["glue.yaml"]  # nothing was written


def test_what_keeps_it_from_listening_is_one_line(root: Path, glue: Glue, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = glue("ui", "--port", str(port), cwd=root, code=2)
    assert done.stderr.splitlines() == [
        f"error: port {port} of 127.0.0.1 is taken",
        f"hint: glue ui --port {port + 1}",
    ]
    done = glue("ui", "--host", "0.0.0.0", cwd=root, code=2)
    assert "error: --host 0.0.0.0 is open to other machines, and glue ui requires no key" in done.stderr
    assert "ssh -L 8010:127.0.0.1:8010" in done.stderr
    assert "no glue.yaml in" in glue("ui", cwd=tmp_path, code=2).stderr

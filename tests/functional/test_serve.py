"""The champion over HTTP: what it answers, what it refuses, what cannot hurt it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.support.project import Glue, row_of
from tests.support.server import JSON, answering, ask, serving, until, with_serve


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, once_run_penguins: Path) -> Path:
    """A project that has run, copied once for this file."""
    return shutil.copytree(once_run_penguins, tmp_path_factory.mktemp("serve"), dirs_exist_ok=True) / "project"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, once_run_penguins: Path) -> Iterator[tuple[str, int]]:
    """A server of another copy, as it is by default, for tests that change nothing of it; with its process id."""
    folder = shutil.copytree(once_run_penguins, tmp_path_factory.mktemp("served"), dirs_exist_ok=True)
    with serving(folder / "project", "--quiet") as found:
        yield found


def test_what_is_printed_works(project: Path) -> None:
    with serving(project) as (url, _):
        line = next(one for one in (project / "told.txt").read_text().splitlines() if one.startswith("try  "))
        done = subprocess.run(["bash", "-c", line.removeprefix("try  ")], capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        assert said["prediction"] in ("Adelie", "Chinstrap", "Gentoo")
        assert sum(said["probabilities"].values()) == pytest.approx(1)
        assert said["model_version"] == 1 and said["request_id"]
        assert ask(url, "/health") == (200, {"status": "ok"})
        about = ask(url, "/model")[1]
        assert (about["name"], about["version"], about["alias"]) == ("project", 1, "champion")
        assert about["fingerprint"] == json.loads((project / ".glue/delivery.json").read_text())["fingerprint"]
        page = ask(url, "/docs")[1]
        assert ask(url, "/")[1] == page
        assert "//" not in page.replace("</", "")  # nothing from elsewhere: it needs no network
        for path in re.findall(r'(?:src|href|url)(?:=|: )"([^":,]+)"', page):
            assert ask(url, f"/{path}")[0] == 200
        if browser := shutil.which("chromium"):
            words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
            shown = subprocess.run(
                [*words, "--dump-dom", f"{url}/"], capture_output=True, text=True, timeout=120
            ).stdout
            assert 'data-path="/predict"' in shown and "Predict species" in shown
        example = ask(url, "/openapi.json")[1]["paths"]["/predict"]["post"]["requestBody"]["content"][
            "application/json"
        ]
        assert ask(url, body=example["examples"]["rows"]["value"])[0] == 200
        assert ask(url, body=example["examples"]["lists"]["value"])[0] == 200


def test_clients_of_a_plain_fastapi_server(project: Path) -> None:
    """`{"features": [[…]]}` has the answer that they expect; predictions and log are those of rows with names."""
    rows = json.loads((project / "artifacts/bundle/input_example.json").read_text())
    with serving(project, "--quiet") as (url, _):
        order = ask(url, "/model")[1]["features"]
        lists = [[row[name] for name in order] for row in rows]
        named = ask(url, body={"rows": rows})[1]
        several = ask(url, body={"features": lists})[1]
        shares = [one["probabilities"][one["prediction"]] for one in named["predictions"]]
        assert several["predictions"] == named["predictions"]
        assert (several["prediction"], several["probability"]) == (
            [one["prediction"] for one in named["predictions"]],
            shares,
        )
        for alone in (lists[:1], lists[0]):
            said = ask(url, body={"features": alone})[1]
            assert (said["prediction"], said["probability"]) == (several["prediction"][0], shares[0])
            assert said["model_version"] == 1 and said["request_id"]
        status, said = ask(url, body={"features": [lists[0][:3], [*lists[0][:-1], "x"]]})
        assert status == 422 and [(p["row"], p["field"]) for p in said["problems"]] == [(0, None), (1, order[-1])]
        assert f"must have {len(order)} values, not 3, in this order: {', '.join(order)}" in str(said)
    log = pd.read_parquet(project / "data/predictions")
    ids = [named["request_id"], several["request_id"]]
    with_names, without = (
        log[log.glue_request_id == one].sort_values("glue_row").drop(columns=["glue_request_id", "glue_time"])
        for one in ids
    )
    pd.testing.assert_frame_equal(with_names.reset_index(drop=True), without.reset_index(drop=True))


def test_a_worker_holds_no_heavy_tool(project: Path) -> None:
    with serving(project, cold=True) as (url, pid):
        assert ask(url, "/docs")[0] == 200 and ask(url, "/metrics")[0] == 200
        maps = Path(f"/proc/{pid}/maps").read_text()
        found = {
            tool
            for tool in ("pandas", "sklearn", "mlflow", "pyarrow", "duckdb", "scipy", "grpc")
            if f"/{tool}/" in maps
        }
        assert found == set()  # compiled parts, as the process has them
    code = (
        "import sys, json\nfrom pathlib import Path\nfrom mlops_glue import files\n"
        "from mlops_glue.records import Servable\n"
        "from mlops_glue.serving.settings import Settings\nfrom mlops_glue.serving.worker import Worker\n"
        "folder = Path('artifacts/bundle')\n"
        "first = Servable(1, str(folder), files.digest(folder))\n"
        "worker = Worker(Settings(first, 'p', Path('.glue/serve')))\nworker.pages\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    heavy = {"pandas", "sklearn", "mlflow", "pyarrow", "feast", "dvc", "great_expectations", "click", "rich", "ruamel"}
    assert heavy & set(json.loads(done.stdout)) == set()


def test_what_is_not_right_is_refused(project: Path) -> None:
    row = row_of(project)
    before = with_serve(project, "{max_rows: 10, max_body_bytes: 20000}")
    try:
        with serving(project) as (url, _):
            assert ask(url, body={**row, "island": "Atlantis", "body_mass_g": 1e9})[0] == 200  # served, and counted
            status, said = ask(url, body={"rows": [row, {**row, "year": "x"}, {**row, "sexx": 1}]})
            assert status == 422
            assert [(p["row"], p["field"]) for p in said["problems"]] == [(1, "year"), (2, "sexx")]
            assert ask(url, body=b"{")[0] == 400
            assert ask(url, body=row, Content_Type="text/plain")[0] == 415
            status, said = ask(url, body=gzip.compress(json.dumps(row).encode()), Content_Encoding="gzip")
            assert status == 415 and "Content-Encoding" in said["detail"]
            assert ask(url, body=row, Content_Encoding="identity")[0] == 200
            assert ask(url)[0] == 405 and ask(url, "/nothing")[0] == 404
            assert ask(url, body={"rows": [row] * 11})[0] == 422
            assert ask(url, body=b" " * 20_001)[0] == 413
            assert ask(url, body={"rows": [{**row, "year": None}] * 10})[1]["detail"] == "10 problems"
            told = ask(url, "/metrics")[1]
            assert 'glue_unseen_values_total{column="island"} 1.0' in told
            assert 'glue_unseen_values_total{column="body_mass_g"} 1.0' in told
            assert 'glue_requests_total{route="/predict",status="422"} 3.0' in told
            assert 'glue_model_info{model="project",version="1"} 1.0' in told
            assert "Atlantis" not in told
        log = [json.loads(one) for one in (project / "told.txt").read_text().splitlines() if one.startswith("{")]
        assert {"time", "request_id", "method", "path", "status", "ms", "rows"} == set(log[-1])
        assert [line["time"] for line in log] == sorted(line["time"] for line in log)
        assert "Atlantis" not in (project / "told.txt").read_text()
    finally:
        (project / "glue.yaml").write_text(before)


def test_keys(project: Path, glue: Glue) -> None:
    said = glue("serve", "--host", "0.0.0.0", cwd=project, code=2).stderr
    assert "--host 0.0.0.0 is open to other machines, and serve.api_keys in glue.yaml names no key" in said
    before = with_serve(project, "{api_keys: ['${OLD_KEY}', '${NEW_KEY}']}")
    row = row_of(project)
    try:
        for words in ((), ("--check",)):
            assert "OLD_KEY is not set" in glue("serve", *words, cwd=project, code=2).stderr
            for wrong in ("two words", "k\u00e9y", "a\nb", "a\x7f", " \n"):
                with pytest.MonkeyPatch.context() as env:
                    env.setenv("OLD_KEY", wrong)
                    env.setenv("NEW_KEY", "second")
                    said = glue("serve", *words, cwd=project, code=2).stderr
                    assert "glue.yaml serve.api_keys: ${OLD_KEY} " in said and wrong not in said
        with serving(project, "--host", "0.0.0.0", env={"OLD_KEY": "first\n", "NEW_KEY": " second"}) as (url, _):
            for path in ("/model", "/metrics", "/openapi.json", "/docs/files/redoc.standalone.js"):
                assert ask(url, path)[0] == 401
            page = ask(url, "/docs")[1]  # a browser sends no key: the page asks for it, and says nothing of the model
            assert "secured = true" in page and "species" not in page and "API key" in page
            assert ask(url, "/docs/files/swagger-ui.css")[0] == 200
            assert ask(url, body=row)[0] == 401
            assert ask(url, body=row, Authorization="Bearer third")[0] == 401
            assert ask(url, body=row, Authorization="Basic first")[0] == 401
            for key in ("first", "second"):
                assert ask(url, body=row, Authorization=f"Bearer {key}")[0] == 200
                assert ask(url, "/model", Authorization=f"Bearer {key}")[0] == 200
            assert ask(url, "/health")[0] == 200
        assert "first" not in (project / "told.txt").read_text()
        assert "try  curl -s http://127.0.0.1:" in (project / "told.txt").read_text()
    finally:
        (project / "glue.yaml").write_text(before)


def test_check(project: Path, glue: Glue) -> None:
    told = json.loads(glue("serve", "--check", "--json", cwd=project).stdout)
    assert told["version"] == 1 and told["format"] == "onnx" and len(told["answers"]) == 3
    for host, asked in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]")):
        said = glue("serve", "--check", "--host", host, "--port", "8001", cwd=project).stdout
        named = re.findall(r"(?m)^  (\S+)  \w+ \(", said)
        assert named == [
            column["name"] for column in json.loads((project / "artifacts/bundle/schema.json").read_text())["columns"]
        ]
        assert "can be served" in said and f"curl -s http://{asked}:8001/predict" in said
    assert "has no such version" in glue("serve", "--check", "--version", "9", cwd=project, code=2).stderr
    for damaged in ('{"a": ', "[]"):  # what was served last is looked for again
        (project / ".glue/serve/last-default.json").write_text(damaged)
        assert "can be served" in glue("serve", "--check", cwd=project).stdout
    (kept,) = (project / ".glue/serve").glob("v1-*")
    assert kept.stat().st_mode & 0o777 == 0o700
    model = kept / "model.onnx"
    sound = model.read_bytes()
    model.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    said = glue("serve", "--check", cwd=project, code=1).stderr
    assert "is not the bundle that was registered" in said
    model.write_bytes(sound)


def test_a_port_that_is_taken(project: Path, glue: Glue) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is taken" in glue("serve", "--port", port, cwd=project, code=2).stderr


def test_several_workers_count_together(project: Path) -> None:
    row = row_of(project)
    with serving(project, "--workers", "2") as (url, _):
        for _ in range(40):
            assert ask(url, body=row)[0] == 200
        until(lambda: "glue_rows_total 40.0" in ask(url, "/metrics")[1])
    assert list((project / ".glue/serve").glob("counters-*")) == []


def _bodies() -> Iterator[tuple[bytes, dict[str, str]]]:
    """What no client should send, for ever."""
    r = random.Random(3)
    row = {"island": "Dream", "bill_length_mm": 40.1, "year": 2008}
    values = [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b'"NaN"',
        b"true",
        b"9" * 310,
        b"1" * 400,
        b"9" * 5000,
        b'"\\ud800"',
        b'"\xff"',
        b'"\\u0000"',
        b"null",
        b"[]",
        b"{}",
        b'""',
        b"0.1e",
        b"01",
        b".5",
        b"1_000",
        b"0x10",
        b"'x'",
        b'"' + b"x" * 70_000 + b'"',
    ]
    whole = json.dumps(row).encode()
    yield from (
        (body, {}) for body in (b"", b"\xef\xbb\xbf" + whole, b"[" * 100_000, b'{"rows":' * 100_000, b"\x00" * 99)
    )
    yield whole[:-1] + b', "year": 2007}', {}  # twice
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "",
        "application/json; charset=utf-16",
    ):
        yield whole, {"Content-Type": kind}
    while True:
        name = r.choice(["island", "bill_length_mm", "year", "sex", "nobody", "rows", "", "\u202e", "a" * 5000])
        body = b'{"%s": %s}' % (name.encode(), r.choice(values))
        shape = r.randrange(5)
        if shape == 0:
            body = b'{"rows": [%s, %s]}' % (whole, body)
        elif shape == 1:
            body = body[: r.randrange(len(body))]
        elif shape == 2:
            body = bytearray(body)
            body[r.randrange(len(body))] = r.randrange(256)
            body = bytes(body)
        elif shape == 3:
            body = whole[:-1] + b", " + body[1:]
        yield body, {}


@pytest.mark.parametrize("n", [1500, pytest.param(10_000, marks=pytest.mark.long)])
def test_malformed_requests(n: int, served: tuple[str, int]) -> None:
    """No 5xx, no end of the process, no answer that tells a value."""
    url, pid = served
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    statuses: dict[int, int] = {}
    for _, (body, headers) in zip(range(n), _bodies(), strict=False):
        connection.request("POST", "/predict", body, {**JSON, **headers})
        reply = connection.getresponse()
        text = reply.read()
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        if reply.status != 200:
            assert reply.getheader("content-type") == "application/problem+json"
            assert len(text) <= 4096 and json.loads(text)["status"] == reply.status
            assert b"Dream" not in text and b"40.1" not in text and b"x" * 50 not in text
        if reply.getheader("connection") == "close":
            connection.close()
    assert max(statuses) < 500 and statuses[422] > n / 10, statuses
    assert ask(url, "/ready")[0] == 200
    os.kill(pid, 0)
    connection.close()


def test_large_and_slow_clients(project: Path) -> None:
    before = with_serve(project, "{timeout_s: 1.0, max_body_bytes: 1000000, max_in_flight: 20}")
    row = row_of(project)
    try:
        with serving(project) as (url, pid):
            host, _, port = url.removeprefix("http://").partition(":")
            (pid,) = answering(pid)

            def memory() -> int:
                return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))  # type: ignore[union-attr]

            start = memory()
            head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            with socket.create_connection((host, int(port)), 10) as one:  # told by its length, before it is read
                one.sendall(head + b"Content-Length: 1000000000\r\n\r\n")
                assert b"413" in one.recv(1000).partition(b"\r\n")[0]
            with socket.create_connection((host, int(port)), 10) as one:  # without a length
                one.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(400):  # it is read on, so that the answer arrives
                    one.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                assert b"413" in one.recv(1000).partition(b"\r\n")[0]
            with socket.create_connection((host, int(port)), 10) as one:
                one.sendall(head + b"Content-Length: 3000000\r\n\r\n" + b" " * 3_000_000)
                assert b"413" in one.recv(1000).partition(b"\r\n")[0]
            assert memory() - start < 20_000
            slow = [socket.create_connection((host, int(port)), 10) for _ in range(15)]
            for one in slow:
                one.sendall(head + b"Content-Length: 1000\r\n\r\n{")
            for _ in range(20):
                assert ask(url, body=row)[0] == 200
            for one in slow:
                assert b"408" in one.recv(1000).partition(b"\r\n")[0]
                one.close()
            many = [socket.create_connection((host, int(port)), 10) for _ in range(30)]
            for one in many[:29]:
                one.sendall(head + b"Content-Length: 1000\r\n\r\n{")
            many[29].sendall(head + b"Content-Length: 1000\r\n\r\n")  # not a byte of its body
            time.sleep(0.3)
            for _ in range(20):  # what arrives whole is answered, whatever is on its way
                assert ask(url, body=row)[0] == 200
            for one in many[:10]:  # and the slowest gave way
                assert b"408" in one.recv(1000).partition(b"\r\n")[0]
            assert b"408" in many[29].recv(1000).partition(b"\r\n")[0]
            body = json.dumps(row).encode()
            at_once = [socket.create_connection((host, int(port)), 10) for _ in range(60)]
            os.kill(pid, signal.SIGSTOP)
            for one in at_once:
                one.sendall(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            os.kill(pid, signal.SIGCONT)
            told = [one.recv(4000) for one in at_once]
            assert {one[9:12] for one in told} <= {b"200", b"503"}
            assert all(b"retry-after: 1" in one for one in told if one[9:12] == b"503")
            for one in at_once:
                one.close()
            assert ask(url, "/health")[0] == 200
            for one in many:
                one.close()
    finally:
        (project / "glue.yaml").write_text(before)


def test_it_ends_what_it_is_at(project: Path) -> None:
    row = row_of(project)
    statuses: list[int] = []

    def asking(url: str) -> None:
        with contextlib.suppress(OSError):
            while True:
                statuses.append(ask(url, body={"rows": [row] * 1000})[0])

    with serving(project) as (url, pid):
        threads = [threading.Thread(target=asking, args=[url]) for _ in range(4)]
        for one in threads:
            one.start()
        until(lambda: len(statuses) > 8)
        os.kill(pid, signal.SIGTERM)
        for one in threads:
            one.join(30)
    assert set(statuses) == {200}


@contextlib.contextmanager
def explaining(project: Path) -> Iterator[None]:
    before = with_serve(project, "{explain: true}")
    try:
        yield
    finally:
        (project / "glue.yaml").write_text(before)


def test_an_answer_is_taken_apart_where_that_is_allowed(project: Path, served: tuple[str, int]) -> None:
    row = row_of(project)
    status, why = ask(served[0], "/predict?explain=true", row)
    assert status == 400 and "serve: {explain: true}" in why["detail"]
    assert ask(served[0], "/predict?explain=false&other=1", row)[0] == 200
    for query in ("explian=true", "other=1&Explain=true"):
        status, why = ask(served[0], f"/predict?{query}", row)
        assert status == 400 and why["title"] == "The request is malformed"
        assert "did you mean 'explain'?" in why["detail"]
    with explaining(project), serving(project) as (url, _):
        plain = ask(url, "/predict", row)[1]
        assert "explanation" not in plain
        for body, of in ((row, lambda got: got), ({"rows": [row, row]}, lambda got: got["predictions"][1])):
            status, got = ask(url, "/predict?explain=true", body)
            answer = of(got)
            why = answer["explanation"]
            assert status == 200 and answer["probabilities"] == plain["probabilities"]
            assert set(why["contributions"]) == set(row)
            added = why["base"] + sum(why["contributions"].values())
            assert added == pytest.approx(plain["probabilities"][plain["prediction"]], abs=1e-5)
        document = ask(url, "/openapi.json")[1]
        assert document["paths"]["/predict"]["post"]["parameters"][0]["name"] == "explain"
        assert "explanation" in document["components"]["schemas"]["Answer"]["properties"]
        assert ask(url, "/predict?explain=perhaps", row)[0] == 400
        assert ask(url, "/predict?explain=true", {"rows": [row] * 101})[0] == 413
        assert ask(url, "/predict", {"rows": [row] * 101})[0] == 200


@pytest.mark.parametrize("examples", [60, pytest.param(1200, marks=pytest.mark.long)])
def test_the_openapi_document_is_true(examples: int, served: tuple[str, int], tmp_path: Path) -> None:
    """schemathesis, all checks on; `examples` for each operation and phase."""
    words = ["schemathesis", "run", f"{served[0]}/openapi.json", "--checks", "all", "--max-examples", str(examples)]
    done = subprocess.run(
        [*words, "--mode", "all", "--seed", "1", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


TRICKS = [
    "//",
    "/..%2f..%2fetc/passwd",
    "/%00",
    "/predict%00",
    "/predict/",
    "/predict/../model",
    "/docs/../../glue.yaml",
    "/.glue/delivery.json",
    "/static/../../x",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/predict;x",
    "/PREDICT",
    "/model?path=/etc/passwd",
    "/docs%0d%0aX:%20y",
    "/metrics/../health",
]


def test_paths_and_series(project: Path) -> None:
    """No file is read by any path, and random paths make no new series."""
    with serving(project, "--quiet") as (url, _):
        host = url.removeprefix("http://")
        for path in [*TRICKS, *(f"/random/{n}" for n in range(300))]:
            connection = http.client.HTTPConnection(host, timeout=10)
            connection.putrequest("GET", path, skip_host=False)
            connection.endheaders()
            reply = connection.getresponse()
            text = reply.read()
            assert b"root:" not in text and b"project:" not in text, path
            assert reply.status in (200, 400, 404, 405, 307) and reply.status < 500, (path, reply.status)
            assert reply.status != 200 or path.startswith("/model?"), path
            connection.close()
        for path, status in {"/health": 200, "/ready": 200, "/metrics": 200, "/nothing": 404, "/predict": 405}.items():
            connection = http.client.HTTPConnection(host, timeout=10)
            connection.request("HEAD", path)  # as balancers ask
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (status, b""), path
            connection.close()
        told = ask(url, "/metrics")[1]
        assert sum(1 for line in told.splitlines() if not line.startswith("#")) < 60


def test_pages_of_other_origins(project: Path, served: tuple[str, int]) -> None:
    row = row_of(project)

    def allowed(url: str) -> str | None:
        asked = urllib.request.Request(
            f"{url}/predict", json.dumps(row).encode(), {**JSON, "Origin": "https://a.example"}
        )
        with urllib.request.urlopen(asked, timeout=10) as reply:
            return reply.headers.get("access-control-allow-origin")

    assert allowed(served[0]) is None
    before = with_serve(project, "{cors: ['https://a.example']}")
    try:
        with serving(project) as (url, _):
            assert allowed(url) == "https://a.example"
    finally:
        (project / "glue.yaml").write_text(before)

"""Servers under test: started, asked, waited for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.asking import begin


def until(true: Callable[[], Any], seconds: float = 60, pause: float = 0.1) -> Any:
    """Wait for something that comes; a look is `pause` seconds after the one before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := true():
                return found
        time.sleep(pause)
    raise AssertionError("it did not come")


JSON = {"Content-Type": "application/json"}


def answering(pid: int) -> list[int]:
    """The processes of a server that answer: those of its children that wait for connections."""

    def waits(child: int) -> bool:
        with contextlib.suppress(OSError):  # the process has ended
            for file in Path(f"/proc/{child}/fd").iterdir():
                with contextlib.suppress(OSError):  # it has closed the file
                    if "eventpoll" in str(file.readlink()):
                        return True
        return False

    return [c for c in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) if waits(c)]


class Copied:
    """A `glue` that the process of `warm.py` makes of itself; in what it does here, as `Popen`."""

    def __init__(self, words: Sequence[str], cwd: Path, stderr: IO[str], env: dict[str, str]) -> None:
        with Path(os.devnull).open("r+") as nothing:
            streams = [nothing.fileno(), nothing.fileno(), stderr.fileno()]
            place = str(Path(os.environ["GLUE_TEST_WARM"]) / "socket")
            self._answer, self.pid = begin(place, words[1:], str(cwd), env, streams)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("glue", timeout)
            self.returncode = int(self._answer.recv(100))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def __enter__(self) -> Copied:
        return self

    def __exit__(self, *_: object) -> None:
        with self._answer:
            self.wait()


Process = Copied | subprocess.Popen[str]


def start(*words: str, cwd: Path, stderr: IO[str], env: dict[str, str] | None = None, cold: bool = False) -> Process:
    """A server that is not ready yet; `cold`: it imports all by itself."""
    full, command = {**os.environ, **(env or {})}, ["glue", "serve", *words]
    if "GLUE_TEST_WARM" in os.environ and not cold:
        return Copied(command, cwd, stderr, full)
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=stderr, env=full, text=True)


@contextlib.contextmanager
def serving(
    root: Path, *words: str, env: dict[str, str] | None = None, cold: bool = False
) -> Iterator[tuple[str, int]]:
    """The address and the process id of a server, stopped at the end."""
    told = root / "told.txt"
    with told.open("w") as err, start("--port", "0", *words, cwd=root, stderr=err, env=env, cold=cold) as process:
        try:
            url = _until(
                lambda: (found := re.search(r"on (http://[^ ,;]+)", told.read_text())) and found.group(1), process
            )
            _until(lambda: _ready(url), process)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGINT)  # as ^C: nobody is told to go elsewhere before it ends
            process.wait(30)


def _until(ask: Any, process: Process) -> Any:
    for _ in range(1800):
        found = ask()
        if found:
            return found
        assert process.poll() is None, "the server has ended"
        time.sleep(0.1)
    raise AssertionError("the server is not ready")


def _ready(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(url, "/ready")[0] == 200)
    return False


def ask(url: str, path: str = "/predict", body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and what is in the body."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(url + path, data, {**(JSON if data is not None else {}), **named})
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:
            status, text = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
        assert error.headers["content-type"] == "application/problem+json" or path != "/predict"
        assert len(text) < 4096
    return status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode()


def with_serve(root: Path, options: str) -> str:
    """Put a section `serve` in glue.yaml; the text that was there."""
    before = (root / "glue.yaml").read_text()
    (root / "glue.yaml").write_text(f"{before[: before.index('serve:')]}serve: {options}\n")
    return before


@contextlib.contextmanager
def hooked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a webhook, and what it was told."""
    told: list[dict[str, Any]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            told[-1]["signed"] = self.headers["webhook-signature"]
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", told
    server.shutdown()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_listening(host: str, port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex((host, port)) == 0


REDIS = os.environ.get("GLUE_TEST_REDIS", "127.0.0.1:6379")


POSTGRES = os.environ.get("GLUE_TEST_POSTGRES", "127.0.0.1:5432")


@contextlib.contextmanager
def postgres() -> Iterator[Any]:
    """A connection to the database `test`, whose statements are committed at once; skipped where there is none."""
    import psycopg

    try:
        connection = psycopg.connect(f"postgresql://postgres@{POSTGRES}/test", autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip(f"no postgres at {POSTGRES}")
    with connection:
        yield connection

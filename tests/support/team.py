"""The servers of a team: MLflow on PostgreSQL and an S3 store; and gates in front of them, where accidents happen."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support.server import POSTGRES, free_port, postgres, until

KEYS = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
REQUEST = re.compile(rb"^(?:GET|HEAD|POST|PUT|PATCH|DELETE) \S+ HTTP/1", re.MULTILINE)
HOST = "127.0.0.1"


@contextlib.contextmanager
def database() -> Iterator[str]:
    """A new database of PostgreSQL: what follows `postgresql://`."""
    name = f"glue_{uuid.uuid4().hex[:12]}"
    with postgres() as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"postgres@{POSTGRES}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def process(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server; what it says is in `servers.log`."""
    log = folder / "servers.log"
    with log.open("a") as said:
        quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        started = subprocess.Popen(command, stdout=said, stderr=said, cwd=folder, env=quick, start_new_session=True)
    try:
        yield started
    finally:
        for sign in (signal.SIGCONT, signal.SIGKILL):
            os.killpg(started.pid, sign)
        started.wait()


def is_up(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex((HOST, port)) == 0


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[int]:
    """An S3 server; its port."""
    port = free_port()
    with process(["moto_server", "-H", HOST, "-p", str(port)], folder):
        yield port


def make_buckets(port: int, *buckets: str) -> None:
    """Buckets are made by a plain PUT: moto asks for no signature."""
    import urllib.request

    until(lambda: is_up(port))
    for bucket in buckets:
        urllib.request.urlopen(urllib.request.Request(f"http://{HOST}:{port}/{bucket}", method="PUT"))


@contextlib.contextmanager
def mlflow(folder: Path, store: str, artifacts: str, *, serves: bool = False) -> Iterator[int]:
    """An MLflow server on a database of PostgreSQL; its port. Clients bring artifacts themselves, or it `serves`."""
    port = free_port()
    kept = ["--artifacts-destination"] if serves else ["--no-serve-artifacts", "--default-artifact-root"]
    places = ["--backend-store-uri", f"postgresql+psycopg://{store}", *kept, artifacts]
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    with process([*command, *places], folder):
        yield port


class Gate:
    """A port in front of a server.

    Attributes:
        port: to connect to.
        on_request: called with each request line of HTTP on its way to the server, before it gets there.
    """

    def __init__(self, to: int | str) -> None:
        host, _, port = to.rpartition(":") if isinstance(to, str) else (HOST, "", str(to))
        self._to = (host, int(port))
        self.port = free_port()
        self.on_request: Callable[[str], None] | None = None
        self._flows = threading.Event()
        self._flows.set()
        self._ends: list[socket.socket] = []
        self._listening: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Take connections."""
        self._listening = socket.create_server((HOST, self.port), backlog=64)
        threading.Thread(target=self._accept, args=[self._listening], daemon=True).start()

    def shut(self) -> None:
        """As a server that was killed: connections end, and none is taken."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        self.cut()

    def cut(self) -> None:
        """End all connections, as a server that starts anew."""
        while self._ends:
            with contextlib.suppress(OSError):
                self._ends.pop().shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Take connections and bytes, and pass nothing on."""
        self._flows.clear()

    def thaw(self) -> None:
        """As before all accidents."""
        self._flows.set()
        self.on_request = None
        if self._listening is None:
            self.open()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                here = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._link, args=[here], daemon=True).start()

    def _link(self, here: socket.socket) -> None:
        self._ends.append(here)
        self._flows.wait()
        with contextlib.suppress(OSError), here, socket.create_connection(self._to) as there:
            self._ends.append(there)
            back = threading.Thread(target=self._pump, args=[there, here, False], daemon=True)
            back.start()
            self._pump(here, there, True)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, is_asking: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_asking and self.on_request is not None:
                    for line in REQUEST.findall(data):
                        self.on_request(line.decode())
                self._flows.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

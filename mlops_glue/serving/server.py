"""The processes of one server: workers that answer, and beside them what asks the registry and ships the log.

A worker that dies is replaced. To stop, /ready says no first, then the workers answer what they have, then the log is
shipped. A worker is a fork of a process that has imported all and loaded nothing, where the system allows that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from mlops_glue.errors import MissingExtra, UsageError, system_error
from mlops_glue.serving.worker import STARTED, Settings, Worker, with_cors

BACKLOG = 2048
QUICK_S = 5.0  # a process that ended sooner is not started again at once
LONGEST_S = 10.0  # between two starts
LAST_S = 30.0  # for the log to be shipped at the end
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def bound(host: str, port: int) -> socket.socket:
    """A listening address; port 0 takes a free one.

    Raises:
        UsageError: it is taken, or is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.set_inheritable(True)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} of {host} is taken", hint=f"glue serve --port {port + 1}") from None
        if error.errno is None or isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host}: is no address of this machine", hint="--host 127.0.0.1") from None
        raise system_error(error) from None
    return made


@dataclass
class Child:
    """One process, and how it is started again."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    process: Any = None
    started: float = 0.0
    pause_s: float = 0.0  # before the next start
    due: float = field(default=0.0)


def run(
    settings: Settings,
    listening: socket.socket,
    *,
    workers: int,
    shutdown_s: float,
    drain_s: float,
    beside: dict[str, tuple[Callable[..., None], tuple[Any, ...]]],
    tell: Callable[[str], None],
) -> int:
    """Serve until told to stop; what is in flight then is answered within `shutdown_s`.

    Args:
        settings: of each worker.
        listening: the socket.
        workers: how many processes.
        shutdown_s: how long the end may take.
        drain_s: how long /ready says no before that.
        beside: other processes by name, and what they are called with.
        tell: prints a line.

    Returns:
        The exit code.
    """
    try:
        import uvicorn  # noqa: F401 - here, so that no worker needs to
    except ImportError as error:
        raise MissingExtra("uvicorn", "serving") from error
    settings = replace(settings, parent=os.getpid())
    children = [Child(f"worker {n + 1}", work, (settings, listening, shutdown_s)) for n in range(workers)]
    others = [Child(name, target, arguments) for name, (target, arguments) in beside.items()]
    family = Family(children, others, Path(settings.state or "."), tell)
    return family.run(drain_s, shutdown_s)


class Family:
    """Processes that live and end together.

    Args:
        workers: that answer.
        others: that do not.
        state: the folder that they share.
        tell: prints a line.
    """

    def __init__(self, workers: list[Child], others: list[Child], state: Path, tell: Callable[[str], None]) -> None:
        self._workers, self._others, self._tell = workers, others, tell
        self._started = state / STARTED
        self._context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
        self._told: list[int] = []  # signals to stop
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    def run(self, drain_s: float, shutdown_s: float) -> int:
        """Until a signal says stop; 4 when no worker could start."""
        before = {number: signal.signal(number, lambda n, _: self._told.append(n)) for number in STOP}
        wakeup = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            for child in (*self._workers, *self._others):
                self._start(child)
            while not self._told:
                self._sleep(0.5)
                if not self._mended():
                    self._end(0.0, 0.0)
                    return 4
            self._end(0.0 if self._told[0] == signal.SIGINT else drain_s, shutdown_s)
            return 0
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._woken.close()
            self._wake.close()

    def _sleep(self, seconds: float) -> None:
        """Until a process ends, a signal comes, or time is up."""
        ends = [c.process.sentinel for c in (*self._workers, *self._others) if c.process is not None]
        connection.wait([*ends, self._woken], timeout=seconds)
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(100):
                pass

    def _start(self, child: Child) -> None:
        child.process = self._context.Process(target=_begun, args=(child.target, child.arguments), name=child.name)
        child.started = time.monotonic()
        child.process.start()

    def _mended(self) -> bool:
        """Start again what has ended; False when no worker ever was ready."""
        for child in (*self._workers, *self._others):
            if child.process is not None and not child.process.is_alive():
                child.process.join()
                code, child.process = child.process.exitcode, None
                if child in self._workers and not self._started.exists():
                    return False
                quick = time.monotonic() - child.started < QUICK_S
                child.pause_s = min(max(0.1, 2 * child.pause_s), LONGEST_S) if quick else 0.0
                child.due = time.monotonic() + child.pause_s
                said = f"signal {-code}" if code < 0 else f"exit code {code}"
                self._tell(f"{child.name} has ended ({said}); it is started again")
            if child.process is None and child.due <= time.monotonic():
                self._start(child)
        return True

    def _end(self, drain_s: float, shutdown_s: float) -> None:
        _signal(self._workers, signal.SIGUSR1)
        told, end = len(self._told), time.monotonic() + drain_s
        while time.monotonic() < end and len(self._told) == told:  # a second signal ends the waiting
            self._sleep(end - time.monotonic())
        _signal(self._workers, signal.SIGTERM)
        _joined(self._workers, shutdown_s + 2)
        _signal(self._others, signal.SIGTERM)
        _joined(self._others, LAST_S)


def _signal(children: list[Child], number: int) -> None:
    for child in children:
        if child.process is not None and child.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.process.pid, number)


def _joined(children: list[Child], seconds: float) -> None:
    end = time.monotonic() + seconds
    for child in children:
        if child.process is not None:
            child.process.join(max(0.0, end - time.monotonic()))
    _signal(children, signal.SIGKILL)
    for child in children:
        if child.process is not None:
            child.process.join()


def _begun(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """In a new process: out of reach of the terminal's ^C, which is for the one that started it."""
    signal.set_wakeup_fd(-1)
    for number in STOP:
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    target(*arguments)


class Joined:
    """A transport that sends the head of an answer with its body: one system call and one packet instead of two.

    Args:
        transport: of the connection; all but writing is its own.
    """

    def __init__(self, transport: Any) -> None:
        self._transport, self._head = transport, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """A head waits for what comes next, or for `flush`; a client waits for "100 Continue" itself."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def flush(self) -> None:
        """Send a head that no body follows, such as the answer to HEAD."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """With all that was written sent."""
        self.flush()
        self._transport.close()


def plain_http() -> type[Any]:
    """Uvicorn's HTTP/1.1, to which a request to upgrade (WebSocket, h2c) is one like any other: RFC 9110, 7.8.

    Uvicorn itself passes such a request on without its body, or to a WebSocket that nobody serves,
    which breaks its graceful end. Here the request begins anew without what asks for the upgrade.
    """
    import httptools
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class PlainHttp(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            self._joined = Joined(transport)
            super().connection_made(self._joined)  # type: ignore[arg-type]

        def on_response_complete(self) -> None:
            self._joined.flush()
            super().on_response_complete()

        def _should_upgrade(self) -> bool:
            return True  # whoever calls this drops the request, which `data_received` takes up

        def data_received(self, data: bytes) -> None:
            self._unset_keepalive_if_required()
            while True:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    method = self.parser.get_method()
                    if method == b"CONNECT":
                        self.send_400_response("This is no proxy.")
                        return
                    kept = [(n, v) for n, v in self.headers if n not in (b"upgrade", b"http2-settings")]
                    head = b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())
                    head += b"".join(b"%b: %b\r\n" % one for one in kept)
                    data = head + b"\r\n" + data[upgrade.args[0] :]
                    self.parser = httptools.HttpRequestParser(self)
                except httptools.HttpParserError:
                    self.send_400_response("Invalid HTTP request received.")
                    return

    return PlainHttp


def work(settings: Settings, listening: socket.socket, shutdown_s: float) -> None:
    """A worker: one process that answers."""
    import uvicorn

    config = uvicorn.Config(
        with_cors(Worker(settings)),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
        timeout_keep_alive=30,
        backlog=BACKLOG,
        lifespan="on",
        http=plain_http(),
        ws="none",
        proxy_headers=False,  # nothing here asks who the client is
    )
    uvicorn.Server(config).run(sockets=[listening])


def address(host: str, port: int) -> str:
    """As a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Is it reached from this machine alone?"""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

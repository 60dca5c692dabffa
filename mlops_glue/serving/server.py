"""uvicorn, with one worker in this process or several in processes of their own."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import msgspec

from mlops_glue.errors import MissingExtra, UsageError, of_system
from mlops_glue.serving.worker import Settings, Worker, with_cors

BACKLOG = 2048


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
        raise of_system(error) from None
    return made


def run(
    settings: Settings, listening: socket.socket, *, workers: int, shutdown_s: float, alone: Worker | None = None
) -> int:
    """Serve until told to stop; what is in flight then is answered within `shutdown_s`.

    Args:
        settings: of each worker.
        listening: the socket.
        workers: how many processes.
        shutdown_s: how long the end may take.
        alone: the worker in this process, where there is one only.

    Returns:
        The exit code.
    """
    try:
        import uvicorn
        from uvicorn.supervisors import Multiprocess
    except ImportError as error:
        raise MissingExtra("uvicorn", "serving") from error
    options: dict[str, Any] = {
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": max(1, round(shutdown_s)),
        "timeout_keep_alive": 30,
        "backlog": BACKLOG,
        "lifespan": "on",
        "proxy_headers": False,  # nothing here asks who the client is
    }
    if alone is not None:
        server = uvicorn.Server(uvicorn.Config(with_cors(alone), **options))
        server.run(sockets=[listening])
        return 0 if server.started else 4
    os.environ["GLUE_SERVE"] = msgspec.json.encode(settings).decode()
    config = uvicorn.Config("mlops_glue.serving.worker:make", factory=True, workers=workers, **options)
    Multiprocess(config, sockets=[listening]).run()
    return 0


def address(listening: socket.socket) -> str:
    """As a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Is it reached from this machine alone?"""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Where a server listens."""

from __future__ import annotations

import errno
import ipaddress
import socket

from mlops_glue.errors import UsageError, system_error

BACKLOG = 2048


def listen(host: str, port: int, command: str = "glue serve") -> socket.socket:
    """A listening socket; port 0 takes a free one. `command` is what the hint of a taken port types.

    Raises:
        UsageError: the port is taken, or the address is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.set_inheritable(True)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} of {host} is taken", hint=f"{command} --port {port + 1}") from None
        if error.errno is None or isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host}: is no address of this machine", hint="--host 127.0.0.1") from None
        raise system_error(error) from None
    return listening


def url_of(host: str, port: int) -> str:
    """An address as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def asked_at(url: str) -> str:
    """The URL at which this machine asks a server that listens at one: nobody can ask all addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def is_loopback(host: str) -> bool:
    """Is it reached from this machine alone?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

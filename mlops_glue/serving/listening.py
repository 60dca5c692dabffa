"""The address that a server listens on."""

from __future__ import annotations

import errno
import ipaddress
import socket

from mlops_glue.errors import UsageError, system_error

BACKLOG = 2048


def listen(host: str, port: int, command: str = "glue serve") -> socket.socket:
    """Open a listening socket; port 0 chooses a free port. `command` is used in the hint if the port is taken.

    Raises:
        UsageError: the port is taken, or the address does not belong to this machine.
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
            raise UsageError(f"--host {host}: not an address of this machine", hint="--host 127.0.0.1") from None
        raise system_error(error) from None
    return listening


def url_of(host: str, port: int) -> str:
    """Return the URL of an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def asked_at(url: str) -> str:
    """Return the URL at which this machine reaches a server: an address such as 0.0.0.0 cannot be connected to."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def is_loopback(host: str) -> bool:
    """Can only this machine reach the address?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

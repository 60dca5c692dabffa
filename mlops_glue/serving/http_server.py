"""Runs a worker in uvicorn, with an HTTP/1.1 protocol that sends each answer in one packet."""

from __future__ import annotations

import socket
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlops_glue.serving.app import with_cors
from mlops_glue.serving.listening import BACKLOG
from mlops_glue.serving.settings import Settings
from mlops_glue.serving.worker import Worker

KEEP_ALIVE_S = 30


def run_worker(settings: Settings, listening: socket.socket) -> None:
    """Run a worker: a process that answers requests."""
    config = uvicorn.Config(
        with_cors(Worker(settings), settings.options.cors),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.options.shutdown_s)),
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
        lifespan="on",
        http=PlainHttp,
        ws="none",
        proxy_headers=False,  # the client's address is not used
    )
    uvicorn.Server(config).run(sockets=[listening])


class OnePacketTransport:
    """A transport that sends the head of an answer together with its body, in one system call and one packet."""

    def __init__(self, transport: Any) -> None:
        self._transport, self._head = transport, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write data. A head is held back until the next write or `flush`; "100 Continue" is sent immediately."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def flush(self) -> None:
        """Send a head without a body, such as the answer to HEAD."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send everything that was written, and close."""
        self.flush()
        self._transport.close()


class PlainHttp(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 protocol, which ignores a request to upgrade (WebSocket, h2c), as RFC 9110, 7.8 allows.

    Uvicorn itself passes such a request on without its body, or to a WebSocket handler that does not exist, which
    breaks its graceful shutdown. This class parses the request again without the upgrade headers.
    """

    def connection_made(self, transport: Any) -> None:
        """Wrap the transport, so that an answer needs as few packets as possible."""
        self._one_packet = OnePacketTransport(transport)
        super().connection_made(self._one_packet)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Send a head that has no body."""
        self._one_packet.flush()
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return True  # the caller drops the request, and `data_received` parses it again

    def data_received(self, data: bytes) -> None:
        """Parse data; a request to upgrade is parsed again without the upgrade headers."""
        self._unset_keepalive_if_required()
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                method = self.parser.get_method()
                if method == b"CONNECT":
                    self.send_400_response("This server is not a proxy.")
                    return
                headers = [(n, v) for n, v in self.headers if n not in (b"upgrade", b"http2-settings")]
                head = b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())
                head += b"".join(b"%b: %b\r\n" % header for header in headers)
                data = head + b"\r\n" + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return

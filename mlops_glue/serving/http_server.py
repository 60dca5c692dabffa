"""Uvicorn as a worker runs it: HTTP/1.1 that sends an answer in one packet."""

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
    """A worker: one process that answers."""
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
        proxy_headers=False,  # nothing here asks who the client is
    )
    uvicorn.Server(config).run(sockets=[listening])


class OnePacketTransport:
    """A transport that sends the head of an answer with its body: one system call and one packet instead of two."""

    def __init__(self, transport: Any) -> None:
        self._transport, self._head = transport, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """A head waits for what comes next, or for `flush`; "100 Continue" waits for nothing."""
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
        """Send what was written, and close."""
        self.flush()
        self._transport.close()


class PlainHttp(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1, to which a request to upgrade (WebSocket, h2c) is one like any other: RFC 9110, 7.8.

    Uvicorn itself passes such a request on without its body, or to a WebSocket that nobody serves,
    which breaks its graceful end. Here the request begins anew without what asks for the upgrade.
    """

    def connection_made(self, transport: Any) -> None:
        """Send what is written in as few packets as possible."""
        self._one_packet = OnePacketTransport(transport)
        super().connection_made(self._one_packet)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Send a head that no body follows."""
        self._one_packet.flush()
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return True  # whoever calls this drops the request, which `data_received` takes up

    def data_received(self, data: bytes) -> None:
        """Parse; a request to upgrade once more, without that."""
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
                headers = [(n, v) for n, v in self.headers if n not in (b"upgrade", b"http2-settings")]
                head = b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())
                head += b"".join(b"%b: %b\r\n" % header for header in headers)
                data = head + b"\r\n" + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return

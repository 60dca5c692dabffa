"""Reads request bodies, and keeps slow clients from blocking the others."""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import Any

from mlops_glue.config import Serve
from mlops_glue.serving.responses import CLOSE, Disconnected, Message, Receive, Refused


class Bodies:
    """The bodies that are being received."""

    def __init__(self, options: Serve) -> None:
        self._options = options
        self._arriving: dict[str, tuple[asyncio.Task[Any] | None, float]] = {}  # by request, oldest first

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of this worker. Before Python 3.12, asyncio makes a system call each time it is asked."""
        return asyncio.get_running_loop()

    async def read(self, receive: Receive, request_id: str, started: float) -> bytes:
        """Read a whole body. A request that is still arriving does not count towards `max_in_flight`.

        If too many bodies are arriving, the oldest is refused, so that slow clients never crowd out fast ones.

        Raises:
            Refused: the body is too large, or arrived too late.
            Disconnected: the client has gone.
        """
        if len(self._arriving) >= self._options.max_in_flight:
            self._end(next(iter(self._arriving)))
        task = asyncio.current_task(self._loop)
        self._arriving[request_id] = (task, started)
        try:
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body") or message["type"] == "http.disconnect":
                body = await self._rest(message, receive)
        except asyncio.CancelledError:
            if request_id in self._arriving:  # the server is shutting down
                raise
            if task is not None:
                task.uncancel()
            raise Refused(408, headers=[CLOSE]) from None
        finally:
            self._arriving.pop(request_id, None)
        self.check_size(len(body))
        return body

    def check_size(self, size: int) -> None:
        """Compare a size in bytes with the limit.

        Raises:
            Refused: it is too large.
        """
        if size > self._options.max_body_bytes:
            raise Refused(413, f"the limit is {self._options.max_body_bytes:,} bytes", headers=[CLOSE])

    async def _rest(self, message: Message, receive: Receive) -> bytes:
        parts, size = [message.get("body", b"")], len(message.get("body", b""))
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self.check_size(size)
        if message["type"] == "http.disconnect":
            raise Disconnected
        return b"".join(parts)

    def end_slow(self) -> None:
        """Refuse requests whose bodies are late; called periodically."""
        latest = time.perf_counter() - self._options.timeout_s
        for request_id in [name for name, (_, started) in self._arriving.items() if started < latest]:
            self._end(request_id)

    def _end(self, request_id: str) -> None:
        task, _ = self._arriving.pop(request_id)
        if task is not None:
            task.cancel()

"""Answers of a worker: a whole body at once, and problems in the form of RFC 9457."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

READ_ON_S = 2.0  # after an answer that ends the connection, so that a client that still sends gets to read it
MOST_PROBLEM_BYTES = 3500  # of all problems in an answer
TITLES = {
    400: "The body is not JSON",
    401: "An API key is needed",
    404: "There is no such page",
    405: "This method is not for this page",
    408: "The request did not arrive in time",
    413: "The request is too large",
    415: "The body must be application/json",
    422: "The rows are not what the model takes",
    500: "The server has a bug",
    503: "Not now; try again",
}
KINDS = {  # of errors, as they are counted
    400: "malformed",
    401: "unauthorized",
    405: "method",
    408: "timeout",
    413: "too_large",
    415: "content_type",
    422: "invalid",
    500: "internal",
}
CLOSE: Header = (b"connection", b"close")
JSON_TYPE: Header = (b"content-type", b"application/json")
PROBLEM_TYPE: Header = (b"content-type", b"application/problem+json")

encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """An answer that is not 200.

    Args:
        status: of HTTP.
        detail: for who sent the request.
        kind: as it is counted, where the status does not say it.
        headers: of the answer.
        problems: by row and field.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        kind: str = "",
        headers: Sequence[Header] = (),
        problems: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.problems = status, detail, headers, problems
        self.kind = kind or KINDS.get(status, "other")

    def body(self, request_id: str) -> bytes:
        """The answer: its number of problems, and as many of them as a short answer holds."""
        about: dict[str, Any] = {"title": TITLES.get(self.status, "Refused"), "status": self.status}
        if self.detail:
            about["detail"] = self.detail
        if self.problems:
            size, shown = 0, []
            for problem in self.problems:
                size += len(encode(problem)) + 1
                if size > MOST_PROBLEM_BYTES:
                    break
                shown.append(problem)
            number = len(self.problems)
            about |= {"detail": f"{number} problem{'s' * (number > 1)}", "problems": shown}
        return encode({**about, "request_id": request_id})


class Disconnected(Exception):
    """The client is gone: there is nobody to answer."""


async def send_whole(
    send: Send, status: int, headers: list[Header], body: bytes, read_on: Receive | None = None
) -> None:
    """Send an answer; with `read_on`, read on for a while: closing at once would take the answer away."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if read_on is None:
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_ON_S):
            while (await read_on()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})


async def send_refused(send: Send, refused: Refused, request_id: str, read_on: Receive | None = None) -> None:
    """Send a problem."""
    await send_whole(send, refused.status, [PROBLEM_TYPE, *refused.headers], refused.body(request_id), read_on)

"""Answers of a worker: a whole body at once, problems in the form of RFC 9457, and who gets an answer at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from mlops_glue.serving.fields import RowProblem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

READ_ON_S = 2.0  # after an answer that ends the connection, so that a client that still sends gets to read it
MAX_PROBLEM_BYTES = 3500  # of all problems in an answer
STATUSES = {  # how errors are counted, and their titles
    400: ("malformed", "The body is not JSON"),
    401: ("unauthorized", "An API key is needed"),
    405: ("method", "This method is not for this page"),
    408: ("timeout", "The request did not arrive in time"),
    413: ("too_large", "The request is too large"),
    415: ("content_type", "The body must be application/json"),
    422: ("invalid", "The rows are not what the model takes"),
    500: ("internal", "The server has a bug"),
    503: ("busy", "Not now; try again"),
}
CLOSE: Header = (b"connection", b"close")
JSON_TYPE: Header = (b"content-type", b"application/json")
PROBLEM_TYPE: Header = (b"content-type", b"application/problem+json")

encode = msgspec.json.Encoder().encode


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of an answer that is not 200."""

    title: str
    status: int
    request_id: str
    detail: str = ""
    problems: list[RowProblem] = []


class Refused(Exception):
    """An answer that is not 200.

    Args:
        status: of HTTP.
        detail: for who sent the request.
        kind: how the error is counted, where the status does not say it.
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
        problems: Sequence[RowProblem] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.problems = status, detail, headers, problems
        self.kind = kind or STATUSES[status][0]

    def body(self, request_id: str) -> bytes:
        """The answer, with the number of problems and as many of them as a short answer holds."""
        answer = Problem(STATUSES[self.status][1], self.status, request_id, self.detail)
        if self.problems:
            number, size = len(self.problems), 0
            answer.detail = f"{number} problem{'s' * (number > 1)}"
            for problem in self.problems:
                size += len(encode(problem)) + 1
                if size > MAX_PROBLEM_BYTES:
                    break
                answer.problems.append(problem)
        return encode(answer)


class ApiKeys:
    """The hashes of the keys that the variables `${NAME}` hold; space around a key is no part of it."""

    def __init__(self, references: Sequence[str]) -> None:
        self._hashes = [hashlib.sha256(os.environ[name[2:-1]].strip().encode()).digest() for name in references]

    def check(self, header: bytes) -> None:
        """Check the header Authorization, where keys are configured. Each is compared, and in constant time.

        Raises:
            Refused: no key fits.
        """
        if not self._hashes:
            return
        scheme, _, secret = header.partition(b" ")
        given = hashlib.sha256(secret.strip()).digest()
        fits = [hmac.compare_digest(given, known) for known in self._hashes]
        if scheme.lower() != b"bearer" or not any(fits):
            raise Refused(401, "send the header Authorization: Bearer KEY", headers=[(b"www-authenticate", b"Bearer")])


class Disconnected(Exception):
    """The client is gone: there is nobody to answer."""


def closing(send: Send) -> Send:
    """Sends answers after which their connection ends, so that the next request of its client goes to another host."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
        await send(message)

    return send_closing


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

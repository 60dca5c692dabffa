"""A worker's answers: complete bodies, problems as in RFC 9457, and the check of API keys."""

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

READ_ON_S = 2.0  # to keep reading after an answer that closes the connection: a client that still sends can read it
MAX_PROBLEM_BYTES = 3500  # of all problems in an answer
STATUSES = {  # by status: the kind under which the error is counted, and the title
    400: ("malformed", "The request is malformed"),
    401: ("unauthorized", "An API key is required"),
    405: ("method", "Method not allowed"),
    408: ("timeout", "The request did not arrive in time"),
    413: ("too_large", "The request is too large"),
    415: ("content_type", "The body must be plain application/json"),
    422: ("invalid", "The model does not accept these rows"),
    500: ("internal", "Internal error in the server"),
    503: ("busy", "Temporarily unavailable"),
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
        status: the HTTP status.
        detail: an explanation for the client.
        kind: the kind under which the error is counted; by default the status gives it.
        headers: further headers of the answer.
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
        """Return the body, with the number of problems and as many of them as fit into a short answer."""
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
    """The API keys, as hashes of the variables `${NAME}`; space around a key is ignored."""

    def __init__(self, references: Sequence[str]) -> None:
        self._hashes = [hashlib.sha256(os.environ[name[2:-1]].strip().encode()).digest() for name in references]

    def check(self, header: bytes) -> None:
        """Check the header Authorization if keys are configured. It is compared with every key, in constant time.

        Raises:
            Refused: no key matches.
        """
        if not self._hashes:
            return
        scheme, _, secret = header.partition(b" ")
        given = hashlib.sha256(secret.strip()).digest()
        fits = [hmac.compare_digest(given, known) for known in self._hashes]
        if scheme.lower() != b"bearer" or not any(fits):
            raise Refused(401, "send the header Authorization: Bearer KEY", headers=[(b"www-authenticate", b"Bearer")])


class Disconnected(Exception):
    """The client closed the connection before it could be answered."""


def closing(send: Send) -> Send:
    """Wrap `send` so that answers close their connection and the client's next request can go to another host."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
        await send(message)

    return send_closing


async def send_whole(
    send: Send, status: int, headers: list[Header], body: bytes, read_on: Receive | None = None
) -> None:
    """Send a whole answer.

    With `read_on`, keep reading for a while first: the client could not read the answer if the connection closed while
    it is still sending.
    """
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

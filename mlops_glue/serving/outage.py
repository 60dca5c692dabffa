"""Logs that a service which requests need is unavailable: immediately, then periodically with a count."""

from __future__ import annotations

import time
from typing import Any

from mlops_glue.errors import GlueError
from mlops_glue.serving.access_log import AccessLog, places

EVERY_S = 10.0  # between two lines
OPERATIONAL = {"OSError", "TimeoutError", "ConnectionError", "OperationalError", "PoolTimeout"}  # of any library


class Outage:
    """Logs the requests that could not be answered because of an outage, at most one line every `EVERY_S`."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log
        self._due = 0.0
        self._waiting = 0  # requests since the last line
        self._last: tuple[str, str, BaseException | None] | None = None

    def failed(self, request_id: str, what: str, cause: BaseException | None) -> None:
        """Record a failed request. `what` is unavailable; the cause is logged without values from the request."""
        self._waiting, self._last = self._waiting + 1, (request_id, what, cause)
        self.report()

    def report(self) -> None:
        """Write a line if one is due; called periodically."""
        if self._last is None or time.monotonic() < self._due:
            return
        request_id, what, cause = self._last
        about: dict[str, Any] = {"unavailable": what}
        if cause is not None:
            about["because"] = _named(cause)
            if not _is_operational(cause):  # it may be a bug
                about["at"] = places(cause)
        self._log.note(request_id=request_id, **about, requests=self._waiting)
        self._due, self._waiting, self._last = time.monotonic() + EVERY_S, 0, None

    def close(self) -> None:
        """Write what has not been written yet."""
        self._due = 0.0
        self.report()


def _named(cause: BaseException) -> str:
    """Return the message of glue's own errors, which contains no value from a request; of any other, its type."""
    return cause.message if isinstance(cause, GlueError) else type(cause).__name__


def _is_operational(cause: BaseException) -> bool:
    return isinstance(cause, GlueError) or bool(OPERATIONAL & {kind.__name__ for kind in type(cause).__mro__})

"""Logs that something which requests need is unavailable: once at the start, then a count now and then."""

from __future__ import annotations

import time
import traceback

from mlops_glue.errors import GlueError
from mlops_glue.serving.access_log import AccessLog

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
        """A request failed. `what` is unavailable; its cause is named without values from the request."""
        self._waiting, self._last = self._waiting + 1, (request_id, what, cause)
        self.report()

    def report(self) -> None:
        """Write the line that is due, if any; called periodically."""
        if self._last is None or time.monotonic() < self._due:
            return
        request_id, what, cause = self._last
        about = {"unavailable": what, "because": _named(cause)} if cause is not None else {"unavailable": what}
        if cause is not None and not _is_operational(cause):  # perhaps a fault of the program: where it was raised
            about["at"] = "; ".join(f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(cause.__traceback__))
        self._log.note(request_id=request_id, **about, requests=self._waiting)
        self._due, self._waiting, self._last = time.monotonic() + EVERY_S, 0, None

    def close(self) -> None:
        """Write what has not been written yet."""
        self._due = 0.0
        self.report()


def _named(cause: BaseException) -> str:
    """The message of glue's own errors, which has no value from a request; of any other, its type."""
    return cause.message if isinstance(cause, GlueError) else type(cause).__name__


def _is_operational(cause: BaseException) -> bool:
    return isinstance(cause, GlueError) or bool(OPERATIONAL & {kind.__name__ for kind in type(cause).__mro__})

"""Requests that have arrived together are scored by one run of the model, and logged in one piece."""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import Any

from mlops_glue.serving.contract import Rows
from mlops_glue.serving.live import Served
from mlops_glue.serving.log import PredictionLog
from mlops_glue.serving.metrics import Counters

MOST_ROWS = 32  # of a request that waits for others; a longer one gains nothing by company

Scored = tuple[list[Any], list[list[float]] | None]


class NotLogged(Exception):
    """The prediction log cannot be written, so there is no answer."""


class Request:
    """One that waits to be scored."""

    __slots__ = ("answer", "answered", "caller", "request_id", "rows")

    def __init__(self, rows: Rows, request_id: str, caller: str | None, answered: bool = True) -> None:
        self.rows, self.request_id, self.caller, self.answered = rows, request_id, caller, answered
        self.answer: asyncio.Future[Scored]  # of `Batch.score`


class Batch:
    """Scores and logs.

    Args:
        log: of predictions, if they are logged.
        counters: of what is not in the log.
    """

    def __init__(self, log: PredictionLog | None, counters: Counters) -> None:
        self.log, self._counters = log, counters
        self.problem: str | None = None  # of the log
        self._waiting: dict[Served, list[Request]] = {}

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Of this worker. To ask asyncio for it costs a system call each time, before Python 3.12."""
        return asyncio.get_running_loop()

    def score(self, served: Served, request: Request) -> asyncio.Future[Scored]:
        """Will be the predictions and probabilities of a request's rows, which are in the log by then.

        Raises:
            Invalid: a number is too large, which is seen only now.
            ToolError: the model cannot be run on them.
            NotLogged: as the class says.
        """
        answer = request.answer = self.loop.create_future()
        if len(request.rows.values) > MOST_ROWS:
            self._finish(served, [request])
            return answer
        if not self._waiting:
            self.loop.call_soon(self._all)
        self._waiting.setdefault(served, []).append(request)
        return answer

    def _all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for served, requests in waiting.items():
            self._finish(served, requests)

    def _finish(self, served: Served, requests: list[Request]) -> None:
        done = self._scored(served, requests)
        try:
            self._write(served, done)
        except Exception as error:  # whatever it is: nobody waits for ever
            for request, _ in done:
                _fail(request, error)
            return
        for request, said in done:
            if not request.answer.done():
                request.answer.set_result(said)

    def _scored(self, served: Served, requests: list[Request]) -> list[tuple[Request, Scored]]:
        """Of those that could be scored; the others have been told."""
        try:
            rows = Rows([row for one in requests for row in one.rows.values], bare=False)
            said, shares = self._run(served, rows, requests[0].answered)
        except Exception as error:
            if len(requests) > 1:  # by one of them, perhaps
                return [done for one in requests for done in self._scored(served, [one])]
            _fail(requests[0], error)
            return []
        if len(said) == len(requests):
            if shares is None:
                return [(one, ([value], None)) for one, value in zip(requests, said, strict=True)]
            return [(one, ([v], [share])) for one, v, share in zip(requests, said, shares, strict=True)]
        out: list[tuple[Request, Scored]] = []
        at = 0
        for one in requests:
            end = at + len(one.rows.values)
            out.append((one, (said[at:end], None if shares is None else shares[at:end])))
            at = end
        return out

    def _run(self, served: Served, rows: Rows, answered: bool) -> Scored:
        inputs = served.model.contract.matrices(rows)
        done = served.model.scored(inputs)
        if answered:  # nobody counts what a shadow sees
            served.outside.see(inputs)
        return done

    def _write(self, served: Served, done: list[tuple[Request, Scored]]) -> None:
        if self.log is None or not done:
            return
        now, alias = time.time(), served.alias
        records = [
            (one.request_id, now, one.caller, alias, one.answered, one.rows.values, said, shares)
            for one, (said, shares) in done
        ]
        try:
            self.log.write(served.model, served.fingerprint, records)
        except OSError as error:
            self.problem = f"the prediction log cannot be written: {error.strerror or type(error).__name__}"
            self._counters.add("glue_log_lost_total", by=len(records))
            if self.log.settings.full == "refuse" and any(one.answered for one, _ in done):
                raise NotLogged(self.problem) from None
        else:
            self.problem = None


def _fail(request: Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)

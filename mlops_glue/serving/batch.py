"""Scores requests that arrive together in one run of the model, and logs them in one write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mlops_glue.serving.fields import Rows
from mlops_glue.serving.metrics import Counters
from mlops_glue.serving.model import Scores
from mlops_glue.serving.prediction_log import PredictionLog
from mlops_glue.serving.responses import Refused
from mlops_glue.serving.slots import LoadedModel

MAX_ROWS = 32  # in a request that waits for others; a larger request gains nothing from sharing a run


@dataclass(slots=True)
class Request:
    """A request that is waiting to be scored."""

    rows: Rows
    request_id: str
    caller_id: str | None
    answered: bool = True  # False: scored by a shadow
    scores: asyncio.Future[Scores] = field(init=False)  # set by `Batch.score`


class Batch:
    """Scores and logs requests; with `refuse`, it refuses a request that cannot be logged."""

    def __init__(self, log: PredictionLog | None, counters: Counters, *, refuse: bool = True) -> None:
        self.log, self._counters, self._refuse = log, counters, refuse
        self.problem: str | None = None  # with the log
        self._waiting: dict[LoadedModel, list[Request]] = {}

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of this worker. Before Python 3.12, asyncio makes a system call each time it is asked."""
        return asyncio.get_running_loop()

    def score(self, loaded: LoadedModel, request: Request) -> asyncio.Future[Scores]:
        """Return a future of the predictions and probabilities of a request's rows.

        By the time it is done, the rows are in the prediction log.

        Raises:
            Invalid: a number is too large, which only the encoder sees.
            ToolError: the model failed on the rows.
            Refused: the prediction log cannot be written, so the request must not be answered.
        """
        scores = request.scores = self._loop.create_future()
        if len(request.rows.values) > MAX_ROWS:
            self._finish(loaded, [request])
            return scores
        if not self._waiting:
            self._loop.call_soon(self._finish_waiting)
        self._waiting.setdefault(loaded, []).append(request)
        return scores

    def _finish_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for loaded, requests in waiting.items():
            self._finish(loaded, requests)

    def _finish(self, loaded: LoadedModel, requests: Sequence[Request]) -> None:
        scored = self._score(loaded, requests)
        try:
            self._write(loaded, scored)
        except Exception as error:  # whatever it is: nobody waits for ever
            for request, _ in scored:
                _fail(request, error)
            return
        for request, scores in scored:
            if not request.scores.done():
                request.scores.set_result(scores)

    def _score(self, loaded: LoadedModel, requests: Sequence[Request]) -> list[tuple[Request, Scores]]:
        """Score the requests, and return those that succeeded; the futures of the others have an exception."""
        try:
            rows = Rows([row for request in requests for row in request.rows.values], bare=False)
            inputs = loaded.model.contract.matrices(rows)
            predictions, probabilities = loaded.model.score(inputs)
            if requests[0].answered:  # a shadow's requests are not counted
                loaded.unseen.see(inputs)
        except Exception as error:
            if len(requests) > 1:  # perhaps only one of them is the cause
                return [scored for request in requests for scored in self._score(loaded, [request])]
            _fail(requests[0], error)
            return []
        if len(predictions) == len(requests):
            if probabilities is None:
                return [(request, ([p], None)) for request, p in zip(requests, predictions, strict=True)]
            triples = zip(requests, predictions, probabilities, strict=True)
            return [(request, ([prediction], [row])) for request, prediction, row in triples]
        scored: list[tuple[Request, Scores]] = []
        start = 0
        for request in requests:
            end = start + len(request.rows.values)
            of_rows = None if probabilities is None else probabilities[start:end]
            scored.append((request, (predictions[start:end], of_rows)))
            start = end
        return scored

    def _write(self, loaded: LoadedModel, scored: list[tuple[Request, Scores]]) -> None:
        if self.log is None or not scored:
            return
        now, alias = time.time(), loaded.alias
        records = [
            (r.request_id, now, r.caller_id, alias, r.answered, r.rows.values, predictions, probabilities)
            for r, (predictions, probabilities) in scored
        ]
        try:
            self.log.write(loaded.model, loaded.fingerprint, records)
        except OSError as error:
            self.problem = f"the prediction log cannot be written: {error.strerror or type(error).__name__}"
            self._counters.add("glue_log_lost_total", by=len(records))
            if self._refuse and any(request.answered for request, _ in scored):
                raise Refused(503, self.problem, kind="log", headers=[(b"retry-after", b"5")]) from None
        else:
            self.problem = None


def _fail(request: Request, error: Exception) -> None:
    if not request.scores.done():
        request.scores.set_exception(error)

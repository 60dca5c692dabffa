"""The ASGI application of a worker: `/predict` in plain ASGI, every other page with FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mlops_glue.secrets import redacted
from mlops_glue.serving import app as pages
from mlops_glue.serving.access_log import AccessLog, Answered
from mlops_glue.serving.batch import Batch
from mlops_glue.serving.metrics import EACH_S, Counters, Gauge
from mlops_glue.serving.model import Model
from mlops_glue.serving.predict import Predictor
from mlops_glue.serving.prediction_log import PredictionLog
from mlops_glue.serving.responses import (
    JSON_TYPE,
    ApiKeys,
    Disconnected,
    Message,
    Receive,
    Refused,
    Scope,
    Send,
    closing,
    encode,
    send_refused,
    send_whole,
)
from mlops_glue.serving.settings import PROBLEM, STARTED, Settings
from mlops_glue.serving.slots import ModelSlots

PROBE_S = 2.0  # between two checks that the online store answers
GC_OBJECTS = 20_000  # new objects before Python searches for cycles; a request leaves none
MAX_PENDING = 500  # answered requests that are not yet counted and logged
MAX_PATH = 200  # characters of a path in the log


class Worker:
    """An ASGI application.

    Raises:
        GlueError: the model cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        np.seterr(over="ignore")  # a number beyond float32 counts as null, without a warning
        self.counters = Counters(settings.state)
        self.log = AccessLog(requests=settings.access_log)
        self.slots = ModelSlots(settings, self.counters, self.log)
        options = settings.options
        log = PredictionLog(settings.spool, options.log) if settings.spool is not None else None
        self.batch = Batch(log, self.counters, refuse=options.log.full == "refuse")
        self._keys = ApiKeys(options.api_keys)
        self.predictor = Predictor(settings, self.slots, self.batch, self.counters, self.log, self._keys)
        self.draining = False  # /ready answers 503; requests are still answered, and each answer closes its connection
        self._id_prefix = f"{time.time_ns() // 1_000_000:x}{os.urandom(4).hex()}"
        self._id_numbers = itertools.count(1)
        self._answered: list[Answered] = []  # requests to /predict, not yet counted
        self._described, self._pages = self.slots.champion, self._application()

    @property
    def model(self) -> Model:
        """The champion."""
        return self.slots.champion.model

    @property
    def pages(self) -> Any:
        """Every page except /predict. The pages describe the champion, so a new champion needs new pages."""
        if self._described is not self.slots.champion:
            self._described, self._pages = self.slots.champion, self._application()
        return self._pages

    def _application(self) -> Any:
        return pages.application(
            self.model,
            self.settings.options,
            readiness=self.readiness,
            render_metrics=self.metrics,
            describe=self.describe,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            send = closing(send) if self.draining else send
            await (self._predict if scope["path"] == "/predict" else self._page)(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        gc.collect()
        gc.freeze()  # the model and the libraries stay: searching them for cycles took a tenth of the time
        gc.set_threshold(GC_OBJECTS)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread: a server in a test
            loop.add_signal_handler(signal.SIGUSR1, setattr, self, "draining", True)
        works = ((EACH_S, self._tick), (EACH_S, self.slots.follow), (PROBE_S, self._probe))
        tasks = [loop.create_task(self._repeat(pause_s, work)) for pause_s, work in works]
        (self.settings.state / STARTED).touch()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        if self.predictor.shadow_tasks:
            await asyncio.wait(self.predictor.shadow_tasks, timeout=1)
        if self.batch.log is not None:
            self.batch.log.close()
        self.predictor.outage.close()
        self._flush()
        await send({"type": "lifespan.shutdown.complete"})

    async def _repeat(self, pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
        """Call `work` periodically; log an exception, and go on."""
        while True:
            try:
                await work()
            except Exception as error:
                self.log.bug(work.__name__, error)
            await asyncio.sleep(pause_s)

    async def _tick(self) -> None:
        self.predictor.bodies.end_slow()
        self.predictor.outage.report()
        self._flush()
        if self.batch.log is not None:
            self.batch.log.rotate_old()
        if self.settings.parent not in (None, os.getppid()):  # the supervisor was killed and cannot stop this worker
            os.kill(os.getpid(), signal.SIGTERM)

    async def _probe(self) -> None:
        """Look up an example, so that /ready knows without a request whether the online store answers."""
        loaded = self.slots.champion
        if loaded.lookup is not None:
            self.predictor.store_problem = await loaded.lookup.problem(loaded.model.example_keys, self.settings.env)

    def _flush(self) -> None:
        """Write the counts and log lines since the last call."""
        self._count_answered()
        self.counters.write(self.predictor.in_flight)
        self.log.flush()

    def _count_answered(self) -> None:
        self.slots.champion.count_unseen(self.counters)
        if self.slots.canary is not None:
            self.slots.canary.count_unseen(self.counters)
        answered, self._answered = self._answered, []
        self.counters.answered([(status, seconds, rows) for _, _, _, _, status, seconds, rows in answered])
        for request in answered:
            self.log.request(request)

    def _next_id(self) -> str:
        return f"{self._id_prefix}{next(self._id_numbers):x}"

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = self._next_id()
        status, rows, refused = 200, 0, None
        try:
            body, rows = await self.predictor.answer(scope, receive, request_id, started)
        except Disconnected:
            return
        except Refused as problem:
            refused = problem
        except Exception as error:
            refused = Refused(500)
            self.log.bug(request_id, error)
        seconds = time.perf_counter() - started
        if refused is None:
            await send_whole(send, 200, [JSON_TYPE], body)
        else:
            status = refused.status
            self.counters.add("glue_errors_total", refused.kind)
            await send_refused(send, refused, request_id, receive if status == 413 else None)
        self._answered.append((time.time(), request_id, scope["method"], '"/predict"', status, seconds, rows))
        if len(self._answered) >= MAX_PENDING:
            self._flush()

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer every page except /predict: check the key if the page needs one, log the request and count it."""
        started = time.perf_counter()
        request_id, method = self._next_id(), scope["method"]
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"] not in pages.OPEN:
                self._keys.check(next((value for name, value in scope["headers"] if name == b"authorization"), b""))
            # load balancers send HEAD; it is answered like GET, and uvicorn leaves out the body
            await self.pages({**scope, "method": "GET"} if method == "HEAD" else scope, receive, send_and_note)
        except Refused as refused:
            await send_refused(send_and_note, refused, request_id)
        except Exception as error:
            self.log.bug(request_id, error)
            if not status:
                await send_refused(send_and_note, Refused(500), request_id)
        status = status or 500
        route = scope["path"] if scope["path"] in pages.ROUTES else "other"
        self.counters.add("glue_requests_total", route, str(status))
        path, seconds = encode(scope["path"][:MAX_PATH]).decode(), time.perf_counter() - started
        self.log.request((time.time(), request_id, method, path, status, seconds, 0))

    def metrics(self) -> bytes:
        """Return the metrics of all workers in Prometheus' text format."""
        self._count_answered()
        served = {"model": self.settings.name, "version": str(self.model.version)}
        gauges: list[Gauge] = [
            ("glue_model_info", "The model version that answers", served, 1),
            ("glue_model_version", "The number of the version that answers", {}, self.model.version),
            ("glue_degraded", "Problems that /ready lists", {}, len(self.degraded())),
        ]
        if self.batch.log is not None:
            number, lag_s = self.batch.log.waiting()
            gauges.append(("glue_log_lag_seconds", "Age of the oldest predictions not yet in Parquet", {}, lag_s))
            gauges.append(("glue_log_waiting_segments", "Segments not yet in Parquet", {}, number))
        return self.counters.render(gauges, self.predictor.in_flight)

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and body of GET /ready."""
        served = {"model": self.settings.name, "model_version": self.model.version}
        body = {"status": "ending" if self.draining else "ready", **served, "degraded": self.degraded()}
        return 503 if self.draining else 200, body

    def degraded(self) -> list[str]:
        """Return the problems in spite of which requests are answered."""
        problems = [*self.slots.problems.values(), *filter(None, (self.batch.problem, self.predictor.store_problem))]
        problems += self.slots.champion.not_found.problems()
        for path in sorted(self.settings.state.glob(f"*{PROBLEM}")):
            with contextlib.suppress(OSError):
                problems.append(path.read_text(encoding="utf-8").strip())
        return [redacted(problem) for problem in problems]  # /ready needs no key

    def describe(self) -> dict[str, Any]:
        """Return the body of GET /model."""
        slots = self.slots
        return {
            **self.model.about(),
            "alias": self.settings.alias,
            "fingerprint": slots.champion.fingerprint,
            "shadow": slots.shadow.version.version if slots.shadow else None,
            "canary": slots.canary.version.version if slots.canary else None,
            "loaded": datetime.fromtimestamp(self.model.loaded_at, UTC).isoformat(timespec="seconds"),
        }

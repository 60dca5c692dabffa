"""The ASGI application of one worker: `/predict` as plain ASGI, every other page by FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mlops_glue.secrets import redacted
from mlops_glue.serving import app as pages
from mlops_glue.serving.access_log import AccessLog
from mlops_glue.serving.auth import ApiKeys
from mlops_glue.serving.batch import Batch
from mlops_glue.serving.metrics import EACH_S, Counters, Gauge
from mlops_glue.serving.model import Model
from mlops_glue.serving.predict import Predictor
from mlops_glue.serving.prediction_log import PredictionLog
from mlops_glue.serving.responses import (
    JSON_TYPE,
    Disconnected,
    Message,
    Receive,
    Refused,
    Scope,
    Send,
    encode,
    send_refused,
    send_whole,
)
from mlops_glue.serving.settings import PROBLEM, STARTED, Settings
from mlops_glue.serving.slots import LoadedModel, ModelSlots

PROBE_S = 2.0  # between two looks whether the online store answers
GC_OBJECTS = 20_000  # made before Python looks for garbage among them; a request leaves none
MOST_PENDING = 500  # requests that are answered and not yet counted and logged
MOST_PATH = 200  # characters in the log


class Worker:
    """An ASGI application.

    Args:
        settings: what to serve, and its limits.

    Raises:
        GlueError: the model cannot be loaded; nothing is served then.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        np.seterr(over="ignore")  # a number beyond float32 is unknown to the model, and no news
        self.counters = Counters(settings.state_folder)
        self.log = AccessLog(requests=settings.access_log, people=sys.stderr.isatty())
        self.slots = ModelSlots(settings, self._swapped, self._not_swapped)
        options = settings.options
        log = PredictionLog(settings.spool, options.log) if settings.spool is not None else None
        self.batch = Batch(log, self.counters, refuse=options.log.full == "refuse")
        self._keys = ApiKeys(options.api_keys)
        self.predictor = Predictor(settings, self.slots, self.batch, self.counters, self.log, self._keys)
        self.draining = False
        self._id_prefix = f"{time.time_ns() // 1_000_000:x}{os.urandom(4).hex()}"
        self._id_count = 0
        self._answered: list[tuple[str, str, int, float, int, float]] = []  # requests to /predict, not yet counted
        self._pages = (self.slots.champion, pages.application(self))

    @property
    def model(self) -> Model:
        """The champion."""
        return self.slots.champion.model

    @property
    def pages(self) -> Any:
        """Every page but /predict; they describe the champion, so another one has pages of its own."""
        described, application = self._pages
        if described is not self.slots.champion:
            application = pages.application(self)
            self._pages = (self.slots.champion, application)
        return application

    def _swapped(self, slot: str, before: LoadedModel | None) -> None:
        self.counters.add("glue_model_swaps_total")
        self._count_unseen(before)
        self.log.note(taken_over=slot, version=getattr(self.slots, slot).version.version)
        order = self.model.contract.order
        if slot == "champion" and before is not None and before.model.contract.order != order:
            self.log.note(rows_without_names="are read in another order than before", order=order)

    def _not_swapped(self, reason: str) -> None:
        self.counters.add("glue_model_reload_failures_total")
        self.log.note(not_taken_over=reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await (self._predict if scope["path"] == "/predict" else self._page)(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        gc.collect()
        gc.freeze()  # the model and the libraries stay; looking through them for garbage took a tenth of the time
        gc.set_threshold(GC_OBJECTS)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread: a server in a test
            loop.add_signal_handler(signal.SIGUSR1, self._drain)
        tasks = [loop.create_task(work()) for work in (self._tick, self._follow, self._probe)]
        if self.settings.state_folder is not None:
            (self.settings.state_folder / STARTED).touch()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        if self.predictor.shadow_tasks:
            await asyncio.wait(self.predictor.shadow_tasks, timeout=1)
        if self.batch.log is not None:
            self.batch.log.close()
        self._flush()
        await send({"type": "lifespan.shutdown.complete"})

    def _drain(self) -> None:
        """The end is near: /ready says no from now on, and everything is still answered."""
        self.draining = True

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EACH_S)
            self.predictor.bodies.end_slow()
            self._flush()
            if self.batch.log is not None:
                self.batch.log.rotate_old()
            if self.settings.parent not in (None, os.getppid()):  # it was killed; nobody would end this worker
                os.kill(os.getpid(), signal.SIGTERM)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EACH_S)
            try:
                await self.slots.follow()
            except Exception as error:
                self.log.bug("follow", error)

    async def _probe(self) -> None:
        """Look up an example now and then: then it is known without a request that the store is away, or is back."""
        while True:
            loaded = self.slots.champion
            if loaded.lookup is not None:
                try:
                    self.predictor.store_problem = await loaded.lookup.problem(loaded.model.example_keys)
                except Exception as error:
                    self.log.bug("probe", error)
            await asyncio.sleep(PROBE_S)

    def _flush(self) -> None:
        """Write down what was counted and logged since the last time."""
        self._count_answered()
        self.counters.write(self.predictor.in_flight)
        self.log.flush()

    def _count_answered(self) -> None:
        self._count_unseen(self.slots.champion)
        self._count_unseen(self.slots.canary)
        answered, self._answered = self._answered, []
        self.counters.answered([(status, seconds, rows) for _, _, status, seconds, rows, _ in answered])
        for request_id, method, status, seconds, rows, at in answered:
            self.log.request((at, request_id, method, '"/predict"', status, seconds, rows))

    def _count_unseen(self, loaded: LoadedModel | None) -> None:
        if loaded is None:
            return
        for column, n in loaded.unseen.count().items():
            self.counters.add("glue_unseen_values_total", column, by=n)
        for view, n in loaded.not_found.count().items():
            self.counters.add("glue_entities_not_found_total", view, by=n)

    def _next_id(self) -> str:
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count:x}"

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
        self._answered.append((request_id, scope["method"], status, seconds, rows, time.time()))
        if len(self._answered) >= MOST_PENDING:
            self._flush()

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every page but /predict: a key where one is needed, one line of the log, one count."""
        started = time.perf_counter()
        request_id, method = self._next_id(), scope["method"]
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._keys and scope["path"] not in pages.OPEN:
                self._keys.check(next((value for name, value in scope["headers"] if name == b"authorization"), b""))
            # load balancers send HEAD; it is answered as GET is, and uvicorn leaves out the body
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
        path, seconds = encode(scope["path"][:MOST_PATH]).decode(), time.perf_counter() - started
        self.log.request((time.time(), request_id, method, path, status, seconds, 0))

    def metrics(self) -> bytes:
        """Prometheus' text, of all workers."""
        self._count_answered()
        about = {"model": self.settings.name, "version": str(self.model.version)}
        gauges = [
            Gauge("glue_model_info", "The version that answers", 1, about),
            Gauge("glue_model_version", "Its number", self.model.version),
            Gauge("glue_degraded", "Problems that /ready tells", len(self.degraded())),
        ]
        if self.batch.log is not None:
            number, lag_s = self.batch.log.waiting()
            gauges += [
                Gauge("glue_log_lag_seconds", "Age of the oldest predictions that are not yet Parquet", lag_s),
                Gauge("glue_log_waiting_segments", "Segments that are not yet Parquet", number),
            ]
        return self.counters.render(gauges, self.predictor.in_flight)

    def degraded(self) -> list[str]:
        """What is not as it should be, while it answers."""
        problems = [*self.slots.problems.values(), *filter(None, (self.batch.problem, self.predictor.store_problem))]
        problems += self.slots.champion.not_found.problems()
        state = self.settings.state_folder
        for path in sorted(state.glob(f"*{PROBLEM}")) if state is not None else []:
            with contextlib.suppress(OSError):
                problems.append(path.read_text(encoding="utf-8").strip())
        return [redacted(problem) for problem in problems]  # /ready asks for no key

    def about(self) -> dict[str, Any]:
        """The answer to GET /model."""
        model, slots = self.model, self.slots
        return {
            "name": model.name,
            "version": model.version,
            "alias": self.settings.alias,
            "fingerprint": slots.champion.fingerprint,
            "digest": model.digest,
            "format": model.format,
            "task": model.schema.task,
            "target": model.schema.target,
            "labels": model.schema.labels,
            "features": model.contract.order,
            "shadow": slots.shadow.version.version if slots.shadow else None,
            "canary": slots.canary.version.version if slots.canary else None,
            "looked_up": dict(model.features.columns) if model.features else {},
            "schema": model.contract.json_schema,
            "loaded": datetime.fromtimestamp(model.loaded_at, UTC).isoformat(timespec="seconds"),
        }

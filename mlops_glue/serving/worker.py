"""What a worker answers: `/predict` as plain ASGI, the rest and the OpenAPI page as FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import hmac
import os
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_glue.records import Servable
from mlops_glue.secrets import redacted
from mlops_glue.serving import app as pages
from mlops_glue.serving.access import forms
from mlops_glue.serving.batch import Batch, NotLogged, Request
from mlops_glue.serving.contract import UNSET, Invalid, Malformed, Rows
from mlops_glue.serving.live import Live, Served
from mlops_glue.serving.log import LogSettings, PredictionLog
from mlops_glue.serving.lookup import NotReached
from mlops_glue.serving.metrics import EACH_S, Counters
from mlops_glue.serving.model import Model
from mlops_glue.serving.segments import waiting

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STARTED = "started"  # a worker has been ready
PROBE_S = 2.0  # between two looks whether the online store answers
PROBLEM = ".problem"  # files of the other processes, each a line
YOUNG = 20_000  # objects made before Python looks for garbage among them; a request leaves none
MOST_ID = 128  # characters of a caller's own id
READ_ON_S = 2.0  # after an answer that ends the connection, so that a client that still sends gets to read it
MOST_UNTOLD = 500  # requests that are answered and not yet counted and logged
MOST_TOLD_BYTES = 3500  # of problems in an answer
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
KINDS = {400: "malformed", 401: "unauthorized", 405: "method", 408: "timeout", 413: "too_large", 415: "content_type"}
KINDS |= {422: "invalid", 500: "internal"}
CLOSE = (b"connection", b"close")
JSON_TYPE, PROBLEM_TYPE = (b"content-type", b"application/json"), (b"content-type", b"application/problem+json")


@dataclass(frozen=True)
class Settings:
    """What a worker is told; plain data, so that it goes from process to process. It holds no secret."""

    first: Servable  # what is served until something else is wanted
    name: str
    alias: str | None = "champion"  # None: a version that was asked for, and stays
    unseen: bool = True
    keys: list[str] = field(default_factory=list)  # names of the environment variables that hold API keys
    cors: list[str] = field(default_factory=list)
    max_rows: int = 1000
    max_body_bytes: int = 8 << 20
    max_in_flight: int = 256
    timeout_s: float = 10.0
    lookup_timeout_s: float = 0.2
    lookup_cache_s: float = 0.0
    not_found_share: float = 0.5
    lookup: dict[str, Any] | None = None
    access_log: bool = True
    shadow: str | None = None  # an alias
    canary: str | None = None
    canary_share: float = 0.0
    log: LogSettings | None = None
    state: str | None = None  # folder that the processes of one server share
    parent: int | None = None  # the process without which a worker ends


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(
        self, status: int, detail: str = "", *, kind: str = "", headers: Sequence[Any] = (), **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more
        self.kind = kind or KINDS.get(status, "other")


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
        state = Path(settings.state) if settings.state else None
        self.counters = Counters(state)
        self._log: list[tuple[float, str]] = []  # when, and the line
        self._line, self._note_line = forms(sys.stderr.isatty())
        self._encode = msgspec.json.Encoder().encode
        self.live = Live(settings, self._swapped, self._not_swapped)
        self.batch = Batch(_log(settings), self.counters)
        self.in_flight = 0  # requests that have arrived whole
        self._arriving: dict[str, tuple[asyncio.Task[Any] | None, float]] = {}  # whose body is read, oldest first
        self.draining = False
        self._store_problem: str | None = None
        self._keys = [hashlib.sha256(os.environ[name].strip().encode()).digest() for name in settings.keys]
        self._ids = f"{time.time_ns() // 1_000_000:x}{os.urandom(4).hex()}"
        self._count = 0
        self._done: list[tuple[str, str, int, float, int, float]] = []  # requests to /predict, not yet counted
        self._shadows: set[asyncio.Task[None]] = set()
        self.rest = pages.application(self)

    @property
    def model(self) -> Model:
        """The champion."""
        return self.live.champion.model

    def _swapped(self, place: str, before: Served | None) -> None:
        self.counters.add("glue_model_swaps_total")
        self._count_outside(before)
        self._note(taken_over=place, version=getattr(self.live, place).what.version)
        order = self.model.contract.order
        if place == "champion" and before is not None and before.model.contract.order != order:
            self._note(rows_without_names="are read in another order than before", order=order)

    def _not_swapped(self, said: str) -> None:
        self.counters.add("glue_model_reload_failures_total")
        self._note(not_taken_over=said)

    def _note(self, **about: Any) -> None:
        """One line of the log that is of no request, or of what went wrong in one."""
        self._log.append((at := time.time(), self._note_line(at, about)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await (self._predict if scope["path"] == "/predict" else self._other)(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        gc.collect()
        gc.freeze()  # the model and the libraries stay; looking through them for garbage took a tenth of the time
        gc.set_threshold(YOUNG)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(RuntimeError, ValueError):  # of no main thread: a server in a test
            loop.add_signal_handler(signal.SIGUSR1, self._drain)
        tasks = [loop.create_task(one()) for one in (self._tick, self._follow, self._probe)]
        if self.settings.state:
            Path(self.settings.state, STARTED).touch()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        if self._shadows:
            await asyncio.wait(self._shadows, timeout=1)
        if self.batch.log is not None:
            self.batch.log.close()
        self._settle()
        await send({"type": "lifespan.shutdown.complete"})

    def _drain(self) -> None:
        """Soon it ends: /ready says no from now on, and all else is answered."""
        self.draining = True

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EACH_S)
            self._end_slow()
            self._settle()
            if self.batch.log is not None:
                self.batch.log.settle()
            if self.settings.parent not in (None, os.getppid()):  # it was killed; nobody would end this one
                os.kill(os.getpid(), signal.SIGTERM)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EACH_S)
            try:
                await self.live.follow()
            except Exception as error:
                self._tell_bug("follow", error)

    async def _probe(self) -> None:
        """Look up an example now and then, so that a store that is away is known without a request, and its return."""
        while True:
            served = self.live.champion
            if served.lookup is not None:
                try:
                    self._store_problem = await served.lookup.problem(served.model.example_keys())
                except Exception as error:
                    self._tell_bug("probe", error)
            await asyncio.sleep(PROBE_S)

    def _settle(self) -> None:
        """Write down what was counted and logged since the last time."""
        self._count_up()
        self.counters.write()
        lines, self._log = self._log, []
        if lines:
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), "".join(line for _, line in sorted(lines)).encode())

    def _count_up(self) -> None:
        self._count_outside(self.live.champion)
        self._count_outside(self.live.canary)
        done, self._done = self._done, []
        self.counters.answered([(status, took, rows) for _, _, status, took, rows, _ in done])
        for request_id, method, status, took, rows, at in done:
            self._tell(at, request_id, method, '"/predict"', status, took, rows)

    def _count_outside(self, served: Served | None) -> None:
        if served is None:
            return
        for column, n in served.outside.count().items():
            self.counters.add("glue_values_outside_total", column, by=n)
        for view, n in served.not_found.count().items():
            self.counters.add("glue_entities_not_found_total", view, by=n)

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._ids}{self._count:x}"

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = self._next_id()
        status, rows, headers = 200, 0, [JSON_TYPE]
        try:
            body, rows = await self._answer(scope, receive, request_id, started)
        except Refused as refused:
            if refused.status == 0:  # the client is gone
                return
            status = refused.status
            headers = [PROBLEM_TYPE, *refused.headers]
            body = self._problem(refused, request_id)
            self.counters.add("glue_errors_total", refused.kind)
        except Exception as error:
            status, headers = 500, [PROBLEM_TYPE]
            body = self._problem(Refused(500), request_id)
            self.counters.add("glue_errors_total", "internal")
            self._tell_bug(request_id, error)
        took = time.perf_counter() - started
        await _whole(send, status, headers, body, receive if status == 413 else None)
        self._done.append((request_id, scope["method"], status, took, rows, time.time()))
        if len(self._done) >= MOST_UNTOLD:
            self._settle()

    async def _answer(self, scope: Scope, receive: Receive, request_id: str, started: float) -> tuple[bytes, int]:
        """The body of a 200, and how many rows it answers."""
        if scope["method"] != "POST":
            raise Refused(405, headers=[(b"allow", b"POST")])
        length, kind, key, caller = 0, b"", b"", None
        for name, value in scope["headers"]:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                length = int(value) if value.isdigit() else 0
            elif name == b"authorization":
                key = value
            elif name == b"x-request-id":
                caller = value[:MOST_ID].decode("latin-1")
        if self._keys:
            self._check_key(key)
        if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
            raise Refused(415, "send it with the header Content-Type: application/json")
        if length > self.settings.max_body_bytes:
            raise Refused(413, f"the limit is {self.settings.max_body_bytes:,} bytes", headers=[CLOSE])
        body = await self._body(receive, request_id, started)
        if self.in_flight >= self.settings.max_in_flight:
            raise Refused(503, "too many requests at once", kind="busy", headers=[(b"retry-after", b"1")])
        self.in_flight += 1
        try:
            return await self._scored(body, request_id, caller)
        finally:
            self.in_flight -= 1

    async def _scored(self, body: bytes, request_id: str, caller: str | None) -> tuple[bytes, int]:
        """The answer to a body that has arrived whole."""
        served = self.live.champion
        rows = self._decoded(served, body)
        if self.live.canary is not None and self._chosen(rows, caller or request_id):
            served, rows = self._as_taken_by(self.live.canary, rows, body, or_else=served)
        await self._complete(served, rows, request_id)
        request = Request(rows, request_id, caller)
        try:
            said, shares = await self.batch.score(served, request)
        except Invalid as error:
            raise Refused(422, problems=error.problems) from None
        except NotLogged as error:
            raise Refused(503, str(error), kind="log", headers=[(b"retry-after", b"5")]) from None
        if self.live.shadow is not None:
            self._shadow(self.live.shadow, served, request, body)
        model = served.model
        named = model.named(said, shares)
        whole: dict[str, Any] = named[0] if rows.bare else {"predictions": named}
        if rows.order is not None:
            whole = model.plain(said, shares) | whole
        whole["model_version"], whole["request_id"] = model.version, request_id
        return self._encode(whole), len(said)

    async def _complete(self, served: Served, rows: Rows, request_id: str) -> None:
        """Rows get the features that they leave to be looked up."""
        if served.model.features is not None and (places := served.model.contract.missing(rows)):
            await self._look_up(served, rows, places, request_id)

    def _chosen(self, rows: Rows, fallback: str) -> bool:
        """Does the canary answer this request? An entity stays with the version that it once got."""
        features, contract = self.model.features, self.model.contract
        whom = [rows.values[0][contract.place[key]] for key in features.keys] if features else []
        known = bool(whom) and all(one is not UNSET for one in whom)
        text = self._encode(whom) if known else fallback.encode("latin-1")
        return zlib.crc32(text) < self.settings.canary_share * (1 << 32)

    def _as_taken_by(self, other: Served, rows: Rows, body: bytes, or_else: Served) -> tuple[Served, Rows]:
        """The rows as another version takes them; where it does not, the version and rows that were there."""
        if other.takes == or_else.takes:
            return other, rows
        try:
            return other, other.model.contract.decode(body, rows.order)
        except (Malformed, Invalid):
            self.counters.add("glue_canary_fallbacks_total")
            return or_else, rows

    def _shadow(self, shadow: Served, served: Served, request: Request, body: bytes) -> None:
        """Let a second version score what was answered; whatever becomes of that, the answer stands."""

        async def work() -> None:
            try:
                rows = request.rows
                if shadow.takes != served.takes:
                    rows = shadow.model.contract.decode(body, rows.order)
                    await self._complete(shadow, rows, request.request_id)
                await self.batch.score(shadow, Request(rows, request.request_id, request.caller, answered=False))
            except Exception:
                self.counters.add("glue_shadow_failures_total")

        if len(self._shadows) < self.settings.max_in_flight:
            task = asyncio.get_running_loop().create_task(work())
            self._shadows.add(task)
            task.add_done_callback(self._shadows.discard)
        else:
            self.counters.add("glue_shadow_failures_total")

    def _decoded(self, served: Served, body: bytes) -> Rows:
        try:
            if len(body) > self.settings.max_body_bytes:
                raise Refused(413, f"the limit is {self.settings.max_body_bytes:,} bytes")
            return served.model.contract.decode(body)
        except Malformed as error:
            raise Refused(400, f"the body {error}") from None
        except Invalid as error:
            raise Refused(422, problems=error.problems) from None

    async def _body(self, receive: Receive, request_id: str, started: float) -> bytes:
        """The whole body, in time; meanwhile the request takes no place from those that can be scored.

        Of too many that are slow the slowest gives way: what arrives at once is never refused for them.
        """
        if len(self._arriving) >= self.settings.max_in_flight:
            self._end_arriving(next(iter(self._arriving)))
        task = asyncio.current_task(self.batch.loop)
        self._arriving[request_id] = (task, started)
        try:
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body") or message["type"] == "http.disconnect":
                body = await self._rest_of_body(message, receive)
        except asyncio.CancelledError:
            if request_id in self._arriving:  # the server ends
                raise
            if task is not None:
                task.uncancel()
            raise Refused(408, headers=[CLOSE]) from None
        finally:
            self._arriving.pop(request_id, None)
        return body

    async def _rest_of_body(self, message: Message, receive: Receive) -> bytes:
        parts, size = [message.get("body", b"")], len(message.get("body", b""))
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.settings.max_body_bytes:
                raise Refused(413, f"the limit is {self.settings.max_body_bytes:,} bytes", headers=[CLOSE])
        if message["type"] == "http.disconnect":
            raise Refused(0)
        return b"".join(parts)

    def _end_slow(self) -> None:
        """The requests whose bodies are late."""
        latest = time.perf_counter() - self.settings.timeout_s
        for request_id in [name for name, (_, started) in self._arriving.items() if started < latest]:
            self._end_arriving(request_id)

    def _end_arriving(self, request_id: str) -> None:
        task, _ = self._arriving.pop(request_id)
        if task is not None:
            task.cancel()

    async def _look_up(self, served: Served, rows: Rows, places: list[int], request_id: str) -> None:
        contract = served.model.contract
        if served.lookup is None:
            raise Refused(503, "no online store is configured", kind="online_store")
        try:
            found = await served.lookup.read(contract.keys(rows, places))
        except NotReached as error:
            if error.__cause__ is not None:
                self._tell_bug(request_id, error.__cause__)
            self._store_problem = str(error)
            raise Refused(503, str(error), kind="online_store", headers=[(b"retry-after", b"1")]) from None
        served.not_found.see(found)
        contract.fill(rows, places, found)

    def _check_key(self, given: bytes) -> None:
        """Every key is compared, and in constant time, whether or not one fits."""
        kind, _, secret = given.partition(b" ")
        hashed = hashlib.sha256(secret.strip()).digest()
        fits = [hmac.compare_digest(hashed, one) for one in self._keys]
        if kind.lower() != b"bearer" or not any(fits):
            raise Refused(401, "send the header Authorization: Bearer KEY", headers=[(b"www-authenticate", b"Bearer")])

    def _problem(self, refused: Refused, request_id: str) -> bytes:
        """An answer in the form of RFC 9457; of many problems as many as a short answer holds, and their number."""
        about: dict[str, Any] = {"title": TITLES.get(refused.status, "Refused"), "status": refused.status}
        if refused.detail:
            about["detail"] = refused.detail
        problems, size, told = refused.more.get("problems", []), 0, []
        for one in problems:
            size += len(self._encode(one)) + 1
            if size > MOST_TOLD_BYTES:
                break
            told.append(one)
        if problems:
            about |= {"detail": f"{len(problems)} problem{'s' * (len(problems) > 1)}", "problems": told}
        return self._encode({**about, "request_id": request_id})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every page but /predict: a key where one is needed, one line of the log, one count."""
        started = time.perf_counter()
        request_id = self._next_id()
        seen: list[int] = []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.append(message["status"])
            await send(message)

        try:
            if self._keys and scope["path"] not in pages.OPEN:
                self._check_key(next((v for n, v in scope["headers"] if n == b"authorization"), b""))
            # HEAD is GET, of which the server in front leaves out the body: balancers ask so
            await self.rest({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope, receive, sending)
        except Refused as refused:
            await _whole(sending, refused.status, [PROBLEM_TYPE, *refused.headers], self._problem(refused, request_id))
        except Exception as error:
            self._tell_bug(request_id, error)
            if not seen:
                await _whole(sending, 500, [PROBLEM_TYPE], self._problem(Refused(500), request_id))
        status = seen[0] if seen else 500
        route = scope["path"] if scope["path"] in pages.ROUTES else "other"
        self.counters.add("glue_requests_total", route, str(status))
        path, took = self._encode(scope["path"][:200]).decode(), time.perf_counter() - started
        self._tell(time.time(), request_id, scope["method"], path, status, took, 0)

    def _tell(self, at: float, request_id: str, method: str, path: str, status: int, took: float, rows: int) -> None:
        """One line of the access log; no value of a request is in it. The path is JSON already."""
        if self.settings.access_log:
            self._log.append((at, self._line((at, request_id, method, path, status, took, rows))))

    def _tell_bug(self, request_id: str, error: BaseException) -> None:
        """Where it happened, for whoever reads the log; what the exception says may hold values and is not told."""
        places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        self._note(request_id=request_id, bug=type(error).__name__, at=places)

    def metrics(self) -> bytes:
        """Prometheus' text, of all workers."""
        self._count_up()
        about = {"model": self.settings.name, "version": str(self.model.version)}
        gauges: dict[str, tuple[str, dict[str, str], float]] = {
            "glue_model_info": ("The version that answers", about, 1.0),
            "glue_model_version": ("Its number", {}, float(self.model.version)),
            "glue_in_flight": ("Requests that this worker is at", {}, float(self.in_flight)),
            "glue_degraded": ("Problems that /ready tells", {}, float(len(self.degraded()))),
        }
        if self.settings.log is not None:
            kept = waiting(Path(self.settings.log.spool))
            lag = time.time() - int(kept[0].name.split("-")[1], 16) / 1e9 if kept else 0.0
            gauges["glue_log_lag_seconds"] = ("Age of the oldest predictions that are not yet Parquet", {}, max(lag, 0))
            gauges["glue_log_waiting_segments"] = ("Segments that are not yet Parquet", {}, float(len(kept)))
        return self.counters.render(gauges)

    def degraded(self) -> list[str]:
        """What is not as it should be, while it answers."""
        told = [*self.live.problems.values(), *filter(None, (self.batch.problem, self._store_problem))]
        told += self.live.champion.not_found.problems()
        for path in sorted(Path(self.settings.state).glob(f"*{PROBLEM}")) if self.settings.state else []:
            with contextlib.suppress(OSError):
                told.append(path.read_text(encoding="utf-8").strip())
        return [redacted(one) for one in told]  # /ready asks for no key

    def about(self) -> dict[str, Any]:
        """What `/model` says."""
        model = self.model
        return {
            "name": model.name,
            "version": model.version,
            "alias": self.settings.alias,
            "fingerprint": self.live.champion.fingerprint,
            "digest": model.digest,
            "format": model.format,
            "task": model.schema.task,
            "target": model.schema.target,
            "labels": model.schema.labels,
            "features": [c.name for c in model.schema.columns],
            "shadow": self.live.shadow.what.version if self.live.shadow else None,
            "canary": self.live.canary.what.version if self.live.canary else None,
            "looked_up": dict(model.features.columns) if model.features else {},
            "schema": model.contract.json_schema,
            "loaded": datetime.fromtimestamp(model.loaded, UTC).isoformat(timespec="seconds"),
        }


def _log(settings: Settings) -> PredictionLog | None:
    if settings.log is None:
        return None
    key = hashlib.sha256(os.environ[settings.log.hash_key].encode()).digest() if settings.log.hash_key else b""
    return PredictionLog(settings.log, key)


async def _whole(send: Send, status: int, headers: list[Any], body: bytes, read_on: Receive | None = None) -> None:
    """An answer; with `read_on` what the client still sends is read for a while, or closing would take it away."""
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


def with_cors(worker: Worker) -> Any:
    """The application, with CORS where it is asked for."""
    if not worker.settings.cors:
        return worker
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        worker,
        allow_origins=worker.settings.cors,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
        expose_headers=["X-Request-Id"],
    )

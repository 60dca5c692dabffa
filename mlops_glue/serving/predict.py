"""Answers POST /predict, from the headers of the request to the bytes of the answer."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any
from urllib.parse import parse_qs

from mlops_glue.serving.access_log import AccessLog
from mlops_glue.serving.batch import Batch, Request
from mlops_glue.serving.bodies import Bodies
from mlops_glue.serving.fields import UNSET, Invalid, Malformed, Rows
from mlops_glue.serving.lookup import NotReached
from mlops_glue.serving.metrics import Counters
from mlops_glue.serving.model import MAX_EXPLAINED
from mlops_glue.serving.outage import Outage
from mlops_glue.serving.responses import ApiKeys, Receive, Refused, Scope, encode
from mlops_glue.serving.settings import Settings
from mlops_glue.serving.slots import LoadedModel, ModelSlots
from mlops_glue.suggest import suggestion

EXPLAIN = "explain"  # the only parameter of the URL
MAX_ID = 128  # characters of a caller's own id


class Predictor:
    """Answers requests."""

    def __init__(
        self, settings: Settings, slots: ModelSlots, batch: Batch, counters: Counters, log: AccessLog, keys: ApiKeys
    ) -> None:
        self._options, self._slots, self._batch = settings.options, slots, batch
        self._counters, self._keys = counters, keys
        self.outage = Outage(log)
        self.bodies = Bodies(settings.options)
        self.in_flight = 0  # requests whose body has arrived
        self.store_problem: str | None = None  # why features cannot be looked up
        self.shadow_tasks: set[asyncio.Task[None]] = set()

    async def answer(self, scope: Scope, receive: Receive, request_id: str, started: float) -> tuple[bytes, int]:
        """Return the body of a 200 and its number of rows.

        Raises:
            Refused: the answer is not 200.
            Disconnected: the client has gone.
        """
        if scope["method"] != "POST":
            raise Refused(405, headers=[(b"allow", b"POST")])
        length, content_type, authorization, caller_id, encoding = 0, b"", b"", None, b""
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value
            elif name == b"content-length":
                length = int(value) if value.isdigit() else 0
            elif name == b"authorization":
                authorization = value
            elif name == b"x-request-id":
                caller_id = value[:MAX_ID].decode("latin-1")
            elif name == b"content-encoding":
                encoding = value.strip().lower()
        self._keys.check(authorization)
        _check_content(content_type, encoding)
        self.bodies.check_size(length)
        body = await self.bodies.read(receive, request_id, started)
        if self.in_flight >= self._options.max_in_flight:
            raise Refused(503, "too many requests at once", headers=[(b"retry-after", b"1")])
        self.in_flight += 1
        try:
            explain = bool(scope["query_string"]) and self._asks_why(scope["query_string"])
            return await self._answer_whole(body, request_id, caller_id, explain=explain)
        finally:
            self.in_flight -= 1

    def _asks_why(self, query: bytes) -> bool:
        """Does the request ask for explanations? Parameters that a proxy or a client adds are ignored.

        Raises:
            Refused: this server gives none, or the request has a parameter that looks like `explain` misspelt.
        """
        given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        for name in (name[:80] for name in given if name != EXPLAIN):
            if near := suggestion(name, [EXPLAIN]):
                raise Refused(400, f"unknown parameter {name!r} ({near})")
        asked = given.get(EXPLAIN, ["false"])[-1].lower()
        if asked not in ("true", "false"):
            raise Refused(400, "explain is true or false")
        if asked == "true" and not self._options.explain:
            raise Refused(400, "this server gives no explanations; to allow them: serve: {explain: true} in glue.yaml")
        return asked == "true"

    async def _answer_whole(
        self, body: bytes, request_id: str, caller_id: str | None, *, explain: bool
    ) -> tuple[bytes, int]:
        """Answer a request whose body has arrived."""
        loaded, canary = self._slots.champion, self._slots.canary
        try:
            rows = loaded.model.contract.decode(body)
            if canary is not None and self._is_for_canary(rows, caller_id or request_id):
                try:
                    loaded, rows = canary, canary.model.contract.decode(body, rows.order)
                except (Malformed, Invalid):
                    self._counters.add("glue_canary_fallbacks_total")
            if explain and len(rows.values) > MAX_EXPLAINED:
                raise Refused(413, f"explain=true takes at most {MAX_EXPLAINED} rows")
            await self._look_up(loaded, rows, request_id)
            request = Request(rows, request_id, caller_id)
            predictions, probabilities = await self._batch.score(loaded, request)
        except Malformed as error:
            raise Refused(400, f"the body {error}") from None
        except Invalid as error:
            raise Refused(422, problems=error.problems) from None
        if self._slots.shadow is not None:
            self._start_shadow(self._slots.shadow, request, body)
        model = loaded.model
        answers = model.answers.by_row(predictions, probabilities)
        if explain:
            for answer, why in zip(answers, await asyncio.to_thread(model.explain, rows), strict=True):
                answer["explanation"] = why
        whole: dict[str, Any] = answers[0] if rows.bare else {"predictions": answers}
        if rows.order is not None:
            whole = model.answers.plain(predictions, probabilities) | whole
        whole["model_version"], whole["request_id"] = model.version, request_id
        return encode(whole), len(predictions)

    async def _look_up(self, loaded: LoadedModel, rows: Rows, request_id: str) -> None:
        """Rows get the features that they leave to be looked up.

        Raises:
            Refused: the online store does not answer.
        """
        contract = loaded.model.contract
        if contract.features is None or not (positions := contract.incomplete(rows)):
            return
        if loaded.lookup is None:
            raise Refused(503, "no online store is configured", kind="online_store")
        try:
            found = await loaded.lookup.read(contract.keys(rows, positions))
        except NotReached as error:
            self.outage.failed(request_id, str(error), error.__cause__)
            self.store_problem = str(error)
            raise Refused(503, str(error), kind="online_store", headers=[(b"retry-after", b"1")]) from None
        if loaded is not self._slots.shadow:  # only what is answered is counted
            loaded.not_found.add(found)
        contract.fill(rows, positions, found)

    def _is_for_canary(self, rows: Rows, fallback: str) -> bool:
        """Does the canary answer this request? The same entity always gets the same version."""
        features, contract = self._slots.champion.model.features, self._slots.champion.model.contract
        entity = [rows.values[0][contract.position[key]] for key in features.keys] if features else []
        is_known = bool(entity) and all(value is not UNSET for value in entity)
        text = encode(entity) if is_known else fallback.encode("latin-1")
        share = self._options.canary.share if self._options.canary else 0.0
        return zlib.crc32(text) < share * (1 << 32)

    def _start_shadow(self, shadow: LoadedModel, request: Request, body: bytes) -> None:
        """Let the shadow score an answered request; its outcome never changes the answer."""
        if len(self.shadow_tasks) >= self._options.max_in_flight:
            self._counters.add("glue_shadow_failures_total")
            return
        task = asyncio.get_running_loop().create_task(self._score_by_shadow(shadow, request, body))
        self.shadow_tasks.add(task)
        task.add_done_callback(self.shadow_tasks.discard)

    async def _score_by_shadow(self, shadow: LoadedModel, request: Request, body: bytes) -> None:
        try:
            rows = shadow.model.contract.decode(body, request.rows.order)
            await self._look_up(shadow, rows, request.request_id)
            await self._batch.score(shadow, Request(rows, request.request_id, request.caller_id, answered=False))
        except Exception:
            self._counters.add("glue_shadow_failures_total")


def _check_content(content_type: bytes, encoding: bytes) -> None:
    """Check that the headers promise plain JSON.

    Raises:
        Refused: they do not.
    """
    is_json = content_type == b"application/json"
    if not is_json and content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Refused(415, "send it with the header Content-Type: application/json")
    if encoding not in (b"", b"identity"):
        raise Refused(415, "send it uncompressed, without the header Content-Encoding")

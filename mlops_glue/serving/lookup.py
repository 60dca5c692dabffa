"""Looks up features in the online store, for rows that do not contain them."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import GlueError
from mlops_glue.records import FeatureList

if TYPE_CHECKING:
    from mlops_glue.adapters.feast.redis import RedisReader
    from mlops_glue.config import Serve

Entity = tuple[Any, ...]  # a row's lookup keys, in the order of `FeatureList.asked_by`
Values = list[Any]  # of the columns that Feast stores, in the order of `FeatureList.columns`
Read = Callable[[list[dict[str, Any]], datetime], list[dict[str, Any]]]  # (keys, now) -> `view__feature` of each

MAX_CACHED = 100_000  # entities
MAX_READ = 20_000  # entities of the embedded store
WINDOW_S = 60.0  # over which the share of rows without features is computed
MIN_ROWS = 10  # with fewer rows the share means nothing
UNREACHED = "the online store does not answer in time, or cannot be reached"
MAX_UNANSWERED = 64  # pending reads; beyond this, requests are refused immediately


class NotReached(Exception):
    """The online store did not answer in time, or cannot be reached."""


class Lookup(ABC):
    """Reads the features of all entities of a request in one call.

    Args:
        features: the model's.
        timeout_s: how long the store may take.
        cache_s: how long a feature is cached; 0 reads it each time.
    """

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float) -> None:
        self.features = features
        self._timeout_s, self._cache_s = timeout_s, cache_s
        self._cache: dict[Entity, tuple[float, Values]] = {}

    @staticmethod
    def of(serve: Serve, store: dict[str, Any] | None, features: FeatureList | None) -> Lookup | None:
        """Return the lookup for a model's features; None for a model without features."""
        if features is None or store is None:
            return None
        options, limits = store["options"], (serve.lookup_timeout_s, serve.lookup_cache_s)
        if store["type"] == "embedded":
            return Embedded(features, *limits, **options)
        from mlops_glue import config as configs
        from mlops_glue import feature_stores

        root, config = Path(options["root"]), configs.load(Path(options["root"]), options["env"])
        if (reader := feature_stores.redis_reader(config, root, features, serve.lookup_timeout_s)) is not None:
            return FromRedis(features, *limits, reader=reader)
        repository, views = feature_stores.open_live(config, root), features.views
        return ThroughFeast(features, *limits, read=lambda keys, now: repository.read(features.use, views, keys, now))

    async def read(self, entities: list[Entity]) -> list[Values]:
        """Read, for each entity, the columns that Feast stores, in the order of `FeatureList.columns`.

        Raises:
            NotReached: the store does not answer in time.
        """
        if not self._cache_s:
            return await self._read(entities)
        now = time.monotonic()
        fresh = {key: cached[1] for key in entities if (cached := self._cache.get(key)) and cached[0] > now}
        missing = list(dict.fromkeys(key for key in entities if key not in fresh))
        if missing:
            got = await self._read(missing)
            if len(self._cache) + len(got) > MAX_CACHED:
                self._cache.clear()
            for key, found in zip(missing, got, strict=True):
                self._cache[key] = (now + self._cache_s, found)
                fresh[key] = found
        return [fresh[key] for key in entities]

    async def problem(self, entities: list[Entity], env: str | None = None) -> str | None:
        """Return why these entities cannot be read, or that the store is empty; None if there is no problem.

        `env` is the environment that the command for filling the store needs.
        """
        try:
            await self._read(entities)
            if not await self._is_empty():
                return None
        except NotReached as error:
            return str(error)
        return f"the online store is empty: glue materialize --force{f' --env {env}' if env else ''}"

    async def _is_empty(self) -> bool:
        return False  # Feast's interface has no such call

    @abstractmethod
    async def _read(self, entities: list[Entity]) -> list[Values]:
        """Read from the store, as `read` does."""


@dataclass(frozen=True)
class _StoredView:
    """How a view's features are read from the embedded store and placed in a row."""

    table: str
    keys: list[str]
    key_places: list[int]  # positions in an entity
    features: list[str]
    places: list[int]  # positions in the values of a row
    booleans: set[str]
    ttl_us: int  # 0: no limit


class Embedded(Lookup):
    """The embedded store, a local file that is read synchronously and without Feast.

    Values are cached until the file changes or a value exceeds its view's TTL, so that an answer is never stale and a
    frequent entity costs no read.
    """

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, path: str, project: str) -> None:
        super().__init__(features, timeout_s, cache_s)
        from mlops_glue.adapters.feast.online_file import NO_ENTITY, OnlineFile

        self._file, self._no_entity = OnlineFile(Path(path)), NO_ENTITY
        place = {ref: at for at, ref in enumerate(features.columns.values())}
        self._views = []
        for view in features.views:
            names = [name for name in view.features if f"{view.name}:{name}" in place]
            keys = sorted(view.keys)
            self._views.append(
                _StoredView(
                    table=f"{project}_{view.of}",
                    keys=keys or [NO_ENTITY[0]],
                    key_places=[features.asked_by.index(view.keys[key]) for key in keys],
                    features=names,
                    places=[place[f"{view.name}:{name}"] for name in names],
                    booleans={name for name in names if view.features[name] == "boolean"},
                    ttl_us=int(view.ttl_s * 1e6),
                )
            )
        self._version: tuple[int, int] | None = None
        self._read_before: dict[Entity, tuple[float, Values]] = {}  # expiry in µs, and the values

    async def _read(self, entities: list[Entity]) -> list[Values]:
        now_us = time.time_ns() // 1000
        try:
            version = self._file.version()
            if version != self._version or len(self._read_before) > MAX_READ:
                self._read_before, self._version = {}, version
            before = self._read_before
            new = [key for key in dict.fromkeys(entities) if key not in before or before[key][0] < now_us]
            if new:
                before |= self._from_file(new, now_us)
            return [before[key][1] for key in entities]
        except GlueError as error:
            raise NotReached("the online store cannot be read") from error

    def _from_file(self, entities: list[Entity], now_us: int) -> dict[Entity, tuple[float, Values]]:
        until = dict.fromkeys(entities, float("inf"))
        rows: dict[Entity, Values] = {entity: [None] * len(self.features.columns) for entity in entities}
        for view in self._views:
            keys = [tuple(entity[at] for at in view.key_places) or (self._no_entity[1],) for entity in entities]
            oldest_us = now_us - view.ttl_us if view.ttl_us else None
            found = self._file.read(view.table, view.keys, view.features, list(dict.fromkeys(keys)), oldest_us)
            for entity, key in zip(entities, keys, strict=True):
                if key not in found:
                    continue
                event_us, *values = found[key]
                for name, place, value in zip(view.features, view.places, values, strict=True):
                    rows[entity][place] = bool(value) if value is not None and name in view.booleans else value
                if view.ttl_us:
                    until[entity] = min(until[entity], event_us + view.ttl_us)
        return {entity: (until[entity], rows[entity]) for entity in entities}

    async def _is_empty(self) -> bool:
        return self._file.is_empty([view.table for view in self._views])


class FromRedis(Lookup):
    """A Redis store, read without Feast."""

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, reader: RedisReader) -> None:
        super().__init__(features, timeout_s, cache_s)
        self._reader = reader

    async def _read(self, entities: list[Entity]) -> list[Values]:
        try:
            return await self._reader.read(entities, time.time_ns() // 1000)
        except GlueError as error:
            raise NotReached(UNREACHED) from error

    async def _is_empty(self) -> bool:
        try:
            return await self._reader.size() == 0
        except GlueError as error:
            raise NotReached(UNREACHED) from error


class ThroughFeast(Lookup):
    """Any store that Feast supports. Each read runs in a thread, so that a hanging store blocks no other request."""

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, read: Read) -> None:
        super().__init__(features, timeout_s, cache_s)
        self._read_by_feast = read
        self._unanswered: list[Future[list[Values]]] = []

    async def _read(self, entities: list[Entity]) -> list[Values]:
        self._unanswered = [answer for answer in self._unanswered if not answer.done()]
        if len(self._unanswered) >= MAX_UNANSWERED:
            raise NotReached("the online store does not answer")
        named = [dict(zip(self.features.asked_by, key, strict=True)) for key in entities]
        names = [ref.replace(":", "__") for ref in self.features.columns.values()]
        answer: Future[list[Values]] = Future()
        answer.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it
        self._unanswered.append(answer)

        def work() -> None:
            try:
                rows = self._read_by_feast(named, datetime.now(UTC))
                answer.set_result([[row[name] for name in names] for row in rows])
            except Exception as error:
                answer.set_exception(error)

        threading.Thread(target=work, daemon=True).start()  # daemon: a hanging read must not keep the server running
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise NotReached("the online store does not answer in time") from None
        except Exception as error:
            raise NotReached("the online store cannot be reached") from error


class NotFound:
    """Counts rows for which a view had no value, or none within its TTL, and computes their share of the last minute.

    Args:
        features: the model's.
        max_share: the largest share of such rows that is not a problem.
    """

    def __init__(self, features: FeatureList | None, max_share: float) -> None:
        refs = [ref.partition(":")[0] for ref in features.columns.values()] if features else []
        self._places = {view: [at for at, of in enumerate(refs) if of == view] for view in dict.fromkeys(refs)}
        self._max_share = max_share
        self._uncounted: list[list[Values]] = []
        self._counted: deque[tuple[float, int, dict[str, int]]] = deque()  # time, rows, rows without a value by view

    def add(self, found: list[Values]) -> None:
        """Add the values that a request has looked up."""
        self._uncounted.append(found)

    def count(self) -> dict[str, int]:
        """Count, by view, the rows without a value since the last count."""
        rows, self._uncounted = [row for found in self._uncounted for row in found], []
        counts = {
            view: sum([row[at[0]] is None and all(row[place] is None for place in at) for row in rows])
            for view, at in self._places.items()
        }
        if rows:
            self._counted.append((time.monotonic(), len(rows), counts))
        while self._counted and self._counted[0][0] < time.monotonic() - WINDOW_S:
            self._counted.popleft()
        return {view: n for view, n in counts.items() if n}

    def problems(self) -> list[str]:
        """Return a problem for each view that had no value for too many rows."""
        rows = sum(n for _, n, _ in self._counted)
        missing = {view: sum(counts[view] for _, _, counts in self._counted) for view in self._places}
        return [
            f"the online store has nothing in {view} for {n} of the {rows} rows of the last minute"
            for view, n in missing.items()
            if rows >= MIN_ROWS and n > self._max_share * rows
        ]

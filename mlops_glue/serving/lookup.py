"""Features of entities from the online store, for the rows that do not give them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError, GlueError
from mlops_glue.records import FeatureList

if TYPE_CHECKING:
    from mlops_glue.adapters.feast.packed import Read
    from mlops_glue.adapters.feast.redis import RedisReader
    from mlops_glue.config import Serve

Whom = tuple[Any, ...]  # by what a row's features are looked up, in the order of `FeatureList.asked_by`

Ask = Callable[[list[dict[str, Any]], datetime], list[dict[str, Any]]]  # `Repository.reader`
MOST_KEPT = 100_000  # entities in the cache
MOST_READ = 20_000  # entities of the embedded store
WINDOW_S = 60.0
LEAST_ROWS = 10  # fewer say nothing of a share
MOST_AT_WORK = 64  # reads that a store has not answered; beyond, requests are told so at once


class NotReached(Exception):
    """The online store does not answer, or not in time."""


class NotFound:
    """Rows for which a view had nothing, or nothing younger than its TTL: counted, and their share of the last minute.

    Args:
        features: of the model.
        most: the share of the rows that may find nothing.
    """

    def __init__(self, features: FeatureList | None, most: float) -> None:
        refs = [ref.partition(":")[0] for ref in features.columns.values()] if features else []
        self._places = {view: [at for at, one in enumerate(refs) if one == view] for view in dict.fromkeys(refs)}
        self._most = most
        self._waiting: list[list[list[Any]]] = []
        self._last: deque[tuple[float, int, dict[str, int]]] = deque()  # time, rows, of these not found by view

    def see(self, found: list[list[Any]]) -> None:
        """Remember what a request has looked up."""
        self._waiting.append(found)

    def count(self) -> dict[str, int]:
        """By view, of what was seen since the last count."""
        seen, self._waiting = [row for rows in self._waiting for row in rows], []
        counts = {
            view: sum([row[at[0]] is None and all(row[one] is None for one in at) for row in seen])
            for view, at in self._places.items()
        }
        if seen:
            self._last.append((time.monotonic(), len(seen), counts))
        while self._last and self._last[0][0] < time.monotonic() - WINDOW_S:
            self._last.popleft()
        return {view: n for view, n in counts.items() if n}

    def problems(self) -> list[str]:
        """The views that had nothing for too many of the rows."""
        rows = sum(n for _, n, _ in self._last)
        lost = {view: sum(counts[view] for _, _, counts in self._last) for view in self._places}
        return [
            f"the online store has nothing in {view} for {n} of the {rows} rows of the last minute"
            for view, n in lost.items()
            if rows >= LEAST_ROWS and n > self._most * rows
        ]


class Lookup(ABC):
    """Reads features of entities, all of a request at once.

    Args:
        features: of the model.
        timeout_s: how long the store may take.
        cache_s: how old a feature may be that is not read again; 0 reads each time.
    """

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float) -> None:
        self.features = features
        self._timeout_s, self._cache_s = timeout_s, cache_s
        self._kept: dict[Whom, tuple[float, list[Any]]] = {}

    @staticmethod
    def of(serve: Serve, store: dict[str, Any] | None, features: FeatureList | None) -> Lookup | None:
        """The lookup of a model's features in the store of its version; None for a model that has all it needs."""
        if features is None or store is None:
            return None
        options, limits = store["options"], (serve.lookup_timeout_s, serve.lookup_cache_s)
        if store["type"] == "packed":
            return Packed(features, *limits, **options)
        from mlops_glue import config as configs
        from mlops_glue import features as feast

        root, config = Path(options["root"]), configs.load(Path(options["root"]), options["env"])
        if (reader := feast.redis_reader(config, root, features, serve.lookup_timeout_s)) is not None:
            return FromRedis(features, *limits, reader=reader)
        return ThroughFeast(features, *limits, ask=feast.open_live(config, root).reader(features))

    async def read(self, keys: list[Whom]) -> list[list[Any]]:
        """The model's columns that Feast has, in the order of `FeatureList.columns`, for each row.

        Raises:
            NotReached: the store does not answer in time.
        """
        if not self._cache_s:
            return await self._read(keys)
        now = time.monotonic()
        fresh = {one: kept[1] for one in keys if (kept := self._kept.get(one)) and kept[0] > now}
        missing = list(dict.fromkeys(one for one in keys if one not in fresh))
        if missing:
            got = await self._read(missing)
            if len(self._kept) + len(got) > MOST_KEPT:
                self._kept.clear()
            for one, found in zip(missing, got, strict=True):
                self._kept[one] = (now + self._cache_s, found)
                fresh[one] = found
        return [fresh[one] for one in keys]

    async def problem(self, keys: list[Whom]) -> str | None:
        """Why features of these entities cannot be read, or that the store holds nothing at all; None: all is well."""
        try:
            await self._read(keys)
            return "the online store is empty: glue materialize --force" if await self._is_empty() else None
        except NotReached as error:
            return str(error)

    async def _is_empty(self) -> bool:
        return False  # not every store of Feast's can tell

    @abstractmethod
    async def _read(self, keys: list[Whom]) -> list[list[Any]]:
        """As `read`, from the store."""


class Packed(Lookup):
    """The embedded store, a file beside the worker: read at once, without Feast.

    What was read is kept until the file is written to, or a value becomes older than its view's TTL: no answer is
    staler for it, and who is asked about often costs no reading.
    """

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, path: str, project: str) -> None:
        super().__init__(features, timeout_s, cache_s)
        from mlops_glue.adapters.feast.packed import PackedFile, key_of

        self._file, self._key_of, self._project = PackedFile(Path(path)), key_of, project
        self._views: list[tuple[Read, list[int], list[int]]] = []  # places of the keys, and of the features
        self._version: tuple[int, int] | None = None
        self._read_before: dict[Whom, tuple[float, list[Any]]] = {}  # until when (µs) it is good, and the values

    def _find_views(self) -> None:
        """Where the file has each view and feature.

        Raises:
            DataError: it has one of them not.
        """
        from mlops_glue.adapters.feast.packed import Read

        place = {ref: at for at, ref in enumerate(self.features.columns.values())}
        asked_by = self.features.asked_by
        there, made = self._file.views(), []
        for view in self.features.views:
            name = f"{self._project}_{view.of}"
            known = dict(there[name].features) if name in there else {}
            lost = next((feature for feature in view.features if feature not in known), None)
            if lost is not None:
                raise DataError(f"the online store has no {view.of}:{lost}", hint="glue materialize")
            wanted = [feature for feature in view.features if f"{view.name}:{feature}" in place]
            read = Read(name, [(f, known[f]) for f in wanted], int(view.ttl_s * 1e6) or None)
            keys = [asked_by.index(view.keys[key]) for key in sorted(view.keys)]
            made.append((read, keys, [place[f"{view.name}:{f}"] for f in wanted]))
        self._views = made

    async def _read(self, keys: list[Whom]) -> list[list[Any]]:
        now = time.time_ns() // 1000
        try:
            version = self._file.version()
            if version != self._version or len(self._read_before) > MOST_READ:
                self._find_views()
                self._read_before, self._version = {}, version
            before = self._read_before
            new = [key for key in dict.fromkeys(keys) if (kept := before.get(key)) is None or kept[0] < now]
            if new:
                before |= zip(new, self._from_file(new, now), strict=True)
            return [before[key][1] for key in keys]
        except GlueError as error:
            raise NotReached("the online store cannot be read") from error

    async def _is_empty(self) -> bool:
        return self._file.is_empty([read.view for read, _, _ in self._views])

    def _from_file(self, keys: list[Whom], now: int) -> list[tuple[float, list[Any]]]:
        by: dict[tuple[int, ...], list[bytes]] = {}  # views about the same entities have the same keys
        for _, at, _ in self._views:
            by[tuple(at)] = by.get(tuple(at)) or [self._key_of([key[n] for n in at]) for key in keys]
        got = self._file.read_together([(read, by[tuple(at)]) for read, at, _ in self._views], now)
        out = []
        for found in zip(*got, strict=True):
            until, row = float("inf"), [None] * len(self.features.columns)
            for (read, _, places), one in zip(self._views, found, strict=True):
                if one.values is not None:
                    for place, value in zip(places, one.values, strict=True):
                        row[place] = value
                    if read.ttl_us is not None:
                        until = min(until, one.event_us + read.ttl_us)
            out.append((until, row))
        return out


class FromRedis(Lookup):
    """Redis, read without Feast."""

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, reader: RedisReader) -> None:
        super().__init__(features, timeout_s, cache_s)
        self._reader = reader

    async def _read(self, keys: list[Whom]) -> list[list[Any]]:
        try:
            return await self._reader.read(keys, time.time_ns() // 1000)
        except GlueError as error:
            raise NotReached("the online store does not answer in time, or cannot be reached") from error

    async def _is_empty(self) -> bool:
        return await self._reader.size() == 0


class ThroughFeast(Lookup):
    """Any store of Feast's: each read in a thread, so that a store that does not answer costs others nothing."""

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, ask: Ask) -> None:
        super().__init__(features, timeout_s, cache_s)
        self._ask = ask
        self._at_work = 0

    async def _read(self, keys: list[Whom]) -> list[list[Any]]:
        if self._at_work >= MOST_AT_WORK:
            raise NotReached("the online store does not answer")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[list[Any]]] = loop.create_future()
        named = [dict(zip(self.features.asked_by, key, strict=True)) for key in keys]

        def told(got: Any, error: Exception | None) -> None:
            self._at_work -= 1
            if not answer.done():
                answer.set_exception(error) if error is not None else answer.set_result(got)

        def work() -> None:
            got, failed = None, None
            try:
                got = [[one[name] for name in self.features.columns] for one in self._ask(named, datetime.now(UTC))]
            except Exception as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(told, got, failed)

        self._at_work += 1
        threading.Thread(target=work, daemon=True).start()  # one that hangs keeps no server from ending
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            raise NotReached("the online store does not answer in time") from None
        except Exception as error:
            raise NotReached("the online store cannot be reached") from error

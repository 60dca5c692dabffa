"""Features of entities from the online store, for the rows that do not give them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError, GlueError
from mlops_glue.records import FeatureList, View

if TYPE_CHECKING:
    from mlops_glue.serving.worker import Settings

MOST_KEPT = 100_000  # entities in the cache
MOST_AT_WORK = 64  # reads that a store has not answered; beyond, requests are told so at once


class NotReached(Exception):
    """The online store does not answer, or not in time."""


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
        self._kept: dict[tuple[Any, ...], tuple[float, dict[str, Any]]] = {}

    @staticmethod
    def of(settings: Settings, features: FeatureList | None) -> Lookup | None:
        """The one for a model and the store that it is configured for; None for a model that has all it needs."""
        if features is None or settings.lookup is None:
            return None
        kind = Packed if settings.lookup["type"] == "packed" else ThroughFeast
        return kind(features, settings.lookup_timeout_s, settings.lookup_cache_s, **settings.lookup["options"])

    async def read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The model's columns that Feast has, by name, for each row's keys.

        Raises:
            NotReached: the store does not answer in time.
        """
        if not self._cache_s:
            return await self._read(keys)
        now = time.monotonic()
        asked = [tuple(key.values()) for key in keys]
        fresh = {one: kept[1] for one in asked if (kept := self._kept.get(one)) and kept[0] > now}
        missing = {one: key for one, key in zip(asked, keys, strict=True) if one not in fresh}
        if missing:
            got = await self._read(list(missing.values()))
            if len(self._kept) + len(got) > MOST_KEPT:
                self._kept.clear()
            for one, found in zip(missing, got, strict=True):
                self._kept[one] = (now + self._cache_s, found)
                fresh[one] = found
        return [fresh[one] for one in asked]

    @abstractmethod
    async def _read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As `read`, from the store."""


class Packed(Lookup):
    """The embedded store, a file beside the worker: read at once, without Feast."""

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, path: str, project: str) -> None:
        super().__init__(features, timeout_s, cache_s)
        from mlops_glue.adapters.feast.packed import PackedFile, key_of

        self._file, self._key_of, self._project = PackedFile(Path(path)), key_of, project
        self._views: list[tuple[str, View, list[str], list[tuple[str, str]]]] = []

    def _find_views(self) -> None:
        """Where the file has each view and feature.

        Raises:
            DataError: it has one of them not.
        """
        columns = {ref: column for column, ref in self.features.columns.items()}
        there, made = self._file.views(), []
        for view in self.features.views:
            name = f"{self._project}_{view.of}"
            known = dict(there[name].features) if name in there else {}
            lost = next((feature for feature in view.features if feature not in known), None)
            if lost is not None:
                raise DataError(f"the online store has no {view.of}:{lost}", hint="glue materialize")
            types = [(feature, known[feature]) for feature in view.features]
            made.append((name, view, [columns.get(f"{view.name}:{f}", "") for f in view.features], types))
        self._views = made

    async def _read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = [{} for _ in keys]
        now = time.time_ns() // 1000
        try:
            if not self._views:
                self._find_views()
            for name, view, columns, types in self._views:
                order = sorted(view.keys)
                packed = [self._key_of([key[view.keys[one]] for one in order]) for key in keys]
                ttl = int(view.ttl_s * 1e6) or None
                for row, found in zip(out, self._file.read(name, packed, types, ttl, now), strict=True):
                    row.update(zip(columns, found.values or [None] * len(columns), strict=True))
        except GlueError as error:
            raise NotReached("the online store cannot be read") from error
        return out


class ThroughFeast(Lookup):
    """Any store of Feast's: each read in a thread, so that a store that does not answer costs others nothing."""

    def __init__(self, features: FeatureList, timeout_s: float, cache_s: float, *, root: str, env: str | None) -> None:
        super().__init__(features, timeout_s, cache_s)
        from mlops_glue import config as configs
        from mlops_glue import features as feast

        self._ask = feast.open_live(configs.load(Path(root), env), Path(root)).reader(features)
        self._at_work = 0

    async def _read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._at_work >= MOST_AT_WORK:
            raise NotReached("the online store does not answer")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[dict[str, Any]]] = loop.create_future()

        def told(got: Any, error: Exception | None) -> None:
            self._at_work -= 1
            if not answer.done():
                answer.set_exception(error) if error is not None else answer.set_result(got)

        def work() -> None:
            got, failed = None, None
            try:
                got = self._ask(keys, datetime.now(UTC))
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

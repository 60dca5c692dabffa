"""Which versions answer: the champion, and beside it a shadow or a canary; taken over while requests go on.

Another process asks the registry (`follow.py`) and leaves what it found, fetched and checked, in a file. What
is new there is loaded in a thread beside what answers, tried on its own example, and then takes its place in one step.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files
from mlops_glue.errors import GlueError
from mlops_glue.records import Servable
from mlops_glue.serving.lookup import Lookup, NotFound
from mlops_glue.serving.model import Model
from mlops_glue.serving.outside import Outside

if TYPE_CHECKING:
    from mlops_glue.serving.worker import Settings

WANTED, GOOD = "wanted.json", "good.json"
LONGEST_S = 60.0  # between two tries to load what could not be loaded
SWITCH_S = 0.0005  # how soon the thread that loads lets the others go on; Python's own 5 ms would be felt


def tried(settings: Settings, what: Servable) -> Model:
    """A version, loaded, and its own example scored.

    Raises:
        GlueError: it is not what was registered, cannot be loaded, or cannot score its own example.
    """
    model = Model(
        Path(what.folder),
        what.digest,
        name=settings.name,
        version=what.version,
        unseen=settings.unseen,
        max_rows=settings.max_rows,
    )
    model.self_test()
    return model


class Served:
    """One version, loaded and tried.

    Args:
        settings: of the worker.
        what: the version.
        alias: under which it was found.

    Raises:
        GlueError: as `tried`.
    """

    def __init__(self, settings: Settings, what: Servable, alias: str) -> None:
        self.what, self.alias, self.fingerprint = what, alias, what.fingerprint
        self.model = tried(settings, what)
        self.outside = Outside(self.model.schema)
        self.not_found = NotFound(self.model.features, settings.not_found_share)
        self.lookup = Lookup.of(replace(settings, lookup=what.lookup), self.model.features)
        fields = [(f.name, f.kind, f.dtype, f.required, f.nullable, f.day_first) for f in self.model.contract.fields]
        self.takes = (fields, self.model.features)  # equal for two versions: a row of the one is a row of the other


class Live:
    """The versions of one worker.

    Args:
        settings: the version to begin with, and where to look for others.
        swapped: called with champion, shadow or canary, and with the version before, when another took its place.
        failed: called with the reason when one could not be loaded.

    Raises:
        GlueError: there is none that can be served.
    """

    def __init__(
        self, settings: Settings, swapped: Callable[[str, Served | None], None], failed: Callable[[str], None]
    ) -> None:
        self._settings, self._swapped, self._failed = settings, swapped, failed
        self._state = Path(settings.state) if settings.state else None
        self.problems: dict[str, str] = {}  # by alias: why its version is not the one that is wanted
        self._retry: dict[str, tuple[float, float]] = {}  # by alias: when, and the pause before that
        self._stamp: Any = None
        self.shadow: Served | None = None
        self.canary: Served | None = None
        self.champion = self._first()

    def _first(self) -> Served:
        """What is wanted now; where that cannot be loaded, what answered last, or what the server was started with."""
        alias, failure = self._settings.alias or "", None
        for what in (*self._candidates(), self._settings.first):
            try:
                return Served(self._settings, what, alias)
            except GlueError as error:
                failure = failure or error
                self.problems["champion"] = error.message
        assert failure is not None
        raise failure

    def _candidates(self) -> list[Servable]:
        if self._state is None or self._settings.alias is None:
            return []
        good = told(self._state / GOOD)
        return [*filter(None, [self._wanted().get("champion")]), *([Servable(**good)] if good else [])]

    def _wanted(self) -> dict[str, Servable]:
        found = told(self._state / WANTED) if self._state is not None else None
        return {alias: Servable(**one) for alias, one in (found or {}).items()}

    async def follow(self) -> None:
        """Take over what is wanted and not yet here; called a few times a second."""
        if self._state is None or (self._unchanged() and not self._due()):
            return
        wanted = self._wanted()
        if self._settings.alias is not None and "champion" in wanted:
            await self._take("champion", wanted["champion"])
        for place, alias in (("shadow", self._settings.shadow), ("canary", self._settings.canary)):
            if alias is not None:
                await self._take(place, wanted.get(alias), alias)

    def _unchanged(self) -> bool:
        assert self._state is not None
        try:
            found = (self._state / WANTED).stat()
        except OSError:
            return True
        before, self._stamp = self._stamp, (found.st_mtime_ns, found.st_ino)
        return bool(before == self._stamp)

    def _due(self) -> bool:
        return any(at <= time.monotonic() for at, _ in self._retry.values())

    async def _take(self, place: str, what: Servable | None, alias: str = "champion") -> None:
        now: Served | None = getattr(self, place)
        if what is None or (now is not None and now.what == what):
            if what is None:
                setattr(self, place, None)
            self.problems.pop(place, None)
            self._retry.pop(place, None)
            return
        try:
            made = await asyncio.get_running_loop().run_in_executor(None, self._loaded, what, alias)
        except Exception as error:
            said = error.message if isinstance(error, GlueError) else type(error).__name__
            self.problems[place] = f"{alias} v{what.version} is not served: {said}"
            _, pause = self._retry.get(place, (0.0, 0.5))
            pause = min(2 * pause, LONGEST_S)
            self._retry[place] = (time.monotonic() + pause, pause)
            self._failed(self.problems[place])
            return
        setattr(self, place, made)
        self.problems.pop(place, None)
        self._retry.pop(place, None)
        self._swapped(place, now)
        if place == "champion" and self._state is not None:
            with contextlib.suppress(OSError):
                files.write_json(self._state / GOOD, what.to_dict())

    def _loaded(self, what: Servable, alias: str) -> Served:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            return Served(self._settings, what, alias)
        finally:
            sys.setswitchinterval(before)


def told(path: Path) -> dict[str, Any] | None:
    """What another process has left in a file; None where it has not."""
    try:
        found = files.read_json(path)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None

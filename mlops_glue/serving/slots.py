"""Which versions answer: the champion, and with it a shadow or a canary. They are swapped while requests go on.

Another process asks the registry (`follow.py`) and leaves what it found, fetched and checked, in a file. A version that
is new there is loaded in a thread while the old one answers, scores its own example, and takes the slot in one step.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_glue import files
from mlops_glue.errors import GlueError
from mlops_glue.records import Servable
from mlops_glue.serving.backoff import Backoff
from mlops_glue.serving.lookup import Lookup
from mlops_glue.serving.model import Model
from mlops_glue.serving.not_found import NotFound
from mlops_glue.serving.settings import DESIRED, LAST_GOOD, Settings
from mlops_glue.serving.unseen import UnseenValues

FIRST_S, LONGEST_S = 1.0, 60.0  # between two attempts to load a version that could not be loaded
SWITCH_S = 0.0005  # how soon the loading thread yields to the others; Python's own 5 ms would be felt


def load(settings: Settings, version: Servable) -> Model:
    """Load a version.

    Raises:
        GlueError: it is not what was registered, or cannot be loaded.
    """
    options = settings.options
    return Model(Path(version.folder), version.digest, name=settings.name, version=version.version, options=options)


def load_and_self_test(settings: Settings, version: Servable) -> Model:
    """Load a version and score its own example.

    Raises:
        GlueError: it is not what was registered, cannot be loaded, or cannot score its own example.
    """
    model = load(settings, version)
    model.self_test()
    return model


class LoadedModel:
    """One version that is ready to answer.

    Args:
        settings: of the worker.
        version: what to load.
        alias: under which the registry has it.

    Raises:
        GlueError: as `load_and_self_test`.
    """

    def __init__(self, settings: Settings, version: Servable, alias: str) -> None:
        self.version, self.alias, self.fingerprint = version, alias, version.fingerprint
        self.model = load_and_self_test(settings, version)
        self.unseen = UnseenValues(self.model.schema)
        self.not_found = NotFound(self.model.features, settings.options.not_found_share)
        self.lookup = Lookup.of(settings.options, version.lookup, self.model.features)
        fields = [(f.name, f.kind, f.dtype, f.required, f.nullable, f.day_first) for f in self.model.contract.fields]
        self.input_signature = (fields, self.model.features)  # versions that share it read a body alike


class ModelSlots:
    """The versions of one worker: `champion`, and `shadow` or `canary` where one is configured.

    Args:
        settings: the version to begin with, and where to look for others.
        swapped: called with the name of the slot, and with the version that left it.
        failed: called with the reason when a version could not be loaded.

    Raises:
        GlueError: there is none that can be served.
    """

    def __init__(
        self, settings: Settings, swapped: Callable[[str, LoadedModel | None], None], failed: Callable[[str], None]
    ) -> None:
        self._settings, self._swapped, self._failed = settings, swapped, failed
        self._state = settings.state_folder
        self.problems: dict[str, str] = {}  # by slot: why it does not have the desired version
        self._retries = {slot: Backoff(FIRST_S, LONGEST_S) for slot in ("champion", "shadow", "canary")}
        self._stamp: tuple[int, int] | None = None
        self.shadow: LoadedModel | None = None
        self.canary: LoadedModel | None = None
        self.champion = self._initial()

    def _initial(self) -> LoadedModel:
        """The desired version; where that cannot be loaded, what answered last, or what the server started with."""
        alias, failure = self._settings.alias or "", None
        for version in (*self._candidates(), self._settings.first):
            try:
                return LoadedModel(self._settings, version, alias)
            except GlueError as error:
                failure = failure or error
                self.problems["champion"] = error.message
        assert failure is not None
        raise failure

    def _candidates(self) -> list[Servable]:
        if self._state is None or self._settings.alias is None:
            return []
        good = read_state(self._state / LAST_GOOD)
        desired = self._desired().get("champion")
        return [*([desired] if desired else []), *([Servable(**good)] if good else [])]

    def _desired(self) -> dict[str, Servable]:
        return read_desired(self._state) if self._state is not None else {}

    async def follow(self) -> None:
        """Load and swap in what is desired and not yet here; called a few times a second."""
        retry_is_due = any(retry.failed and retry.is_due for retry in self._retries.values())
        if self._state is None or (self._desired_is_unchanged() and not retry_is_due):
            return
        desired, options = self._desired(), self._settings.options
        if self._settings.alias is not None and "champion" in desired:
            await self._fill("champion", "champion", desired["champion"])
        if options.shadow is not None:
            await self._fill("shadow", options.shadow, desired.get(options.shadow))
        if options.canary is not None:
            await self._fill("canary", options.canary.alias, desired.get(options.canary.alias))

    def _desired_is_unchanged(self) -> bool:
        assert self._state is not None
        try:
            found = (self._state / DESIRED).stat()
        except OSError:
            return True
        before, self._stamp = self._stamp, (found.st_mtime_ns, found.st_ino)
        return before == self._stamp

    async def _fill(self, slot: str, alias: str, version: Servable | None) -> None:
        current: LoadedModel | None = getattr(self, slot)
        if version is None:
            setattr(self, slot, None)
        elif current is None or current.version != version:
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(None, self._load, version, alias)
            except Exception as error:
                reason = error.message if isinstance(error, GlueError) else type(error).__name__
                self.problems[slot] = f"{alias} v{version.version} is not served: {reason}"
                self._retries[slot].fail()
                self._failed(self.problems[slot])
                return
            setattr(self, slot, loaded)
            self._swapped(slot, current)
            if slot == "champion" and self._state is not None:
                with contextlib.suppress(OSError):
                    files.write_json(self._state / LAST_GOOD, version.to_dict())
        self.problems.pop(slot, None)
        self._retries[slot].succeed()

    def _load(self, version: Servable, alias: str) -> LoadedModel:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            return LoadedModel(self._settings, version, alias)
        finally:
            sys.setswitchinterval(before)


def read_state(path: Path) -> dict[str, Any] | None:
    """What another process has left in a file; None where it has not, or where the file is torn."""
    try:
        found = files.read_json(path)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_desired(state: Path) -> dict[str, Servable]:
    """By alias: the versions that the follower has found."""
    return {alias: Servable(**version) for alias, version in (read_state(state / DESIRED) or {}).items()}

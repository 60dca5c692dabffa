"""The versions that answer: the champion, and a shadow or a canary. They are swapped while requests are served.

Another process polls the registry (`follow.py`) and writes the versions that it fetched and checked to a file. A new
version is loaded in a thread while the old one answers. It scores its own example, and then takes the slot in one
step. A request finishes with the model that it started with.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from mlops_glue import files
from mlops_glue.errors import GlueError
from mlops_glue.records import Servable
from mlops_glue.serving.access_log import AccessLog
from mlops_glue.serving.backoff import Backoff
from mlops_glue.serving.lookup import Lookup, NotFound
from mlops_glue.serving.metrics import Counters
from mlops_glue.serving.model import Model
from mlops_glue.serving.settings import DESIRED, Settings
from mlops_glue.serving.unseen import UnseenValues

FIRST_S, LONGEST_S = 1.0, 60.0  # between two attempts to load a version
SWITCH_S = 0.0005  # how soon the loading thread yields to the others; Python's default of 5 ms would delay requests


def load(settings: Settings, version: Servable) -> Model:
    """Load a version.

    Raises:
        GlueError: it differs from what was registered, or cannot be loaded.
    """
    return Model(
        Path(version.folder),
        version.digest,
        name=settings.name,
        version=version.version,
        options=settings.options,
        trust=version.trust,
    )


class LoadedModel:
    """A version that is ready to answer.

    Raises:
        GlueError: it differs from what was registered, cannot be loaded, or cannot score its own example.
    """

    def __init__(self, settings: Settings, version: Servable, alias: str) -> None:
        self.version, self.alias, self.fingerprint = version, alias, version.fingerprint
        self.model = load(settings, version)
        self.model.self_test()
        self.unseen = UnseenValues(self.model.schema)
        self.not_found = NotFound(self.model.features, settings.options.not_found_share)
        self.lookup = Lookup.of(settings.options, version.lookup, self.model.features)

    def count_unseen(self, counters: Counters) -> None:
        """Count the unseen values, and the entities missing in the online store, since the last call."""
        for column, n in self.unseen.count().items():
            counters.add("glue_unseen_values_total", column, by=n)
        for view, n in self.not_found.count().items():
            counters.add("glue_entities_not_found_total", view, by=n)


class ModelSlots:
    """The versions of one worker: `champion`, and `shadow` or `canary` if one is configured.

    Raises:
        GlueError: no version can be served.
    """

    def __init__(self, settings: Settings, counters: Counters, log: AccessLog) -> None:
        self._settings, self._counters, self._log = settings, counters, log
        self.problems: dict[str, str] = {}  # by slot: why it does not have the desired version
        self._retry = Backoff(FIRST_S, LONGEST_S)
        self._stamp: tuple[int, int] | None = None
        options = settings.options
        self._aliases = {"champion": settings.alias, "shadow": options.shadow}
        self._aliases["canary"] = options.canary.alias if options.canary else None
        self.shadow: LoadedModel | None = None
        self.canary: LoadedModel | None = None
        self.champion = self._initial()

    def _initial(self) -> LoadedModel:
        """Load the desired champion or, if that fails, the version that the server started with."""
        alias = self._settings.alias or ""
        desired = read_desired(self._settings.state).get(alias, self._settings.first)
        try:
            return LoadedModel(self._settings, desired, alias)
        except GlueError as error:
            if desired == self._settings.first:
                raise
            self.problems["champion"] = error.message
            return LoadedModel(self._settings, self._settings.first, alias)

    async def follow(self) -> None:
        """Load and swap in new desired versions; called a few times a second."""
        try:
            found = (self._settings.state / DESIRED).stat()
        except OSError:
            return
        before, self._stamp = self._stamp, (found.st_mtime_ns, found.st_ino)
        if before == self._stamp and not (self._retry.failed and self._retry.is_due):
            return
        desired = read_desired(self._settings.state)
        for slot, alias in self._aliases.items():
            if alias is not None:
                await self._fill(slot, alias, desired.get(alias))
        if self.problems:
            self._retry.fail()
        else:
            self._retry.succeed()

    async def _fill(self, slot: str, alias: str, version: Servable | None) -> None:
        current: LoadedModel | None = getattr(self, slot)
        if version is None and slot != "champion":
            setattr(self, slot, None)
        elif version is not None and (current is None or current.version != version):
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(None, self._load, version, alias)
            except Exception as error:
                reason = error.message if isinstance(error, GlueError) else type(error).__name__
                self.problems[slot] = f"{alias} v{version.version} is not served: {reason}"
                self._counters.add("glue_model_reload_failures_total")
                self._log.note(not_taken_over=self.problems[slot])
                return
            setattr(self, slot, loaded)
            self._report_swap(slot, loaded, current)
        self.problems.pop(slot, None)

    def _report_swap(self, slot: str, loaded: LoadedModel, before: LoadedModel | None) -> None:
        self._counters.add("glue_model_swaps_total")
        self._log.note(taken_over=slot, version=loaded.version.version)
        if before is not None:
            before.count_unseen(self._counters)
            order = loaded.model.contract.order
            if slot == "champion" and before.model.contract.order != order:
                self._log.note(rows_without_names="are now read in another order", order=order)

    def _load(self, version: Servable, alias: str) -> LoadedModel:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            return LoadedModel(self._settings, version, alias)
        finally:
            sys.setswitchinterval(before)


def read_state(path: Path) -> dict[str, Any] | None:
    """Read a JSON object that another process wrote; None if it is missing or incomplete."""
    try:
        found = files.read_json(path)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_desired(state: Path) -> dict[str, Servable]:
    """Return, by alias, the versions that the follower has found."""
    return {alias: Servable(**version) for alias, version in (read_state(state / DESIRED) or {}).items()}

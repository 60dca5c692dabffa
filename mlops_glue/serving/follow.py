"""The process that polls the registry. It fetches, checks and tries each version that an alias names.

It writes the versions to the file `DESIRED` for the workers, and problems to a file that `/ready` shows.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from mlops_glue import files
from mlops_glue.errors import GlueError, brief
from mlops_glue.records import Servable
from mlops_glue.serving.access_log import AccessLog
from mlops_glue.serving.backoff import Backoff
from mlops_glue.serving.metrics import Counters
from mlops_glue.serving.settings import DESIRED, PROBLEM, Settings
from mlops_glue.serving.slots import read_desired

FIRST_S, LONGEST_S = 10.0, 300.0  # between two attempts with a version that could not be served


class Follower:
    """Polls the registry for the versions that the aliases name.

    Args:
        settings: the workers'.
        ask: returns the version that an alias names, or None.
        bring: fetches, checks and tries a version.
        on_champion: called with each new champion.
    """

    def __init__(
        self,
        settings: Settings,
        ask: Callable[[str], int | None],
        bring: Callable[[int], Servable],
        on_champion: Callable[[Servable], None],
    ) -> None:
        self._settings, self._ask, self._bring, self._on_champion = settings, ask, bring, on_champion
        canary = settings.options.canary
        aliases = (settings.alias, settings.options.shadow, canary.alias if canary else None)
        self._aliases = list(dict.fromkeys(alias for alias in aliases if alias is not None))
        self._counters, self._log = Counters(settings.state), AccessLog()
        self._desired = read_desired(settings.state)
        if settings.alias is not None:
            self._desired.setdefault(settings.alias, settings.first)
        self._failures: dict[int, tuple[Backoff, str]] = {}  # by version: when to try it again, and the reason

    def run(self, at_once: bool) -> None:
        """Poll until the parent process ends; with `at_once`, before the first wait."""
        poll_s = self._settings.options.poll_s
        due = time.monotonic() + (0.0 if at_once else poll_s)
        while os.getppid() == self._settings.parent:
            if time.monotonic() < due:
                time.sleep(min(0.2, poll_s))
                continue
            self.look()
            due = time.monotonic() + poll_s

    def look(self) -> None:
        """Ask for every alias once."""
        problems = []
        for alias in self._aliases:
            try:
                problem = self._look_at(alias)
            except Exception as error:
                problem = f"the registry cannot be reached: {_reason(error)}"
            problems += [problem] if problem else []
        for version in (*self._desired.values(), self._settings.first):
            with contextlib.suppress(OSError):
                os.utime(version.folder)  # a folder in use is not cleaned up
        place = self._settings.state / f"registry{PROBLEM}"
        with contextlib.suppress(OSError):
            if problems:
                files.write_text(place, "; ".join(dict.fromkeys(problems)) + "\n")
            else:
                place.unlink(missing_ok=True)
        self._counters.write()
        self._log.flush()

    def _look_at(self, alias: str) -> str | None:
        """Follow an alias; returns its problem, or None."""
        version, current = self._ask(alias), self._desired.get(alias)
        if version is None:
            if alias == "champion":
                return "the registry names no champion"
            if current is not None:
                del self._desired[alias]
                self._write_desired()
            return None
        if current is not None and current.version == version:
            return None
        backoff, _ = self._failures.get(version) or (Backoff(FIRST_S, LONGEST_S), "")
        if backoff.is_due:
            try:
                self._desired[alias] = self._bring(version)
            except Exception as error:
                backoff.fail()
                self._failures[version] = (backoff, _reason(error))
                self._counters.add("glue_model_reload_failures_total")
                self._log.note(not_taken_over=f"v{version}: {_reason(error)}")
            else:
                self._failures.pop(version, None)
                self._write_desired()
                if alias == "champion":
                    self._on_champion(self._desired[alias])
                return None
        return f"{alias} v{version} is not served: {self._failures[version][1]}"

    def _write_desired(self) -> None:
        found = {alias: version.to_dict() for alias, version in self._desired.items()}
        files.write_json(self._settings.state / DESIRED, found)


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, GlueError) else brief(error, 100)

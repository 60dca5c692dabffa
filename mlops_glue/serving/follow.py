"""What the aliases of a model name is left in a file for the workers: fetched, checked and tried before."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlops_glue import files
from mlops_glue.errors import GlueError, brief
from mlops_glue.records import Servable
from mlops_glue.serving.live import WANTED, told
from mlops_glue.serving.metrics import Counters
from mlops_glue.serving.worker import PROBLEM, Settings

TRIAL = "trial.json"  # the version that is being tried: where it is found again, the trial has killed its process
LONGEST_S = 300.0  # between two tries of a version that could not be served


class Follower:
    """Asks which versions are wanted, again and again.

    Args:
        settings: of the workers.
        ask: the version under an alias, or None.
        bring: fetches, checks and tries a version.
        taken: called with each new champion.
    """

    def __init__(
        self,
        settings: Settings,
        ask: Callable[[str], int | None],
        bring: Callable[[int], Servable],
        taken: Callable[[Servable], None],
    ) -> None:
        assert settings.state is not None
        self._ask, self._bring, self._taken = ask, bring, taken
        self._state, self._first = Path(settings.state), settings.first
        self._aliases = [one for one in (settings.alias, settings.shadow, settings.canary) if one is not None]
        self._counters = Counters(self._state)
        self._wanted = {alias: Servable(**one) for alias, one in (told(self._state / WANTED) or {}).items()}
        if settings.alias is not None:
            self._wanted.setdefault(settings.alias, settings.first)
        self._failed: dict[int, tuple[float, float, str]] = {}  # by version: when to try again, the pause, why
        if killed := told(self._state / TRIAL):
            self._fail(int(killed["version"]), "its trial ended the process that tried it")

    def run(self, poll_s: float, parent: int, at_once: bool) -> None:
        """Until the process that started it is gone.

        Args:
            poll_s: between two questions.
            parent: that process.
            at_once: ask first, and wait then.
        """
        due = time.monotonic() + (0.0 if at_once else poll_s)
        while os.getppid() == parent:
            if time.monotonic() < due:
                time.sleep(min(0.2, poll_s))
                continue
            self.look()
            due = time.monotonic() + poll_s

    def look(self) -> None:
        """Ask once for every alias."""
        problems = []
        for alias in dict.fromkeys(self._aliases):
            try:
                problems += self._look_at(alias)
            except Exception as error:
                said = error.message if isinstance(error, GlueError) else brief(error, 100)
                problems.append(f"the registry cannot be asked: {said}")
        for one in (*self._wanted.values(), self._first):
            with contextlib.suppress(OSError):
                os.utime(one.folder)  # it is in use
        place = self._state / f"registry{PROBLEM}"
        with contextlib.suppress(OSError):
            if problems:
                files.write_text(place, "; ".join(dict.fromkeys(problems)) + "\n")
            else:
                place.unlink(missing_ok=True)
        self._counters.write()

    def _look_at(self, alias: str) -> list[str]:
        """One alias; what is wrong with it."""
        version, now = self._ask(alias), self._wanted.get(alias)
        if version is None:
            if alias == "champion":
                return ["the registry names no champion"]
            if now is not None:
                del self._wanted[alias]
                self._tell()
            return []
        if now is not None and now.version == version:
            return []
        if version in self._failed and time.monotonic() < self._failed[version][0]:
            return [f"{alias} v{version} is not served: {self._failed[version][2]}"]
        try:
            files.write_json(self._state / TRIAL, {"version": version})
            found = self._bring(version)
        except Exception as error:
            self._fail(version, error.message if isinstance(error, GlueError) else brief(error, 100))
            return [f"{alias} v{version} is not served: {self._failed[version][2]}"]
        finally:
            (self._state / TRIAL).unlink(missing_ok=True)
        self._failed.pop(version, None)
        self._wanted[alias] = found
        self._tell()
        if alias == "champion":
            self._taken(found)
        return []

    def _fail(self, version: int, said: str) -> None:
        _, pause, _ = self._failed.get(version, (0.0, 5.0, ""))
        pause = min(2 * pause, LONGEST_S)
        self._failed[version] = (time.monotonic() + pause, pause, said)
        self._counters.add("glue_model_reload_failures_total")
        line = {"time": round(time.time(), 3), "not_taken_over": f"v{version}: {said}"}
        sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stderr.flush()

    def _tell(self) -> None:
        files.write_json(self._state / WANTED, {alias: one.to_dict() for alias, one in self._wanted.items()})

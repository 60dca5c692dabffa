"""A run of the pipeline: one at a time in a project, cleanup after a killed run, and how the stages and run ended."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mlops_glue import files, layout
from mlops_glue.errors import GlueError, ToolError

log = logging.getLogger(__name__)

# Called with a stage's name, outcome, seconds and reasons: the outcome is "" when the stage starts, "outside" when a
# separate process takes over the terminal, and one of OUTCOMES when the stage has ended.
OnStage = Callable[[str, str, float, list[str]], None]
OUTCOMES = ("executed", "restored", "unchanged", "failed", "refused")
DID_NOT_RUN = ("restored", "unchanged")


@dataclass(frozen=True)
class StageResult:
    """How a stage ended."""

    stage: str
    outcome: str
    seconds: float
    reasons: list[str]


class Recorder:
    """An `OnStage` that passes each event on and keeps how the stages ended."""

    def __init__(self, on_stage: OnStage, took: dict[str, float], mark: Path | None = None) -> None:
        self._on_stage, self._mark = on_stage, mark
        self.ended: list[StageResult] = []  # in this run
        self.took = took  # seconds of each stage's last execution, in this run or an earlier one

    def __call__(self, name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
        """Pass a stage's event on; keep it if the stage has ended."""
        self._on_stage(name, outcome, seconds, reasons)
        if not outcome and self._mark is not None:
            self._mark.write_text(f"{os.getpid()} {time.time():.0f} {name}\n")
        if outcome in OUTCOMES:
            self.ended.append(StageResult(name, outcome, round(seconds, 3), reasons))
            if outcome not in (*DID_NOT_RUN, "failed"):
                self.took[name] = round(seconds, 3)


@dataclass
class Outcome:
    """How a step of the delivery ends, as its block decides."""

    outcome: str = "executed"
    reasons: list[str] = field(default_factory=list)


@contextlib.contextmanager
def staged(name: str, on_stage: OnStage) -> Iterator[Outcome]:
    """Run a block as a stage: it ends as the block decides, or as failed if the block raises."""
    result, started = Outcome(), time.perf_counter()
    on_stage(name, "", 0.0, [])
    try:
        yield result
    except BaseException:
        result = Outcome("failed")
        raise
    finally:
        on_stage(name, result.outcome, time.perf_counter() - started, result.reasons)


@contextlib.contextmanager
def project_lock(root: Path, name: str = layout.LOCK, *, waits: bool = True) -> Iterator[None]:
    """Let one `glue` at a time work in a project; `name` is the lock's file.

    Raises:
        ToolError: another process holds the lock, after `GLUE_LOCK_TIMEOUT_S` seconds, or immediately without `waits`.
    """
    from filelock import FileLock, Timeout

    path = root / name
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not waits:
            problem = f"another glue {path.stem} is running in this project"
            raise ToolError(problem, hint="wait until it has ended") from None
        log.info("waiting for another glue that is running in this project")
        try:
            lock.acquire(timeout=float(os.environ.get("GLUE_LOCK_TIMEOUT_S", "3600")))
        except Timeout:
            raise ToolError("another glue has been running in this project too long", hint="see: ps aux") from None
    try:
        yield
    finally:
        lock.release()


def at_work(root: Path) -> bool:
    """Return whether another process holds the project's lock."""
    from filelock import FileLock, Timeout

    if not (root / layout.LOCK).is_file():
        return False
    try:
        with FileLock(root / layout.LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def marked(root: Path) -> Iterator[None]:
    """Mark that a run is active; if the previous run was killed, remove the half-written files that it left."""
    mark = root / layout.RUNNING
    if mark.exists():
        for path in files.leftovers(root):
            path.unlink(missing_ok=True)
    mark.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def running(root: Path) -> tuple[str, float] | None:
    """Return the current stage of a run ("" before the first) and its start in epoch seconds; None if none runs."""
    try:
        process, since, stage = [*(root / layout.RUNNING).read_text(encoding="utf-8").split(maxsplit=2), "0", ""][:3]
        os.kill(int(process), 0)
        return stage.strip(), float(since)
    except (OSError, ValueError):  # no run is active, or it was killed
        return None


@contextlib.contextmanager
def recorded(root: Path, on_stage: OnStage) -> Iterator[Recorder]:
    """Write `last_run.json` when the block ends: how each stage and the run ended, for `glue report` and `doctor`.

    Yields:
        The `OnStage` that the block's stages report to.
    """
    path = root / layout.LAST_RUN
    took: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, LookupError):  # there was no run yet, or the file is damaged
        took = files.read_json(path)["took"]
    started, problem, hint = datetime.now(UTC), None, None
    recorder = Recorder(on_stage, took, root / layout.RUNNING if (root / layout.RUNNING).is_file() else None)
    try:
        yield recorder
    except BaseException as error:
        problem, hint = (error.message, error.hint) if isinstance(error, GlueError) else (type(error).__name__, None)
        problem = "it was interrupted" if isinstance(error, KeyboardInterrupt) else problem
        raise
    finally:
        stages = [asdict(result) | {"executed_s": took.get(result.stage)} for result in recorder.ended]
        last = {"time": started.isoformat(timespec="seconds"), "problem": problem, "hint": hint}
        with contextlib.suppress(OSError):  # the error of the run itself must be raised
            files.write_json(path, {**last, "stages": stages, "took": took})


def last_failure(root: Path) -> dict[str, str] | None:
    """Return where and how the last run failed; None if it did not fail, or no run is known."""
    try:
        last = files.read_json(root / layout.LAST_RUN)
        stage = next((entry["stage"] for entry in last["stages"] if entry["outcome"] == "failed"), None)
        return {"where": f" at {stage}" if stage else "", **last} if last["problem"] else None
    except (OSError, GlueError, LookupError, TypeError):  # the file is lost or torn
        return None

"""Validate on a second core: a forked process runs `validate` while this one imports what the later stages need.

Importing Great Expectations takes as long as importing everything else, and no other stage needs it. The process starts
as early as possible: at the beginning of a first run, else when `ingest` has new rows.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from mlops_glue.adapters import great_expectations
from mlops_glue.config import Config
from mlops_glue.errors import GlueError, StageError, memory_error
from mlops_glue.modules import quiet_import
from mlops_glue.pipeline.execute import run_stage
from mlops_glue.pipeline.stages import STAGES
from mlops_glue.processes import end_with_parent
from mlops_glue.terminal import SPINNER

Stages = dict[str, Callable[[], None]]  # as `execute.in_process` returns them

INGEST, VALIDATE = STAGES[:2]
# imported during `validate`, the slowest first
LATER = (
    *("skops.io", "sklearn.ensemble", "matplotlib.backends.backend_svg", "skl2onnx", "onnxruntime"),
    *(f"mlops_glue.pipeline.{stage.name}" for stage in STAGES[2:]),
)
HARMLESS_THREADS = {"MainThread", "tqdm_monitor", SPINNER}  # hold no lock that the forked process needs


class Validator:
    """Runs `validate` in a forked process, or in this one if a fork would not be safe or not save time."""

    def __init__(self, config: Config, root: Path) -> None:
        self._config, self._root = config, root
        self._forked: tuple[BaseProcess, Connection] | None = None

    def start(self) -> None:
        """Fork the process, which imports Great Expectations and waits."""
        from multiprocessing import Pipe, get_context

        if self._forked is not None or not self._config.validation or not can_fork():
            return
        with contextlib.suppress(OSError), warnings.catch_warnings():  # without memory, validate in this process
            warnings.simplefilter("ignore")  # Python warns about Arrow's threads, but Arrow supports forks
            here, there = Pipe()
            process = get_context("fork").Process(target=_serve, args=(self._config, self._root, os.getpid(), there))
            process.start()
            there.close()
            self._forked = process, here

    def replaced(self, stages: Stages) -> Stages:
        """Return the stages with a `validate` that uses the forked process."""

        def ingest() -> None:
            self.start()
            stages[INGEST.command]()

        return stages | {INGEST.command: ingest, VALIDATE.command: self.run}

    def run(self) -> None:
        """Run the stage.

        Raises:
            GlueError: raised by the stage, or the forked process was killed.
        """
        self.start()
        if self._forked is None:
            run_stage(VALIDATE, self._config, self._root)
            return
        pipe = self._forked[1]
        try:
            pipe.send(None)
            _import_later(until=pipe.poll)
            while isinstance(received := pipe.recv(), logging.LogRecord):
                logging.getLogger(received.name).handle(received)
        except (EOFError, OSError):
            hint = "free some memory, then: glue run"
            raise StageError("stage validate: the process that validates was killed", hint=hint) from None
        finally:
            self.stop()
        if isinstance(received, GlueError):
            raise received

    def stop(self) -> None:
        """Kill the forked process."""
        if self._forked is not None:
            process, pipe = self._forked
            process.kill()
            process.join()
            pipe.close()
            self._forked = None


@contextlib.contextmanager
def validator(config: Config, root: Path, *, at_once: bool) -> Iterator[Validator]:
    """Yield a validator, already started if `at_once`; its process ends with the block."""
    made = Validator(config, root)
    try:
        if at_once:
            made.start()
        yield made
    finally:
        made.stop()


def can_fork() -> bool:
    """Return whether a fork is safe, which it is without other threads, and saves time."""
    threads = {thread.name for thread in threading.enumerate()} - HARMLESS_THREADS
    second_core = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
    return second_core and not threads and "great_expectations" not in sys.modules


def _serve(config: Config, root: Path, parent: int, pipe: Connection) -> None:
    """In the forked process: run the stage once the pipe says so, and send its log messages, then its error or None."""
    end_with_parent(parent)
    to_parent = QueueHandler(None)  # type: ignore[arg-type]
    to_parent.enqueue = lambda record: pipe.send(record)  # type: ignore[method-assign]
    logging.getLogger("mlops_glue").handlers = [to_parent]  # this process does not know the parent's spinner
    with contextlib.suppress(GlueError):  # if it is not installed, the stage reports that
        great_expectations.load()
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # the other end has closed; a signal
        pipe.recv()
        try:
            run_stage(VALIDATE, config, root)
        except GlueError as error:
            pipe.send(memory_error(error) or error)  # its cause does not pass through a pipe
        else:
            pipe.send(None)


def _import_later(until: Callable[[], bool]) -> None:
    """Import what the later stages need; if a module is missing, the stage that needs it reports that."""
    for name in LATER:
        if until():
            break
        with contextlib.suppress(ImportError), quiet_import():
            importlib.import_module(name)

"""The processes of one server: workers that answer, and sidecars that ask the registry and ship the prediction log.

A process that dies is replaced. To stop, /ready says no first, then the workers answer what they have, then the log is
shipped. On Linux a worker is a fork of a process that has imported everything and loaded no model.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mlops_glue.serving.backoff import Backoff
from mlops_glue.serving.settings import STARTED

log = logging.getLogger(__name__)

QUICK_S = 5.0  # a process that ended sooner is not started again at once
FIRST_S, LONGEST_S = 0.1, 10.0  # between two starts of such a process
SIDECARS_S = 30.0  # for the log to be shipped at the end
LOOK_S = 0.5  # between two looks at the processes
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class ManagedProcess:
    """One process, and how it is started again."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    process: BaseProcess | None = None
    started: float = 0.0
    restarts: Backoff = field(default_factory=lambda: Backoff(FIRST_S, LONGEST_S))

    @property
    def is_alive(self) -> bool:
        """Does it run?"""
        return self.process is not None and self.process.is_alive()

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.process is not None and self.process.pid is not None and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


class Supervisor:
    """Processes that live and end together.

    Args:
        workers: that answer.
        sidecars: that do not.
        state: the folder that they share.
    """

    def __init__(self, workers: Sequence[ManagedProcess], sidecars: Sequence[ManagedProcess], state: Path) -> None:
        self._workers, self._sidecars = workers, sidecars
        self._started = state / STARTED
        self._context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
        self._signals: list[int] = []  # that ask it to stop
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def run(self, drain_s: float, shutdown_s: float) -> int:
        """Run until a signal says stop.

        Args:
            drain_s: how long /ready says no before the end begins.
            shutdown_s: how long the workers may take to answer what they have.

        Returns:
            The exit code: 4 when no worker could start.
        """
        before = {number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in STOP}
        wakeup = signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        try:
            for child in (*self._workers, *self._sidecars):
                self._start(child)
            while not self._signals:
                self._sleep(LOOK_S)
                if not self._restart_ended():
                    self._stop(0.0, 0.0)
                    return 4
            self._stop(0.0 if self._signals[0] == signal.SIGINT else drain_s, shutdown_s)
            return 0
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wake_reader.close()
            self._wake_writer.close()

    def _sleep(self, seconds: float) -> None:
        """Until a process ends, a signal comes, or time is up."""
        ends = [c.process.sentinel for c in (*self._workers, *self._sidecars) if c.process is not None]
        connection.wait([*ends, self._wake_reader], timeout=seconds)
        with contextlib.suppress(BlockingIOError):
            while self._wake_reader.recv(100):
                pass

    def _start(self, child: ManagedProcess) -> None:
        process: BaseProcess = self._context.Process(
            target=_process_main, args=(child.target, child.arguments), name=child.name
        )
        child.process, child.started = process, time.monotonic()
        process.start()

    def _restart_ended(self) -> bool:
        """Start again what has ended; False when no worker ever was ready."""
        for child in (*self._workers, *self._sidecars):
            if child.process is not None and not child.is_alive:
                child.process.join()
                code, child.process = child.process.exitcode or 0, None
                if child in self._workers and not self._started.exists():
                    return False
                if time.monotonic() - child.started < QUICK_S:
                    child.restarts.fail()
                else:
                    child.restarts.succeed()
                cause = f"signal {-code}" if code < 0 else f"exit code {code}"
                log.warning("%s has ended (%s); it is started again", child.name, cause)
            if child.process is None and child.restarts.is_due:
                self._start(child)
        return True

    def _stop(self, drain_s: float, shutdown_s: float) -> None:
        for worker in self._workers:
            worker.signal(signal.SIGUSR1)
        signals, end = len(self._signals), time.monotonic() + drain_s
        while time.monotonic() < end and len(self._signals) == signals:  # a second signal ends the waiting
            self._sleep(end - time.monotonic())
        _terminate(self._workers, shutdown_s + 2)
        _terminate(self._sidecars, SIDECARS_S)


def _terminate(children: Sequence[ManagedProcess], seconds: float) -> None:
    """End them in time, or kill them."""
    for child in children:
        child.signal(signal.SIGTERM)
    end = time.monotonic() + seconds
    for child in children:
        if child.process is not None:
            child.process.join(max(0.0, end - time.monotonic()))
            child.signal(signal.SIGKILL)
    for child in children:
        if child.process is not None:
            child.process.join()


def _process_main(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """In a new process: out of reach of the terminal's ^C, which is for the one that started it."""
    signal.set_wakeup_fd(-1)
    for number in STOP:
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    target(*arguments)

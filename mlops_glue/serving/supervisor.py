"""The processes of a server: workers that answer, and sidecars that poll the registry and ship the prediction log.

A process that dies is replaced. A stop has three steps: /ready answers 503 and each answer closes its connection; no
connection is accepted and the workers finish their requests; the log is shipped. On Linux a worker is forked from a
process that has imported everything and loaded no model.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mlops_glue.processes import FORK
from mlops_glue.serving.backoff import Backoff
from mlops_glue.serving.settings import STARTED

log = logging.getLogger(__name__)

QUICK_S = 5.0  # a process that ended sooner is restarted only after a pause
FIRST_S, LONGEST_S = 0.1, 10.0  # the shortest and longest pause
SIDECARS_S = 30.0  # to ship the log at the end
UNHEARD_S = 0.5  # a worker notices a signal within this time: uvicorn checks ten times a second
LOOK_S = 0.1  # between two checks of processes and signals
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class ManagedProcess:
    """A process, and how to restart it."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    process: BaseProcess | None = None
    started: float = 0.0
    restarts: Backoff = field(default_factory=lambda: Backoff(FIRST_S, LONGEST_S))


class Supervisor:
    """Starts, restarts and stops the processes of a server.

    Args:
        workers: the processes that accept connections on `listening`.
        sidecars: the others, which inherit the open socket as forks do.
        state: the folder that the processes share.
        listening: the socket, which is shut down for all processes at the end.
    """

    def __init__(
        self,
        workers: Sequence[ManagedProcess],
        sidecars: Sequence[ManagedProcess],
        state: Path,
        listening: socket.socket,
    ) -> None:
        self._listening = listening
        self._workers, self._sidecars, self._children = workers, sidecars, [*workers, *sidecars]
        self._started = state / STARTED
        self._context: Any = get_context(FORK)
        self._signals: list[int] = []  # received, that ask it to stop

    def run(self, drain_s: float, shutdown_s: float) -> int:
        """Run until a signal asks it to stop.

        Args:
            drain_s: how long /ready answers 503 before connections are refused.
            shutdown_s: how long the workers may take to finish their requests.

        Returns:
            The exit code: 4 if no worker could start.
        """
        before = {number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in STOP}
        try:
            for child in self._children:
                self._start(child)
            while not self._signals:
                time.sleep(LOOK_S)
                if not self._restart_ended():
                    self._stop(0.0, 0.0)
                    return 4
            self._stop(0.0 if self._signals[0] == signal.SIGINT else drain_s, shutdown_s)
            return 0
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, child: ManagedProcess) -> None:
        process: BaseProcess = self._context.Process(
            target=_process_main, args=(child.target, child.arguments), name=child.name
        )
        child.process, child.started = process, time.monotonic()
        process.start()

    def _restart_ended(self) -> bool:
        """Restart processes that have ended; False if a worker ended before any worker was ready."""
        for child in self._children:
            if child.process is not None and not child.process.is_alive():
                child.process.join()
                code, child.process = child.process.exitcode or 0, None
                if child in self._workers and not self._started.exists():
                    return False
                if time.monotonic() - child.started < QUICK_S:
                    child.restarts.fail()
                else:
                    child.restarts.succeed()
                cause = f"signal {-code}" if code < 0 else f"exit code {code}"
                log.warning("%s ended (%s); restarting it", child.name, cause)
            if child.process is None and child.restarts.is_due:
                self._start(child)
        return True

    def _stop(self, drain_s: float, shutdown_s: float) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGUSR1)
        signals, end = len(self._signals), time.monotonic() + drain_s
        while time.monotonic() < end and len(self._signals) == signals:  # a second signal cuts the wait short
            time.sleep(LOOK_S)
        _terminate(self._workers)
        _join(self._workers, UNHEARD_S)
        with contextlib.suppress(OSError):  # new connections are refused rather than left waiting
            self._listening.shutdown(socket.SHUT_RDWR)
        _end(self._workers, shutdown_s + 2)
        _terminate(self._sidecars)
        _end(self._sidecars, SIDECARS_S)


def _processes(children: Sequence[ManagedProcess]) -> list[BaseProcess]:
    return [child.process for child in children if child.process is not None]


def _terminate(children: Sequence[ManagedProcess]) -> None:
    """Ask the processes to end."""
    for process in _processes(children):
        process.terminate()


def _join(children: Sequence[ManagedProcess], seconds: float) -> None:
    """Wait until all processes have ended, at most this many seconds."""
    end = time.monotonic() + seconds
    for process in _processes(children):
        process.join(max(0.0, end - time.monotonic()))


def _end(children: Sequence[ManagedProcess], seconds: float) -> None:
    """Wait for the processes to end, and kill those that do not."""
    _join(children, seconds)
    for process in _processes(children):
        process.kill()
        process.join()


def _process_main(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run a child process, out of reach of the terminal's ^C, which only the supervisor handles."""
    for number in STOP:
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    target(*arguments)

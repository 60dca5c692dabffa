"""Child processes that always end with this process, and the identity of a process."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlops_glue import waiting
from mlops_glue.errors import ToolError

T = TypeVar("T")
FORK = "fork" if sys.platform == "linux" else "spawn"  # start method of a process that inherits the imported modules
SENT_S = 5.0  # by then, the result of the other process has arrived
FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT),
)


def command_line() -> str:
    """Return the command that started this process: `glue …`, or the program that uses the Python API."""
    name = Path(sys.argv[0]).name
    return shlex.join(["glue", *sys.argv[1:]]) if name == "glue" else f"the Python API in {name or 'a session'}"


def run_apart(work: Callable[..., T], *arguments: Any, does: str, start: str = "spawn") -> T:
    """Call a module's function in a new process, so that its imports and changes do not affect this process.

    Arguments and result are pickled. `does` describes the function, for the error; `start` is the start method.

    Raises:
        ToolError: the process was killed.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context(start), end_with_parent, (os.getpid(),)) as other:
        try:
            return other.submit(_apart, work, *arguments).result()
        except BrokenProcessPool as error:
            raise ToolError(f"the process that {does} was killed") from error


def _apart(work: Callable[..., T], *arguments: Any) -> T:
    """Run in the other process, which at its end does not wait for a thread that waits for a server."""
    try:
        return work(*arguments)
    finally:
        if waiting.left_behind:
            end = threading.Timer(SENT_S, os._exit, [0])
            end.daemon = True
            end.start()


def free_memory() -> int | None:
    """Return the bytes still available to this process, by system and control group; None if unknown."""
    found = []
    with contextlib.suppress(OSError, IndexError, ValueError):
        found.append(1024 * int(re.findall(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)[0]))
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, IndexError, ValueError):
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))  # "max": no limit
        cache = int(re.findall(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.M)[0])
        found.append(limit - used + cache)
    return max(min(found), 0) if found else None


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent is killed (Linux's prctl); exit if the parent has already ended.

    Call this first in the process.
    """
    import ctypes

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent reports ^C, and ends this process
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def identity(pid: int | None = None) -> str:
    """Return a process's identity until the next boot: boot, namespace of process ids, id and start time.

    An id alone is not unique across machines and containers, and is reused over time. The identity is empty if the
    process has ended, or if the system is not Linux. The default is this process.
    """
    pid = os.getpid() if pid is None else pid
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot} {space} {pid} {fields[19]}"  # a zombie has ended


def has_ended(process: str) -> bool:
    """Return whether a process has ended; False if unknown, for a process of another system or namespace."""
    here = " ".join(identity().split()[:2])
    found = re.fullmatch(rf"{re.escape(here)} (\d+) \d+", process) if here else None
    return found is not None and identity(int(found[1])) != process


def run_in_foreground(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, forward all signals to it, and return its exit code; negative: the signal that killed it.

    Raises:
        OSError: the command cannot be run.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals received before the process was started

    def forward(number: int, _: object) -> None:
        if process is None:
            early.append(number)
        elif number != signal.SIGINT or not _terminal_interrupts():
            process.send_signal(number)

    # except signals that this process ignores, as under nohup
    before = {n: signal.signal(n, forward) for n in FORWARDED if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        process = subprocess.Popen(command, env=environment)
        for number in early:
            process.send_signal(number)
        return process.wait()
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _terminal_interrupts() -> bool:
    """Return whether a terminal sends ^C to this process, and so also to the command."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123 - no file
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False

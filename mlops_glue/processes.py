"""Child processes that end with this one however it ends, and the identity of a process."""

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
FORK = "fork" if sys.platform == "linux" else "spawn"  # how a process starts that takes over what this one has imported
SENT_S = 5.0  # by then the result of another process has come
FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT),
)


def command_line() -> str:
    """How this process was started: `glue …`, or what runs the Python API."""
    name = Path(sys.argv[0]).name
    return shlex.join(["glue", *sys.argv[1:]]) if name == "glue" else f"the Python API in {name or 'a session'}"


def run_apart(work: Callable[..., T], *arguments: Any, does: str, start: str = "spawn") -> T:
    """Call a module's function in a new process, so that nothing that it imports or changes stays in this one.

    Arguments and result are pickled. `does` says what the function does, for the error; `start` how the process starts.

    Raises:
        ToolError: the process was ended.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context(start), end_with_parent, (os.getpid(),)) as other:
        try:
            return other.submit(_apart, work, *arguments).result()
        except BrokenProcessPool as error:
            raise ToolError(f"the process that {does} was ended") from error


def _apart(work: Callable[..., T], *arguments: Any) -> T:
    """In the other process, which does not wait at its end for a thread that waits for a server."""
    try:
        return work(*arguments)
    finally:
        if waiting.left_behind:
            end = threading.Timer(SENT_S, os._exit, [0])
            end.daemon = True
            end.start()


def free_memory() -> int | None:
    """Bytes that this process may still take, by the system and its control group; None where neither says."""
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
    """Let the kernel kill this process when its parent is killed (Linux's prctl); if that is gone already, end.

    To be called first.
    """
    import ctypes

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent reports ^C, and ends this process
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def identity(pid: int | None = None) -> str:
    """What identifies a process for as long as the system runs: boot, namespace of process ids, id and start.

    The id alone also names another process on another machine, in another container, and here once it is used again.
    It is empty if the process has ended, or the system is not Linux. The default is this process.
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
    """Has a process ended? False where that cannot be known: it is of another system or namespace."""
    here = " ".join(identity().split()[:2])
    found = re.fullmatch(rf"{re.escape(here)} (\d+) \d+", process) if here else None
    return found is not None and identity(int(found[1])) != process


def run_in_foreground(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command that gets each signal this process gets; its exit code, below zero the signal that killed it.

    Raises:
        OSError: it cannot be run.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals that came before the process was known here

    def forward(number: int, _: object) -> None:
        if process is None:
            early.append(number)
        elif number != signal.SIGINT or not _terminal_interrupts():
            process.send_signal(number)

    # not those that this process ignores, as under nohup
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
    """Does a terminal send its ^C to this process, and so to the command too?"""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123 - no file
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False

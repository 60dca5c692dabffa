"""Timeouts for servers: work without an answer is abandoned after a limit.

The libraries that access stores wait for minutes, retry, or wait forever. Here, time counts only while nothing happens:
no data arrives, no larger data is sent, and the process uses neither CPU nor disk. So slow work that makes progress is
never interrupted.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mlops_glue.errors import Unreachable, UsageError

Result = TypeVar("Result")
ANSWER_S = 10.0
VARIABLE = "GLUE_ANSWER_TIMEOUT_S"  # sets another limit for stores
SLOW = f"is it up? glue doctor; if it is only slow, allow more time: export {VARIABLE}=60"
LOOK_S = 1.0  # between two checks for activity
CPU_SHARE, SENT_BYTES = 0.03, 1 << 16  # smaller values are polling or a retry, not progress
TCP_INFO_BYTES = 136  # size of Linux's struct tcp_info up to the bytes acknowledged and received

left_behind = False  # whether a thread still waits; the interpreter would wait for it at exit


def answered(what: str, work: Callable[[], Result], limit_s: float | None = None) -> Result:
    """Return the result of work with a store that may be idle for `limit_s`; default `GLUE_ANSWER_TIMEOUT_S`, or 10.

    The registry uses `tracking.timeout_s`.

    Raises:
        Unreachable: the store was idle for longer than the limit.
        UsageError: `GLUE_ANSWER_TIMEOUT_S` is not a positive number.
        Exception: any exception of the work.
    """
    return within(limit_s or _answer_s(), what, work, idle=True, hint=SLOW)


def _answer_s() -> float:
    text = os.environ.get(VARIABLE, "").strip()
    try:
        limit_s = float(text or ANSWER_S)
    except ValueError:
        limit_s = 0.0
    if not limit_s > 0:  # also rejects nan
        raise UsageError(f"{VARIABLE}={text}: should be a number of seconds above 0", hint=f"export {VARIABLE}=60")
    return limit_s


def within(
    limit_s: float, what: str, work: Callable[[], Result], *, idle: bool = False, hint: str | None = None
) -> Result:
    """Return the result of work in a separate thread, which is abandoned if it does not end in time.

    Args:
        limit_s: the time limit.
        what: the name of the server, for the error.
        work: the function to call.
        idle: count only idle time, which can be measured only on Linux; elsewhere there is then no limit.
        hint: the hint of the error.

    Raises:
        Unreachable: the work does not end in time.
        Exception: any exception of the work.
    """
    done: list[Result] = []
    failed: list[BaseException] = []
    streams, context = (sys.stdout, sys.stderr), contextvars.copy_context()

    def run() -> None:
        try:
            done.append(context.run(work))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    folder = os.open(".", os.O_RDONLY)
    try:
        thread.start()
        if idle:
            _join_active(thread, limit_s)
        else:
            thread.join(limit_s)
        if thread.is_alive():
            sys.stdout, sys.stderr = streams  # the tools redirect them during the work
            os.fchdir(folder)  # DVC changes to the project folder
            global left_behind
            left_behind = True
            raise Unreachable(f"{what} does not answer within {limit_s:g} s", hint=hint)
    finally:
        os.close(folder)
    if failed:
        raise failed[0]
    return done[0]


def _join_active(thread: threading.Thread, limit_s: float) -> None:
    """Wait for a thread until there was no activity for `limit_s` seconds."""
    since = time.monotonic()
    thread.join(min(limit_s, LOOK_S) / 5)  # most threads have ended by then
    seen = _Seen()
    while thread.is_alive():
        if seen.anything():
            since = time.monotonic()
        elif time.monotonic() - since >= limit_s:
            return
        thread.join(min(limit_s / 5, LOOK_S))


class _Seen:
    """The data that this process has received and sent, and its use of CPU and disk."""

    def __init__(self) -> None:
        self._received: dict[str, int] = {}  # by socket
        self._sent: dict[str, int] = {}
        self._at, self._cpu_s, self._disk = 0.0, 0.0, ""
        self.anything()

    def anything(self) -> bool:
        """Return whether there was activity since the last call."""
        sockets = _sockets()
        if sockets is None:
            return True
        came = any(got > self._received.get(name, 0) for name, (_, got) in sockets.items())
        went = any(sent > self._sent.get(name, 0) + SENT_BYTES for name, (sent, _) in sockets.items())
        at, cpu_s, disk = time.monotonic(), time.process_time(), _disk()
        worked = cpu_s - self._cpu_s > CPU_SHARE * (at - self._at) or disk != self._disk
        self._at, self._cpu_s, self._disk = at, cpu_s, disk
        if came:
            self._received = {name: got for name, (_, got) in sockets.items()}
        if came or went:
            self._sent = {name: sent for name, (sent, _) in sockets.items()}
        return came or went or worked


def _sockets() -> dict[str, tuple[int, int]] | None:
    """Return the bytes sent and received of each TCP connection; None if the system does not report them."""
    if sys.platform != "linux":
        return None
    import socket

    found = {}
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed by now, or not a connection
            name = os.readlink(place)  # noqa: PTH115 - not a path
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(place.name))) as one:
                    if one.family != socket.AF_UNIX:
                        info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
                        found[name] = struct.unpack_from("QQ", info, TCP_INFO_BYTES - 16)
    return found


def _disk() -> str:
    """Return the disk activity of this process, as text to compare."""
    with contextlib.suppress(OSError):
        return "".join(Path("/proc/self/io").read_text().partition("read_bytes")[1:])
    return ""

"""Waiting for others: work that nobody answers is left behind after a time.

The libraries that talk to stores wait for minutes, try again, or wait for ever. Here the time runs while nothing
happens: nothing comes, nothing larger goes, the process neither computes nor uses the disk. So what is slow and goes on
is never cut off.
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
VARIABLE = "GLUE_ANSWER_TIMEOUT_S"  # gives a store another time
SLOW = f"is it up? glue doctor; a slow one gets more time: export {VARIABLE}=60"
LOOK_S = 1.0  # between two looks at what has happened
CPU_SHARE, SENT_BYTES = 0.03, 1 << 16  # less is a look or a retry, and no progress
TCP_INFO_BYTES = 136  # of Linux's struct tcp_info, with bytes acknowledged and received at its end

left_behind = False  # does a thread still wait? The end of the interpreter would wait for some of them


def answered(what: str, work: Callable[[], Result], limit_s: float | None = None) -> Result:
    """The result of work with a store, which may say nothing for `limit_s`; default `GLUE_ANSWER_TIMEOUT_S`, or 10.

    The registry has `tracking.timeout_s`.

    Raises:
        Unreachable: it says nothing for so long.
        UsageError: `GLUE_ANSWER_TIMEOUT_S` is no time.
        Exception: what the work raised.
    """
    return within(limit_s or _answer_s(), what, work, idle=True, hint=SLOW)


def _answer_s() -> float:
    text = os.environ.get(VARIABLE, "").strip()
    try:
        limit_s = float(text or ANSWER_S)
    except ValueError:
        limit_s = 0.0
    if not limit_s > 0:  # nan is not
        raise UsageError(f"{VARIABLE}={text}: should be seconds above 0", hint=f"export {VARIABLE}=60")
    return limit_s


def within(
    limit_s: float, what: str, work: Callable[[], Result], *, idle: bool = False, hint: str | None = None
) -> Result:
    """The result of work in a thread of its own. One that does not end in time is left behind.

    Args:
        limit_s: the time.
        what: does not answer, for the error.
        work: what is done.
        idle: count only the time in which nothing happens, which Linux alone tells; elsewhere there is no limit then.
        hint: for the error.

    Raises:
        Unreachable: it does not end in time.
        Exception: what the work raised.
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
            sys.stdout, sys.stderr = streams  # tools are silenced while they work
            os.fchdir(folder)  # and DVC works in that of the project
            global left_behind
            left_behind = True
            raise Unreachable(f"{what} does not answer within {limit_s:g} s", hint=hint)
    finally:
        os.close(folder)
    if failed:
        raise failed[0]
    return done[0]


def _join_active(thread: threading.Thread, limit_s: float) -> None:
    """Wait for a thread until nothing has happened for so long."""
    since = time.monotonic()
    thread.join(min(limit_s, LOOK_S) / 5)  # most are done by then
    seen = _Seen()
    while thread.is_alive():
        if seen.anything():
            since = time.monotonic()
        elif time.monotonic() - since >= limit_s:
            return
        thread.join(min(limit_s / 5, LOOK_S))


class _Seen:
    """What this process has got, sent and done so far."""

    def __init__(self) -> None:
        self._received: dict[str, int] = {}  # by socket
        self._sent: dict[str, int] = {}
        self._at, self._cpu_s, self._disk = 0.0, 0.0, ""
        self.anything()

    def anything(self) -> bool:
        """Has anything happened since the last look?"""
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
    """Of each TCP connection how many bytes the other side has taken and sent; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    import socket

    found = {}
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it is closed by now, or no connection
            name = os.readlink(place)  # noqa: PTH115 - not a path
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(place.name))) as one:
                    if one.family != socket.AF_UNIX:
                        info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
                        found[name] = struct.unpack_from("QQ", info, TCP_INFO_BYTES - 16)
    return found


def _disk() -> str:
    """What the disks have done for this process."""
    with contextlib.suppress(OSError):
        return "".join(Path("/proc/self/io").read_text().partition("read_bytes")[1:])
    return ""

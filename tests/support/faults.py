"""The system as it fails: a write that is refused, or a process that is killed at one."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.chmod", "os.remove", "os.rmdir", "subprocess.Popen")
_faults: list[Callable[[str, tuple[Any, ...]], None]] = []  # of the test that is at work; a hook stays for ever


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _faults and (event in WRITES or event == "open"):
        _faults[0](event, arguments)


sys.addaudithook(_hook)


@contextmanager
def at_work(fault: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Asked at each write of the block, which it may refuse."""
    _faults.append(fault)
    try:
        yield
    finally:
        _faults.clear()


class Refused:
    """The k-th write below a folder is refused, as a full disk does; counts them."""

    events: tuple[str, ...] = tuple(event for event in WRITES if event not in ("os.remove", "os.rmdir"))

    def __init__(self, root: Path, at: int) -> None:
        self.root, self.at, self.seen = str(root), at, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in self.events
        if event == "open":
            writes = isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        place = next((str(a) for a in arguments if isinstance(a, str | os.PathLike) and self.root in str(a)), None)
        if not writes or place is None or "/.dvc/tmp" in place:
            return
        self.seen += 1
        self.meet()

    def meet(self) -> None:
        if self.seen == self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class KilledError(BaseException):
    """The process is no more."""


class Killed(Refused):
    """The process is killed at the k-th write: none comes after it, no cleaning up either."""

    events = WRITES

    def meet(self) -> None:
        if self.seen >= self.at:
            raise KilledError

"""Processes beside this one, which end with it however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from mlops_glue.errors import ToolError

T = TypeVar("T")


def apart(work: Callable[..., T], *arguments: Any, does: str) -> T:
    """A call in a process of its own, which ends: nothing that it imports or does stays in this one.

    Args:
        work: a function of a module.
        arguments: its own; they and what it returns are pickled.
        does: what it does, for the error.

    Raises:
        ToolError: the process was ended.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent, (os.getpid(),)) as other:
        try:
            return other.submit(work, *arguments).result()
        except BrokenProcessPool as error:
            raise ToolError(f"the process that {does} was ended") from error


def end_with_parent(parent: int) -> None:
    """Called first in a process: the kernel kills it when the one that started it is killed (Linux's prctl).

    Args:
        parent: the process that started it; if that is gone already, this one ends.
    """
    import ctypes
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells of ^C, and ends this
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

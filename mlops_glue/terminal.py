"""Colours and a spinner for terminals. Redirected output has neither.

Importing Rich takes 40 ms, half of the time of `glue --help`, so it draws only progress bars.
"""

from __future__ import annotations

import builtins
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

SPINNER = "stage at work"  # the name of its thread
ERASE = "\r\033[K"
STYLES = {"good": "32", "bad": "31;1", "caution": "33", "aside": "36", "dim": "2"}
_spinner: Spinner | None = None
_pen = threading.RLock()  # held while writing, so that a frame does not interrupt another thread's line


def _new_pen() -> None:
    """Replace the lock in a forked process: its parent may have held it while drawing."""
    global _pen
    _pen = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pen)


def unwrapped(stream: TextIO) -> TextIO:
    """Return a stream without the wrapper of colorama, which some tools import and which removes all colours."""
    return getattr(stream, "_StreamWrapper__wrapped", stream)  # type: ignore[no-any-return]


def is_interactive(stream: TextIO) -> bool:
    """Return whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """Return whether to use colour, by no-color.org and force-color.org: an empty variable counts as not set."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = any(os.environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    return forced or is_interactive(stream)


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return the text in a style of `STYLES` if the stream has colour."""
    return f"\033[{STYLES[style]}m{text}\033[0m" if has_colour(stream) else text


class Spinner:
    """A text, a spinner and the elapsed time, in the last line of stderr. Other output appears above it."""

    def __init__(self, head: str) -> None:
        self.head = head
        self.at_start = True  # whether the last printed line has ended
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._draw, name=SPINNER, daemon=True)
        streams = [stream for stream in {unwrapped(sys.stdout), unwrapped(sys.stderr)} if stream.isatty()]
        self.replaced: list[tuple[Any, str, Any]] = [(stream, "write", stream.write) for stream in streams]
        for stream in streams:
            stream.write = self._erasing(stream.write)  # type: ignore[method-assign]
        self.replaced.append((builtins, "input", builtins.input))
        builtins.input = self._stop_for_input  # `breakpoint()` in the user's code calls it
        self.thread.start()

    def _stop_for_input(self, *prompt: Any) -> str:
        stop_spinner()
        return input(*prompt)

    def _erasing(self, write: Callable[[str], int]) -> Callable[[str], int]:
        def erasing(text: str) -> int:
            with _pen:
                if text:
                    write((ERASE if self.at_start else "") + text)
                    self.at_start = text.endswith(("\n", "\r"))
            return len(text)

        return erasing

    def _draw(self) -> None:
        started, stream = time.perf_counter(), unwrapped(sys.stderr)
        for frame in itertools.cycle("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if "utf" in stream.encoding.lower() else "|/-\\"):
            if self.stopped.wait(0.1):
                return
            with _pen:
                if self.at_start:
                    line = f"{self.head}{frame:<9} {time.perf_counter() - started:6.1f} s"
                    width = shutil.get_terminal_size().columns
                    os.write(stream.fileno(), f"\r{line[: width - 1]}\033[K".encode())

    def stop(self) -> None:
        """Erase the spinner and restore the streams."""
        self.stopped.set()
        self.thread.join()
        for owner, name, original in self.replaced:
            setattr(owner, name, original)
        stream = unwrapped(sys.stderr)
        stream.write(ERASE if self.at_start else "\n")
        stream.flush()


def start_spinner(head: str) -> None:
    """Show a text with a spinner, on an interactive terminal, until `stop_spinner`."""
    global _spinner
    stop_spinner()
    if is_interactive(sys.stderr):
        _spinner = Spinner(head)


def stop_spinner() -> None:
    """Erase the line of `start_spinner`."""
    global _spinner
    spinner, _spinner = _spinner, None
    if spinner is not None:
        spinner.stop()

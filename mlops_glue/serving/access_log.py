"""The lines that a worker writes to stderr: JSON for programs, and a form for people where that is a terminal.

No value of a request is in them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from mlops_glue import terminal

LINE = '{"time":%.3f,"request_id":"%s","method":"%s","path":%s,"status":%d,"ms":%.3f,"rows":%d}\n'

Answered = tuple[float, str, str, str, int, float, int]  # time, id, method, path as JSON, status, seconds, rows


class AccessLog:
    """Collects lines, which are written now and then in the order of their times.

    Args:
        requests: is there a line for each request?
        people: is the form for people?
    """

    def __init__(self, *, requests: bool, people: bool) -> None:
        self._requests = requests
        self._format, self._format_note = formatters(people)
        self._lines: list[tuple[float, str]] = []

    def request(self, answered: Answered) -> None:
        """One line for a request that was answered."""
        if self._requests:
            self._lines.append((answered[0], self._format(answered)))

    def note(self, **about: Any) -> None:
        """One line that is about no request, or about what went wrong in one."""
        now = time.time()
        self._lines.append((now, self._format_note(now, about)))

    def bug(self, request_id: str, error: BaseException) -> None:
        """Where it happened. The message of the exception may hold values of the request and is left out."""
        places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        self.note(request_id=request_id, bug=type(error).__name__, at=places)

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._lines = self._lines, []
        if lines:
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), "".join(line for _, line in sorted(lines)).encode())


def as_json(answered: Answered) -> str:
    """A request, as programs read it."""
    *before, took, rows = answered
    return LINE % (*before, 1000 * took, rows)


def as_text(answered: Answered) -> str:
    """A request, as people read it: `18:04:11  POST /predict  200  3 ms  12 rows`."""
    at, _, method, path, status, took, rows = answered
    ms = f"{1000 * took:.{0 if took >= 0.01 else 1}f} ms"
    counted = f"{rows:,} row{'s' if rows > 1 else ''}" if rows else ""
    shown = _printable(msgspec.json.decode(path))
    style = "good" if status < 400 else "caution" if status < 500 else "bad"
    painted = terminal.paint(str(status), style, sys.stderr)
    return "  ".join(filter(None, (_clock(at), f"{method} {shown}", painted, ms, counted))) + "\n"


def note_as_json(at: float, about: dict[str, Any]) -> str:
    """A note, as programs read it."""
    return msgspec.json.encode({"time": at, **about}).decode() + "\n"


def note_as_text(at: float, about: dict[str, Any]) -> str:
    """A note, as people read it."""
    texts = {name: "; ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in about.items()}
    return "  ".join([_clock(at), *(f"{k.replace('_', ' ')}: {_printable(v)}" for k, v in texts.items())]) + "\n"


def formatters(people: bool) -> tuple[Callable[[Answered], str], Callable[[float, dict[str, Any]], str]]:
    """What writes a request, and what writes a note."""
    return (as_text, note_as_text) if people else (as_json, note_as_json)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _printable(text: str) -> str:
    """Without what a terminal would obey: a path is the sender's."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

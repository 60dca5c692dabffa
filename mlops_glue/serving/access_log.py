"""The server's log on stderr: JSON lines, or a readable form if stderr is a terminal.

It never contains a value from a request.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from typing import Any

import msgspec

from mlops_glue import terminal

LINE = '{"time":%.3f,"request_id":"%s","method":"%s","path":%s,"status":%d,"ms":%.3f,"rows":%d}\n'

Answered = tuple[float, str, str, str, int, float, int]  # time, id, method, path as JSON, status, seconds, rows


class AccessLog:
    """Collects lines and writes them in batches, in order of time; with `requests`, one line per request."""

    def __init__(self, *, requests: bool = True) -> None:
        self._requests, self._for_people = requests, sys.stderr.isatty()
        self._lines: list[tuple[float, str]] = []

    def request(self, answered: Answered) -> None:
        """Add the line of an answered request."""
        if self._requests:
            self._lines.append((answered[0], request_line(answered, for_people=self._for_people)))

    def note(self, **about: Any) -> None:
        """Add a line about the server, or about a failed request."""
        now = time.time()
        self._lines.append((now, note_line(now, about, for_people=self._for_people)))

    def bug(self, request_id: str, error: BaseException) -> None:
        """Log where an exception was raised. Its message may contain values from the request, so it is left out."""
        self.note(request_id=request_id, bug=type(error).__name__, at=places(error))

    def flush(self) -> None:
        """Write the collected lines."""
        lines, self._lines = self._lines, []
        if lines:
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), "".join(line for _, line in sorted(lines)).encode())


def places(error: BaseException) -> list[str]:
    """Return where an exception was raised: file, line and function of each frame."""
    return [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]


def request_line(answered: Answered, *, for_people: bool) -> str:
    """Format a request as JSON, or in the readable form: `18:04:11  POST /predict  200  3 ms  12 rows`."""
    at, _, method, path, status, seconds, rows = answered
    if not for_people:
        return LINE % (*answered[:5], 1000 * seconds, rows)
    ms = f"{1000 * seconds:.{0 if seconds >= 0.01 else 1}f} ms"
    count = f"{rows:,} row{'s' if rows > 1 else ''}" if rows else ""
    style = "good" if status < 400 else "caution" if status < 500 else "bad"
    painted = terminal.paint(str(status), style, sys.stderr)
    shown = _printable(msgspec.json.decode(path))
    return "  ".join(filter(None, (_clock(at), f"{method} {shown}", painted, ms, count))) + "\n"


def note_line(at: float, about: dict[str, Any], *, for_people: bool) -> str:
    """Format a note as JSON or in the readable form."""
    if not for_people:
        return msgspec.json.encode({"time": round(at, 3), **about}).decode() + "\n"
    texts = {name: "; ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in about.items()}
    return "  ".join([_clock(at), *(f"{k.replace('_', ' ')}: {_printable(v)}" for k, v in texts.items())]) + "\n"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _printable(text: str) -> str:
    """Replace control characters: the path comes from the client and must not control the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

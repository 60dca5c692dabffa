"""The lines that a worker writes to stderr: JSON for programs, and a form for people where that is a terminal.

No value of a request is in them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from mlops_glue import terminal

LINE = '{"time":%.3f,"request_id":"%s","method":"%s","path":%s,"status":%d,"ms":%.3f,"rows":%d}\n'

Answered = tuple[float, str, str, str, int, float, int]  # time, id, method, path as JSON, status, seconds, rows


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
    said = terminal.paint(str(status), style, sys.stderr)
    return "  ".join(filter(None, (_clock(at), f"{method} {shown}", said, ms, counted))) + "\n"


def note_as_json(at: float, about: dict[str, Any]) -> str:
    """What is of no request, or what went wrong in one."""
    return msgspec.json.encode({"time": at, **about}).decode() + "\n"


def note_as_text(at: float, about: dict[str, Any]) -> str:
    """The same for people."""
    texts = {name: "; ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in about.items()}
    return "  ".join([_clock(at), *(f"{k.replace('_', ' ')}: {_printable(v)}" for k, v in texts.items())]) + "\n"


def forms(people: bool) -> tuple[Callable[[Answered], str], Callable[[float, dict[str, Any]], str]]:
    """How a request is written, and how a note."""
    return (as_text, note_as_text) if people else (as_json, note_as_json)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _printable(text: str) -> str:
    """Without what a terminal would obey: a path is the sender's."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

"""The process that ships the prediction log to its destination. Each segment arrives once, even after a crash.

A segment becomes one file for each of its days, named after the segment: `date=2026-11-25/v3-….parquet`. The segment is
deleted once the files have arrived, so that a second attempt after a crash writes the same files again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import tempfile
import time
from pathlib import Path

import msgspec

from mlops_glue.errors import GlueError, first_line
from mlops_glue.log_place import LogPlace, opened
from mlops_glue.serving import segments
from mlops_glue.serving.access_log import AccessLog
from mlops_glue.serving.backoff import Backoff
from mlops_glue.serving.log_table import DAY_S, write_parquet
from mlops_glue.serving.settings import PROBLEM, Settings

EACH_S = 1.0
FIRST_S, LONGEST_S = 2.0, 60.0  # between two attempts while the destination fails
RETENTION_S = 600.0  # between two searches for files that are too old
LOOK_S = 0.1  # between two checks whether to stop


def ship(settings: Settings, destination: str) -> None:
    """Ship segments until a signal stops the process, and once more at the end.

    Args:
        settings: the server's; it logs predictions.
        destination: a folder, or a URL of fsspec.
    """
    assert settings.spool is not None
    gc.disable()  # no object here is part of a cycle, and searching for cycles took most of the time
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))

    def is_ending() -> bool:
        return bool(signals) or os.getppid() != settings.parent

    problem, backoff, retention_due = settings.state / f"log{PROBLEM}", Backoff(FIRST_S, LONGEST_S), 0.0
    while True:
        is_last = is_ending()
        try:
            ship_once(settings.spool, destination)
            if time.monotonic() >= retention_due and not is_last:
                retention_due = time.monotonic() + RETENTION_S
                options = settings.options.log
                retain(opened(destination), options.keep_days, options.keep_bytes)
            problem.unlink(missing_ok=True)
            backoff.succeed()
        except (GlueError, OSError) as error:
            reason = error.message if isinstance(error, GlueError) else f"{settings.spool}: {error.strerror}"
            with contextlib.suppress(OSError):
                problem.write_text(f"the prediction log waits: {reason}\n", encoding="utf-8")
            backoff.fail()
        if is_last:
            return
        end = time.monotonic() + (backoff.pause_s or EACH_S)
        while time.monotonic() < end and not is_ending():
            time.sleep(LOOK_S)


def ship_once(spool: Path, destination: str) -> int:
    """Ship every segment that no process is writing, and return the number of rows.

    Raises:
        GlueError: the destination failed; the segments are kept.
    """
    rows, folder = 0, None
    for path in segments.waiting(spool):
        with segments.locked(path) as stream:
            if stream is None:
                continue
            folder = folder or opened(destination)
            with tempfile.TemporaryDirectory(prefix=".ship-", dir=path.parent) as scratch:
                rows += write_parquet(path, stream, Path(scratch))
                for file in sorted(Path(scratch).rglob("*.parquet")):
                    folder.put(file, file.relative_to(scratch).as_posix())
            if torn := len(stream.read()):
                notes = AccessLog()
                notes.note(torn_segment=path.name, bytes=torn)
                notes.flush()
            path.unlink()
    return rows


def unshipped(spool: Path, folder: Path) -> list[str]:
    """Write the segments that are not yet shipped as Parquet into a folder, without deleting or locking them.

    Returns:
        The problems with segments that could not be read.
    """
    problems = []
    for path in segments.waiting(spool):
        try:
            with path.open("rb") as stream:
                write_parquet(path, stream, folder)
        except FileNotFoundError:  # it has been shipped meanwhile
            continue
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            problems.append(f"{path.name}: not yet in the prediction log, and cannot be read: {first_line(error)}")
    return problems


def retain(folder: LogPlace, keep_days: float | None, keep_bytes: int | None) -> int:
    """Delete files that are too old, then the oldest beyond the size limit, and return their number."""
    if keep_days is None and keep_bytes is None:
        return 0
    shipped = [f for f in folder.files() if f[0].startswith("date=") and f[0].endswith(".parquet")]
    shipped.sort(key=lambda file: (file[0].partition("/")[0], file[2]), reverse=True)  # newest day first
    oldest = time.time() - (keep_days or float("inf")) * DAY_S
    size, removed = 0, 0
    for name, n_bytes, modified in shipped:
        size += n_bytes
        if modified < oldest or (keep_bytes is not None and size > keep_bytes):
            folder.remove(name)
            removed += 1
    return removed

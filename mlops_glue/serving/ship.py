"""Segments of the prediction log become Parquet at their destination, each once, whatever is killed when.

A segment becomes one file for each day in it, named after the segment: `date=2026-11-25/v3-….parquet`. It is removed
when they are there, so that a second try after a crash writes the same files again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mlops_glue import streaming
from mlops_glue.adapters.fsspec import Folder
from mlops_glue.errors import GlueError, first_line
from mlops_glue.serving import segments
from mlops_glue.serving.contract import as_micros, as_text, as_truth
from mlops_glue.serving.segments import About, Field, Record
from mlops_glue.serving.worker import PROBLEM

EACH_S = 1.0
RETENTION_S = 600.0  # between two looks for what is too old
LONGEST_S = 60.0  # between two tries while the destination does not take it
CHUNK = 20_000  # rows that are in memory at a time
DAY_S = 86_400


@dataclass(frozen=True)
class Shipping:
    """From where to where, and for how long; plain data."""

    spool: str
    destination: str
    state: str
    parent: int
    keep_days: float | None = None
    keep_bytes: int | None = None


def ship(to: Shipping) -> None:
    """Until told to stop: what is waiting is shipped then, as far as it is closed or its writer is gone."""
    gc.disable()  # nothing here refers to itself, and looking for that took most of the time
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    problem, pause, retention = Path(to.state) / f"log{PROBLEM}", EACH_S, 0.0
    while True:
        last = bool(ending) or os.getppid() != to.parent
        try:
            pass_over(to)
            if time.monotonic() >= retention and not last:
                retention = time.monotonic() + RETENTION_S
                retain(Folder(to.destination), to.keep_days, to.keep_bytes)
            problem.unlink(missing_ok=True)
            pause = EACH_S
        except (GlueError, OSError) as error:
            said = error.message if isinstance(error, GlueError) else f"{to.spool}: {error.strerror}"
            with contextlib.suppress(OSError):
                problem.write_text(f"the prediction log waits: {said}\n", encoding="utf-8")
            pause = min(2 * pause, LONGEST_S)
        if last:
            return
        end = time.monotonic() + pause
        while time.monotonic() < end and not ending and os.getppid() == to.parent:
            time.sleep(0.1)


def pass_over(to: Shipping) -> int:
    """Ship every segment that nobody has; returns the number of rows.

    Raises:
        GlueError: the destination does not take it; the segments stay.
    """
    rows, folder = 0, None
    for path in segments.waiting(Path(to.spool)):
        with segments.taken(path) as stream:
            if stream is not None:
                folder = folder or Folder(to.destination)
                rows += _shipped(path, stream, folder)
                path.unlink()
    return rows


def _shipped(path: Path, stream: Any, folder: Folder) -> int:
    """One segment."""
    with tempfile.TemporaryDirectory(prefix=".ship-", dir=path.parent) as scratch:
        rows = _as_parquet(path, stream, Path(scratch))
        for file in sorted(Path(scratch).rglob("*.parquet")):
            folder.put(file, file.relative_to(scratch).as_posix())
    if torn := len(stream.read()):
        sys.stderr.write(f'{{"torn_segment":"{path.name}","bytes":{torn}}}\n')
        sys.stderr.flush()
    return rows


def _as_parquet(path: Path, stream: Any, into: Path) -> int:
    """The whole frames of a segment as one file for each day, as they are called in the log; how many rows."""
    frames = segments.frames(stream)
    first = next(frames, None)
    if first is None:  # its writer was killed before it had written anything
        return 0
    about = msgspec.msgpack.decode(first, type=About)
    rows, sinks = 0, {}
    for records in _chunks(frames):
        for day, of_day in _by_day(records).items():
            table = _table(about, of_day)
            rows += table.num_rows
            if day not in sinks:
                target = into / f"date={day}" / f"{path.stem}.parquet"
                target.parent.mkdir(exist_ok=True)
                sinks[day] = streaming.open_writer(target, target, table.schema)
            sinks[day].write_table(table)
    for sink in sinks.values():
        sink.close()
    return rows


def unshipped(spool: Path, into: Path) -> list[str]:
    """What still waits, as Parquet in a folder of the caller's; nothing is taken away, and nobody is kept from it.

    Returns:
        What could not be read, in words.
    """
    problems = []
    for path in segments.waiting(spool):
        try:
            with path.open("rb") as stream:
                _as_parquet(path, stream, into)
        except FileNotFoundError:  # it is in the log by now
            continue
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            problems.append(f"{path.name} waits to be in the prediction log, and cannot be read: {first_line(error)}")
    return problems


def _chunks(frames: Iterator[bytes]) -> Iterator[list[Record]]:
    decode = msgspec.msgpack.Decoder(list[Record]).decode
    waiting: list[Record] = []
    rows = 0
    for frame in frames:
        got = decode(frame)
        waiting += got
        rows += sum(len(one.rows) for one in got)
        if rows >= CHUNK:
            yield waiting
            waiting, rows = [], 0
    if waiting:
        yield waiting


def _by_day(records: list[Record]) -> dict[str, list[Record]]:
    out: dict[int, list[Record]] = {}
    for one in records:
        out.setdefault(int(one.time // DAY_S), []).append(one)
    return {datetime.fromtimestamp(day * DAY_S, UTC).strftime("%Y-%m-%d"): of_day for day, of_day in out.items()}


def _table(about: About, records: list[Record]) -> Any:
    """Rows of the log: what glue knows of the request, its fields, the outcome."""
    import pyarrow as pa

    times = [len(one.rows) for one in records]

    def each(values: list[Any]) -> list[Any]:
        return [value for value, n in zip(values, times, strict=True) for _ in range(n)]

    micros = pa.timestamp("us", "UTC")
    columns: dict[str, Any] = {
        "glue_request_id": pa.array(each([one.request_id for one in records]), pa.string()),
        "glue_row": pa.array([row for n in times for row in range(n)], pa.int32()),
        "glue_time": pa.array(each([round(one.time * 1e6) for one in records]), micros),
        "glue_version": pa.array([about.version] * sum(times), pa.int32()),
        "glue_alias": pa.array(each([one.alias for one in records]), pa.string()),
        "glue_answered": pa.array(each([one.answered for one in records]), pa.bool_()),
        "glue_caller_id": pa.array(each([one.caller_id for one in records]), pa.string()),
    }
    outcome = ["prediction", *(f"probability_{label}" for label in about.labels or [])]
    values = list(zip(*(row for one in records for row in one.rows), strict=True)) or [()] * len(about.fields)
    for field, of_field in zip(about.fields, values, strict=True):
        name = field.name
        while name in columns or name in outcome:
            name += "_"
        columns[name] = _column(of_field, field)
    said = [value for one in records for value in one.predictions]
    columns["prediction"] = pa.array(said, pa.array(about.labels).type if about.labels else pa.float64())
    if about.labels and records[0].probabilities is not None:
        shares = [share for one in records for share in one.probabilities or []]
        for at, name in enumerate(outcome[1:]):
            columns[name] = pa.array([share[at] for share in shares], pa.float32())
    about_file = {"glue.prediction_log": str(about.format), "glue.model": about.model}
    about_file["glue.fingerprint"] = about.fingerprint
    return pa.table(columns).replace_schema_metadata(about_file)


def _column(values: Sequence[Any], field: Field) -> Any:
    """A field's values as Arrow, in one type whatever the request had: numbers as float64, categories as text."""
    import pyarrow as pa

    kind, dtype = field.kind, field.dtype
    if kind == "number":
        return pa.array(values, pa.float64())
    if kind == "datetime":
        return pa.array([as_micros(v, field.day_first) for v in values], pa.timestamp("us", "UTC"))
    if kind == "boolean":
        truth = [as_truth(v) for v in values]
        return pa.array([None if one is None else bool(one) for one in truth], pa.bool_())
    if kind == "key" and dtype.startswith(("int", "uint")):
        return pa.array(values, pa.int64())
    if kind == "key" and dtype in ("double", "float"):
        return pa.array(values, pa.float64())
    return pa.array([None if v is None else as_text(v) for v in values], pa.string())


def retain(folder: Folder, keep_days: float | None, keep_bytes: int | None) -> int:
    """Remove files that are too old, then the oldest beyond the size; returns how many."""
    if keep_days is None and keep_bytes is None:
        return 0
    mine = [f for f in folder.files() if f[0].startswith("date=") and f[0].endswith(".parquet")]
    mine.sort(key=lambda one: (one[0].partition("/")[0], one[2]), reverse=True)  # newest day first
    oldest = time.time() - (keep_days or float("inf")) * DAY_S
    size, removed = 0, 0
    for name, n, at in mine:
        size += n
        if at < oldest or (keep_bytes is not None and size > keep_bytes):
            folder.remove(name)
            removed += 1
    return removed

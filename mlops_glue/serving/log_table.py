"""Converts records of the prediction log to Arrow tables. A column has one type, whatever types the requests had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from mlops_glue.serving import segments
from mlops_glue.serving.fields import as_micros, as_text, as_truth
from mlops_glue.serving.segments import About, Column, Record

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 20_000  # rows that are in memory at a time
DAY_S = 86_400


def write_parquet(path: Path, stream: BinaryIO, folder: Path) -> int:
    """Write the complete frames of a segment as one file per day, and return the number of rows.

    Args:
        path: the segment's path, which gives the files their name.
        stream: the segment; it is left at the start of the first torn frame.
        folder: the folder in which to write `date=YYYY-MM-DD/….parquet`.
    """
    from mlops_glue.streaming import open_writer

    frames = segments.frames(stream)
    first = next(frames, None)
    if first is None:  # its writer was killed before it wrote anything
        return 0
    about = msgspec.msgpack.decode(first, type=About)
    rows, sinks = 0, {}
    for records in _chunks(frames):
        for day, of_day in _by_day(records).items():
            table = as_table(about, of_day)
            rows += table.num_rows
            if day not in sinks:
                target = folder / f"date={day}" / f"{path.stem}.parquet"
                target.parent.mkdir(exist_ok=True)
                sinks[day] = open_writer(target, target, table.schema)
            sinks[day].write_table(table)
    for sink in sinks.values():
        sink.close()
    return rows


def _chunks(frames: Iterator[bytes]) -> Iterator[list[Record]]:
    decode = msgspec.msgpack.Decoder(list[Record]).decode
    chunk: list[Record] = []
    rows = 0
    for frame in frames:
        records = decode(frame)
        chunk += records
        rows += sum(len(record.rows) for record in records)
        if rows >= CHUNK:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk


def _by_day(records: Sequence[Record]) -> dict[str, list[Record]]:
    days: dict[int, list[Record]] = {}
    for record in records:
        days.setdefault(int(record.time // DAY_S), []).append(record)
    return {datetime.fromtimestamp(day * DAY_S, UTC).strftime("%Y-%m-%d"): of_day for day, of_day in days.items()}


def as_table(about: About, records: Sequence[Record]) -> pa.Table:
    """Return a table with one row per scored row: glue's columns, the fields of the request, then the outcome."""
    import pyarrow as pa

    counts = [len(record.rows) for record in records]

    def repeated(values: Sequence[Any]) -> list[Any]:
        return [value for value, n in zip(values, counts, strict=True) for _ in range(n)]

    micros = pa.timestamp("us", "UTC")
    columns: dict[str, pa.Array] = {
        "glue_request_id": pa.array(repeated([record.request_id for record in records]), pa.string()),
        "glue_row": pa.array([row for n in counts for row in range(n)], pa.int32()),
        "glue_time": pa.array(repeated([round(record.time * 1e6) for record in records]), micros),
        "glue_version": pa.array([about.version] * sum(counts), pa.int32()),
        "glue_alias": pa.array(repeated([record.alias for record in records]), pa.string()),
        "glue_answered": pa.array(repeated([record.answered for record in records]), pa.bool_()),
        "glue_caller_id": pa.array(repeated([record.caller_id for record in records]), pa.string()),
    }
    outcome = ["prediction", *(f"probability_{label}" for label in about.labels or [])]
    values = list(zip(*(row for record in records for row in record.rows), strict=True)) or [()] * len(about.fields)
    for column, of_column in zip(about.fields, values, strict=True):
        name = column.name
        while name in columns or name in outcome:
            name += "_"
        columns[name] = as_array(of_column, column)
    predictions = [value for record in records for value in record.predictions]
    columns["prediction"] = pa.array(predictions, pa.array(about.labels).type if about.labels else pa.float64())
    if about.labels and records[0].probabilities is not None:
        shares = [share for record in records for share in record.probabilities or []]
        for at, name in enumerate(outcome[1:]):
            columns[name] = pa.array([share[at] for share in shares], pa.float32())
    metadata = {"glue.prediction_log": str(about.format), "glue.model": about.model}
    metadata["glue.fingerprint"] = about.fingerprint
    return pa.table(columns).replace_schema_metadata(metadata)


def as_array(values: Sequence[Any], column: Column) -> pa.Array:
    """Return a column's values in one type, such as float64 for numbers and text for categories."""
    import pyarrow as pa

    kind, dtype = column.kind, column.dtype
    if kind == "number":
        return pa.array(values, pa.float64())
    if kind == "datetime":
        return pa.array([as_micros(value, column.day_first) for value in values], pa.timestamp("us", "UTC"))
    if kind == "boolean":
        return pa.array([as_truth(value) for value in values], pa.bool_())
    if kind == "key" and dtype.startswith(("int", "uint")):
        return pa.array(values, pa.int64())
    if kind == "key" and dtype in ("double", "float"):
        return pa.array(values, pa.float64())
    return pa.array([None if value is None else as_text(value) for value in values], pa.string())

"""JSON Lines as Arrow tables that keep long integers distinct."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from mlops_glue import csv_format
from mlops_glue.csv_format import Progress
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import inexact_integer
from mlops_glue.words import MAX_EXACT_INTEGER


def batches(path: Path, progress: Progress) -> Iterator[pa.Table]:
    """A file in pieces that have the schema of the whole file, so it is read twice."""
    schemas, long_integers = [], set[str]()
    for piece in _pieces(path, lambda share: progress(share / 2)):
        table = _parse(path, piece)
        schemas.append(table.schema)
        long_integers |= _long_integer_columns(table, piece)
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    for piece in _pieces(path, lambda share: progress((1 + share) / 2)):
        yield _with_long_integers(_parse(path, piece, schema), piece, long_integers)


def _pieces(path: Path, progress: Progress) -> Iterator[bytes]:
    """Whole lines, about `csv_format.BLOCK_BYTES` at a time."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        yield stream.read(csv_format.BLOCK_BYTES) + stream.readline()  # the parser refuses an empty file
        while piece := stream.read(csv_format.BLOCK_BYTES):
            piece += stream.readline()
            progress(stream.tell() / size)
            if piece.strip():
                yield piece


def _parse(path: Path, lines: bytes, schema: pa.Schema | None = None) -> pa.Table:
    if not lines.strip():
        raise DataError(f"{path}: is empty")
    table = pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(block_size=len(lines) + 1),  # one block: every row decides on the types
        parse_options=pj.ParseOptions(explicit_schema=schema),
    )
    table.validate(full=True)  # the reader accepts text that is not UTF-8
    return table


def _long_integer_columns(table: pa.Table, lines: bytes) -> set[str]:
    """Columns that Arrow reads as floats, though they hold integers that floats do not keep distinct."""
    floats = [name for name in table.column_names if inexact_integer(table.column(name)) is not None]
    rows = _rows(lines) if floats else []
    return {
        name
        for name in floats
        if any(type(value := row.get(name)) is int and abs(value) > MAX_EXACT_INTEGER for row in rows)
    }


def _with_long_integers(table: pa.Table, lines: bytes, names: set[str]) -> pa.Table:
    """The same table with these columns as text."""
    for name in names & set(table.column_names):
        values = [row.get(name) for row in _rows(lines)]
        digits = pa.array([None if value is None else str(value) for value in values], pa.string())
        table = table.set_column(table.column_names.index(name), name, digits)
    return table


def _rows(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.decode("utf-8-sig").splitlines() if line.strip()]


def explain(path: Path) -> str | None:
    """The first line that is not an object; Arrow names no line."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                if line.strip() and not isinstance(json.loads(line.decode("utf-8-sig")), dict):
                    return f"line {number}: is not an object"
            except (ValueError, RecursionError) as error:
                return f"line {number}: is not JSON: {first_line(error)}"
    return None

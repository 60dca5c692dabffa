"""JSON Lines as Arrow tables, whose whole numbers stay apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import csv_format, parsing
from mlops_glue.csv_format import Done
from mlops_glue.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa


def bad_line(path: Path) -> str | None:
    """The first line that is no object, or that has another kind of value than those before it; Arrow names no line."""
    names: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names |= {list: "an array", dict: "an object", type(None): "null"}
    seen: dict[str, tuple[str, int]] = {}
    with path.open("rb") as stream:
        for at, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except json.JSONDecodeError as error:
                return f"line {at}: is not JSON: {error.msg} at character {error.pos + 1}"
            except (ValueError, RecursionError) as error:
                return f"line {at}: is not JSON: {first_line(error)}"
            if not isinstance(row, dict):
                return f"line {at}: is {names[type(row)]}, not an object"
            for key, value in row.items():
                kind = names[type(value)]
                before, first = seen.setdefault(key, (kind, at)) if value is not None else (kind, at)
                if kind != before:
                    return f"line {at}: {key!r} is {kind}, and {before} in line {first}"
    return None


def pieces(path: Path, done: Done) -> Iterator[bytes]:
    """Whole lines, about csv_format.BLOCK_BYTES at a time."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        yield (stream.read(csv_format.BLOCK_BYTES) + stream.readline())  # the reader refuses an empty file
        while piece := stream.read(csv_format.BLOCK_BYTES):
            piece += stream.readline()
            done(stream.tell() / size)
            if piece.strip():
                yield piece


def table_of(path: Path, lines: bytes, schema: pa.Schema | None = None, codes: set[str] | None = None) -> pa.Table:
    import pyarrow as pa

    table = typed(path, lines, schema)
    for name in long_numbers(table, lines) if codes is None else codes:
        if name in table.column_names:
            rows = [json.loads(line) for line in lines.decode("utf-8-sig").splitlines() if line.strip()]
            given = [row.get(name) for row in rows]
            digits = pa.array([None if one is None else str(one) for one in given], pa.string())
            table = table.set_column(table.column_names.index(name), name, digits)
    return table


def typed(path: Path, lines: bytes, schema: pa.Schema | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as pj

    if not lines.strip():
        raise DataError(f"{path}: is empty")
    table = pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(block_size=len(lines) + 1),  # one block: types from every row
        parse_options=pj.ParseOptions(explicit_schema=schema),
    )
    table.validate(full=True)  # text that is not UTF-8 is taken until here
    return table


def long_numbers(table: pa.Table, lines: bytes) -> set[str]:
    """Columns that Arrow takes for floats, though they hold whole numbers that no float tells apart."""
    floats = [name for name in table.column_names if parsing.inexact_integer(table.column(name)) is not None]
    if not floats:
        return set()
    rows = [json.loads(line) for line in lines.decode("utf-8-sig").splitlines() if line.strip()]
    return {
        name
        for name in floats
        if any(type(v := row.get(name)) is int and abs(v) > parsing.MAX_EXACT_INTEGER for row in rows)
    }

"""JSON Lines as Arrow tables that keep long integers distinct."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from mlops_glue import csv_format, other_formats
from mlops_glue.csv_format import Progress
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import inexact_integer
from mlops_glue.words import MAX_EXACT_INTEGER

JSON = json.JSONDecoder()
BLANK = re.compile(r"[ \t\r\n]*")
KINDS = {int: "a number", float: "a number", str: "a text", bool: "true or false", dict: "an object", list: "a list"}
ONE_OBJECT = "each line is one object; of an array: jq -c '.[]' array.json > lines.jsonl"


def batches(path: Path, progress: Progress) -> Iterator[pa.Table]:
    """Yield a file in pieces with the schema of the complete file, which is therefore read twice."""
    schemas, long_integers = [], set[str]()
    for piece in _pieces(path, lambda share: progress(share / 2)):
        table = _parse(path, piece)
        schemas.append(table.schema)
        long_integers |= _long_integer_columns(table, piece)
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    for piece in _pieces(path, lambda share: progress((1 + share) / 2)):
        yield _with_long_integers(_parse(path, piece, schema), piece, long_integers)


def _pieces(path: Path, progress: Progress) -> Iterator[bytes]:
    """Yield complete lines, about `csv_format.BLOCK_BYTES` at a time."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        piece = stream.read(csv_format.BLOCK_BYTES) + stream.readline()
        other_formats.check_text(path, piece)
        yield piece  # the parser refuses an empty file
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
        read_options=pj.ReadOptions(block_size=len(lines) + 1),  # one block, so that every row counts for the types
        parse_options=pj.ParseOptions(explicit_schema=schema),
    )
    table.validate(full=True)  # the reader accepts text that is not UTF-8
    return table


def _long_integer_columns(table: pa.Table, lines: bytes) -> set[str]:
    """Return columns that Arrow reads as floats, although they contain integers that floats do not keep distinct."""
    floats = [name for name in table.column_names if inexact_integer(table.column(name)) is not None]
    rows = _rows(lines) if floats else []
    return {
        name
        for name in floats
        if any(type(value := row.get(name)) is int and abs(value) > MAX_EXACT_INTEGER for row in rows)
    }


def _with_long_integers(table: pa.Table, lines: bytes, names: set[str]) -> pa.Table:
    """Convert these columns of a table to text."""
    for name in names & set(table.column_names):
        values = [row.get(name) for row in _rows(lines)]
        digits = pa.array([None if value is None else str(value) for value in values], pa.string())
        table = table.set_column(table.column_names.index(name), name, digits)
    return table


def _rows(lines: bytes) -> list[dict[str, Any]]:
    """Parse rows and separate them as Arrow does, for which U+2028 in a text does not end a line."""
    text, at, rows = lines.decode("utf-8-sig").rstrip(), 0, []
    while at < len(text):
        row, at = JSON.raw_decode(text, BLANK.match(text, at).end())  # type: ignore[union-attr]
        rows.append(row)
    return rows


def explain(path: Path) -> tuple[str, str] | None:
    """Describe the first line that is not an object, or has a value of another type than before, with a hint.

    Arrow does not report the line.
    """
    kinds: dict[str, tuple[str, int]] = {}  # by key: the kind, and the line where it first occurs
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_once) if line.strip() else {}
            except _Twice as error:
                once = _sibling(path, "once")
                return f"line {number}: has the key {error.key!r:.80} twice", f"jq -c . {_quoted(path)} > {once}"
            except (ValueError, RecursionError) as error:
                return f"line {number}: is not JSON: {first_line(error)}", ONE_OBJECT
            if not isinstance(row, dict):
                return f"line {number}: is not an object", ONE_OBJECT
            for key, value in row.items():
                if value is None:
                    continue
                kind, first = kinds.setdefault(key, (KINDS[type(value)], number))
                if kind != KINDS[type(value)]:
                    found = f"line {number}: {key!r:.80} is {KINDS[type(value)]}, and {kind} in line {first}"
                    program = shlex.quote(f".[{json.dumps(key)}] |= (values | tostring)")
                    return found, f"jq -c {program} {_quoted(path)} > {_sibling(path, 'text')}"
    return None


class _Twice(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, and refuse repeated keys."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return row


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _sibling(path: Path, word: str) -> str:
    """Return a file name next to a path, quoted for the shell."""
    return _quoted(path.with_name(f"{path.stem}_{word}{path.suffix}"))

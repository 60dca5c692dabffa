"""glue's own Parquet files by row groups: read and write in constant memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlops_glue.files import atomic
from mlops_glue.streaming import PARQUET_OPTIONS

GROUP_ROWS = 1 << 20  # rows of a row group, as Arrow writes a complete table
PIECE_ROWS = 1 << 17


def empty(path: Path) -> pa.Table:
    """Return the file's columns and metadata, without its rows."""
    return pq.read_schema(path).empty_table()


def rows(path: Path) -> int:
    """Return the number of rows of a file."""
    found: int = pq.read_metadata(path).num_rows
    return found


def size(path: Path) -> int:
    """Estimate the bytes of a file's rows in memory."""
    footer = pq.read_metadata(path)
    return int(footer.num_rows) * sum(_width(field.type) for field in pq.read_schema(path))


def _width(kind: pa.DataType) -> int:
    """Return the bytes of a value; text counts with the length of an identifier."""
    try:
        width: int = max(kind.bit_width // 8, 1)
        return width
    except ValueError:
        return 24


def pieces(path: Path, columns: Sequence[str] | None = None, most: int | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a file in order, at most `most` at a time; default `PIECE_ROWS`."""
    with pq.ParquetFile(path, **PARQUET_OPTIONS) as file:
        for batch in file.iter_batches(most or PIECE_ROWS, columns=columns):
            piece = pa.Table.from_batches([batch])
            yield piece if columns is None else piece.select(columns)  # for `a`, Arrow also reads `a.b`


def take(path: Path, rows: NDArray[np.integer[Any]], columns: Sequence[str] | None = None) -> pa.Table:
    """Return rows by number, from 0, in the given order, with repetitions."""
    order = np.argsort(rows, kind="stable")
    numbers, first, found = np.asarray(rows)[order], 0, [empty(path).select(columns) if columns else empty(path)]
    for piece in pieces(path, columns):
        low, high = np.searchsorted(numbers, [first, first + piece.num_rows])
        if low < high:
            found.append(piece.take(numbers[low:high] - first))
        first += piece.num_rows
    if len(rows) and numbers[-1] >= first:
        raise IndexError(f"{path} has {first:,} rows, but no row {numbers[-1]:,}")
    made = pa.concat_tables(found)
    if (np.diff(order) < 0).any():
        made = made.take(np.argsort(order, kind="stable"))
    return made.combine_chunks()


class Writer:
    """Writes pieces to a Parquet file, in the same row groups as a single table."""

    def __init__(self, path: Path, *, combined: bool) -> None:
        self._path, self._combined = path, combined
        self._held: list[pa.Table] = []
        self._rows = 0
        self._file: pq.ParquetWriter | None = None

    def write(self, piece: pa.Table) -> None:
        """Append rows."""
        self._held.append(piece)
        self._rows += piece.num_rows
        while self._rows >= GROUP_ROWS:
            held = pa.concat_tables(self._held)
            self._append(held.slice(0, GROUP_ROWS))
            self._held, self._rows = [held.slice(GROUP_ROWS)], self._rows - GROUP_ROWS

    def close(self) -> None:
        """Write the remaining rows, and close the file."""
        if self._held and (self._rows or self._file is None):
            self._append(pa.concat_tables(self._held))
        if self._file is not None:
            self._file.close()

    def _append(self, rows: pa.Table) -> None:
        if self._file is None:
            # fractions hardly repeat, so a dictionary would make the file larger and take four times as long
            repeated = [field.name for field in rows.schema if not pa.types.is_floating(field.type)]
            options = {"coerce_timestamps": "us", "allow_truncated_timestamps": True}  # readable by every tool
            self._file = pq.ParquetWriter(self._path, rows.schema, use_dictionary=repeated, **options)
        self._file.write_table(rows.combine_chunks() if self._combined else rows, GROUP_ROWS)


@contextlib.contextmanager
def writing(path: Path, *, combined: bool = False) -> Iterator[Writer]:
    """Yield a writer to a Parquet file, which exists only if the block succeeds.

    The bytes depend on the sizes of the pieces, unless each row group is `combined` before it is written.
    """
    with atomic(path) as temporary:
        writer = Writer(temporary, combined=combined)
        yield writer
        writer.close()

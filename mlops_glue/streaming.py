"""Tables in pieces, in memory that does not grow with the file: batches, samples and writers."""

from __future__ import annotations

import csv
import gzip
import logging
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from mlops_glue import json_lines
from mlops_glue.column_types import common_type, infer_type, parse_column
from mlops_glue.csv_format import CsvFormat, Progress
from mlops_glue.errors import DataError
from mlops_glue.parsing import clean_words, is_text
from mlops_glue.tables import (
    check_names,
    parse_text,
    read_table,
    readable_errors,
    reading_notes,
    suffix,
    with_plain_types,
)

log = logging.getLogger(__name__)
WHOLE_BYTES = 256 << 20  # a table up to this size is read whole, a larger one as a sample
SAMPLE_ROWS = 200_000
BATCH_ROWS = 65536  # of a Parquet file
# without these Arrow begins by reading the whole file
PARQUET_OPTIONS: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
Pieces = Iterator[tuple["pa.Table", "pa.Table"]]


def batches(
    path: Path,
    *,
    decimal: str = ".",
    verbatim: bool = False,
    optional: Sequence[str] = (),
    done: Progress = lambda share: None,
) -> Pieces:
    """A file in pieces: each as the model reads it, and as it is copied to the output.

    For the model, every value of a CSV file is the text in the file: the model's schema says what it means. The copy is
    that text where it is `verbatim`, else values of types that are those of the whole file and keep them distinct.
    Rows of jsonl may leave out the `optional` columns.

    Raises:
        DataError: the file cannot be read.
    """
    kind, rows = suffix(path), 0
    if kind.startswith(".csv"):
        pieces = _csv_batches(path, decimal, verbatim, done)
    elif kind == ".parquet":
        pieces = _parquet_batches(path, verbatim, done)
    else:
        pieces = _json_batches(path, optional, done)
    while True:
        with readable_errors(path):  # around the reading alone: errors of the caller are not the file's
            piece = next(pieces, None)
        if piece is None:
            break
        check_names(path, piece[0].column_names)
        rows += piece[0].num_rows
        yield piece
    if rows == 0:
        raise DataError(f"{path}: has a header but no rows")


def _parquet_batches(path: Path, verbatim: bool, done: Progress) -> Pieces:
    rows = 0
    with pq.ParquetFile(path, **PARQUET_OPTIONS) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            rows += batch.num_rows
            done(rows / max(file.metadata.num_rows, 1))
            piece = pa.Table.from_batches([batch])
            typed = with_plain_types(piece)
            yield typed, typed if verbatim else piece


def _csv_batches(path: Path, decimal: str, verbatim: bool, done: Progress) -> Pieces:
    form = CsvFormat.of(path)
    if form.encoding != "utf8":
        log.warning("%s is read as %s: it is not UTF-8", path, form.encoding)
    if verbatim:
        for piece in form.batches(path, done):
            yield piece, piece
        return
    types = ["null"] * len(form.names)
    for piece in form.batches(path, lambda share: done(share / 2)):
        found = [infer_type(clean_words(column), decimal)[0] for column in piece.columns]
        types = [common_type(*pair) for pair in zip(types, found, strict=True)]
    for piece in form.batches(path, lambda share: done((1 + share) / 2)):
        columns = [parse_column(c, decimal, name=t) for c, t in zip(piece.columns, types, strict=True)]
        yield piece, pa.table(columns, names=form.names)


def _json_batches(path: Path, optional: Sequence[str], done: Progress) -> Pieces:
    for piece in json_lines.batches(path, done):
        typed = piece
        for name in optional:
            if name not in typed.column_names:
                typed = typed.append_column(name, pa.nulls(typed.num_rows))
        yield typed, piece


def sample(path: Path, rows: int, keys: Sequence[str] = ()) -> pa.Table:
    """About so many rows, spread evenly over the file; `keys` as in `read_table`."""
    parts, step = [], 0
    for piece, _ in batches(path, verbatim=True):
        if step == 0:
            step = max(1, round(path.stat().st_size / max(piece.nbytes, 1) * piece.num_rows / rows))
        parts.append(piece.take(list(range(0, piece.num_rows, step))))
    whole = pa.concat_tables(parts, promote_options="permissive")
    return parse_text(whole, keys, {}, infer=suffix(path).startswith(".csv"))


def read_or_sample(file: Path, notes: list[str], keys: tuple[str, ...] = ()) -> pa.Table:
    """A table, or a sample of a large one; how it was read is added to the notes. `keys` as in `read_table`."""
    if file.stat().st_size <= WHOLE_BYTES:
        table = read_table(file, keys)
        notes += reading_notes(table, file.name)
        return table
    table = sample(file, SAMPLE_ROWS, keys)
    notes.append(f"{file.name} is big: read from a sample of {table.num_rows:,} rows")
    return table


class CsvWriter:
    """Writes tables to one CSV file, with quotes only where they are needed."""

    def __init__(self, path: Path, names: list[str], *, compress: bool = False) -> None:
        self._stream: IO[bytes] = gzip.open(path, "wb", compresslevel=6) if compress else path.open("wb")  # type: ignore[assignment]  # noqa: SIM115
        self._write_rows([names])

    def write_table(self, table: pa.Table) -> None:
        """Append the rows."""
        out = pa.BufferOutputStream()
        try:
            pc.write_csv(table, out, pc.WriteOptions(include_header=False, quoting_style="none"))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a value needs quotes, or is a list
            self._write_rows(zip(*[column.to_pylist() for column in table.columns], strict=True))
        else:
            self._stream.write(out.getvalue())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write_rows(self, rows: Any) -> None:
        out = StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows(rows)
        self._stream.write(out.getvalue().encode())


def open_writer(path: Path, named: Path, schema: pa.Schema) -> CsvWriter | pq.ParquetWriter:
    """A writer to `path` in the format of `named`."""
    if named.name.lower().endswith(".parquet"):
        # a dictionary of numbers, which hardly repeat, takes more time than all else and saves nothing
        texts = [field.name for field in schema if is_text(field.type)]
        return pq.ParquetWriter(path, schema, use_dictionary=texts or False)
    return CsvWriter(path, schema.names, compress=named.name.lower().endswith(".gz"))

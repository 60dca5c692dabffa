"""Reads a user's table several times, in memory for at most one of its columns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_glue.reading import Reading
from mlops_glue.streaming import batches, parquet_schema, suffix

SPOOL_BYTES = 256 << 20  # of a text file that are kept in memory; a larger file is kept in a temporary file


class RawTable:
    """The unconverted content of a table file or a folder of Parquet files: text stays text.

    A CSV or JSON Lines file is read once. If it is larger than `SPOOL_BYTES`, it goes to an unnamed temporary file,
    which disappears with the process.
    """

    def __init__(self, path: Path, spool: Path) -> None:
        """Open the table; `spool` is the folder for a temporary file.

        Raises:
            DataError: as in `streaming.batches`.
        """
        self.path, self.infer = path, suffix(path).startswith(".csv")
        self._held: list[pa.Table] | None = None
        self._file: IO[bytes] | None = None
        if suffix(path) == ".parquet":
            self.schema = parquet_schema(path)
        else:
            self._spool(spool)

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in order, unconverted, with all columns or some."""
        if self._held is not None:
            yield from (piece if columns is None else piece.select(columns) for piece in self._held)
        elif self._file is not None:
            self._file.seek(0)
            file = pq.ParquetFile(self._file)
            yield from (file.read_row_group(at, columns=columns) for at in range(file.num_row_groups))
        else:
            wanted = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
            for piece, _ in batches(self.path, verbatim=True, columns=columns):
                if piece.schema.equals(wanted, check_metadata=True):
                    yield piece
                else:  # of a folder, whose files may differ
                    yield pa.concat_tables([wanted.empty_table(), piece], promote_options="permissive").select(
                        wanted.names
                    )

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a complete column."""
        return pa.concat_tables(self.pieces([name])).column(0)

    def read(self, keys: Sequence[str] = ()) -> tuple[Reading, Iterator[pa.Table]]:
        """Return how text is read, and the rows read in this way; `keys` are columns that identify entities."""
        if self._held is None:
            reading = Reading.of(self.schema, self.column, infer=self.infer, keys=keys)
            return reading, map(reading.apply, self.pieces())
        made: list[pa.ChunkedArray] = []
        reading = Reading.of(self.schema, self.column, infer=self.infer, keys=keys, made=made)
        return reading, iter([pa.table(made, schema=reading.schema)])

    def close(self) -> None:
        """Close the temporary file."""
        if self._file is not None:
            self._file.close()

    def _spool(self, folder: Path) -> None:
        held: list[pa.Table] = []
        writer, size = None, 0
        for piece, _ in batches(self.path, verbatim=True):
            size += piece.nbytes
            self.schema = piece.schema
            held.append(piece)
            if writer is None and size > SPOOL_BYTES:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `close` does
                writer = pq.ParquetWriter(self._file, piece.schema, use_dictionary=False)
            if writer is not None:
                for one in held:
                    writer.write_table(one, row_group_size=max(one.num_rows, 1))
                held = []
        if writer is None:
            self._held = held
        else:
            writer.close()

"""Tables in files: read complete CSV, JSON Lines and Parquet files, write and append. `streaming` reads in pieces."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlops_glue import csv_format, parsing, row_groups
from mlops_glue.csv_format import CsvFormat
from mlops_glue.errors import DataError, UsageError, first_line
from mlops_glue.files import atomic, json_value
from mlops_glue.reading import Reading, reading_facts, reading_notes
from mlops_glue.streaming import SUFFIXES, batches, parquet_files, size, suffix
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import MAX_EXACT_INTEGER

if TYPE_CHECKING:
    import pandas as pd

WHOLE_BYTES = 256 << 20  # larger tables are read as a sample
SAMPLE_ROWS = 200_000


def find_table(name: str, *places: Path, folders: bool = False) -> Path:
    """Return the first place that is a file or, if `folders` may be tables, a folder of Parquet files.

    `name` is the name of the table on the command line, for errors.

    Raises:
        UsageError: no place is a table.
    """
    found = next((path for path in places if path.is_file()), None)
    if found is not None:
        return found
    folder = next((path for path in places if path.is_dir()), None)
    if folder is not None and folders and any(folder.rglob("*.parquet")):
        return folder
    if folder is not None:
        raise UsageError(f"{name}: is a folder, not a table", hint=did_you_mean("", _tables_in(folder)))
    parent = places[0].parent
    siblings = _tables_in(parent) if parent.is_dir() else []
    raise UsageError(f"{name}: no such file", hint=did_you_mean(places[0].name, siblings))


def _tables_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES))


# --- reading


def read_table(path: Path, keys: Sequence[str] = ()) -> pa.Table:
    """Read a complete table. The types of a CSV file are inferred from complete columns, so that values stay distinct.

    In `keys`, columns that identify the subject of a row, 1 and 1.0 are two values.

    Raises:
        DataError: the file is empty, has no rows, repeats a column name, or does not match its suffix.
    """
    return _parsed(path, [piece for piece, _ in batches(path, verbatim=True)], keys)


def sample(path: Path, rows: int, keys: Sequence[str] = ()) -> pa.Table:
    """Read about `rows` rows, spread evenly over the file; `keys` is as for `read_table`."""
    parts, step = [], 0
    for piece, _ in batches(path, verbatim=True):
        if step == 0:
            step = max(1, round(size(path) / max(piece.nbytes, 1) * piece.num_rows / rows))
        parts.append(piece.take(list(range(0, piece.num_rows, step))))
    return _parsed(path, parts, keys)


def read_or_sample(file: Path, notes: list[str], keys: tuple[str, ...] = ()) -> pa.Table:
    """Read a table, or a sample of a large table, and add notes on the reading. `keys` is as for `read_table`."""
    if size(file) <= WHOLE_BYTES:
        table = read_table(file, keys)
        notes += reading_notes(table, file.name)
        return table
    table = sample(file, SAMPLE_ROWS, keys)
    notes.append(f"{file.name} is big: read from a sample of {table.num_rows:,} rows")
    return table


def _parsed(path: Path, pieces: list[pa.Table], keys: Sequence[str]) -> pa.Table:
    """Combine the pieces of a file: null words become null and, in a CSV file, text becomes numbers."""
    table = pa.concat_tables(pieces, promote_options="permissive")
    made: list[pa.ChunkedArray] = []
    infer = suffix(path).startswith(".csv")
    reading = Reading.of(table.schema, table.column, infer=infer, keys=keys, made=made)
    return pa.table(made, schema=reading.schema)


def column_names(path: Path) -> list[str] | None:
    """Read the column names from the beginning of a file; None for jsonl, and for files that are not tables."""
    kind = suffix(path)
    try:
        if kind == ".parquet":
            return list(pq.read_schema(parquet_files(path)[0]).names)
        return None if kind == ".jsonl" else CsvFormat.of(path, whole=False).names
    except (DataError, OSError, ValueError):
        return None  # reading the table reports the error


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file that glue wrote."""
    return pq.read_table(path, columns=columns, use_threads=True)


def column_reader(path: Path) -> Callable[[list[str]], pa.Table]:
    """Return a function that reads some columns of a Parquet file that glue wrote.

    The file's footer, which grows with the number of columns, is parsed only once.
    """
    file = pq.ParquetFile(path)
    return lambda columns: file.read(columns).select(columns)  # for `a`, Arrow also reads `a.b`


def parquet_shape(path: Path) -> tuple[int, dict[str, str]]:
    """Return the number of rows and the type of each column, from the file's footer."""
    file = pq.ParquetFile(path)
    return file.metadata.num_rows, {field.name: str(field.type) for field in file.schema_arrow}


# --- writing


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically; timestamps are in microseconds, which every tool of the stack reads."""
    with row_groups.writing(path) as file:
        file.write(table)


def append_rows(path: Path, rows: pa.Table) -> None:
    """Append rows with a table's columns, in its order, to its file; in text formats, existing bytes do not change.

    Raises:
        DataError: a column does not accept the values, or the file cannot be appended to.
    """
    kind = suffix(path)
    if kind == ".parquet":
        existing = pq.read_table(path)
        try:
            whole = pa.concat_tables([existing, rows.cast(existing.schema)])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(f"{path}: does not accept the new rows: {first_line(error)}") from error
        with atomic(path) as temporary:
            pq.write_table(whole, temporary)
        return
    encoding = "utf8" if kind == ".jsonl" else CsvFormat.of(path).encoding
    if encoding == "utf-16":
        raise DataError(f"{path}: is UTF-16, to which glue cannot append", hint="save it as UTF-8")
    lines = _json_lines(rows) if kind == ".jsonl" else _csv(path, rows)
    with csv_format.opened(path) as stream:
        is_complete = stream.read().endswith(b"\n")
    try:
        added = (lines if is_complete else f"\n{lines}").encode(encoding)
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: its encoding does not have {error.object[error.start]!r}") from None
    with atomic(path) as temporary:
        shutil.copyfile(path, temporary)
        with temporary.open("ab") as file:
            file.write(gzip.compress(added) if kind == ".csv.gz" else added)


def _json_lines(rows: pa.Table) -> str:
    return "".join(json.dumps(json_value(row), ensure_ascii=False, default=str) + "\n" for row in rows.to_pylist())


def _csv(path: Path, rows: pa.Table) -> str:
    """Format rows with the delimiter and the decimal sign of the file."""
    out = StringIO(newline="")
    decimal = reading_facts(read_table(path))["decimal"]
    columns = [_csv_cells(column, decimal) for column in rows.columns]
    csv.writer(out, delimiter=CsvFormat.of(path).delimiter, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def _csv_cells(values: pa.ChunkedArray, decimal: str) -> list[str]:
    """Format a column as text of a CSV file: 3.0 becomes 3, null becomes empty."""
    if not pa.types.is_floating(values.type):  # a time of whole seconds has no fraction
        return ["" if value is None else str(value) for value in values.to_pylist()]
    words = pc.fill_null(parsing.as_text(values), "")
    return pc.replace_substring(words, ".", decimal).to_pylist()  # type: ignore[no-any-return]


# --- tables in memory


def is_number(kind: pa.DataType) -> bool:
    """Return whether a type is one of Arrow's integers or floats."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def evenly_spaced(rows: int, most: int) -> NDArray[np.int64]:
    """Return the indices of at most `most` rows, evenly spaced and ascending, as int64."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Convert to pandas; integers with nulls that float64 would not keep distinct get pandas' nullable type."""
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    frame = table.to_pandas()
    for name in table.column_names:
        values = table.column(name)
        if values.type in nullable and 0 < values.null_count < len(values):
            ends = pc.min_max(values).as_py()
            if max(-ends["min"], ends["max"]) > MAX_EXACT_INTEGER:
                frame[name] = values.to_pandas(types_mapper=nullable.get)
    return frame  # type: ignore[no-any-return]

"""Tables in pieces, in constant memory: batches, samples and writers."""

from __future__ import annotations

import contextlib
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

from mlops_glue import csv_format, json_lines, other_formats
from mlops_glue.column_types import common_type, infer_type, parse_column, with_plain_types
from mlops_glue.csv_format import CsvFormat, Progress
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import clean_words, is_text

log = logging.getLogger(__name__)
BATCH_ROWS = 65536  # rows of a Parquet file to read at a time
# without these, Arrow first reads the complete file
PARQUET_OPTIONS: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
ROWS_ALIKE = (
    "each row needs a value for each name in the first line: quote values with a delimiter or a line break, "
    "and remove titles and comments"
)
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
NO_ROWS = "has a header but no rows"
Pieces = Iterator[tuple["pa.Table", "pa.Table"]]


def suffix(path: Path) -> str:
    """Return the table format by name, one of `SUFFIXES`. A folder counts as a table of Parquet files.

    Raises:
        DataError: the name has none of these suffixes.
    """
    found = next((s for s in SUFFIXES if path.name.lower().endswith(s)), ".parquet" if path.is_dir() else None)
    if found is None:
        hint = other_formats.command(path) or f"one of {', '.join(SUFFIXES)}"
        raise DataError(f"{path}: not a table that glue reads", hint=hint)
    return found


def batches(
    path: Path,
    *,
    decimal: str = ".",
    verbatim: bool = False,
    optional: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    done: Progress = lambda share: None,
) -> Pieces:
    """Yield a file in pieces: each as input of the model, and as the copy for the output.

    For the model, every value of a CSV file stays text, because the model's schema defines its meaning. With
    `verbatim`, the copy is the same text; otherwise it has the types of the complete file, which keep values distinct.
    Rows of jsonl may lack the `optional` columns. From Parquet files, only `columns` are read, if given. A folder of
    Parquet files is read in the order of the file names.

    Raises:
        DataError: the file cannot be read.
    """
    kind, rows = suffix(path), 0
    if path.is_dir():
        yield from _folder_batches(path, verbatim, columns)
        return
    if kind.startswith(".csv"):
        pieces = _csv_batches(path, decimal, verbatim, done)
    elif kind == ".parquet":
        pieces = _parquet_batches(path, verbatim, columns, done)
    else:
        pieces = _json_batches(path, optional, done)
    while True:
        with _readable_errors(path):  # only around the reading: errors of the caller are not the file's
            piece = next(pieces, None)
        if piece is None:
            break
        _check_names(path, piece[0].column_names)
        rows += piece[0].num_rows
        yield piece
    if rows == 0:
        raise DataError(f"{path}: {'has no rows' if kind == '.parquet' else NO_ROWS}")


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse a table with a repeated column name; a spreadsheet may export empty columns without a name."""
    name = min((name for name in names if names.count(name) > 1), default=None)
    if name is not None:
        places = [str(at) for at, other in enumerate(names, 1) if other == name]
        numbers = f"{', '.join(places[:-1])} and {places[-1]}"
        if name == "":
            raise DataError(f"{path}: columns {numbers} have no name", hint="name them in the header, or remove them")
        problem = f"column {name!r} occurs {len(places)} times, as columns {numbers}"
        raise DataError(f"{path}: {problem}", hint="rename one of them")


@contextlib.contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Convert errors of Arrow and the operating system to one line, with the line number of a text file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind, cause, hint = suffix(path), None, None
        if kind.startswith(".csv") and isinstance(error, pa.ArrowInvalid):
            cause, hint = csv_format.explain(path), ROWS_ALIKE
            if cause is None and not csv_format.has_rows(path):
                raise DataError(f"{path}: {NO_ROWS}") from None
        elif kind == ".jsonl":
            cause, hint = json_lines.explain(path) or (None, None)
        elif kind == ".parquet" and isinstance(error, pa.ArrowInvalid):
            cause, hint = other_formats.not_parquet(path) or (None, None)
        message = f"{path}: cannot be read as {kind[1:]}: {cause or first_line(error)}"
        raise DataError(message, hint=hint if cause else None) from error


def parquet_files(path: Path) -> list[Path]:
    """Return a Parquet file, or the sorted files of a folder; names that begin with a dot or an underscore are ignored.

    Raises:
        DataError: the folder has no Parquet files.
    """
    if not path.is_dir():
        return [path]
    names = (p.relative_to(path) for p in path.rglob("*") if p.name.lower().endswith(".parquet") and p.is_file())
    found = [path / name for name in sorted(names) if not any(part.startswith((".", "_")) for part in name.parts)]
    if not found:
        raise DataError(f"{path}: is a folder without Parquet files")
    return found


def columns_of_folders(path: Path) -> list[str]:
    """Return the columns whose values are only in folder names, as in k=1/n=2/; they are not read."""
    if not path.is_dir():
        return []
    parts = [part for file in parquet_files(path) for part in file.relative_to(path).parts[:-1]]
    return list(dict.fromkeys(part.partition("=")[0] for part in parts if "=" in part))


def size(path: Path) -> int:
    """Return the bytes of a table's file, or of the Parquet files in a folder."""
    return sum(file.stat().st_size for file in parquet_files(path))


def parquet_schema(path: Path) -> pa.Schema:
    """Return the schema of a Parquet file or folder, with the types of the pieces for the model.

    Raises:
        DataError: a file cannot be read, repeats a column name, or has a column whose type differs from other files.
    """
    found: list[pa.Schema] = []
    for file in parquet_files(path):
        with _readable_errors(file):
            schema = with_plain_types(pq.read_schema(file).empty_table()).schema
        _check_names(file, schema.names)
        try:
            found = [pa.unify_schemas([*found, schema], promote_options="permissive") if found else schema]
        except pa.ArrowException as error:
            raise DataError(f"{file}: has other column types than the files before it: {first_line(error)}") from None
    return found[0]


def _folder_batches(path: Path, verbatim: bool, columns: Sequence[str] | None) -> Pieces:
    """Yield the pieces of a folder's files; files without rows are skipped."""
    rows = 0
    for file in parquet_files(path):
        with _readable_errors(file):
            if pq.read_metadata(file).num_rows == 0:
                continue
        for piece in batches(file, verbatim=verbatim, columns=columns):
            rows += piece[0].num_rows
            yield piece
    if rows == 0:
        raise DataError(f"{path}: its files have no rows")


def _parquet_batches(path: Path, verbatim: bool, columns: Sequence[str] | None, done: Progress) -> Pieces:
    rows = 0
    with pq.ParquetFile(path, **PARQUET_OPTIONS) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            rows += batch.num_rows
            done(rows / max(file.metadata.num_rows, 1))
            piece = pa.Table.from_batches([batch])
            piece = piece if columns is None else piece.select(columns)  # for `a`, Arrow also reads `a.b`
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


class CsvWriter:
    """Writes tables to one CSV file, with quotes only if needed."""

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
    """Open a writer to `path` in the format of `named`."""
    if named.name.lower().endswith(".parquet"):
        # numbers hardly repeat, so a dictionary would take most of the time and save nothing
        texts = [field.name for field in schema if is_text(field.type)]
        return pq.ParquetWriter(path, schema, use_dictionary=texts or False)
    return CsvWriter(path, schema.names, compress=named.name.lower().endswith(".gz"))

"""Tables and files. Every write is whole or not there: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "<NA>"]


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes it private
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; keys keep their order, so equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=_scalar) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder (names and contents, sorted)."""
    total = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as stream:
            one = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.relative_to(path).as_posix()}\0{one}\n".encode())
    return total.hexdigest()


def suffix(path: Path) -> str:
    """The table format by name: one of `SUFFIXES`.

    Raises:
        DataError: it is none of them.
    """
    found = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if found is None:
        raise DataError(f"{path}: not a table that glue reads", hint=f"one of {', '.join(SUFFIXES)}")
    return found


def read_table(path: Path) -> pa.Table:
    """A whole table. Types of text formats are inferred over the whole column, not from the first rows.

    Raises:
        DataError: the file is empty, has no rows, repeats a column name, or is not what its name says.
    """
    import pyarrow as pa

    kind = suffix(path)
    try:
        table = _readers()[kind](path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as {kind[1:]}: {_first_line(error)}") from error
    names = table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{path}: column {twice[0]!r} stands {names.count(twice[0])} times", hint="rename one of them")
    if table.num_rows == 0:
        raise DataError(f"{path}: has a header but no rows")
    return table


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file that glue wrote."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, use_threads=True)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Parquet, atomically; timestamps in microseconds, which every tool of the stack reads."""
    import pyarrow.parquet as pq

    with atomic(path) as temporary:
        pq.write_table(table, temporary, coerce_timestamps="us", allow_truncated_timestamps=True)


def frame(table: pa.Table) -> Any:
    """A pandas frame."""
    return table.to_pandas()


def _readers() -> dict[str, Any]:
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    return {
        ".csv": _read_csv,
        ".csv.gz": _read_csv,
        ".parquet": pq.read_table,
        ".jsonl": lambda p: pj.read_json(p, read_options=pj.ReadOptions(block_size=max(p.stat().st_size, 1 << 20))),
    }


def _read_csv(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pc

    raw = _bytes(path)
    if not raw.strip():
        raise DataError(f"{path}: is empty")
    encoding = "utf8"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        encoding = "latin-1"
    delimiter = sniff_delimiter(raw[:65536].decode(encoding, errors="replace"))
    table = pc.read_csv(
        pa.BufferReader(raw),
        read_options=pc.ReadOptions(block_size=len(raw) + 1, encoding=encoding),  # one block: types from every row
        parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pc.ConvertOptions(null_values=NULLS, strings_can_be_null=True),
    )
    return table.rename_columns([name.strip() for name in table.column_names])


def _bytes(path: Path) -> bytes:
    if path.name.lower().endswith(".gz"):
        import gzip

        with gzip.open(path, "rb") as stream:
            return stream.read()
    return path.read_bytes()


def sniff_delimiter(sample: str) -> str:
    """The delimiter of a CSV by its header line: the most frequent of comma, semicolon, tab and bar outside quotes."""
    header = next((line for line in sample.splitlines() if line.strip()), "")
    counts = {d: len(next(csv.reader([header], delimiter=d))) for d in ",;\t|"}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] > 1 else ","


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def batches(path: Path, text: list[str], rows: int = 65536) -> Iterator[pa.Table]:
    """A file in pieces. CSV and JSON lines are typed as a whole first; Parquet streams.

    Args:
        path: the file.
        text: columns to leave as text.
        rows: rows in a piece.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if suffix(path) == ".parquet":
        try:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=rows):
                yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path}: cannot be read as parquet: {_first_line(error)}") from error
        return
    table = read_table(path)
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def writer(path: Path, schema: pa.Schema, *, csv: bool) -> Any:
    """A Parquet or CSV writer with `write_table` and `close`."""
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    return pc.CSVWriter(path, schema) if csv else pq.ParquetWriter(path, schema)

"""Tables in files: CSV, JSON Lines and Parquet are read whole, written and appended to. `streaming` reads in pieces."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlops_glue import csv_format, json_lines, parsing
from mlops_glue.column_types import decimal_sign, equal_numbers, parse_column
from mlops_glue.csv_format import CsvFormat
from mlops_glue.errors import DataError, UsageError, first_line
from mlops_glue.files import atomic, json_value
from mlops_glue.parsing import is_text
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import MAX_EXACT_INTEGER

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
INDEX_KEY = b"glue.index"  # metadata of a column: the index of a pandas frame
READING_KEY = b"glue.read"  # metadata of a table: how its text was read
ROWS_ALIKE = (
    "a row has a value for each name in the first line: put one that holds a delimiter or a line break in quotes, "
    "take out titles and comments"
)
ONE_OBJECT = "each line is one object; of an array: jq -c '.[]' array.json > lines.jsonl"


def suffix(path: Path) -> str:
    """The table format by name: one of `SUFFIXES`.

    Raises:
        DataError: it is none of them.
    """
    found = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if found is None:
        raise DataError(f"{path}: not a table that glue reads", hint=f"one of {', '.join(SUFFIXES)}")
    return found


def find_table(name: str, *places: Path) -> Path:
    """The first place that is a file; `name` is what the command line calls it.

    Raises:
        UsageError: none of them is.
    """
    found = next((path for path in places if path.is_file()), None)
    if found is not None:
        return found
    folder = next((path for path in places if path.is_dir()), None)
    if folder is not None:
        raise UsageError(f"{name}: is a folder, not a table", hint=did_you_mean("", _tables_in(folder)))
    parent = places[0].parent
    siblings = _tables_in(parent) if parent.is_dir() else []
    raise UsageError(f"{name}: no such file", hint=did_you_mean(places[0].name, siblings))


def _tables_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES))


# --- reading


@contextlib.contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Errors of Arrow and the operating system become one line that names the line of the file, where it has lines."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind, cause = suffix(path), None
        if kind.startswith(".csv") and isinstance(error, pa.ArrowInvalid):
            cause, hint = csv_format.explain(path), ROWS_ALIKE
        elif kind == ".jsonl":
            cause, hint = json_lines.explain(path), ONE_OBJECT
        message = f"{path}: cannot be read as {kind[1:]}: {cause or first_line(error)}"
        raise DataError(message, hint=hint if cause else None) from error


def read_table(path: Path, keys: Sequence[str] = ()) -> pa.Table:
    """A whole table. The types of a CSV file are inferred from whole columns, so that no two values become one.

    In `keys`, columns that identify what a row is about, 1 and 1.0 are two values.

    Raises:
        DataError: the file is empty, has no rows, repeats a column name, or is not what its name says.
    """
    kind = suffix(path)
    facts: dict[str, Any] = {}
    with readable_errors(path):
        if kind == ".parquet":
            table = with_plain_types(pq.read_table(path))
        elif kind == ".jsonl":
            table = json_lines.read(path)
        else:
            form = CsvFormat.of(path)
            facts = {"encoding": form.encoding}
            table = pa.concat_tables([*form.batches(path)] or [pa.table([[]] * len(form.names), names=form.names)])
    check_names(path, table.column_names)
    if table.num_rows == 0:
        raise DataError(f"{path}: has a header but no rows")
    return parse_text(table, keys, facts, infer=kind.startswith(".csv"))


def check_names(path: Path, names: list[str]) -> None:
    """Refuse a table that has a column name twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        count = names.count(repeated[0])
        raise DataError(f"{path}: column {repeated[0]!r} occurs {count} times", hint="rename one of them")


def parse_text(table: pa.Table, keys: Sequence[str], facts: dict[str, Any], *, infer: bool) -> pa.Table:
    """A table whose text columns are parsed: null words become null and, with `infer`, numbers become numbers.

    Its metadata holds `facts` with the decimal sign, and by column the words that were read as null and two texts that
    became one number.
    """
    sign, columns = decimal_sign(table.columns), []
    nulls: dict[str, dict[str, int]] = {}
    alike: dict[str, tuple[str, str]] = {}
    for name, raw in zip(table.column_names, table.columns, strict=True):
        values = raw
        if is_text(raw.type):
            values = parse_column(raw, sign, key=name in keys) if infer else parsing.with_nulls(raw)
            if pa.types.is_floating(values.type) and (pair := equal_numbers(raw, sign)):
                alike[name] = pair
            if is_text(values.type) and (found := parsing.count_null_words(raw)):
                nulls[name] = found
        columns.append(values)
    fields = [table.schema.field(at).with_type(values.type) for at, values in enumerate(columns)]
    about = json.dumps({**facts, "decimal": sign, "nulls": nulls, "alike": alike}, sort_keys=True)
    return pa.table(columns, schema=pa.schema(fields, {READING_KEY: about}))


def reading_facts(table: pa.Table) -> dict[str, Any]:
    """How the text of a table was read: `decimal` sign, `nulls` and `alike` by column, `encoding`."""
    found: dict[str, Any] = json.loads((table.schema.metadata or {}).get(READING_KEY, b"{}"))
    return {"decimal": ".", "nulls": {}, **found}


def reading_notes(table: pa.Table, name: str) -> list[str]:
    """What a user should know about how a file was read."""
    facts = reading_facts(table)
    out = [f"{name} is read as {facts['encoding']}: it is not UTF-8"] if facts.get("encoding", "utf8") != "utf8" else []
    alike = [f"of {column!r} {first} and {second}" for column, (first, second) in facts.get("alike", {}).items()]
    return out + ([f"{name}: texts that are equal as numbers: {', '.join(alike)}"] if alike else [])


def column_names(path: Path) -> list[str] | None:
    """The columns of a table, from the beginning of the file; None for jsonl, or for what is not a table."""
    kind = suffix(path)
    try:
        if kind == ".parquet":
            return list(pq.read_schema(path).names)
        return None if kind == ".jsonl" else CsvFormat.of(path, whole=False).names
    except (DataError, OSError, ValueError):
        return None  # reading the table reports the error


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file that glue wrote."""
    return pq.read_table(path, columns=columns, use_threads=True)


def parquet_shape(path: Path) -> tuple[int, dict[str, str]]:
    """The number of rows, and the type of each column, by the file's footer."""
    file = pq.ParquetFile(path)
    return file.metadata.num_rows, {field.name: str(field.type) for field in file.schema_arrow}


# --- writing


def write_parquet(path: Path, table: pa.Table) -> None:
    """Parquet, atomically; timestamps in microseconds, which every tool of the stack reads."""
    # a dictionary of fractions, which hardly repeat, makes a file larger and takes four times as long
    repeated = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    with atomic(path) as temporary:
        pq.write_table(
            table, temporary, use_dictionary=repeated, coerce_timestamps="us", allow_truncated_timestamps=True
        )


def append_rows(path: Path, rows: pa.Table) -> None:
    """Add rows that have a table's columns, in its order, to its file; in text formats, existing bytes do not change.

    Raises:
        DataError: a column does not take the values, or the file cannot be added to.
    """
    kind = suffix(path)
    if kind == ".parquet":
        existing = pq.read_table(path)
        try:
            whole = pa.concat_tables([existing, rows.cast(existing.schema)])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(f"{path}: does not take the new rows: {first_line(error)}") from error
        with atomic(path) as temporary:
            pq.write_table(whole, temporary)
        return
    encoding = "utf8" if kind == ".jsonl" else CsvFormat.of(path).encoding
    if encoding == "utf-16":
        raise DataError(f"{path}: is UTF-16, which glue does not add to", hint="save it as UTF-8")
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
    """Rows with the delimiter and the decimal sign of the file."""
    out = StringIO(newline="")
    decimal = reading_facts(read_table(path))["decimal"]
    columns = [_csv_cells(column, decimal) for column in rows.columns]
    csv.writer(out, delimiter=CsvFormat.of(path).delimiter, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def _csv_cells(values: pa.ChunkedArray, decimal: str) -> list[str]:
    """A column as the text of a CSV file: 3.0 is 3, null is empty."""
    words = pc.fill_null(parsing.as_text(values), "")
    if pa.types.is_floating(values.type):
        words = pc.replace_substring(words, ".", decimal)
    return words.to_pylist()  # type: ignore[no-any-return]


# --- tables in memory


def is_number(kind: pa.DataType) -> bool:
    """Is it one of Arrow's integers and floats?"""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def evenly_spaced(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly spaced and ascending: int64 indices."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """A pandas frame; integers with nulls that float64 does not keep distinct get pandas' nullable type."""
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


def with_plain_types(table: pa.Table) -> pa.Table:
    """A table with the types that Arrow computes with, where a file has others for the same values.

    The metadata of pandas is dropped; columns that were a frame's index are marked with `INDEX_KEY`: "when" for a
    timestamp, which may be wanted, "place" for all else, which numbers or names the row.
    """
    columns = [_plain(column) for column in table.columns]
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    fields = []
    for name, values in zip(table.column_names, columns, strict=True):
        use = b"when" if pa.types.is_temporal(values.type) else b"place"
        fields.append(pa.field(name, values.type, metadata={INDEX_KEY: use} if name in index else None))
    return pa.table(columns, schema=pa.schema(fields))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind, types = values.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        plain = pa.bool_() if kind.extension_name == "arrow.bool8" else kind.storage_type
    elif types.is_dictionary(kind):
        plain = kind.value_type
    elif types.is_large_string(kind) or types.is_string_view(kind):
        plain = pa.string()  # so that text has one name in the model's schema
    elif types.is_float16(kind):
        plain = pa.float32()
    elif types.is_decimal32(kind) or types.is_decimal64(kind):
        plain = pa.decimal128(kind.precision, kind.scale)
    else:
        return values
    return _plain(values.cast(plain))

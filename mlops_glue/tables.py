"""Tables: CSV, JSON Lines and Parquet files are read, read in batches, written and appended to."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import column_types, csv_format, json_lines, layout, parsing
from mlops_glue.csv_format import CsvForm, Done
from mlops_glue.errors import DataError, UsageError, first_line
from mlops_glue.files import atomic, json_value, read_json
from mlops_glue.parsing import is_text
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


WHOLE_BYTES = 256 << 20  # a table up to this size is read whole, of a greater one a sample


SAMPLE_ROWS = 200_000


SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")


BATCH_ROWS = 65536  # of a Parquet file, at a time


# how such a file is opened to be read in pieces: else Arrow begins with reading all of it
IN_PIECES: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}


INDEX = b"glue.index"  # metadata of a column: pandas' index of a frame


READ = b"glue.read"  # metadata of a table: how its text was read, and what was seen


def suffix(path: Path) -> str:
    """The table format by name: one of `SUFFIXES`.

    Raises:
        DataError: it is none of them.
    """
    found = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if found is None:
        raise DataError(f"{path}: not a table that glue reads", hint=f"one of {', '.join(SUFFIXES)}")
    return found


def _tables(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES))


def existing(told: str, *places: Path) -> Path:
    """The first that is a file.

    Args:
        told: how the command line names it.
        places: where it may be.

    Raises:
        UsageError: none is.
    """
    found = next((path for path in places if path.is_file()), None)
    if found is not None:
        return found
    folder = next((path for path in places if path.is_dir()), None)
    if folder is not None:
        raise UsageError(f"{told}: is a folder, and one table is asked for", hint=did_you_mean("", _tables(folder)))
    near = places[0].parent
    siblings = _tables(near) if near.is_dir() else []
    raise UsageError(f"{told}: no such file", hint=did_you_mean(places[0].name, siblings))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What Arrow and the operating system say of a file, as one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said, hint = first_line(error), None
        if "columns, got" in said and (ragged := csv_format.ragged_line(path)) is not None:
            said, hint = ragged
        if suffix(path) == ".jsonl" and (found := json_lines.bad_line(path)) is not None:
            said, hint = found, "each line is one object"
            hint += "; of an array: jq -c '.[]' array.json > lines.jsonl" if said.startswith("line 1:") else ""
        raise DataError(f"{path}: cannot be read as {suffix(path)[1:]}: {said}", hint=hint) from error


def is_number(kind: pa.DataType) -> bool:
    """Whole numbers and floats."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_discrete(kind: pa.DataType) -> bool:
    """Text and booleans."""
    import pyarrow as pa

    return bool(is_text(kind) or pa.types.is_boolean(kind))


def parquet_shape(path: Path) -> tuple[int, dict[str, str]]:
    """Rows, and the type of each column, by the file's own words."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return file.metadata.num_rows, {field.name: str(field.type) for field in file.schema_arrow}


def read_table(path: Path, keys: Sequence[str] = ()) -> pa.Table:
    """A whole table. Types of text formats are inferred over the whole column, so that no two values become one.

    Args:
        path: the file.
        keys: columns that say whom a row is about: 1 and 1.0 are two.

    Raises:
        DataError: the file is empty, has no rows, repeats a column name, or is not what its name says.
    """
    kind = suffix(path)
    facts: dict[str, Any] = {}
    with _told(path):
        table = csv_format.read(path, facts) if kind.startswith(".csv") else _readers()[kind](path)
    _no_twins(path, table.column_names)
    if table.num_rows == 0:
        raise DataError(f"{path}: has a header but no rows")
    return as_values(table, keys, facts, infer=kind.startswith(".csv"))


def as_values(table: pa.Table, keys: Sequence[str], facts: dict[str, Any], *, infer: bool) -> pa.Table:
    """A table whose text says what it means: null words are null and, where `infer`, text of numbers is numbers.

    Its metadata has `facts` with the decimal sign, and by column the words that were read as null, and two texts that
    became one number.
    """
    import pyarrow as pa

    sign, columns = column_types.decimal_sign(table.columns), []
    nulls: dict[str, dict[str, int]] = {}
    alike: dict[str, tuple[str, str]] = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        if is_text(values.type):
            raw, values = (
                values,
                column_types.parse_column(values, sign, key=name in keys) if infer else parsing.with_nulls(values),
            )
            if pa.types.is_floating(values.type) and (pair := column_types.equal_numbers(raw, sign)):
                alike[name] = pair
            if is_text(values.type) and (found := parsing.count_null_words(raw)):
                nulls[name] = found
        columns.append(values)
    fields = [table.schema.field(at).with_type(values.type) for at, values in enumerate(columns)]
    about = json.dumps({**facts, "decimal": sign, "nulls": nulls, "alike": alike}, sort_keys=True)
    return pa.table(columns, schema=pa.schema(fields, {READ: about}))


def read_as(table: pa.Table) -> dict[str, Any]:
    """How the text of a table was read: `decimal` sign, `nulls` and `alike` by column, `encoding`, `blank` lines."""
    found: dict[str, Any] = json.loads((table.schema.metadata or {}).get(READ, b"{}"))
    return {"decimal": ".", "nulls": {}, **found}


def notes(table: pa.Table, name: str) -> list[str]:
    """What a user should know of how a file was read."""
    about = read_as(table)
    out = [f"{name} is read as {about['encoding']}: it is not UTF-8"] if about.get("encoding", "utf8") != "utf8" else []
    out += [f"{name}: {about['blank']:,} blank lines are left out"] if about.get("blank") else []
    alike = [f"of {column!r} {one} and {other}" for column, (one, other) in about.get("alike", {}).items()]
    more = f" and of {len(alike) - 5} more columns" if len(alike) > 5 else ""
    return out + ([f"{name}: texts that are equal as numbers: {', '.join(alike[:5])}{more}"] if alike else [])


def column_names(path: Path) -> list[str] | None:
    """The columns of a table by its beginning alone; None where that does not tell (jsonl, or what is no table)."""
    kind = suffix(path)
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            return list(pq.read_schema(path).names)
        if kind == ".jsonl":
            return None
        return [name.strip() for name in CsvForm.of(path, whole=False).header]
    except (DataError, OSError, ValueError):
        return None  # reading it will tell what is wrong


def _no_twins(path: Path, names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{path}: column {twice[0]!r} stands {names.count(twice[0])} times", hint="rename one of them")


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file that glue wrote."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, use_threads=True)


def training_rows(root: Path, *, fresh: bool) -> pa.Table:
    """What the last run's model was trained on; `fresh`: by a retraining, which may leave older rows out."""
    import numpy as np

    table = read_parquet(root / layout.TRAIN)
    bounds = read_json(root / layout.LEARNED)["after"] if fresh else []
    if not bounds:
        return table
    row, when = row_and_time(table)
    return table.filter(np.any([is_after(one, row, when) for one in bounds], axis=0))


def row_and_time(table: pa.Table) -> tuple[Any, Any]:
    """Of each row of an artifact its number in the labels' table, and its time or None: arrays of shape (rows,)."""
    when = table.column(layout.TIMESTAMP_COLUMN).to_numpy() if layout.TIMESTAMP_COLUMN in table.column_names else None
    return table.column(layout.ROW).to_numpy(), when


def is_after(bound: int | str, row: Any, when: Any) -> Any:
    """Which rows are after a bound of `split.fresh_after`, a number of rows or a moment: booleans, shape (rows,)."""
    import numpy as np

    return when > np.datetime64(bound) if isinstance(bound, str) else row >= bound


def write_parquet(path: Path, table: pa.Table) -> None:
    """Parquet, atomically; timestamps in microseconds, which every tool of the stack reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # a dictionary of fractions, of which hardly two are equal, makes a file greater and takes four times as long
    repeated = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    with atomic(path) as temporary:
        pq.write_table(
            table, temporary, use_dictionary=repeated, coerce_timestamps="us", allow_truncated_timestamps=True
        )


def append_rows(path: Path, rows: pa.Table) -> None:
    """Add rows to a table's file, in its own format, atomically; what is there stays as it is, to the byte in text.

    Args:
        path: one of `SUFFIXES`.
        rows: with the file's columns, in its order.

    Raises:
        DataError: a column does not take the values, or the file cannot be added to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if suffix(path) == ".parquet":
        there = pq.read_table(path)
        try:
            whole = pa.concat_tables([there, rows.cast(there.schema)])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(f"{path}: does not take the new rows: {first_line(error)}") from error
        with atomic(path) as temporary:
            pq.write_table(whole, temporary)
        return
    with atomic(path) as temporary:
        shutil.copyfile(path, temporary)
        with csv_format.opened(path) as stream:
            end = b"\n"
            while piece := stream.read(1 << 20):
                end = piece[-1:]
        added = ("" if end == b"\n" else "\n") + _as_lines(path, rows)
        compressed = path.name.lower().endswith(".gz")
        with temporary.open("ab") as file:
            try:
                encoded = added.encode(
                    "utf-8" if suffix(path) == ".jsonl" else csv_format.encoding_of(path, whole=True)[0]
                )
            except UnicodeEncodeError as error:
                raise DataError(f"{path}: its encoding does not have {error.object[error.start]!r}") from None
            if encoded.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{path}: is UTF-16, which glue does not add to", hint="save it as UTF-8")
            file.write(gzip.compress(encoded) if compressed else encoded)


def _as_lines(path: Path, rows: pa.Table) -> str:
    """Rows as a text file of this kind has them."""
    out = StringIO(newline="")
    if suffix(path) == ".jsonl":
        out.writelines(json.dumps(json_value(row), ensure_ascii=False, default=str) + "\n" for row in rows.to_pylist())
        return out.getvalue()
    form, decimal = CsvForm.of(path), read_as(read_table(path))["decimal"]
    columns = [_cells(rows.column(name), decimal) for name in rows.column_names]
    csv.writer(out, delimiter=form.delimiter, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def _cells(values: pa.ChunkedArray, decimal: str) -> list[str]:
    """A column as the text of a CSV file: 3.0 is 3, null is nothing."""
    import pyarrow as pa

    if not pa.types.is_floating(values.type):
        return ["" if one is None else str(one) for one in values.to_pylist()]
    known = ["" if one is None or math.isnan(one) else repr(one).removesuffix(".0") for one in values.to_pylist()]
    return [one.replace(".", decimal) for one in known]


def spread(rows: int, most: int) -> Any:
    """Places of at most so many of the rows, evenly spread and ascending: int64, shape (places,)."""
    import numpy as np

    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def frame(table: pa.Table) -> Any:
    """A pandas frame; whole numbers with nulls that a float64 does not keep apart are of pandas' nullable type."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    nullable = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    made = table.to_pandas()
    for name in table.column_names:
        values = table.column(name)
        if values.type in nullable and 0 < values.null_count < len(values):
            ends = pc.min_max(values).as_py()
            if max(-ends["min"], ends["max"]) > parsing.MAX_EXACT_INTEGER:
                made[name] = values.to_pandas(types_mapper=nullable.get)
    return made


def plain(table: pa.Table) -> pa.Table:
    """A table with the types that Arrow can compute with, where a file has others for the same values.

    What pandas notes of a frame is left out, but for which columns its index was: they are marked with `INDEX`.
    """
    import pyarrow as pa

    columns = [_plain(column) for column in table.columns]
    index = [one for one in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(one, str)]
    fields = [
        pa.field(name, values.type, metadata={INDEX: _index(values)} if name in index else None)
        for name, values in zip(table.column_names, columns, strict=True)
    ]
    return pa.table(columns, schema=pa.schema(fields))


def _index(values: pa.ChunkedArray) -> bytes:
    """A moment as index says when, which may be wanted; all else is the place or the name of the row."""
    import pyarrow as pa

    return b"when" if pa.types.is_temporal(values.type) else b"place"


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    kind, of = values.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        to = pa.bool_() if kind.extension_name == "arrow.bool8" else kind.storage_type
    elif of.is_dictionary(kind):
        to = kind.value_type
    elif of.is_large_string(kind) or of.is_string_view(kind):
        to = pa.string()  # which is one name for text in the model's schema
    elif of.is_float16(kind):
        to = pa.float32()
    elif of.is_decimal32(kind) or of.is_decimal64(kind):
        to = pa.decimal128(kind.precision, kind.scale)
    else:
        return values
    return _plain(values.cast(to))


def _readers() -> dict[str, Any]:
    import pyarrow.parquet as pq

    return {".parquet": lambda p: plain(pq.read_table(p)), ".jsonl": lambda p: json_lines.table_of(p, p.read_bytes())}


def batches(
    path: Path,
    *,
    decimal: str = ".",
    verbatim: bool = False,
    optional: Sequence[str] = (),
    done: Done = lambda share: None,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """A file in pieces, in memory that does not grow with it: each as it is read, and as it is to be carried along.

    Of a CSV file every value is read as the text that stands there: the schema of a model says what it means.

    Args:
        path: the file.
        decimal: sign of numbers as text.
        verbatim: carry a CSV file's values as the text that stands there, else as types that keep them apart, which
            are those of the whole file.
        optional: columns that a row of jsonl may leave out.
        done: called as the reading goes on; what is read twice is half read after the first time.

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
        with _told(path):  # around the reading alone: what the caller does with a piece is not the file's fault
            piece = next(pieces, None)
        if piece is None:
            break
        _no_twins(path, piece[0].column_names)
        rows += piece[0].num_rows
        yield piece
    if rows == 0:
        raise DataError(f"{path}: has a header but no rows")


def _parquet_batches(path: Path, verbatim: bool, done: Done) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetFile(path, **IN_PIECES) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            rows += batch.num_rows
            done(rows / max(file.metadata.num_rows, 1))
            piece = pa.Table.from_batches([batch])
            typed = plain(piece)
            yield typed, typed if verbatim else piece


def _csv_batches(path: Path, decimal: str, verbatim: bool, done: Done) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa

    form = CsvForm.of(path)
    names = [name.strip() for name in form.header]
    if form.encoding != "utf8":
        log.warning("%s is read as %s: it is not UTF-8", path, form.encoding)
    if form.blank:
        log.warning("%s: %s blank lines are left out", path, f"{form.blank:,}")
    states: list[str] = ["null"] * len(names)
    if not verbatim:
        for batch in csv_format.batches(path, form, lambda share: done(share / 2)):
            found = [
                column_types.infer_type(parsing.clean_words(pa.chunked_array([column])), decimal)[0]
                for column in batch.columns
            ]
            states = [column_types.common_type(*pair) for pair in zip(states, found, strict=True)]
    for batch in csv_format.batches(path, form, done if verbatim else lambda share: done((1 + share) / 2)):
        raw = pa.Table.from_batches([batch])
        piece = raw.rename_columns(names)
        if verbatim:
            yield piece, raw
            continue
        columns = [column_types.parse_column(c, decimal, name=s) for c, s in zip(piece.columns, states, strict=True)]
        yield piece, pa.table(columns, names=names)


def _json_batches(path: Path, optional: Sequence[str], done: Done) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa

    schemas, codes = [], set[str]()
    for piece in json_lines.pieces(path, lambda share: done(share / 2)):
        table = json_lines.typed(path, piece, None)
        schemas.append(table.schema)
        codes |= json_lines.long_numbers(table, piece)
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    for piece in json_lines.pieces(path, lambda share: done((1 + share) / 2)):
        table = carried = json_lines.table_of(path, piece, schema, codes)
        for name in optional:
            if name not in schema.names:
                table = table.append_column(name, pa.nulls(table.num_rows))
        yield table, carried


def sample(path: Path, rows: int, keys: Sequence[str] = ()) -> pa.Table:
    """About so many rows spread evenly over the file, in memory that does not grow with it; `keys` as `read_table`."""
    import pyarrow as pa

    kept, step = [], 0
    for piece, _ in batches(path, verbatim=True):
        if step == 0:
            step = max(1, round(path.stat().st_size / max(piece.nbytes, 1) * piece.num_rows / rows))
        kept.append(piece.take(list(range(0, piece.num_rows, step))))
    whole = pa.concat_tables(kept, promote_options="permissive")
    return as_values(whole, keys, {}, infer=suffix(path).startswith(".csv"))


class CsvSink:
    """Writes tables to one CSV file; quotes only what needs it, which Arrow's own writer does not."""

    def __init__(self, path: Path, names: list[str], *, compress: bool = False) -> None:
        import gzip

        self._stream: Any = gzip.open(path, "wb", compresslevel=6) if compress else path.open("wb")  # noqa: SIM115
        self._rows([names])

    def write_table(self, table: pa.Table) -> None:
        """Append the rows."""
        import pyarrow.csv as pc

        if self._plain(table):
            options = pc.WriteOptions(include_header=False, quoting_style="none")
            pc.write_csv(table, self._stream, options)
            return
        columns = [column.to_pylist() for column in table.columns]
        self._rows(zip(*columns, strict=True))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _plain(self, table: pa.Table) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = [c for c in table.columns if is_text(c.type)]
        of = pa.types
        bytes_too = (of.is_nested, of.is_binary, of.is_large_binary, of.is_binary_view, of.is_fixed_size_binary)
        odd = any(one(c.type) for c in table.columns for one in bytes_too)
        return not odd and not any(pc.any(pc.match_substring_regex(c, '[",\r\n]')).as_py() for c in texts)

    def _rows(self, rows: Any) -> None:
        out = StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows(rows)
        self._stream.write(out.getvalue().encode())


def sink(path: Path, named: Path, schema: pa.Schema) -> Any:
    """A writer with `write_table` and `close`, of the format that `named` has."""
    import pyarrow.parquet as pq

    if named.name.lower().endswith(".parquet"):
        # of numbers that hardly repeat, a dictionary costs more than all else and saves nothing
        texts = [field.name for field in schema if is_text(field.type)]
        return pq.ParquetWriter(path, schema, use_dictionary=texts or False)
    return CsvSink(path, schema.names, compress=named.name.lower().endswith(".gz"))


def read_or_sample(file: Path, found: list[str], keys: tuple[str, ...] = ()) -> Any:
    """A table, with `keys` as `read_table` takes them; of a big one a sample, which `found` then says."""
    if file.stat().st_size <= WHOLE_BYTES:
        table = read_table(file, keys)
        found += notes(table, file.name)
        return table
    table = sample(file, SAMPLE_ROWS, keys)
    found.append(f"{file.name} is big: read from a sample of {table.num_rows:,} rows")
    return table

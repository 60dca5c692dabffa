"""Tables and files. Every write is whole or not there: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import layout
from mlops_glue.errors import DamagedError, DataError, UsageError, did_you_mean, first_line

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
BLOCK_BYTES = 8 << 20  # of a text file, at a time
BATCH_ROWS = 65536  # of a Parquet file, at a time
# how such a file is opened to be read in pieces: else Arrow begins with reading all of it
IN_PIECES: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "<NA>", "?", "."]  # ? of UCI, . of SAS
THOUSANDS = r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"  # a number whose commas part thousands; no such begins with a zero


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


def leftovers(root: Path) -> list[Path]:
    """What a killed process left of `atomic`, of DVC's and of MLflow's writing in a project, where none is at work."""
    mine = re.compile(r"\..+\.(tmp|tmp-journal|tmp-wal|tmp-shm)")
    folders = [root, root / layout.STATE, root / layout.RAW]
    found = [p for folder in folders if folder.is_dir() for p in folder.iterdir() if mine.fullmatch(p.name)]
    found += [p for p in (root / layout.ARTIFACTS).rglob(".*") if mine.fullmatch(p.name)]
    found += (root / ".dvc" / "cache" / "files").glob("*/*/*.tmp")
    readers_and_writers = root / ".dvc" / "tmp" / "rwlock"  # DVC empties it and then writes it
    return found + ([readers_and_writers] if _is_torn(readers_and_writers) else [])


def _is_torn(path: Path) -> bool:
    """Is it a file that was to be JSON?"""
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; equal values give equal bytes: keys keep their order. NaN, which JSON lacks, is null."""
    write_text(path, json.dumps(_known(value), indent=1, ensure_ascii=False, default=_scalar, allow_nan=False) + "\n")


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_known(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def render(
    template: Path,
    values: dict[str, Any],
    around: tuple[str, str] = ("{{", "}}"),
    filters: dict[str, Callable[..., str]] | None = None,
) -> str:
    """A Jinja template with values put in, between the marks `around`; in an .html one they are escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        keep_trailing_newline=True,
        variable_start_string=around[0],
        variable_end_string=around[1],
        undefined=jinja2.StrictUndefined,
        autoescape=template.suffix == ".html",  # noqa: S701 - YAML and Markdown know no HTML entities
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"q": yaml_text, "py": lambda text: json.dumps(text, ensure_ascii=False), **(filters or {})}
    return environment.get_template(template.name).render(values)


def yaml_text(value: str) -> str:
    """A string as a YAML scalar: plain where no reader could take it for anything else, else quoted as JSON does."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*", value)
    words = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
    if plain and value.lower() not in words and len(value) < 100:
        return value
    # JSON's strings are YAML's, but for the unprintable characters that JSON leaves in
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(value, ensure_ascii=False))


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DamagedError: it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of UTF-8 too
        raise DamagedError(f"{path}: is no JSON: {first_line(error)}") from None


def read_yaml(path: Path) -> Any:
    """Read YAML that no person needs the comments of."""
    return yaml_of(path.read_text(encoding="utf-8"))


def yaml_of(text: str) -> Any:
    """The same, of text."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


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
        tables = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))
        raise UsageError(f"{told}: is a folder, and one table is asked for", hint=did_you_mean("", tables))
    near = places[0].parent
    siblings = sorted(p.name for p in near.iterdir() if p.is_file()) if near.is_dir() else []
    raise UsageError(f"{told}: no such file", hint=did_you_mean(places[0].name, siblings))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What Arrow and the operating system say of a file, as one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = first_line(error)
        hint = "a value that holds a delimiter or a line break stands in quotes" if "columns, got" in said else None
        if suffix(path) == ".jsonl" and (found := _bad_line(path)) is not None:
            said, hint = found, "each line is one object"
            hint += "; of an array: jq -c '.[]' array.json > lines.jsonl" if said.startswith("line 1:") else ""
        raise DataError(f"{path}: cannot be read as {suffix(path)[1:]}: {said}", hint=hint) from error


def _bad_line(path: Path) -> str | None:
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
                return f"line {at}: is no JSON: {error.msg} at character {error.pos + 1}"
            except (ValueError, RecursionError) as error:
                return f"line {at}: is no JSON: {first_line(error)}"
            if not isinstance(row, dict):
                return f"line {at}: is {names[type(row)]}, not an object"
            for key, value in row.items():
                kind = names[type(value)]
                before, first = seen.setdefault(key, (kind, at)) if value is not None else (kind, at)
                if kind != before:
                    return f"line {at}: {key!r} is {kind}, and {before} in line {first}"
    return None


def is_text(kind: pa.DataType) -> bool:
    """Is it one of Arrow's types of text?"""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


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


def read_table(path: Path) -> pa.Table:
    """A whole table. Types of text formats are inferred over the whole column, not from the first rows.

    Raises:
        DataError: the file is empty, has no rows, repeats a column name, or is not what its name says.
    """
    kind = suffix(path)
    with _told(path):
        table = _readers()[kind](path)
    _no_twins(path, table.column_names)
    if table.num_rows == 0:
        raise DataError(f"{path}: has a header but no rows")
    return table


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
        with _open(path) as stream:
            end = b"\n"
            while piece := stream.read(1 << 20):
                end = piece[-1:]
        text = ("" if end == b"\n" else "\n") + _as_lines(path, rows)
        compressed = path.name.lower().endswith(".gz")
        with temporary.open("ab") as file:
            try:
                encoded = text.encode("utf-8" if suffix(path) == ".jsonl" else _encoding(path, whole=True))
            except UnicodeEncodeError as error:
                raise DataError(f"{path}: its encoding does not have {error.object[error.start]!r}") from None
            if encoded.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{path}: is UTF-16, which glue does not add to", hint="save it as UTF-8")
            file.write(gzip.compress(encoded) if compressed else encoded)


def _as_lines(path: Path, rows: pa.Table) -> str:
    """Rows as a text file of this kind has them."""
    out = StringIO(newline="")
    if suffix(path) == ".jsonl":
        out.writelines(json.dumps(_known(row), ensure_ascii=False, default=str) + "\n" for row in rows.to_pylist())
        return out.getvalue()
    form = CsvForm.of(path)
    columns = [_cells(rows.column(name), form.decimal) for name in rows.column_names]
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
    """A pandas frame."""
    return table.to_pandas()


def plain(table: pa.Table) -> pa.Table:
    """A table with the types that Arrow can compute with, where a file has others for the same values.

    What pandas notes of a frame, its index for one, is left out: a column is a column.
    """
    columns = [_plain(column) for column in table.columns]
    if all(new is old for new, old in zip(columns, table.columns, strict=True)):
        return table.replace_schema_metadata(None)
    import pyarrow as pa

    return pa.table(columns, names=table.column_names)


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

    return {
        ".csv": _read_csv,
        ".csv.gz": _read_csv,
        ".parquet": lambda p: plain(pq.read_table(p)),
        ".jsonl": lambda p: _json_table(p, p.read_bytes(), None),
    }


def _read_csv(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pc

    options = CsvForm.of(path).options({})
    try:
        table = pc.read_csv(path, **options)  # unlike open_csv, infers a type from every block
    except pa.ArrowInvalid:
        options["read_options"].use_threads = False  # only then Arrow says in which row
        pc.read_csv(path, **options)
        raise
    return table.rename_columns([name.strip() for name in table.column_names])


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written: its encoding, delimiter and header."""

    encoding: str
    delimiter: str
    header: list[str]
    decimal: str = "."

    @classmethod
    def of(cls, path: Path, *, whole: bool = True) -> CsvForm:
        """Look at the file: the encoding over all of it (or its beginning), the rest from its first line.

        Raises:
            DataError: the file is empty.
        """
        encoding = _encoding(path, whole=whole)
        with _open(path) as stream:
            sample = stream.read(1 << 20).decode(encoding, errors="replace").lstrip("\ufeff").lstrip()
        if not sample:
            raise DataError(f"{path}: is empty")
        delimiter = sniff_delimiter(sample)
        return cls(encoding, delimiter, _header(sample, delimiter), sniff_decimal(sample, delimiter))

    def options(self, types: dict[str, str], *, verbatim: bool = False) -> dict[str, Any]:
        """Arguments for pyarrow's readers. `verbatim` keeps every value as the text that stands there."""
        import pyarrow as pa
        import pyarrow.csv as pc

        raw = {name.strip(): name for name in self.header}
        given = dict.fromkeys(self.header, "string") if verbatim else {raw[k]: t for k, t in types.items() if k in raw}
        return {
            "read_options": pc.ReadOptions(block_size=BLOCK_BYTES, encoding=self.encoding),
            "parse_options": pc.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            "convert_options": pc.ConvertOptions(
                column_types={name: pa.type_for_alias(kind) for name, kind in given.items()},
                null_values=NULLS,
                strings_can_be_null=not verbatim,
                decimal_point=self.decimal,
            ),
        }


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        try:
            yield stream
        except EOFError:
            raise DataError(f"{path}: the gzip data ends too early", hint="copy or download it again") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: cannot be read as {suffix(path)[1:]}: {first_line(error)}") from None


def _encoding(path: Path, *, whole: bool) -> str:
    """UTF-16 by its mark, UTF-8 where all of the file is, else Latin-1, which takes any byte."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open(path) as stream:
        piece = stream.read(1 << 20)
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        try:
            while piece:
                decoder.decode(piece)
                piece = stream.read(1 << 20) if whole else b""
            decoder.decode(b"", final=whole)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf8"


def sniff_delimiter(text: str) -> str:
    """The delimiter of a CSV by its header: the most frequent of comma, semicolon, tab and bar outside quotes."""
    return max(",;\t|", key=lambda d: len(_header(text, d)))  # the first of equals: a comma


def sniff_decimal(text: str, delimiter: str) -> str:
    """The decimal point of a CSV by its beginning: a comma where numbers have one, it cannot part thousands, and no
    number has a point."""
    if delimiter == ",":
        return "."
    fields = [field.strip() for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter) for field in row]
    comma = any(re.fullmatch(r"[-+]?\d+,\d+", field) and not re.fullmatch(THOUSANDS, field) for field in fields)
    return "," if comma and not any(re.fullmatch(r"[-+]?\d+\.\d+", field) for field in fields) else "."


def _header(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(StringIO(text, newline=""), delimiter=delimiter))


def batches(
    path: Path, types: dict[str, str] | None = None, *, verbatim: bool = False
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """A file in pieces, in memory that does not grow with it: each piece typed, and as it is to be carried along.

    Args:
        path: the file.
        types: Arrow type names by column for text formats, as the training data had them; a value that does not fit
            makes the column wider (float64, then text), so that the same file gives the same types however it is cut.
        verbatim: carry a CSV file's values as the text that stands there.

    Raises:
        DataError: the file cannot be read.
    """
    cut = {".parquet": _parquet_batches, ".jsonl": _json_batches}.get(suffix(path), _csv_batches)
    rows = 0
    pieces = cut(path, types or {}, verbatim)
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


def _parquet_batches(path: Path, types: dict[str, str], verbatim: bool) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, **IN_PIECES) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            piece = pa.Table.from_batches([batch])
            typed = plain(piece)
            yield typed, typed if verbatim else piece


def _csv_batches(path: Path, types: dict[str, str], verbatim: bool) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa
    import pyarrow.csv as pc

    form = CsvForm.of(path)
    names = [name.strip() for name in form.header]
    options = form.options(_types_that_fit(path, form, dict(types)))
    carried = pc.open_csv(path, **form.options({}, verbatim=True)) if verbatim else None
    for batch in pc.open_csv(path, **options):
        piece = pa.Table.from_batches([batch]).rename_columns(names)
        # both readers cut at the same bytes, so the rows are the same
        yield piece, piece if carried is None else pa.Table.from_batches([carried.read_next_batch()])


def _types_that_fit(path: Path, form: CsvForm, types: dict[str, str]) -> dict[str, str]:
    """Read the file through; where a value does not fit its column's type, widen it and read again."""
    import pyarrow as pa
    import pyarrow.csv as pc

    while True:
        try:
            reader = pc.open_csv(path, **form.options(types))
            types = {**{f.name.strip(): "string" for f in reader.schema if pa.types.is_null(f.type)}, **types}
            for _ in reader:
                pass
            return types
        except pa.ArrowInvalid as error:
            found = re.search(r"column #(\d+).* conversion error to (\w+)", str(error))
            if found is None:
                raise
            wider = "double" if found.group(2).startswith(("int", "uint")) else "string"
            types[form.header[int(found.group(1))].strip()] = wider


def _json_batches(path: Path, types: dict[str, str], verbatim: bool) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa

    schemas = [_json_table(path, piece, None).schema for piece in _lines(path)]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    for piece in _lines(path):
        table = _json_table(path, piece, schema)
        yield table, table


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, about BLOCK_BYTES at a time."""
    with path.open("rb") as stream:
        yield stream.read(BLOCK_BYTES) + stream.readline()  # of an empty file too: its reader says that it is
        while piece := stream.read(BLOCK_BYTES):
            piece += stream.readline()
            if piece.strip():
                yield piece


def _json_table(path: Path, lines: bytes, schema: pa.Schema | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as pj

    if not lines.strip():
        raise DataError(f"{path}: is empty")
    table = pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(block_size=len(lines) + 1),  # one block: types from every row
        parse_options=pj.ParseOptions(explicit_schema=schema),
    )
    table.validate(full=True)  # text that is no UTF-8 is taken until here
    return table


def sample(path: Path, rows: int) -> pa.Table:
    """About so many rows spread evenly over the file, in memory that does not grow with it."""
    import pyarrow as pa

    kept, step = [], 0
    for piece, _ in batches(path):
        if step == 0:
            step = max(1, round(path.stat().st_size / max(piece.nbytes, 1) * piece.num_rows / rows))
        kept.append(piece.take(list(range(0, piece.num_rows, step))))
    return pa.concat_tables(kept, promote_options="permissive")


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
        text = StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode())


def sink(path: Path, named: Path, schema: pa.Schema) -> Any:
    """A writer with `write_table` and `close`, of the format that `named` has."""
    import pyarrow.parquet as pq

    if named.name.lower().endswith(".parquet"):
        # of numbers that hardly repeat, a dictionary costs more than all else and saves nothing
        texts = [field.name for field in schema if is_text(field.type)]
        return pq.ParquetWriter(path, schema, use_dictionary=texts or False)
    return CsvSink(path, schema.names, compress=named.name.lower().endswith(".gz"))


def parquet_rows(path: Path) -> int | None:
    """The number of rows by the file's own footer, or None where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError):
        return None

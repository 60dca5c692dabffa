"""Tables and files. Every write is whole or not there: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import layout, text
from mlops_glue.errors import DamagedError, DataError, UsageError, did_you_mean, first_line
from mlops_glue.text import is_text

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
WHOLE_BYTES = 256 << 20  # a table up to this size is read whole, of a greater one a sample
SAMPLE_ROWS = 200_000
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
BLOCK_BYTES = 8 << 20  # of a text file, at a time
BATCH_ROWS = 65536  # of a Parquet file, at a time
# how such a file is opened to be read in pieces: else Arrow begins with reading all of it
IN_PIECES: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
INDEX = b"glue.index"  # metadata of a column: pandas' index of a frame
READ = b"glue.read"  # metadata of a table: how its text was read, and what was seen


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well, and vanishes otherwise.

    A file that is there keeps its mode and, where the system allows it, its owner; what a link points to is written and
    the link stays. A device or a pipe is written to and not replaced.

    Raises:
        OSError: the system refused a write; it names the file, also where the system did not.
    """
    target = Path(os.path.realpath(path))  # which takes a link to itself, unlike `resolve`
    place = target if path.is_symlink() and not _in_dvc_cache(target) else path
    before = place.stat() if place.exists() and not place.is_symlink() else None
    special = before is not None and not stat.S_ISREG(before.st_mode) and not stat.S_ISDIR(before.st_mode)
    folder = Path(tempfile.gettempdir()) if special else place.parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{place.name}.{os.urandom(4).hex()}.tmp"
    # private until it is whole where the file is there, as that may be private; else as the umask has it
    mode = 0o666 if before is None else 0o600
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if special:
            with place.open("wb") as device, temporary.open("rb") as file:
                shutil.copyfileobj(file, device)
            return
        if before is not None:
            _as_before(temporary, before)
        temporary.replace(place)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):  # a failed write names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _as_before(file: Path, before: os.stat_result) -> None:
    """Give a file the owner, where the system lets us, and the mode of the one whose place it takes."""
    own = file.stat()
    if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(file, before.st_uid, before.st_gid)
    file.chmod(stat.S_IMODE(before.st_mode))  # last, as a new owner takes bits away


def _in_dvc_cache(place: Path) -> bool:
    """Does a path lie in DVC's cache? It links files of the project to it, and what it holds never changes."""
    return bool(re.search(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$", place.as_posix()))


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


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


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


def put_aside(path: Path) -> Path:
    """Give a file that cannot be believed another name, so that a new one may take its place; that name."""
    aside = path.with_name(f"{path.name}.torn")
    for at in itertools.count(2):
        if not os.path.lexists(aside):
            break
        aside = path.with_name(f"{path.name}.torn{at}")
    path.rename(aside)
    return aside


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DamagedError: it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of UTF-8 too; nested too deeply
        raise DamagedError(f"{path}: is not JSON: {first_line(error)}") from None


def read_yaml(path: Path) -> Any:
    """Read YAML that no person needs the comments of."""
    return yaml_of(path.read_text(encoding="utf-8"))


def yaml_of(content: str) -> Any:
    """The same, of text."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(content)


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
        if "columns, got" in said and (ragged := _ragged_line(path)) is not None:
            said, hint = ragged
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
                return f"line {at}: is not JSON: {error.msg} at character {error.pos + 1}"
            except (ValueError, RecursionError) as error:
                return f"line {at}: is not JSON: {first_line(error)}"
            if not isinstance(row, dict):
                return f"line {at}: is {names[type(row)]}, not an object"
            for key, value in row.items():
                kind = names[type(value)]
                before, first = seen.setdefault(key, (kind, at)) if value is not None else (kind, at)
                if kind != before:
                    return f"line {at}: {key!r} is {kind}, and {before} in line {first}"
    return None


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
        table = _read_csv(path, facts) if kind.startswith(".csv") else _readers()[kind](path)
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

    sign, columns = text.decimal_sign(table.columns), []
    nulls: dict[str, dict[str, int]] = {}
    alike: dict[str, tuple[str, str]] = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        if is_text(values.type):
            raw, values = values, text.typed(values, sign, key=name in keys) if infer else text.known(values)
            if pa.types.is_floating(values.type) and (pair := text.alike(raw, sign)):
                alike[name] = pair
            if is_text(values.type) and (found := text.null_words(raw)):
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
    when = table.column(layout.WHEN).to_numpy() if layout.WHEN in table.column_names else None
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
        with _open(path) as stream:
            end = b"\n"
            while piece := stream.read(1 << 20):
                end = piece[-1:]
        added = ("" if end == b"\n" else "\n") + _as_lines(path, rows)
        compressed = path.name.lower().endswith(".gz")
        with temporary.open("ab") as file:
            try:
                encoded = added.encode("utf-8" if suffix(path) == ".jsonl" else _encoding(path, whole=True)[0])
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
            if max(-ends["min"], ends["max"]) > text.EXACT:
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

    return {".parquet": lambda p: plain(pq.read_table(p)), ".jsonl": lambda p: _json_table(p, p.read_bytes())}


def _read_csv(path: Path, facts: dict[str, Any]) -> pa.Table:
    """Every value as the text that stands there."""
    import pyarrow.csv as pc

    form = CsvForm.of(path)
    facts |= {"encoding": form.encoding, "blank": form.blank}
    table = pc.read_csv(path, **form.options())
    return table.rename_columns([name.strip() for name in table.column_names])


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written: its encoding, delimiter and header."""

    encoding: str
    delimiter: str
    header: list[str]
    before: int  # blank lines that the header comes after
    blank: int = 0  # blank lines between others, which are no rows

    @classmethod
    def of(cls, path: Path, *, whole: bool = True) -> CsvForm:
        """Look at the file: the encoding over all of it (or its beginning), the rest from its first line.

        Raises:
            DataError: the file is empty, is in no encoding that is known, or ends within quotes.
        """
        encoding, odd = _encoding(path, whole=whole)
        with _open(path) as stream:
            sample = stream.read(1 << 20).decode(encoding, errors="replace").lstrip("\ufeff")
        head = re.sub(r"^([^\S\r\n]*(\r\n|\r|\n))+", "", sample)  # a header may begin with a tab
        if not head.strip():
            raise DataError(f"{path}: is empty")
        if re.match(r"(?i)sep=.?[\r\n]", head):
            raise DataError(
                f"{path}: its first line is {head.splitlines()[0]!r}, which only Excel takes for no row",
                hint="take that line out: tail -n +2",
            )
        delimiter = sniff_delimiter(head)
        header = _header(head, delimiter)
        before = len(re.findall(r"\r\n|\r|\n", sample[: len(sample) - len(head)]))
        form = cls(encoding, delimiter, header, before)
        return replace(form, blank=form._blank_lines(path)) if odd else form

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """The header and what comes after it, each with the line of the file that it begins in; a blank line is [].

        Raises:
            DataError: the file ends within quotes.
        """
        import io as streams

        csv.field_size_limit((1 << 31) - 1)  # Arrow has no limit
        end = "\udfff"  # in no text that was decoded
        encoding = "utf-8-sig" if self.encoding == "utf8" else self.encoding
        with _open(path) as raw, streams.TextIOWrapper(raw, encoding=encoding, errors="replace", newline="") as stream:
            lines = itertools.chain(itertools.islice(stream, self.before, None), [end])
            reader, line = csv.reader(lines, delimiter=self.delimiter), self.before + 1
            for row in reader:
                if row == [end]:
                    return
                if row and row[-1].endswith(end):
                    said = f"{path}: a row that begins in line {line} has a quote that is never closed"
                    raise DataError(said, hint='close it; the value 5" is written "5"""')
                yield line, row
                line = self.before + reader.line_num + 1

    def _blank_lines(self, path: Path) -> int:
        """How many lines hold nothing, outside of quotes and before the last that does; of one column they are rows."""
        out, waiting = 0, 0
        for _, row in self.rows(path):
            out, waiting = (out + waiting, 0) if row else (out, waiting + 1)
        return out if len(self.header) > 1 else 0

    def options(self) -> dict[str, Any]:
        """Arguments for pyarrow's readers, which keep every value as the text that stands there."""
        import pyarrow as pa
        import pyarrow.csv as pc

        return {
            "read_options": pc.ReadOptions(block_size=BLOCK_BYTES, encoding=self.encoding, skip_rows=self.before),
            # in a table of one column a blank line is a row without a value
            "parse_options": pc.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, ignore_empty_lines=len(self.header) > 1
            ),
            "convert_options": pc.ConvertOptions(
                column_types=dict.fromkeys(self.header, pa.string()), strings_can_be_null=False
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


def _encoding(path: Path, *, whole: bool) -> tuple[str, bool]:
    """UTF-16 by its mark, UTF-8 where all of the file is, else Windows-1252; and may lines be blank, or quotes open?

    Raises:
        DataError: it is UTF-8 but for some bytes, or holds bytes that Windows-1252 does not have.
    """
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    gaps, quotes, end = False, 0, b""
    with _open(path) as stream:
        piece = stream.read(1 << 20)
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", whole
        try:
            while piece:
                decoder.decode(piece)
                both = end + piece
                gaps = gaps or b"\n\n" in both or (b"\r" in piece and (b"\n\r" in both or b"\r\r" in both))
                quotes += piece.count(b'"')
                end = piece[-1:]
                piece = stream.read(1 << 20) if whole else b""
            decoder.decode(b"", final=whole)
        except UnicodeDecodeError:
            return _one_byte_encoding(path), whole
    return "utf8", whole and (gaps or quotes % 2 == 1)


def _one_byte_encoding(path: Path) -> str:
    """Windows-1252, where that is what the file is."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    right, wrong, lines, first, undefined = 0, 0, 1, 0, 0
    with _open(path) as stream:
        for line in iter(lambda: stream.readline(1 << 20), b""):
            said = decoder.decode(line)
            odd = len(re.findall("[\udc80-\udcff]", said))
            first = first or (lines if odd else 0)
            undefined = undefined or (lines if re.search(rb"[\x81\x8d\x8f\x90\x9d]", line) else 0)
            right, wrong = right + sum(c > "\x7f" for c in said) - odd, wrong + odd
            lines += line.count(b"\n")
    if right >= wrong:
        raise DataError(f"{path}: line {first} holds what is not UTF-8, as the others are", hint="iconv -c -t UTF-8")
    if undefined:
        raise DataError(f"{path}: line {undefined} is neither UTF-8 nor Windows-1252", hint="save it as UTF-8")
    return "cp1252"


def _ragged_line(path: Path) -> tuple[str, str] | None:
    """The first row that has not as many values as the header, and a hint; Arrow tells no line of the file."""
    form = CsvForm.of(path)
    want = len(form.header)
    rows = ((line, row) for line, row in form.rows(path) if row)
    next(rows)
    first = list(itertools.islice(rows, 20))
    for line, row in itertools.chain(first, rows):
        if len(row) != want:
            has = f"{len(row)} value{'s' * (len(row) > 1)}, the header has {want}"
            return f"line {line}: has {has}: {form.delimiter.join(row)!r:.80}", _ragged_cause(form, row, first)
    return None


def _ragged_cause(form: CsvForm, row: list[str], first: list[tuple[int, list[str]]]) -> str:
    counts, want = [len(one) for _, one in first], len(form.header)
    if row == ["\x1a"]:
        return "it is ^Z, an end of file of MS-DOS: take it out"
    if form.header[0].startswith("#") or row[0].startswith("#"):
        return "lines that begin with # are no rows of a CSV: take them out"
    if all(one[-1] == "" and len(one) == want + 1 for _, one in first):
        return "rows end with a delimiter, the header does not: take it out, or add one to the header"
    if want < min(counts):
        return "is the first line a title? It has fewer values than the others; the first line has the columns' names"
    return "a value that holds a delimiter or a line break stands in quotes"


def sniff_delimiter(head: str) -> str:
    """The delimiter of a CSV by its header: the most frequent of comma, semicolon, tab and bar outside quotes."""
    return max(",;\t|", key=lambda d: len(_header(head, d)))  # the first of equals: a comma


def _header(head: str, delimiter: str) -> list[str]:
    return next(csv.reader(StringIO(head, newline=""), delimiter=delimiter))


Done = Callable[[float], None]  # takes the share of a file that is read, 0 to 1


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
        for batch in _csv_pieces(path, form, lambda share: done(share / 2)):
            found = [text.state(text.words(pa.chunked_array([column])), decimal)[0] for column in batch.columns]
            states = [text.wider(*pair) for pair in zip(states, found, strict=True)]
    for batch in _csv_pieces(path, form, done if verbatim else lambda share: done((1 + share) / 2)):
        raw = pa.Table.from_batches([batch])
        piece = raw.rename_columns(names)
        if verbatim:
            yield piece, raw
            continue
        columns = [text.typed(c, decimal, name=s) for c, s in zip(piece.columns, states, strict=True)]
        yield piece, pa.table(columns, names=names)


def _csv_pieces(path: Path, form: CsvForm, done: Done) -> Iterator[Any]:
    """Record batches; of a compressed file the share is that of its own bytes."""
    import pyarrow as pa
    import pyarrow.csv as pc

    size = path.stat().st_size
    with pa.OSFile(os.fspath(path)) as raw:
        stream = pa.CompressedInputStream(raw, "gzip") if path.name.lower().endswith(".gz") else raw
        for batch in pc.open_csv(stream, **form.options()):
            done(raw.tell() / max(size, 1))
            yield batch


def _json_batches(path: Path, optional: Sequence[str], done: Done) -> Iterator[tuple[pa.Table, pa.Table]]:
    import pyarrow as pa

    schemas, codes = [], set[str]()
    for piece in _lines(path, lambda share: done(share / 2)):
        table = _json_types(path, piece, None)
        schemas.append(table.schema)
        codes |= _codes(table, piece)
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    for piece in _lines(path, lambda share: done((1 + share) / 2)):
        table = carried = _json_table(path, piece, schema, codes)
        for name in optional:
            if name not in schema.names:
                table = table.append_column(name, pa.nulls(table.num_rows))
        yield table, carried


def _lines(path: Path, done: Done) -> Iterator[bytes]:
    """Whole lines, about BLOCK_BYTES at a time."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        yield stream.read(BLOCK_BYTES) + stream.readline()  # of an empty file too: its reader says that it is
        while piece := stream.read(BLOCK_BYTES):
            piece += stream.readline()
            done(stream.tell() / size)
            if piece.strip():
                yield piece


def _json_table(path: Path, lines: bytes, schema: pa.Schema | None = None, codes: set[str] | None = None) -> pa.Table:
    import pyarrow as pa

    table = _json_types(path, lines, schema)
    for name in _codes(table, lines) if codes is None else codes:
        if name in table.column_names:
            rows = [json.loads(line) for line in lines.decode("utf-8-sig").splitlines() if line.strip()]
            given = [row.get(name) for row in rows]
            digits = pa.array([None if one is None else str(one) for one in given], pa.string())
            table = table.set_column(table.column_names.index(name), name, digits)
    return table


def _json_types(path: Path, lines: bytes, schema: pa.Schema | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as pj

    if not lines.strip():
        raise DataError(f"{path}: is empty")
    table = pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(block_size=len(lines) + 1),  # one block: types from every row
        parse_options=pj.ParseOptions(explicit_schema=schema),
    )
    table.validate(full=True)  # text that is not UTF-8 is taken until here
    return table


def _codes(table: pa.Table, lines: bytes) -> set[str]:
    """Columns that Arrow takes for floats, though they hold whole numbers that no float tells apart."""
    floats = [name for name in table.column_names if text.has_unsure(table.column(name))]
    if not floats:
        return set()
    rows = [json.loads(line) for line in lines.decode("utf-8-sig").splitlines() if line.strip()]
    return {name for name in floats if any(type(v := row.get(name)) is int and abs(v) > text.EXACT for row in rows)}


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

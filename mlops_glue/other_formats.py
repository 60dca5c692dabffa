"""Recognises files that glue cannot read, by name or by their first bytes, and suggests how to convert them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from mlops_glue.errors import DataError

# by suffix; FILE is the file and NEW its name without the suffix, both quoted for the shell
COMMANDS = {
    ".tsv .tab .txt .psv .dat": "cp FILE NEW.csv",  # glue detects the delimiter
    ".ndjson .jsonlines": "cp FILE NEW.jsonl",
    ".pq .parq": "cp FILE NEW.parquet",
    ".json": "jq -c '.[]' FILE > NEW.jsonl",
    ".parquet.gz .jsonl.gz .json.gz .tsv.gz .txt.gz": "gunzip -k FILE",
    ".bz2": "bunzip2 -k FILE",
    ".xz": "unxz -k FILE",
    ".zst": "unzstd FILE",
    ".zip": "unzip FILE",
}
# by suffix: the reader of pandas, and the package that it needs
PANDAS = {
    ".xlsx .xlsm": ("excel", "pip install openpyxl"),
    ".xls": ("excel", "pip install xlrd"),
    ".ods": ("excel", "pip install odfpy"),
    ".feather .arrow": ("feather", ""),
    ".orc": ("orc", ""),
    ".dta": ("stata", ""),
    ".sas7bdat .xpt": ("sas", ""),
    ".sav": ("spss", "pip install pyreadstat"),
}
QUERY = "select * from TABLE"  # the user replaces TABLE
SQLITE = b"SQLite format 3\0"
# by the first bytes: the format, and the suffix that the file should have
MAGIC = {
    b"\x1f\x8b": ("gzip data", ".gz"),
    b"PAR1": ("a Parquet file", ".parquet"),
    b"BZh": ("bzip2 data", ".bz2"),
    b"\xfd7zXZ\0": ("xz data", ".xz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard data", ".zst"),
    b"PK\3\4": ("a zip archive, as .xlsx files are", ".zip"),
    b"ARROW1": ("a Feather file", ".feather"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", ".xls"),
    SQLITE: ("a SQLite database", ".sqlite"),
}
UTF16 = {b"\0": "UTF-16BE", b"": "UTF-16LE"}  # by the byte before the first letter


def check_text(path: Path, head: bytes) -> None:
    """Check that a text file, whose decompressed beginning is `head`, does not have another format.

    Raises:
        DataError: it has.
    """
    found = next(((what, end) for magic, (what, end) in MAGIC.items() if head.startswith(magic)), None)
    if found is not None:
        what, end = found
        renamed = path.with_name((path.name if end == ".gz" else _stem(path)) + end)
        hint = f"mv {shlex.quote(str(path))} {shlex.quote(str(renamed))}"
        after = _of_sqlite(renamed) if end == ".sqlite" else command(renamed)
        raise DataError(f"{path}: is {what}, whatever its name says", hint=" && ".join(filter(None, (hint, after))))
    if re.match(rb"(?i)\s*<(!doctype html|html)\b", head.removeprefix(b"\xef\xbb\xbf")):
        raise DataError(f"{path}: is a web page, not a table", hint="download the table itself: the file is HTML")
    start = head[:64]
    if start.count(b"\0") > len(start) // 3 and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        code, name = UTF16[start[:1] if start[:1] == b"\0" else b""], shlex.quote(str(path))
        new = shlex.quote(str(path.with_name(f"{_stem(path)}_utf8{path.suffix}")))
        raise DataError(f"{path}: is UTF-16 without a byte order mark", hint=f"iconv -f {code} -t UTF-8 {name} > {new}")


def not_parquet(path: Path) -> tuple[str, str] | None:
    """Return the problem of a file that should be Parquet, and a hint; None if it is neither truncated nor text."""
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
        stream.seek(max(0, path.stat().st_size - 4))
        tail = stream.read(4)
    if head.startswith(b"PAR1") and tail != b"PAR1":
        return "it ends too early", "copy or download it again"
    if head.startswith(b"PAR1") or b"\0" in head or not head.strip():
        return None
    kind = ".jsonl" if head.lstrip().startswith(b"{") else ".csv"
    renamed = path.with_name(_stem(path) + kind)
    return "it is text", f"mv {shlex.quote(str(path))} {shlex.quote(str(renamed))}"


def not_compressed(path: Path) -> str | None:
    """Return a command that renames a file whose name says gzip but whose content is not; None if it is gzip."""
    with path.open("rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            return None
    return f"mv {shlex.quote(str(path))} {shlex.quote(str(path)[: -len('.gz')])}"


def _stem(path: Path) -> str:
    """Return the name without the suffix of its format."""
    return re.sub(r"(?i)(\.csv\.gz|\.[^.]+)$", "", path.name)


def command(path: Path) -> str | None:
    """Return a command that converts a file to a table that glue reads, by its name; None if no command is known."""
    name = path.name.lower()
    file = shlex.quote(str(path))
    for ends, command in COMMANDS.items():
        if end := next((end for end in ends.split() if name.endswith(end)), None):
            new = shlex.quote(str(path)[: -len(end)])
            return command.replace("FILE", file).replace("NEW", new)
    for ends, (reader, needs) in PANDAS.items():
        if end := next((end for end in ends.split() if name.endswith(end)), None):
            text, new = json.dumps(str(path)), json.dumps(str(path)[: -len(end)] + ".parquet")
            script = f"import pandas; pandas.read_{reader}({text}).to_parquet({new})"
            return " && ".join(filter(None, (needs, f"python -c {shlex.quote(script)}")))
    if name.endswith((".db", ".sqlite", ".sqlite3", ".duckdb")):
        return sqlite_command(path) or f"glue init --url duckdb:///{file} --query {shlex.quote(QUERY)} --target COLUMN"
    return None


def one_file(folder: Path) -> str:
    """Return a command that merges a folder of Parquet files into a file, with the columns in its folder names."""
    text, new = json.dumps(str(folder)), json.dumps(f"{str(folder).rstrip('/')}.parquet")
    return f"python -c {shlex.quote(f'import pandas; pandas.read_parquet({text}).to_parquet({new})')}"


def sqlite_command(path: Path) -> str | None:
    """Return a command that exports a table of a SQLite database, which DuckDB cannot read; None for other files."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        if stream.read(len(SQLITE)) != SQLITE:
            return None
    return _of_sqlite(path)


def _of_sqlite(path: Path) -> str:
    rows = f'pandas.read_sql("{QUERY}", sqlite3.connect({json.dumps(str(path))}))'
    script = f'import pandas, sqlite3; {rows}.to_parquet("TABLE.parquet")'
    return f"python -c {shlex.quote(script)}"

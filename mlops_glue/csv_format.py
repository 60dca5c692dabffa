"""The format of a CSV file: encoding, delimiter, header, blank lines. Values are read as text."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import itertools
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pc

from mlops_glue import other_formats
from mlops_glue.errors import DataError, first_line

BLOCK_BYTES = 8 << 20  # bytes of a text file to parse at a time
HEAD_BYTES = 1 << 20
SENTINEL = "\udfff"  # never occurs in decoded text
Progress = Callable[[float], None]  # called with the share of a file that has been read, 0 to 1


@dataclass(frozen=True)
class CsvFormat:
    """The format of a CSV file."""

    encoding: str  # a Python codec
    delimiter: str
    header: list[str]  # the column names as in the file
    skipped: int  # blank lines before the header

    @classmethod
    def of(cls, path: Path, *, whole: bool = True) -> CsvFormat:
        """Detect the format: encoding and quotes from the file (or its beginning), the rest from its first line.

        Raises:
            DataError: the file is empty, its encoding is unknown, or it ends inside quotes.
        """
        with opened(path) as stream:
            head_bytes = stream.read(HEAD_BYTES)
        other_formats.check_text(path, head_bytes)
        encoding, has_open_quote = _scan(path, whole=whole)
        start = head_bytes.decode(encoding, errors="replace").lstrip("\ufeff")
        head = re.sub(r"^([^\S\r\n]*(\r\n|\r|\n))+", "", start)  # a header may begin with a tab
        if not head.strip():
            raise DataError(f"{path}: is empty")
        # the most frequent candidate in the header, outside quotes; a comma if there is none
        delimiter = max(",;\t|", key=lambda candidate: len(_header(head, candidate)))
        skipped = len(re.findall(r"\r\n|\r|\n", start[: len(start) - len(head)]))
        found = cls(encoding, delimiter, _header(head, delimiter), skipped)
        if has_open_quote:
            for _ in found.rows(path):  # raises if the quote is never closed
                pass
        return found

    @property
    def names(self) -> list[str]:
        """Return the column names without surrounding blanks."""
        return [name.strip() for name in self.header]

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """Yield the header and the rows, each with the number of its first line; a blank line is [].

        Raises:
            DataError: the file ends inside quotes.
        """
        csv.field_size_limit((1 << 31) - 1)  # Arrow has no limit
        encoding = "utf-8-sig" if self.encoding == "utf8" else self.encoding
        with opened(path) as raw, TextIOWrapper(raw, encoding=encoding, errors="replace", newline="") as stream:
            lines = itertools.chain(itertools.islice(stream, self.skipped, None), [SENTINEL])
            reader, line = csv.reader(lines, delimiter=self.delimiter), self.skipped + 1
            for row in reader:
                if row == [SENTINEL]:
                    return
                if row and row[-1].endswith(SENTINEL):
                    raise DataError(
                        f"{path}: the row that begins in line {line} has a quote that is never closed",
                        hint='close it; the value 5" is written "5"""',
                    )
                yield line, row
                line = self.skipped + reader.line_num + 1

    def batches(self, path: Path, progress: Progress = lambda share: None) -> Iterator[pa.Table]:
        """Yield the file in pieces, with every value as text; report progress by bytes of the file."""
        size = path.stat().st_size
        with pa.OSFile(os.fspath(path)) as raw:
            batches = pc.open_csv(
                pa.CompressedInputStream(raw, "gzip") if path.name.lower().endswith(".gz") else raw,
                pc.ReadOptions(block_size=BLOCK_BYTES, encoding=self.encoding, skip_rows=self.skipped),
                # in a table with one column, a blank line is a row without a value
                pc.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, ignore_empty_lines=len(self.header) > 1
                ),
                pc.ConvertOptions(column_types=dict.fromkeys(self.header, pa.string()), strings_can_be_null=False),
            )
            for batch in batches:
                progress(raw.tell() / max(size, 1))
                yield pa.Table.from_batches([batch]).rename_columns(self.names)


def _header(head: str, delimiter: str) -> list[str]:
    return next(csv.reader(StringIO(head, newline=""), delimiter=delimiter))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, and decompress it if necessary.

    Raises:
        DataError: the file cannot be decompressed.
    """
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        try:
            yield stream  # type: ignore[misc]
        except EOFError:
            raise DataError(f"{path}: the gzip data ends too early", hint="copy or download it again") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            hint = other_formats.not_compressed(path)
            raise DataError(f"{path}: cannot be read as csv.gz: {first_line(error)}", hint=hint) from None


def _scan(path: Path, *, whole: bool) -> tuple[str, bool]:
    """Return the encoding of a file, or of its beginning, and whether a quote may be open at its end.

    The encoding is UTF-16 if the file has its mark, UTF-8 if all of the file is valid, else Windows-1252.
    """
    decoder, quotes = codecs.getincrementaldecoder("utf-8")(), 0
    with opened(path) as stream:
        piece = stream.read(HEAD_BYTES)
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", whole
        try:
            while piece:
                decoder.decode(piece)
                quotes += piece.count(b'"')
                piece = stream.read(HEAD_BYTES) if whole else b""
            decoder.decode(b"", final=whole)
        except UnicodeDecodeError:
            return _windows_encoding(path), whole
    return "utf8", whole and quotes % 2 == 1


def _windows_encoding(path: Path) -> str:
    """Check that a file that is not UTF-8 is Windows-1252, and return that encoding.

    Raises:
        DataError: some lines are UTF-8, or a line is not Windows-1252 either.
    """
    has_utf8, other = False, 0  # the first line that is not UTF-8
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.isascii():
                continue
            try:
                line.decode()
                has_utf8 = True
            except UnicodeDecodeError:
                other = other or number
            if re.search(rb"[\x81\x8d\x8f\x90\x9d]", line) and not has_utf8:
                raise DataError(f"{path}: line {number} is neither UTF-8 nor Windows-1252", hint="save it as UTF-8")
    if has_utf8:
        hint = "iconv -c -t UTF-8"
        raise DataError(f"{path}: line {other} contains bytes that are not UTF-8, unlike the other lines", hint=hint)
    return "cp1252"


def has_rows(path: Path) -> bool:
    """Does the file have a row after the header?"""
    return any(row for _, row in itertools.islice(CsvFormat.of(path).rows(path), 1, None))


def explain(path: Path) -> str | None:
    """Describe the first row whose number of values differs from the header's; Arrow's errors have no line number."""
    form = CsvFormat.of(path)
    for line, row in form.rows(path):
        if row and len(row) != len(form.header):
            found = f"{len(row)} value{'s' * (len(row) > 1)}, the header has {len(form.header)}"
            return f"line {line}: has {found}: {form.delimiter.join(row)!r:.80}"
    return None

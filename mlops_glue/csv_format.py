"""How a CSV file is written: encoding, delimiter, header, blank lines. Its values are read as text."""

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
from dataclasses import dataclass, replace
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mlops_glue.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 8 << 20  # of a text file that are parsed at a time
HEAD_BYTES = 1 << 20
SENTINEL = "\udfff"  # never occurs in decoded text
Progress = Callable[[float], None]  # takes the share of a file that has been read, 0 to 1


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV file is written.

    Attributes:
        encoding: a Python codec.
        delimiter: one character.
        header: the column names as written.
        skipped: blank lines before the header.
        blank: blank lines between rows, which are not rows.
    """

    encoding: str
    delimiter: str
    header: list[str]
    skipped: int
    blank: int = 0

    @classmethod
    def of(cls, path: Path, *, whole: bool = True) -> CsvFormat:
        """Examine a file: the encoding by all of it (or its beginning), the rest by its first line.

        Raises:
            DataError: the file is empty, its encoding is unknown, or it ends within quotes.
        """
        encoding, is_suspect = detect_encoding(path, whole=whole)
        with opened(path) as stream:
            start = stream.read(HEAD_BYTES).decode(encoding, errors="replace").lstrip("\ufeff")
        head = re.sub(r"^([^\S\r\n]*(\r\n|\r|\n))+", "", start)  # a header may begin with a tab
        if not head.strip():
            raise DataError(f"{path}: is empty")
        if re.match(r"(?i)sep=.?[\r\n]", head):
            raise DataError(
                f"{path}: its first line is {head.splitlines()[0]!r}, which is a row to all programs but Excel",
                hint="take that line out: tail -n +2",
            )
        # the most frequent one in the header, outside quotes; a comma if there is none
        delimiter = max(",;\t|", key=lambda candidate: len(_header(head, candidate)))
        skipped = len(re.findall(r"\r\n|\r|\n", start[: len(start) - len(head)]))
        found = cls(encoding, delimiter, _header(head, delimiter), skipped)
        return replace(found, blank=found._count_blank_lines(path)) if is_suspect else found

    @property
    def names(self) -> list[str]:
        """The column names without surrounding blanks."""
        return [name.strip() for name in self.header]

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """The header and the rows after it, each with the number of its first line; a blank line is [].

        Raises:
            DataError: the file ends within quotes.
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
                        f"{path}: a row that begins in line {line} has a quote that is never closed",
                        hint='close it; the value 5" is written "5"""',
                    )
                yield line, row
                line = self.skipped + reader.line_num + 1

    def _count_blank_lines(self, path: Path) -> int:
        """Blank lines outside quotes and before the last row; in a file with one column they are rows."""
        count, pending = 0, 0
        for _, row in self.rows(path):
            count, pending = (count + pending, 0) if row else (count, pending + 1)
        return count if len(self.header) > 1 else 0

    def arrow_options(self) -> dict[str, Any]:
        """Arguments for pyarrow's readers, so that they return every value as the text in the file."""
        import pyarrow as pa
        import pyarrow.csv as pc

        return {
            "read_options": pc.ReadOptions(block_size=BLOCK_BYTES, encoding=self.encoding, skip_rows=self.skipped),
            # in a table with one column, a blank line is a row without a value
            "parse_options": pc.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, ignore_empty_lines=len(self.header) > 1
            ),
            "convert_options": pc.ConvertOptions(
                column_types=dict.fromkeys(self.header, pa.string()), strings_can_be_null=False
            ),
        }

    def read(self, path: Path) -> pa.Table:
        """The whole file."""
        import pyarrow.csv as pc

        return pc.read_csv(path, **self.arrow_options()).rename_columns(self.names)

    def batches(self, path: Path, progress: Progress) -> Iterator[pa.RecordBatch]:
        """The file in pieces, with the header as written; the progress is that of the file's own bytes."""
        import pyarrow as pa
        import pyarrow.csv as pc

        size = path.stat().st_size
        with pa.OSFile(os.fspath(path)) as raw:
            stream = pa.CompressedInputStream(raw, "gzip") if path.name.lower().endswith(".gz") else raw
            for batch in pc.open_csv(stream, **self.arrow_options()):
                progress(raw.tell() / max(size, 1))
                yield batch


def _header(head: str, delimiter: str) -> list[str]:
    return next(csv.reader(StringIO(head, newline=""), delimiter=delimiter))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed.

    Raises:
        DataError: they cannot be decompressed.
    """
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        try:
            yield stream  # type: ignore[misc]
        except EOFError:
            raise DataError(f"{path}: the gzip data ends too early", hint="copy or download it again") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: cannot be read as csv.gz: {first_line(error)}") from None


def detect_encoding(path: Path, *, whole: bool) -> tuple[str, bool]:
    """UTF-16 by its mark, UTF-8 where all of the file is, else Windows-1252.

    Args:
        path: the file.
        whole: examine all of it, not the beginning alone?

    Returns:
        The encoding, and whether lines may be blank or quotes open, so that the rows must be examined.

    Raises:
        DataError: it is UTF-8 except for some bytes, or holds bytes that Windows-1252 does not have.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    gaps, quotes, end = False, 0, b""
    with opened(path) as stream:
        piece = stream.read(HEAD_BYTES)
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", whole
        try:
            while piece:
                decoder.decode(piece)
                joined = end + piece
                gaps = gaps or b"\n\n" in joined or (b"\r" in piece and (b"\n\r" in joined or b"\r\r" in joined))
                quotes += piece.count(b'"')
                end = piece[-1:]
                piece = stream.read(HEAD_BYTES) if whole else b""
            decoder.decode(b"", final=whole)
        except UnicodeDecodeError:
            return _windows_encoding(path), whole
    return "utf8", whole and (gaps or quotes % 2 == 1)


def _windows_encoding(path: Path) -> str:
    """Windows-1252, for a file that is not UTF-8.

    Raises:
        DataError: most of it is UTF-8, or it is not Windows-1252 either.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    valid, invalid, line_number, first_invalid, first_undefined = 0, 0, 1, 0, 0
    with opened(path) as stream:
        for line in iter(lambda: stream.readline(HEAD_BYTES), b""):
            decoded = decoder.decode(line)
            bad = len(re.findall("[\udc80-\udcff]", decoded))
            first_invalid = first_invalid or (line_number if bad else 0)
            first_undefined = first_undefined or (line_number if re.search(rb"[\x81\x8d\x8f\x90\x9d]", line) else 0)
            valid, invalid = valid + sum(c > "\x7f" for c in decoded) - bad, invalid + bad
            line_number += line.count(b"\n")
    if valid >= invalid:
        hint = "iconv -c -t UTF-8"
        raise DataError(f"{path}: line {first_invalid} holds bytes that are not UTF-8, unlike the others", hint=hint)
    if first_undefined:
        raise DataError(f"{path}: line {first_undefined} is neither UTF-8 nor Windows-1252", hint="save it as UTF-8")
    return "cp1252"


def explain(path: Path) -> tuple[str, str] | None:
    """The first row whose number of values is not the header's, and a hint; Arrow does not name a line of the file."""
    form = CsvFormat.of(path)
    width = len(form.header)
    rows = ((line, row) for line, row in form.rows(path) if row)
    next(rows)
    first = list(itertools.islice(rows, 20))
    for line, row in itertools.chain(first, rows):
        if len(row) != width:
            found = f"{len(row)} value{'s' * (len(row) > 1)}, the header has {width}"
            message = f"line {line}: has {found}: {form.delimiter.join(row)!r:.80}"
            return message, _ragged_hint(form, row, [values for _, values in first])
    return None


def _ragged_hint(form: CsvFormat, row: list[str], first: list[list[str]]) -> str:
    width = len(form.header)
    if row == ["\x1a"]:
        return "it is ^Z, an end of file of MS-DOS: take it out"
    if form.header[0].startswith("#") or row[0].startswith("#"):
        return "lines that begin with # are not rows of a CSV file: take them out"
    if all(values[-1] == "" and len(values) == width + 1 for values in first):
        return "rows end with a delimiter, the header does not: take it out, or add one to the header"
    if width < min(map(len, first)):
        return "is the first line a title? It has fewer values than the others; the first line has the columns' names"
    return "put a value that holds a delimiter or a line break in quotes"

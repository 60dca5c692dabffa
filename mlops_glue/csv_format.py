"""How a CSV file is written (encoding, delimiter, header, blank lines), and its values as text."""

from __future__ import annotations

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
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa


BLOCK_BYTES = 8 << 20  # of a text file, at a time


def read(path: Path, facts: dict[str, Any]) -> pa.Table:
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
        encoding, odd = encoding_of(path, whole=whole)
        with opened(path) as stream:
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
        csv.field_size_limit((1 << 31) - 1)  # Arrow has no limit
        end = "\udfff"  # in no text that was decoded
        encoding = "utf-8-sig" if self.encoding == "utf8" else self.encoding
        with opened(path) as raw, TextIOWrapper(raw, encoding=encoding, errors="replace", newline="") as stream:
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
def opened(path: Path) -> Iterator[Any]:
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        try:
            yield stream
        except EOFError:
            raise DataError(f"{path}: the gzip data ends too early", hint="copy or download it again") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: cannot be read as csv.gz: {first_line(error)}") from None


def encoding_of(path: Path, *, whole: bool) -> tuple[str, bool]:
    """UTF-16 by its mark, UTF-8 where all of the file is, else Windows-1252; and may lines be blank, or quotes open?

    Raises:
        DataError: it is UTF-8 but for some bytes, or holds bytes that Windows-1252 does not have.
    """
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    gaps, quotes, end = False, 0, b""
    with opened(path) as stream:
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
    with opened(path) as stream:
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


def ragged_line(path: Path) -> tuple[str, str] | None:
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


def batches(path: Path, form: CsvForm, done: Done) -> Iterator[Any]:
    """Record batches; of a compressed file the share is that of its own bytes."""
    import pyarrow as pa
    import pyarrow.csv as pc

    size = path.stat().st_size
    with pa.OSFile(os.fspath(path)) as raw:
        stream = pa.CompressedInputStream(raw, "gzip") if path.name.lower().endswith(".gz") else raw
        for batch in pc.open_csv(stream, **form.options()):
            done(raw.tell() / max(size, 1))
            yield batch

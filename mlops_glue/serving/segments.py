"""The files in which a worker writes the prediction log: segments of framed records, which `ship` turns into Parquet.

A frame is the payload's length and CRC-32, little-endian, 4 bytes each, then the payload in MessagePack. The first
frame of a segment is its `About`, each other frame a list of records. A process that is killed leaves at most one torn
frame at the end, of requests that were not answered. A process that writes a segment, or reads it to ship it, locks it;
the system releases the lock when the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

HEAD = struct.Struct("<II")
FORMAT = 1
SUFFIXES = (".open", ".done")  # the second was used by earlier versions of glue
LARGEST = 1 << 30  # bytes in a frame


class Column(msgspec.Struct, array_like=True):
    """A column of the request in the log."""

    name: str
    kind: str  # of fields.Field; text if the column is hashed
    dtype: str
    day_first: bool | None = False  # the order in a date that is text


class About(msgspec.Struct):
    """The description of a segment, which contains the predictions of one model version."""

    format: int
    model: str
    version: int
    fingerprint: str
    fields: list[Column]
    labels: list[Any] | None  # of the classes, in the order of the probabilities; None for regression


class Record(msgspec.Struct, array_like=True, gc=False):
    """A request that a version scored."""

    request_id: str
    time: float  # seconds since 1970 UTC
    caller_id: str | None
    alias: str
    answered: bool  # False: scored by a shadow
    rows: list[list[Any]]  # values in the order of About.fields
    predictions: list[Any]
    probabilities: list[list[float]] | None


class Segment:
    """A segment that one process writes.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, spool: Path, about: About) -> None:
        name = f"v{about.version}-{time.time_ns():x}-{os.getpid():x}-{os.urandom(3).hex()}"
        new = spool / f".{name}.new"
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)  # a user who cleaned up may have deleted it
        self.path, self.made, self.size = spool / f"{name}{SUFFIXES[0]}", time.monotonic(), 0
        self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # before the rename, so that it never looks abandoned
            self._append(msgspec.msgpack.encode(about))
            new.rename(self.path)
        except OSError:
            os.close(self._file)
            new.unlink(missing_ok=True)
            raise
        # UNSET becomes null; MessagePack can encode every other value, because the contract limits integers
        self._encode = msgspec.msgpack.Encoder(enc_hook=lambda value: None).encode

    def write(self, records: list[tuple[Any, ...]]) -> None:
        """Append records, all or none. Once this returns, they survive the end of the process.

        Raises:
            OSError: they are not in the log.
        """
        self._append(self._encode(records))

    def _append(self, payload: bytes) -> None:
        frame = HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            if os.write(self._file, frame) != len(frame):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(frame)

    def close(self) -> None:
        """Close the segment, which releases its lock: it can be shipped now."""
        os.close(self._file)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[BinaryIO | None]:
    """Open a segment and lock it; None while another process has the lock."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield stream if path.exists() else None


def frames(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the complete frames of a segment; the stream is left at the first torn frame."""
    while len(head := stream.read(HEAD.size)) == HEAD.size:
        length, check = HEAD.unpack(head)
        payload = stream.read(length) if length <= LARGEST else b""
        if not payload or len(payload) != length or zlib.crc32(payload) != check:
            stream.seek(-len(payload) - HEAD.size, os.SEEK_CUR)
            return
        yield payload
    stream.seek(-len(head), os.SEEK_CUR)


def waiting(spool: Path) -> list[Path]:
    """Return the segments that are not yet shipped, oldest first; some are still being written."""
    found = [p for p in spool.iterdir() if p.suffix in SUFFIXES] if spool.is_dir() else []
    return sorted(found, key=lambda p: p.name.split("-")[1:])


def age_s(path: Path) -> float:
    """Return the age of a segment, which its name contains."""
    return max(time.time() - int(path.name.split("-")[1], 16) / 1e9, 0.0)

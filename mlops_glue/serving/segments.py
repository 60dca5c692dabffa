"""The prediction log as a worker writes it: segments of framed records, which `ship` turns into Parquet.

A frame is the length and CRC-32 of what follows, little-endian, 4 bytes each; then MessagePack. The first frame of a
segment is its `About`, each other one a list of records. A process that is killed leaves at most one torn frame, at the
end, of requests that were not answered. Whoever writes a segment, or reads it to ship it, holds a lock on it that
ends with the process.
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
SUFFIXES = (".open", ".done")  # the second: a segment that was closed by a former glue
LARGEST = 1 << 30  # bytes of a frame


class Column(msgspec.Struct, array_like=True):
    """A column of the request, as it is in the log."""

    name: str
    kind: str  # of fields.Field; text for what is hashed
    dtype: str
    day_first: bool | None = False  # the order in a date that is text


class About(msgspec.Struct):
    """What a segment holds: predictions of one model version."""

    format: int
    model: str
    version: int
    fingerprint: str
    fields: list[Column]
    labels: list[Any] | None  # of the classes, in the order of the probabilities; None for regression


class Record(msgspec.Struct, array_like=True, gc=False):
    """One request as one version scored it."""

    request_id: str
    time: float  # seconds since 1970 UTC
    caller_id: str | None
    alias: str
    answered: bool  # False: by a shadow
    rows: list[list[Any]]  # values in the order of About.fields
    predictions: list[Any]
    probabilities: list[list[float]] | None


class Segment:
    """A segment that one process writes.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, spool: Path, about: About) -> None:
        name = f"v{about.version}-{time.time_ns():x}-{os.getpid():x}-{os.urandom(3).hex()}"
        new = spool / f".{name}.new"
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody who cleans up may have removed it
        self.path, self.made, self.size = spool / f"{name}{SUFFIXES[0]}", time.monotonic(), 0
        self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # before it has its name: nobody takes it for an abandoned one
            self._append(msgspec.msgpack.encode(about))
            new.rename(self.path)
        except OSError:
            os.close(self._file)
            new.unlink(missing_ok=True)
            raise
        # UNSET becomes null; MessagePack takes every other value of a request: the contract saw to whole numbers
        self._encode = msgspec.msgpack.Encoder(enc_hook=lambda value: None).encode

    def write(self, records: list[tuple[Any, ...]]) -> None:
        """Append records, all or none; when this returns the system has them, whatever becomes of the process.

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
        """It is whole: ready to be shipped, because this gives up the lock."""
        os.close(self._file)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[BinaryIO | None]:
    """A segment as an open file that this process alone reads; None while another process has it."""
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
    """The whole frames of a segment; the stream stays at the first that is torn."""
    while len(head := stream.read(HEAD.size)) == HEAD.size:
        length, check = HEAD.unpack(head)
        payload = stream.read(length) if length <= LARGEST else b""
        if not payload or len(payload) != length or zlib.crc32(payload) != check:
            stream.seek(-len(payload) - HEAD.size, os.SEEK_CUR)
            return
        yield payload
    stream.seek(-len(head), os.SEEK_CUR)


def waiting(spool: Path) -> list[Path]:
    """Segments that are not yet shipped, oldest first; some are still written to."""
    found = [p for p in spool.iterdir() if p.suffix in SUFFIXES] if spool.is_dir() else []
    return sorted(found, key=lambda p: p.name.split("-")[1:])


def age_s(path: Path) -> float:
    """How long ago a segment was made, by its name."""
    return max(time.time() - int(path.name.split("-")[1], 16) / 1e9, 0.0)

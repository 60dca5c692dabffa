"""fsspec: a folder of files at any URL. A remote folder has the time limit of a store."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from uuid import uuid4

from mlops_glue import waiting
from mlops_glue.errors import GlueError, MissingExtra, ToolError, brief
from mlops_glue.files import atomic
from mlops_glue.secrets import redacted

MAX_MESSAGE = 200  # characters
AWAY = "is it running, and are its credentials valid? glue doctor"
Result = TypeVar("Result")


class Folder:
    """A folder, local or at a URL such as s3://bucket/place.

    Raises:
        MissingExtra: the package that the URL needs is not installed.
        Unreachable: the store does not answer; each method raises it too.
        ToolError: the folder cannot be opened.
    """

    def __init__(self, where: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtra("fsspec", "serving") from error
        self.where = redacted(where)  # for messages
        self._url = where
        with self._translated():
            self._files, self._path = fsspec.core.url_to_fs(where)
        self._local = "file" in (self._files.protocol if isinstance(self._files.protocol, tuple) else ())

    @contextlib.contextmanager
    def _translated(self, hint: str | None = None) -> Iterator[None]:
        try:
            yield
        except GlueError:
            raise
        except ImportError as error:
            raise ToolError(f"{self.where}: {brief(error)}", hint="pip install what its file system needs") from error
        except Exception as error:  # each file system has its own
            line = redacted(f"{type(error).__name__}: {error}", self._url).splitlines()[0]  # it may quote the URL
            raise ToolError(f"{self.where}: {line[:MAX_MESSAGE]}", hint=hint) from error

    def _answered(self, work: Callable[[], Result]) -> Result:
        with self._translated(None if self._local else AWAY):
            return work() if self._local else waiting.answered(self.where, work)

    def put(self, source: Path, name: str) -> None:
        """Copy a file to the folder; it appears under its name only once it is complete.

        Raises:
            ToolError: the file could not be written.
        """
        target = f"{self._path.rstrip('/')}/{name}"

        def work() -> None:
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            if self._local:
                with atomic(Path(target)) as temporary:
                    shutil.copyfile(source, temporary)
            else:  # an object store shows only complete objects
                self._files.put_file(str(source), target)

        self._answered(work)

    def files(self) -> list[tuple[str, int, float]]:
        """Return name, bytes and time (seconds since 1970) of each file, including hidden files."""

        def work() -> dict[str, Any]:
            self._files.invalidate_cache()
            return self._files.find(self._path, detail=True) if self._files.exists(self._path) else {}

        found, start = self._answered(work), len(self._path.rstrip("/")) + 1
        return [(name[start:], int(details["size"] or 0), _modified(details)) for name, details in found.items()]

    def open(self, name: str) -> IO[bytes]:
        """Open a file as a binary stream, whose methods raise the same errors.

        Raises:
            ToolError: the file cannot be opened.
        """
        stream = self._answered(lambda: self._files.open(f"{self._path.rstrip('/')}/{name}", "rb"))
        return cast(IO[bytes], stream if self._local else _Stream(stream, self._answered))

    def remove(self, name: str) -> None:
        """Delete a file. It is no error if another host has deleted it first."""

        def work() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(f"{self._path.rstrip('/')}/{name}")

        self._answered(work)

    def try_out(self) -> None:
        """Write a file to the folder, and delete it.

        Raises:
            ToolError: the folder is not writable.
        """
        name = f"glue-doctor-{uuid4().hex}"
        with tempfile.NamedTemporaryFile() as file:
            self.put(Path(file.name), name)
        self.remove(name)


class _Stream(io.RawIOBase):
    """A file of a store, which may stop answering during a read."""

    def __init__(self, stream: IO[bytes], answered: Callable[[Callable[[], Any]], Any]) -> None:
        self._stream, self._answered = stream, answered

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        data = self._answered(lambda: self._stream.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _modified(found: dict[str, Any]) -> float:
    """Return when a file was modified, in seconds since 1970; 0 if unknown. Each file system uses another key."""
    for key in ("mtime", "LastModified", "updated", "last_modified"):
        value = found.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0

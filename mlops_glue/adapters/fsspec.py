"""fsspec: a folder of files at any URL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_glue.errors import MissingExtra, ToolError, brief
from mlops_glue.secrets import redacted


class Folder:
    """A folder, here or at a URL such as s3://bucket/place.

    Args:
        where: a path or a URL.

    Raises:
        MissingExtra: what the URL needs is not installed.
        ToolError: it cannot be opened.
    """

    def __init__(self, where: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtra("fsspec", "serving") from error
        self.where = redacted(where)  # as it is shown
        self._whole = where
        with self._told():
            self._files, self._path = fsspec.core.url_to_fs(where)
        self._local = "file" in (self._files.protocol if isinstance(self._files.protocol, tuple) else ())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise ToolError(f"{self.where}: {brief(error)}", hint="pip install what its file system needs") from error
        except Exception as error:  # each file system has its own
            said = redacted(f"{type(error).__name__}: {error}", self._whole).splitlines()[0]  # it may quote the URL
            raise ToolError(f"{self.where}: {said[:200]}") from error

    def put(self, source: Path, name: str) -> None:
        """Copy a file there, under its name at once and whole.

        Raises:
            ToolError: it could not be written.
        """
        target = f"{self._path.rstrip('/')}/{name}"
        with self._told():
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            if not self._local:  # an object is there when it is whole
                self._files.put_file(str(source), target)
                return
            folder, _, last = target.rpartition("/")
            hidden = f"{folder}/.{last}.tmp"
            self._files.put_file(str(source), hidden)
            handle = os.open(hidden, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            Path(hidden).replace(target)

    def files(self) -> list[tuple[str, int, float]]:
        """Name, bytes and time (seconds since 1970) of each file, hidden ones too."""
        with self._told():
            self._files.invalidate_cache()
            found: dict[str, Any] = self._files.find(self._path, detail=True) if self._files.exists(self._path) else {}
        start = len(self._path.rstrip("/")) + 1
        return [(name[start:], int(one["size"] or 0), _time(one)) for name, one in found.items()]

    def open(self, name: str) -> Any:
        """A file as a binary stream.

        Raises:
            ToolError: it cannot be opened.
        """
        with self._told():
            return self._files.open(f"{self._path.rstrip('/')}/{name}", "rb")

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._told():
            self._files.rm_file(f"{self._path.rstrip('/')}/{name}")


def _time(found: dict[str, Any]) -> float:
    for key in ("mtime", "LastModified", "updated", "last_modified"):
        value = found.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0

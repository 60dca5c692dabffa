"""The file system through which DVC reads and writes a project's files; imports DVC."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dvc.fs import LocalFileSystem

from mlops_glue.files import atomic


class ProjectFiles(LocalFileSystem):  # type: ignore[misc]
    """The local file system, with two differences.

    `dvc.lock` is replaced atomically, because DVC truncates it before it writes, after each stage. And `dvc.yaml` may
    have a different text than on disk, so that DVC can report what it would do with that text.
    """

    def __init__(self, root: Path, dvc_yaml: str | None = None) -> None:
        super().__init__()
        self._pipeline, self._text = (root / "dvc.yaml").resolve(), dvc_yaml

    def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """Open a file, as `open` does."""
        if "w" in mode and Path(path).name == "dvc.lock":
            return _replaced(Path(path), **options)
        if self._text is not None and Path(path).resolve() == self._pipeline:
            return io.StringIO(self._text)
        return super().open(path, mode, **options)


@contextlib.contextmanager
def _replaced(path: Path, encoding: str = "utf-8") -> Iterator[IO[str]]:
    with atomic(path) as temporary, temporary.open("w", encoding=encoding) as stream:
        yield stream

"""The file system that DVC reads and writes a project's files through; imports DVC."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dvc.fs import LocalFileSystem

from mlops_glue.files import atomic


class ProjectFiles(LocalFileSystem):  # type: ignore[misc]
    """The local files, with two differences.

    `dvc.lock` is replaced as a whole: DVC itself empties it before it writes, after each stage. And `dvc.yaml` may have
    another text than on disk, so that DVC can answer what it would do with it.
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

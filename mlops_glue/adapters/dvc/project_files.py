"""The file system that DVC reads and writes a project's files through; imports DVC."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from dvc.fs import LocalFileSystem

from mlops_glue.files import atomic


class ProjectFiles(LocalFileSystem):  # type: ignore[misc]
    """The local files, with two differences.

    `dvc.lock` is replaced as a whole: DVC itself empties it before it writes, after each stage. And a file may have
    another text than on disk, so that DVC can answer what it would do with it.

    Args:
        texts: the text of a file by its path.
    """

    def __init__(self, texts: Mapping[Path, str] | None = None) -> None:
        super().__init__()
        self._texts = {path.resolve(): text for path, text in (texts or {}).items()}

    def _text(self, path: Any) -> str | None:
        return self._texts.get(Path(path).resolve()) if self._texts else None

    def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """Open a file, as `open` does."""
        if "w" in mode and Path(path).name == "dvc.lock":
            return _replaced(Path(path), **options)
        text = self._text(path)
        return super().open(path, mode, **options) if text is None else io.StringIO(text)

    def exists(self, path: Any, **options: Any) -> bool:
        """Is there such a file or folder?"""
        return self._text(path) is not None or bool(super().exists(path, **options))

    def isfile(self, path: Any) -> bool:
        """Is there such a file?"""
        return self._text(path) is not None or bool(super().isfile(path))

    def walk(self, path: Any, **options: Any) -> Iterator[Any]:
        """Walk through a folder, as `os.walk` does."""
        for folder, folders, names in super().walk(path, **options):
            here = Path(folder).resolve() if self._texts else None
            new = [known.name for known in self._texts if known.parent == here and known.name not in names]
            yield folder, folders, [*names, *new] if new else names


@contextlib.contextmanager
def _replaced(path: Path, encoding: str = "utf-8") -> Iterator[IO[str]]:
    with atomic(path) as temporary, temporary.open("w", encoding=encoding) as stream:
        yield stream

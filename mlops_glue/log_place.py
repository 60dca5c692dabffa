"""The place of a prediction log: a folder, local or at a URL, or PostgreSQL tables."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mlops_glue.adapters.adbc import LogTables
from mlops_glue.adapters.fsspec import Folder
from mlops_glue.errors import MissingExtra

LogPlace = Folder | LogTables
SCHEMES = ("postgresql://", "postgres://")


def opened(where: str, root: Path = Path()) -> LogPlace:
    """Open the log at a URL, or at a path relative to `root`.

    Raises:
        MissingExtra: a package that the URL requires is not installed.
        ToolError: the log cannot be opened.
    """
    if where.startswith(SCHEMES):
        return LogTables(where)
    return Folder(where if "://" in where else str(root / where))


def check_driver(where: str) -> None:
    """Check that the driver for a PostgreSQL log is installed.

    Raises:
        MissingExtra: the driver is not installed.
    """
    if where.startswith(SCHEMES) and find_spec("adbc_driver_postgresql") is None:
        raise MissingExtra("adbc-driver-postgresql", "postgres")

"""Where a prediction log is: a folder, here or at a URL, or tables of PostgreSQL."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mlops_glue.adapters.adbc import LogTables
from mlops_glue.adapters.fsspec import Folder
from mlops_glue.errors import MissingExtra

LogPlace = Folder | LogTables
SCHEMES = ("postgresql://", "postgres://")


def opened(where: str, root: Path = Path()) -> LogPlace:
    """The log at a URL, or at a path from `root`.

    Raises:
        MissingExtra: what the URL needs is not installed.
        ToolError: it cannot be opened.
    """
    if where.startswith(SCHEMES):
        return LogTables(where)
    return Folder(where if "://" in where else str(root / where))


def check_driver(where: str) -> None:
    """Is the driver of a PostgreSQL here?

    Raises:
        MissingExtra: it is not.
    """
    if where.startswith(SCHEMES) and find_spec("adbc_driver_postgresql") is None:
        raise MissingExtra("adbc-driver-postgresql", "postgres")

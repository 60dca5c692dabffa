"""Where a prediction log is: a folder, here or at a URL, or tables of PostgreSQL."""

from __future__ import annotations

from importlib.util import find_spec

from mlops_glue.adapters.adbc import LogTables
from mlops_glue.adapters.fsspec import Folder
from mlops_glue.errors import MissingExtra

LogPlace = Folder | LogTables
SCHEMES = ("postgresql://", "postgres://")


def opened(where: str) -> LogPlace:
    """The log at a path or a URL.

    Raises:
        MissingExtra: what the URL needs is not installed.
        ToolError: it cannot be opened.
    """
    return LogTables(where) if where.startswith(SCHEMES) else Folder(where)


def check_driver(where: str) -> None:
    """Is the driver of a PostgreSQL here?

    Raises:
        MissingExtra: it is not.
    """
    if where.startswith(SCHEMES) and find_spec("adbc_driver_postgresql") is None:
        raise MissingExtra("adbc-driver-postgresql", "postgres")

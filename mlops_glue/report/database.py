"""Can a SQLite file be read? Nothing is written to it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def problem(path: Path, *, thorough: bool = False) -> str | None:
    """What is wrong with a database, as its head or (`thorough`) all of it tells; None if nothing is."""
    if not path.is_file():
        return "is not there"
    pragma = "integrity_check" if thorough else "schema_version"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            (answer,) = database.execute(f"pragma {pragma}").fetchone()
    except sqlite3.Error as error:
        return f"cannot be read ({error})"
    return f"is damaged: {answer}" if thorough and answer != "ok" else None

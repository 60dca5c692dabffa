"""A table for a terminal, a page or a notebook."""

from __future__ import annotations

from typing import NamedTuple


class Table(NamedTuple):
    """A titled table of texts."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]

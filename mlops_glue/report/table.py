"""A table that a terminal, a page and a notebook show alike."""

from __future__ import annotations

from typing import NamedTuple


class Table(NamedTuple):
    """Rows of text below a title."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]

"""What a call returns: the record that `--json` prints, shown in a notebook as the command shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from mlops_glue.report.table import Table

if TYPE_CHECKING:
    import pandas as pd


class Answer(Mapping[str, Any]):
    """A read-only mapping with the keys of `--json`.

    Attributes:
        lines: what the command prints.
        tables: the tables that it prints, each a data frame of text, by title.
    """

    def __init__(
        self, record: Mapping[str, Any], lines: Iterable[str], tables: Iterable[Table] = (), picture: str | None = None
    ) -> None:
        """`picture` is an SVG, for notebooks alone."""
        self._record, self.lines = dict(record), list(lines)
        self._tables, self._picture = list(tables), picture

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """By title."""
        import pandas as pd

        return {table.title: pd.DataFrame(table.rows, columns=table.head) for table in self._tables}

    def __getitem__(self, key: str) -> Any:
        """A value of the record."""
        return self._record[key]

    def __iter__(self) -> Iterator[str]:
        """The keys of the record."""
        return iter(self._record)

    def __len__(self) -> int:
        """How many keys the record has."""
        return len(self._record)

    def __repr__(self) -> str:
        """The tables and the lines as text."""
        parts = []
        for table, frame in zip(self._tables, self.tables.values(), strict=True):
            parts += [table.title, *([frame.to_string(index=False)] if table.rows else []), *table.notes, ""]
        return "\n".join([*parts, *self.lines])

    def _repr_html_(self) -> str:
        parts = []
        for table, frame in zip(self._tables, self.tables.values(), strict=True):
            parts.append(f"<h4>{escape(table.title)}</h4>")
            parts += [frame.to_html(index=False, border=0)] if table.rows else []
            parts += [f"<p>{escape(note)}</p>" for note in table.notes]
        lines = "\n".join(escape(line) for line in self.lines)
        return "\n".join([*parts, self._picture or "", f"<pre>{lines}</pre>" if lines else ""])

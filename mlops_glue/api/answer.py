"""The return value of a call: the record that `--json` prints, shown in a notebook as the command shows it."""

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
        lines: the lines that the command prints.
        tables: the tables that the command prints, as data frames of text, by title.
    """

    def __init__(
        self, record: Mapping[str, Any], lines: Iterable[str], tables: Iterable[Table] = (), picture: str | None = None
    ) -> None:
        """Create an answer; `picture` is an SVG that only notebooks show."""
        self._record, self.lines = dict(record), list(lines)
        self._tables, self._picture = list(tables), picture

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables as data frames, by title."""
        import pandas as pd

        return {table.title: pd.DataFrame(table.rows, columns=table.head) for table in self._tables}

    def __getitem__(self, key: str) -> Any:
        """Return a value of the record."""
        return self._record[key]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys of the record."""
        return iter(self._record)

    def __len__(self) -> int:
        """Return the number of keys of the record."""
        return len(self._record)

    def __repr__(self) -> str:
        """Return the tables and the lines as text."""
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

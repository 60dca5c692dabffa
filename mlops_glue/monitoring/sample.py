"""A random sample of rows that are read in pieces, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
PAGE_ROWS = 2000  # for each side of Evidently's page


class RowSample:
    """A random sample: all rows if there are at most twice `rows`, else between `rows` and twice as many.

    Each row has the same probability, which is halved whenever the sample grows too large. So the sample does not miss
    periodic rows, such as every second row of each request.
    """

    def __init__(self, rows: int) -> None:
        self._most, self._probability = rows, 1.0
        self._random = np.random.default_rng(0)
        self._drawn: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Draw rows from a piece and keep them."""
        self.keep(self.draw(table))

    def draw(self, table: pa.Table) -> pa.Table:
        """Return the rows of a piece that belong to the sample."""
        if self._probability == 1:
            return table
        return table.filter(self._random.random(table.num_rows) < self._probability)

    def keep(self, drawn: pa.Table) -> None:
        """Add drawn rows, possibly transformed."""
        self._drawn.append(drawn)
        while self.rows > 2 * self._most:
            self._probability /= 2
            self._drawn = [table.filter(self._random.random(table.num_rows) < 0.5) for table in self._drawn]

    @property
    def rows(self) -> int:
        """The number of rows in the sample."""
        return sum(table.num_rows for table in self._drawn)

    @property
    def sampled(self) -> int | None:
        """The number of rows in the sample; None if it contains all rows."""
        return None if self._probability == 1 else self.rows

    def table(self) -> pa.Table | None:
        """Return the rows; None if there are none. Columns that are missing from a piece are null.

        If column types differ between pieces, only pieces with the last piece's types are used.
        """
        import pyarrow as pa

        if not self._drawn:
            return None
        try:
            return pa.concat_tables(self._drawn, promote_options="permissive")
        except pa.ArrowException:
            schema = self._drawn[-1].schema
            return pa.concat_tables([table for table in self._drawn if table.schema == schema])

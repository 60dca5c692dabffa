"""A random sample of rows that are read piece by piece, in memory that does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
PAGE_ROWS = 2000  # of each side of Evidently's page


class RowSample:
    """Rows drawn at random: all of them while there are at most twice `rows`, later between `rows` and twice as many.

    Each row is drawn with the same probability, which is halved whenever there are too many; so nothing that repeats
    in the log, as every second row of a request, can be left out.
    """

    def __init__(self, rows: int) -> None:
        self._most, self._probability = rows, 1.0
        self._random = np.random.default_rng(0)
        self._drawn: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Draw from a piece, and keep what is drawn."""
        self.keep(self.draw(table))

    def draw(self, table: pa.Table) -> pa.Table:
        """The rows of a piece that belong to the sample."""
        if self._probability == 1:
            return table
        return table.filter(self._random.random(table.num_rows) < self._probability)

    def keep(self, drawn: pa.Table) -> None:
        """Add rows that were drawn, or what was made of them."""
        self._drawn.append(drawn)
        while self.rows > 2 * self._most:
            self._probability /= 2
            self._drawn = [table.filter(self._random.random(table.num_rows) < 0.5) for table in self._drawn]

    @property
    def rows(self) -> int:
        """How many rows the sample has."""
        return sum(table.num_rows for table in self._drawn)

    @property
    def sampled(self) -> int | None:
        """How many rows the sample has; None while it has all."""
        return None if self._probability == 1 else self.rows

    def table(self) -> pa.Table | None:
        """The rows, or None where nothing was added; a column that a piece lacks is null there.

        Where a column has another type in some pieces, only pieces of the last one's types count.
        """
        import pyarrow as pa

        if not self._drawn:
            return None
        try:
            return pa.concat_tables(self._drawn, promote_options="permissive")
        except pa.ArrowException:
            schema = self._drawn[-1].schema
            return pa.concat_tables([table for table in self._drawn if table.schema == schema])

"""How many rows of requests find nothing in the online store."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from mlops_glue.records import FeatureList

WINDOW_S = 60.0
MIN_ROWS = 10  # fewer say nothing of a share


class NotFound:
    """Rows for which a view had nothing, or nothing younger than its TTL: counted, and their share of the last minute.

    Args:
        features: of the model.
        max_share: the share of the rows that may find nothing.
    """

    def __init__(self, features: FeatureList | None, max_share: float) -> None:
        refs = [ref.partition(":")[0] for ref in features.columns.values()] if features else []
        self._places = {view: [at for at, of in enumerate(refs) if of == view] for view in dict.fromkeys(refs)}
        self._max_share = max_share
        self._uncounted: list[list[list[Any]]] = []
        self._counted: deque[tuple[float, int, dict[str, int]]] = deque()  # time, rows, of these not found by view

    def add(self, found: list[list[Any]]) -> None:
        """Remember what a request has looked up."""
        self._uncounted.append(found)

    def count(self) -> dict[str, int]:
        """By view, of what was seen since the last count."""
        rows, self._uncounted = [row for found in self._uncounted for row in found], []
        counts = {
            view: sum([row[at[0]] is None and all(row[place] is None for place in at) for row in rows])
            for view, at in self._places.items()
        }
        if rows:
            self._counted.append((time.monotonic(), len(rows), counts))
        while self._counted and self._counted[0][0] < time.monotonic() - WINDOW_S:
            self._counted.popleft()
        return {view: n for view, n in counts.items() if n}

    def problems(self) -> list[str]:
        """The views that had nothing for too many of the rows."""
        rows = sum(n for _, n, _ in self._counted)
        missing = {view: sum(counts[view] for _, _, counts in self._counted) for view in self._places}
        return [
            f"the online store has nothing in {view} for {n} of the {rows} rows of the last minute"
            for view, n in missing.items()
            if rows >= MIN_ROWS and n > self._max_share * rows
        ]

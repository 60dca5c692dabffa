"""Exponential backoff: the pause before the next attempt doubles after each failure, up to a limit."""

from __future__ import annotations

import time


class Backoff:
    """The pauses between attempts of one kind.

    Args:
        first_s: the pause after the first failure.
        longest_s: the longest pause.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self.pause_s = 0.0
        self._due = 0.0

    @property
    def failed(self) -> bool:
        """Did the last attempt fail?"""
        return self.pause_s > 0

    @property
    def is_due(self) -> bool:
        """Is it time for the next attempt?"""
        return time.monotonic() >= self._due

    def fail(self) -> None:
        """Record a failed attempt."""
        self.pause_s = min(2 * self.pause_s, self._longest_s) if self.failed else self._first_s
        self._due = time.monotonic() + self.pause_s

    def succeed(self) -> None:
        """Record a success: the next failure starts with the first pause again."""
        self.pause_s = self._due = 0.0

"""The prediction log of one worker, which is written before the answer is sent."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlops_glue import config
from mlops_glue.serving.fields import UNSET
from mlops_glue.serving.model import Model
from mlops_glue.serving.segments import FORMAT, About, Column, Segment, age_s, waiting

HASH_BYTES = 16
ROWS = 5  # their position in a record

Mask = Callable[[Sequence[Any]], list[Any]]  # from a row of the contract to the row that is written


class PredictionLog:
    """The open segments of this process, at most one per version."""

    def __init__(self, spool: Path, options: config.PredictionLog) -> None:
        self._spool, self._options = spool, options
        key = os.environ[options.hash_key[2:-1]] if options.hash_key else ""
        self._key = hashlib.sha256(key.encode()).digest()
        self._open: dict[tuple[int, str], tuple[Segment, Mask | None]] = {}

    def write(self, model: Model, fingerprint: str, records: list[tuple[Any, ...]]) -> None:
        """Append the records of scored requests, all or none; their fields are those of `segments.Record`.

        Raises:
            OSError: the log cannot be written.
        """
        key = (model.version, model.digest)
        found = self._open.get(key)
        if found is None:
            columns, mask = self._columns(model)
            about = About(FORMAT, model.name, model.version, fingerprint, columns, model.schema.labels)
            found = self._open[key] = (Segment(self._spool, about), mask)
        segment, mask = found
        if mask is not None:
            records = [(*r[:ROWS], [mask(row) for row in r[ROWS]], *r[ROWS + 1 :]) for r in records]
        segment.write(records)
        if segment.size >= self._options.rotate_bytes:
            self._close(key)

    def _columns(self, model: Model) -> tuple[list[Column], Mask | None]:
        """Return the columns to write, and the function that masks a row; None if nothing is omitted or hashed."""
        omitted, hashed = set(self._options.omit), set(self._options.hash)
        written = [(at, field) for at, field in enumerate(model.contract.fields) if field.name not in omitted]
        columns = [Column(f.name, "text" if f.name in hashed else f.kind, f.dtype, f.day_first) for _, f in written]
        if not (omitted | hashed) & set(model.contract.position):
            return columns, None
        plan = [(at, field.name in hashed) for at, field in written]

        def mask(row: Sequence[Any]) -> list[Any]:
            return [self._hash(row[at]) if is_hashed else row[at] for at, is_hashed in plan]

        return columns, mask

    def _hash(self, value: Any) -> str | None:
        """Return the keyed BLAKE2b hash of the value as JSON, as 32 hexadecimal digits."""
        if value is None or value is UNSET:
            return None
        return hashlib.blake2b(msgspec.json.encode(value), digest_size=HASH_BYTES, key=self._key).hexdigest()

    def rotate_old(self) -> None:
        """Close segments that are old enough; called periodically."""
        now = time.monotonic()
        for key, (segment, _) in list(self._open.items()):
            if now - segment.made >= self._options.rotate_s:
                self._close(key)

    def waiting(self) -> tuple[int, float]:
        """Return how many segments of all processes are not yet Parquet, and the age of the oldest in seconds."""
        found = waiting(self._spool)
        return len(found), age_s(found[0]) if found else 0.0

    def _close(self, key: tuple[int, str]) -> None:
        self._open.pop(key)[0].close()

    def close(self) -> None:
        """Close every segment."""
        for key in list(self._open):
            self._close(key)

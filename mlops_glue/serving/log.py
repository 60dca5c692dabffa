"""The prediction log of one worker: what is answered is written first."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mlops_glue.serving.contract import UNSET
from mlops_glue.serving.model import Model
from mlops_glue.serving.segments import FORMAT, About, Field, Segment

HASH_BYTES = 16
ROWS = 5  # their place in a record


@dataclass(frozen=True)
class LogSettings:
    """What a worker is told of the log; plain data."""

    spool: str  # folder of the segments
    full: str = "refuse"
    omit: list[str] = field(default_factory=list)
    hash: list[str] = field(default_factory=list)
    hash_key: str | None = None  # name of the environment variable
    rotate_s: float = 60.0
    rotate_bytes: int = 32 << 20


class PredictionLog:
    """Segments of this process, one at a time for each version.

    Args:
        settings: where, and what is left out.
        key: of the hashes.
    """

    def __init__(self, settings: LogSettings, key: bytes) -> None:
        self.settings, self._key = settings, key
        self._spool = Path(settings.spool)
        self._open: dict[tuple[int, str], tuple[Segment, Callable[[Sequence[Any]], Any] | None]] = {}

    def write(self, model: Model, fingerprint: str, records: list[tuple[Any, ...]]) -> None:
        """Append what a version scored, all or nothing; each record as `segments.Record` has it.

        Raises:
            OSError: the log cannot be written.
        """
        key = (model.version, model.digest)
        found = self._open.get(key)
        if found is None:
            fields, masked = self._masked(model)
            about = About(FORMAT, model.name, model.version, fingerprint, fields, model.schema.labels)
            found = self._open[key] = (Segment(self._spool, about), masked)
        segment, mask = found
        if mask is not None:
            records = [(*one[:ROWS], [mask(row) for row in one[ROWS]], *one[ROWS + 1 :]) for one in records]
        segment.write(records)
        if segment.size >= self.settings.rotate_bytes:
            self._close(key)

    def _masked(self, model: Model) -> tuple[list[Field], Callable[[Sequence[Any]], Any] | None]:
        """The fields that are written, and what makes a row of them; None where it is the row itself."""
        omit, hashed = set(self.settings.omit), set(self.settings.hash)
        kept = [(at, one) for at, one in enumerate(model.contract.fields) if one.name not in omit]
        fields = [Field(f.name, "text" if f.name in hashed else f.kind, f.dtype, f.day_first) for _, f in kept]
        if not (omit | hashed) & {one.name for one in model.contract.fields}:
            return fields, None
        plan = [(at, one.name in hashed) for at, one in kept]

        def mask(row: Sequence[Any]) -> list[Any]:
            return [self._hashed(row[at]) if hides else row[at] for at, hides in plan]

        return fields, mask

    def _hashed(self, value: Any) -> str | None:
        """BLAKE2b with the key, of the value as JSON, as 32 hexadecimal digits."""
        if value is None or value is UNSET:
            return None
        return hashlib.blake2b(msgspec.json.encode(value), digest_size=HASH_BYTES, key=self._key).hexdigest()

    def settle(self) -> None:
        """Close segments that are old; called now and then."""
        now = time.monotonic()
        for key, (segment, _) in list(self._open.items()):
            if now - segment.made >= self.settings.rotate_s:
                self._close(key)

    def _close(self, key: tuple[int, str]) -> None:
        self._open.pop(key)[0].close()

    def close(self) -> None:
        """Close every segment."""
        for key in list(self._open):
            self._close(key)

"""The embedded store as a server reads it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mlops_glue.adapters.feast.packed import PackedFile, encode, key_of
from mlops_glue.adapters.feast.packed import View as Spec
from mlops_glue.records import FeatureList, View
from mlops_glue.serving.lookup import NotReached, Packed


def write(file: PackedFile, view: str, who: int, values: list[Any], age_s: float = 0) -> None:
    number = file.declare(Spec(f"p_{view}", ("id",), (("x", "INT64"), ("y", "STRING")), None))
    when = time.time_ns() // 1000 - int(age_s * 1e6)
    file.write(f"p_{view}", [(key_of([who]), when, None, encode([number, *values]))])


def test_what_was_read_is_kept_until_the_file_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One view for ever good, one for two seconds."""
    path = tmp_path / "online.db"
    writer = PackedFile(path)
    write(writer, "a", 1, [7, "seven"])
    write(writer, "b", 1, [8, "eight"])
    views = [
        View("a", {"id": "who"}, {"x": "number"}, 0.0, "", of="a"),
        View("b", {"id": "who"}, {"x": "number", "y": "category"}, 2.0, "", of="b"),
    ]
    listed = FeatureList(["b:y", "a:x", "b:x"], views, {"y": "b:y", "x": "a:x", "bx": "b:x"})
    lookup = Packed(listed, 0.2, 0.0, path=str(path), project="p")
    reads: list[int] = []
    kept = PackedFile.read_together
    monkeypatch.setattr(PackedFile, "read_together", lambda *a: reads.append(len(a[1][0][1])) or kept(*a))

    def read(*who: int | None) -> list[list[Any]]:
        return asyncio.run(lookup.read([(one,) for one in who]))

    assert read(1, 2, 1, None) == [["eight", 7, 8], [None] * 3, ["eight", 7, 8], [None] * 3]
    assert read(1, 2) == [["eight", 7, 8], [None] * 3] and reads == [3]
    write(writer, "a", 2, [9, "nine"])
    assert read(2, 1) == [[None, 9, None], ["eight", 7, 8]] and reads == [3, 2]
    later = time.time_ns() + 2_100_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert read(1, 2) == [[None, 7, None], [None, 9, None]] and reads == [3, 2, 1]
    path.rename(tmp_path / "away.db")
    with pytest.raises(NotReached):
        read(1)
    write(PackedFile(path), "a", 1, [10, "ten"])
    with pytest.raises(NotReached):  # the other view is not there yet
        read(1)
    write(PackedFile(path), "b", 1, [11, "eleven"])
    assert read(1) == [["eleven", 10, 11]]

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
from mlops_glue.serving import lookup as lookups
from mlops_glue.serving.lookup import Lookup, NotFound, NotReached, Packed, Whom


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


def test_what_was_read_is_read_again_when_it_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `lookup_cache_s: 5`: after 4.9 s it is what was read, after 5.1 s it is read anew; each entity by itself."""
    asked: list[list[Whom]] = []

    class Store(Lookup):
        async def _read(self, keys: list[Whom]) -> list[list[Any]]:
            asked.append(keys)
            return [[one[0], len(asked)] for one in keys]

    now = [1000.0]
    monkeypatch.setattr(lookups.time, "monotonic", lambda: now[0])
    store = Store(FeatureList([], [], {}), 0.2, 5.0)

    def read(*who: int) -> list[list[Any]]:
        return asyncio.run(store.read([(one,) for one in who]))

    assert read(1, 2, 1) == [[1, 1], [2, 1], [1, 1]] and asked == [[(1,), (2,)]]
    now[0] = 1004.9
    assert read(2, 3) == [[2, 1], [3, 2]] and asked[1:] == [[(3,)]]
    now[0] = 1005.1
    assert read(1, 3) == [[1, 3], [3, 2]] and asked[2:] == [[(1,)]]
    now[0] = 1009.95
    assert read(3, 1) == [[3, 4], [1, 3]] and asked[3:] == [[(3,)]]


def test_views_of_different_entities_and_ttls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each view is read by its own key, and an answer is good until the first value of it becomes too old."""
    path = tmp_path / "online.db"
    writer = PackedFile(path)
    write(writer, "shop", 1, [10, "s1"])
    write(writer, "shop", 2, [20, "s2"])
    write(writer, "card", 1, [11, "c1"])
    write(writer, "card", 2, [22, "c2"])
    for ttls in ((2.0, 60.0), (60.0, 2.0)):
        views = [
            View("shop", {"id": "shop_id"}, {"x": "number"}, ttls[0], "", of="shop"),
            View("card", {"id": "card_id"}, {"x": "number"}, ttls[1], "", of="card"),
        ]
        listed = FeatureList([], views, {"s": "shop:x", "c": "card:x"})
        assert listed.asked_by == ["card_id", "shop_id"]
        store = Packed(listed, 0.2, 0.0, path=str(path), project="p")

        def read(*whom: Whom, store: Packed = store) -> list[list[Any]]:
            return asyncio.run(store.read(list(whom)))

        assert read((1, 2), (2, 1), (2, 9), (None, 2)) == [[20, 11], [10, 22], [None, 22], [20, None]]
        with monkeypatch.context() as later:
            at = time.time_ns() + 2_500_000_000
            later.setattr(time, "time_ns", lambda at=at: at)
            assert read((1, 2)) == [[None, 11] if ttls[0] == 2.0 else [20, None]]


def test_an_empty_store_is_told(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    views = [View(name, {"id": "who"}, {"x": "number"}, 0.0, "", of=name) for name in "ab"]
    store = Packed(FeatureList([], views, {"x": "a:x", "y": "b:x"}), 0.2, 0.0, path=str(path), project="p")

    def problem() -> str | None:
        return asyncio.run(store.problem([(1,)]))

    assert problem() == "the online store cannot be read"
    for name in "ab":
        PackedFile(path).declare(Spec(f"p_{name}", ("id",), (("x", "INT64"), ("y", "STRING")), None))
    assert problem() == "the online store is empty: glue materialize --force"
    write(PackedFile(path), "b", 7, [1, "one"])
    assert problem() is None
    path.unlink()
    assert problem() == "the online store cannot be read"


def test_what_is_not_found_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By view, where every value of it is null; beyond a share of the last minute it is a problem, until it is not."""
    now = [0.0]
    monkeypatch.setattr(lookups.time, "monotonic", lambda: now[0])
    lost = NotFound(FeatureList([], [], {"x": "a:x", "y": "a:y", "z": "b:z"}), 0.5)
    assert lost.count() == {} and lost.problems() == []
    lost.see([[None, None, 1], [None, 2, None], [3, None, 0]])
    assert lost.count() == {"a": 1, "b": 1} and lost.count() == {}
    lost.see([[None, None, 1]] * 4 + [[1, 1, 1]] * 2)
    assert lost.count() == {"a": 4} and lost.problems() == []  # 5 of 9 rows: too few
    now[0] = 30.0
    lost.see([[1, 1, 1]])
    assert lost.count() == {} and lost.problems() == []  # 5 of 10: as many as may be
    lost.see([[None, None, 1]])
    assert lost.count() == {"a": 1}
    assert lost.problems() == ["the online store has nothing in a for 6 of the 11 rows of the last minute"]
    now[0] = 59.9
    lost.count()
    assert len(lost.problems()) == 1
    now[0] = 60.1  # the first rows are older than a minute
    lost.count()
    assert lost.problems() == []
    strict, lax = (NotFound(FeatureList([], [], {"x": "a:x"}), most) for most in (0.0, 1.0))
    for one in (strict, lax):
        one.see([[None]] + [[1]] * 9)
        assert one.count() == {"a": 1}
    assert len(strict.problems()) == 1 and lax.problems() == []
    none = NotFound(None, 0.0)
    assert none.count() == {} and none.problems() == []

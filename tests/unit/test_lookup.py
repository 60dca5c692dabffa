"""The embedded store as a server reads it."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_glue.adapters.feast.online_file import OnlineFile
from mlops_glue.config import Serve
from mlops_glue.errors import DataError, ToolError
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.serving import lookup as lookups
from mlops_glue.serving.lookup import Embedded, Entity, FromRedis, Lookup, NotFound, NotReached, ThroughFeast

TYPES = {"x": "INT64", "y": "STRING"}


def write(file: OnlineFile, view: str, who: int, values: list[Any], age_s: float = 0) -> None:
    file.declare(f"p_{view}", ["id"], TYPES)
    when = time.time_ns() // 1000 - int(age_s * 1e6)
    file.write(f"p_{view}", ["id"], [*TYPES], [(who, when, None, *values)])


def test_what_was_read_is_kept_until_the_file_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One view for ever good, one for two seconds."""
    path = tmp_path / "online.db"
    writer = OnlineFile(path)
    write(writer, "a", 1, [7, "seven"])
    write(writer, "b", 1, [8, "eight"])
    views = [
        FeatureView("a", {"id": "who"}, {"x": "number"}, 0.0, "", of="a"),
        FeatureView("b", {"id": "who"}, {"x": "number", "y": "category"}, 2.0, "", of="b"),
    ]
    listed = FeatureList(["b:y", "a:x", "b:x"], views, {"y": "b:y", "x": "a:x", "bx": "b:x"})
    lookup = Embedded(listed, 0.2, 0.0, path=str(path), project="p")
    reads: list[int] = []
    kept = OnlineFile.read
    monkeypatch.setattr(OnlineFile, "read", lambda *a: (a[1] == "p_a" and reads.append(len(a[4]))) or kept(*a))

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
    write(OnlineFile(path), "a", 1, [10, "ten"])
    with pytest.raises(NotReached):  # the other view is not there yet
        read(1)
    write(OnlineFile(path), "b", 1, [11, "eleven"])
    assert read(1) == [["eleven", 10, 11]]


def test_what_was_read_is_read_again_when_it_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `lookup_cache_s: 5`: after 4.9 s it is what was read, after 5.1 s it is read anew; each entity by itself."""
    asked: list[list[Entity]] = []

    class Store(Lookup):
        async def _read(self, keys: list[Entity]) -> list[list[Any]]:
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
    writer = OnlineFile(path)
    write(writer, "shop", 1, [10, "s1"])
    write(writer, "shop", 2, [20, "s2"])
    write(writer, "card", 1, [11, "c1"])
    write(writer, "card", 2, [22, "c2"])
    for ttls in ((2.0, 60.0), (60.0, 2.0)):
        views = [
            FeatureView("shop", {"id": "shop_id"}, {"x": "number"}, ttls[0], "", of="shop"),
            FeatureView("card", {"id": "card_id"}, {"x": "number"}, ttls[1], "", of="card"),
        ]
        listed = FeatureList([], views, {"s": "shop:x", "c": "card:x"})
        assert listed.asked_by == ["card_id", "shop_id"]
        store = Embedded(listed, 0.2, 0.0, path=str(path), project="p")

        def read(*whom: Entity, store: Embedded = store) -> list[list[Any]]:
            return asyncio.run(store.read(list(whom)))

        assert read((1, 2), (2, 1), (2, 9), (None, 2)) == [[20, 11], [10, 22], [None, 22], [20, None]]
        with monkeypatch.context() as later:
            at = time.time_ns() + 2_500_000_000
            later.setattr(time, "time_ns", lambda at=at: at)
            assert read((1, 2)) == [[None, 11] if ttls[0] == 2.0 else [20, None]]


def test_an_empty_store_is_told(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    views = [FeatureView(name, {"id": "who"}, {"x": "number"}, 0.0, "", of=name) for name in "ab"]
    store = Embedded(FeatureList([], views, {"x": "a:x", "y": "b:x"}), 0.2, 0.0, path=str(path), project="p")

    def problem() -> str | None:
        return asyncio.run(store.problem([(1,)]))

    assert problem() == "the online store cannot be read"
    for name in "ab":
        OnlineFile(path).declare(f"p_{name}", ["id"], TYPES)
    assert problem() == "the online store is empty: glue materialize --force"
    write(OnlineFile(path), "b", 7, [1, "one"])
    assert problem() is None
    path.unlink()
    assert problem() == "the online store cannot be read"


def test_what_is_not_found_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By view, where every value of it is null; beyond a share of the last minute it is a problem, until it is not."""
    now = [0.0]
    monkeypatch.setattr(lookups.time, "monotonic", lambda: now[0])
    lost = NotFound(FeatureList([], [], {"x": "a:x", "y": "a:y", "z": "b:z"}), 0.5)
    assert lost.count() == {} and lost.problems() == []
    lost.add([[None, None, 1], [None, 2, None], [3, None, 0]])
    assert lost.count() == {"a": 1, "b": 1} and lost.count() == {}
    lost.add([[None, None, 1]] * 4 + [[1, 1, 1]] * 2)
    assert lost.count() == {"a": 4} and lost.problems() == []  # 5 of 9 rows: too few
    now[0] = 30.0
    lost.add([[1, 1, 1]])
    assert lost.count() == {} and lost.problems() == []  # 5 of 10: as many as may be
    lost.add([[None, None, 1]])
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
        one.add([[None]] + [[1]] * 9)
        assert one.count() == {"a": 1}
    assert len(strict.problems()) == 1 and lax.problems() == []
    none = NotFound(None, 0.0)
    assert none.count() == {} and none.problems() == []


LISTED = FeatureList(
    ["a:x", "b:y"],
    [
        FeatureView("a", {"id": "who"}, {"x": "number"}, 0.0, "", of="a"),
        FeatureView("b", {"id": "who"}, {"y": "category"}, 2.5, "", of="b"),
    ],
    {"y": "b:y", "x": "a:x"},
    request=["amount"],
)


def with_file(path: Path, features: FeatureList = LISTED) -> Embedded:
    return Embedded(features, 0.2, 0.0, path=str(path), project="p")


def test_what_the_file_lacks_is_told_with_what_helps(tmp_path: Path) -> None:
    """A view, or a feature of one that is there; the request is told in one line, its cause says which."""
    path = tmp_path / "online.db"
    write(OnlineFile(path), "a", 1, [7, "seven"])
    store = with_file(path)
    for lost in ("table: p_b", "column: t.z"):
        if lost.startswith("column"):
            write(OnlineFile(path), "b", 1, [8, "eight"])
            views = [
                LISTED.views[0],
                FeatureView("b", {"id": "who"}, {"y": "category", "z": "number"}, 0.0, "", of="b"),
            ]
            store = with_file(path, FeatureList([], views, {"y": "b:z"}))
        with pytest.raises(NotReached, match=r"^the online store cannot be read$") as refused:
            asyncio.run(store.read([(1, 0.5)]))
        cause = refused.value.__cause__
        assert isinstance(cause, DataError)
        assert (cause.message, cause.hint) == (f"the online store has no such {lost}", "glue materialize")


def test_of_a_view_the_features_that_the_model_takes_are_read(tmp_path: Path) -> None:
    """By its alias, of the view that it is; others of it are left."""
    path = tmp_path / "online.db"
    write(OnlineFile(path), "a", 1, [7, "seven"])
    views = [FeatureView("mine", {"id": "who"}, {"x": "number", "y": "category"}, 0.0, "", of="a")]
    assert asyncio.run(with_file(path, FeatureList([], views, {"q": "mine:y"})).read([(1,), (2,)])) == [
        ["seven"],
        [None],
    ]


def test_keys_of_a_view_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Whatever the columns are called that they are taken from."""
    path = tmp_path / "online.db"
    file = OnlineFile(path)
    file.declare("p_a", ["h", "k"], {"x": "INT64"})
    now = time.time_ns() // 1000
    file.write("p_a", ["h", "k"], ["x"], [(1, 2, now, None, 12), (2, 1, now, None, 21)])
    views = [FeatureView("a", {"k": "a_column", "h": "z_column"}, {"x": "number"}, 0.0, "", of="a")]
    listed = FeatureList([], views, {"x": "a:x"})
    assert listed.asked_by == ["a_column", "z_column"]
    assert asyncio.run(with_file(path, listed).read([(2, 1), (1, 2)])) == [[12], [21]]


@pytest.mark.parametrize(("ttl", "age", "there"), [(2.5, 2.0, True), (2.5, 3.0, False), (0.0, 9e6, True)])
def test_a_value_counts_until_it_is_too_old(ttl: float, age: float, there: bool, tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    write(OnlineFile(path), "a", 1, [7, "seven"], age_s=age)
    views = [FeatureView("a", {"id": "who"}, {"x": "number"}, ttl, "", of="a")]
    assert asyncio.run(with_file(path, FeatureList([], views, {"x": "a:x"})).read([(1,)])) == [[7 if there else None]]


def test_what_was_read_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many entities it begins anew, in both kinds of memory."""
    path = tmp_path / "online.db"
    write(OnlineFile(path), "a", 1, [7, "seven"])
    views = [FeatureView("a", {"id": "who"}, {"x": "number"}, 0.0, "", of="a")]
    listed = FeatureList([], views, {"x": "a:x"})
    reads: list[int] = []
    kept = OnlineFile.read
    monkeypatch.setattr(OnlineFile, "read", lambda *a: (a[1] == "p_a" and reads.append(len(a[4]))) or kept(*a))
    monkeypatch.setattr(lookups, "MAX_READ", 3)
    monkeypatch.setattr(lookups, "MAX_CACHED", 3)
    store = with_file(path, listed)
    for who, asked in (([1, 2, 3], 3), ([1], None), ([4], 1), ([1], 1), ([4], 1), ([1, 4], None)):
        before = len(reads)
        assert asyncio.run(store.read([(one,) for one in who]))[0] == [7 if who[0] == 1 else None]
        assert reads[before:] == ([] if asked is None else [asked]), who
    cached = Embedded(listed, 0.2, 60.0, path=str(path), project="p")
    monkeypatch.setattr(cached, "_read", seen := Seen())
    for who, asked in (([1, 2], [1, 2]), ([3], [3]), ([1, 2, 3], None), ([4], [4]), ([4], None), ([3], [3])):
        seen.asked = None
        asyncio.run(cached.read([(one,) for one in who]))
        assert seen.asked == asked, who


class Seen:
    """A store that says who was asked about."""

    asked: list[int] | None = None

    async def __call__(self, keys: list[Entity]) -> list[list[Any]]:
        self.asked = [one[0] for one in keys]
        return [[one[0]] for one in keys]


class Reader:
    """As the reader of Redis: what it gives, or what it fails with."""

    def __init__(self, entries: int, error: Exception | None = None) -> None:
        self.entries, self.error, self.when = entries, error, 0

    async def read(self, keys: list[Entity], now: int) -> list[list[Any]]:
        self.when = now
        if self.error is not None:
            raise self.error
        return [[one[0], "r"] for one in keys]

    async def size(self) -> int:
        return self.entries


@pytest.mark.parametrize(
    ("entries", "error", "problem"),
    [
        (3, None, None),
        (1, None, None),
        (0, None, "the online store is empty: glue materialize --force"),
        (3, ToolError("redis: no"), "the online store does not answer in time, or cannot be reached"),
    ],
)
def test_redis_is_read_as_of_now(entries: int, error: Exception | None, problem: str | None) -> None:
    reader = Reader(entries, error)
    store = FromRedis(LISTED, 0.2, 0.0, reader=reader)  # type: ignore[arg-type]
    before = time.time()
    assert asyncio.run(store.problem([(1, 0.5)])) == problem
    of_prod = problem and problem.replace("--force", "--force --env prod")
    assert asyncio.run(store.problem([(1, 0.5)], "prod")) == of_prod
    assert before - 1 <= reader.when / 1e6 <= time.time() + 1  # microseconds
    if error is None:
        assert asyncio.run(store.read([(4, 0), (5, 0)])) == [[4, "r"], [5, "r"]]


def test_redis_may_fail_between_a_read_and_its_size() -> None:
    reader = Reader(0)
    store = FromRedis(LISTED, 0.2, 0.0, reader=reader)  # type: ignore[arg-type]

    async def size() -> int:
        raise ToolError("Redis cannot be reached: ConnectionRefusedError")

    reader.size = size  # type: ignore[method-assign]
    assert "cannot be reached" in str(asyncio.run(store.problem([(1, 0.5)])))


def through(ask: Any, timeout_s: float = 30.0) -> ThroughFeast:
    return ThroughFeast(LISTED, timeout_s, 0.0, read=ask)


def test_through_feast_entities_are_asked_for_by_name() -> None:
    """At this moment, in a thread that keeps no server from ending; what it says beside is left."""
    asked: list[Any] = []

    def ask(entities: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
        asked.append((entities, now, threading.current_thread().daemon))
        return [{"a__x": one["who"] * 10, "other": None, "b__y": str(one["amount"])} for one in entities]

    store = through(ask)
    assert asyncio.run(store.read([(1, 0.5), (2, None)])) == [["0.5", 10], ["None", 20]]
    ((entities, now, daemon),) = asked
    assert entities == [{"who": 1, "amount": 0.5}, {"who": 2, "amount": None}] and daemon
    assert now.tzinfo is UTC and abs((datetime.now(UTC) - now).total_seconds()) < 60
    assert asyncio.run(store.problem([(1, 0.5)])) is None  # not every store can tell that it is empty


def test_a_store_of_feasts_that_fails_or_hangs_is_told() -> None:
    """The cause is kept; a read that was not answered ends with the store, and others are not stopped by it."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("no such table")

    with pytest.raises(NotReached, match=r"^the online store cannot be reached$") as refused:
        asyncio.run(through(fail).read([(1, 0)]))
    assert str(refused.value.__cause__) == "no such table"
    with pytest.raises(NotReached, match="cannot be reached") as refused:
        asyncio.run(through(lambda *_: [{"b__y": 1}]).read([(1, 0)]))  # without x
    assert isinstance(refused.value.__cause__, KeyError)

    go, answers = threading.Event(), [{"a__x": 1, "b__y": "a"}]

    def hang(*_: Any) -> Any:
        go.wait(60)
        return answers

    async def all_of_it() -> None:
        store = through(hang, 0.02)
        for _ in range(2):
            with pytest.raises(NotReached, match=r"^the online store does not answer in time$"):
                await store.read([(1, 0)])
        go.set()
        store._timeout_s = 30.0
        assert await store.read([(1, 0)]) == [["a", 1]]

    asyncio.run(all_of_it())


def test_of_a_store_that_answers_nobody_not_more_than_so_many_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, a request is told at once; when the store answers again, so does it."""
    monkeypatch.setattr(lookups, "MAX_UNANSWERED", 2)
    go, asked = threading.Event(), []

    def hang(entities: Any, _: Any) -> Any:
        asked.append(entities[0]["who"])
        go.wait(60)
        return [{"a__x": 1, "b__y": "a"}]

    async def all_of_it() -> None:
        store = through(hang)
        first = [asyncio.create_task(store.read([(who, 0)])) for who in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(NotReached, match=r"^the online store does not answer$"):
            await store.read([(3, 0)])
        go.set()
        assert await asyncio.gather(*first) == [[["a", 1]]] * 2 and sorted(asked) == [1, 2]
        for who in (4, 5, 6):
            assert await store.read([(who, 0)]) == [["a", 1]]
        assert sorted(asked) == [1, 2, 4, 5, 6]

    asyncio.run(all_of_it())


def test_an_answer_after_the_server_has_ended_hurts_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    go, threads = threading.Event(), []

    def hang(*_: Any) -> Any:
        threads.append(threading.current_thread())
        go.wait(60)
        return []

    with pytest.raises(NotReached):
        asyncio.run(through(hang, 0.01).read([(1, 0)]))
    go.set()
    threads[0].join(60)
    assert capfd.readouterr().err == ""


LIMITS = Serve(lookup_timeout_s=0.25, lookup_cache_s=5.0)


def test_which_store_a_server_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None for a model that has all it needs; the embedded one by its file; Redis without Feast; else through Feast."""
    embedded = {"type": "embedded", "options": {"path": str(tmp_path / "online.db"), "project": "p"}}
    assert Lookup.of(LIMITS, embedded, None) is None and Lookup.of(LIMITS, None, LISTED) is None
    store = Lookup.of(LIMITS, embedded, LISTED)
    assert isinstance(store, Embedded) and (store._timeout_s, store._cache_s) == (0.25, 5.0)
    write(OnlineFile(tmp_path / "online.db"), "a", 1, [7, "seven"])
    write(OnlineFile(tmp_path / "online.db"), "b", 1, [8, "eight"])
    assert asyncio.run(store.read([(1, 0.5)])) == [["eight", 7]] and store.features is LISTED

    from mlops_glue import feature_stores

    text = "glue: 1\nproject: p\ndata: {sources: {t: {path: t.csv}}, labels: {source: t, target: y}}\n"
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "glue.yaml").write_text(text + "train: {}\nenvironments: {prod: {serve: {max_rows: 7}}}\n")
    reader: list[Any] = [Reader(1)]
    seen: list[Any] = []
    live = SimpleNamespace(read=lambda use, views, keys, now: [{"a__x": 3, "b__y": use[1]}])
    monkeypatch.setattr(feature_stores, "redis_reader", lambda *given: seen.append(given) or reader[0])
    monkeypatch.setattr(feature_stores, "open_live", lambda *given: seen.append(given) or live)
    elsewhere = {"type": "feast", "options": {"root": str(tmp_path), "env": "prod"}}
    store = Lookup.of(LIMITS, elsewhere, LISTED)
    assert isinstance(store, FromRedis) and (store._timeout_s, store._cache_s) == (0.25, 5.0)
    ((config, *rest),) = seen
    assert rest == [tmp_path, LISTED, 0.25] and config.serve.max_rows == 7
    assert asyncio.run(store.read([(1, 0)])) == [[1, "r"]]
    reader[0] = None
    store = Lookup.of(LIMITS, elsewhere, LISTED)
    assert isinstance(store, ThroughFeast) and (store._timeout_s, store._cache_s) == (0.25, 5.0)
    assert seen[-1] == (seen[1][0], tmp_path)
    assert asyncio.run(store.read([(1, 0)])) == [["b:y", 3]]


def test_a_view_without_an_entity_is_read(tmp_path: Path) -> None:
    """It has one row, which is everybody's; and what is a boolean stays one."""
    path = tmp_path / "online.db"
    OnlineFile(path).declare("p_all", ["__dummy_id"], {"x": "BOOL"})
    OnlineFile(path).write("p_all", ["__dummy_id"], ["x"], [("", time.time_ns() // 1000, None, True)])
    write(OnlineFile(path), "a", 1, [7, "seven"])
    views = [FeatureView("all", {}, {"x": "boolean"}, 0.0, "", of="all"), LISTED.views[0]]
    store = with_file(path, FeatureList([], views, {"all": "all:x", "x": "a:x"}))
    ((everybody, seven), (nobody, none)) = asyncio.run(store.read([(1,), (2,)]))
    assert everybody is True and nobody is True and (seven, none) == (7, None)


def test_keys_of_different_types_are_two(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    file = OnlineFile(path)
    file.declare("p_a", ["id"], TYPES)
    file.write("p_a", ["id"], [*TYPES], [(12, 1, None, 1, "012"), ("12", 1, None, 2, "1e3"), ("012", 1, None, 3, "")])
    found = file.read("p_a", ["id"], ["y", "x"], [(12,), ("12",), ("012",), (None,)])
    assert found == {(12,): (1, "012", 1), ("12",): (1, "1e3", 2), ("012",): (1, "", 3)}

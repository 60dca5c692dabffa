"""Redis read without Feast, held against what Feast reads; and what becomes of a connection."""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("feast")
pytest.importorskip("redis")

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

from mlops_glue.adapters.feast import redis as direct
from mlops_glue.adapters.feast.redis import RedisReader
from mlops_glue.adapters.feast.redis_servers import Servers, parse_servers
from mlops_glue.errors import ToolError
from mlops_glue.records import FeatureView as Listed

REDIS = os.environ.get("GLUE_TEST_REDIS", "127.0.0.1:6379")
HOST, PORT = REDIS.partition(":")[0], int(REDIS.partition(":")[2])
NOW = datetime.now(UTC).replace(microsecond=0)
TYPES = {"n": Int64, "i": Int32, "d": Float64, "f": Float32, "s": String, "b": Bool, "t": UnixTimestamp}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    """Feast on Redis, under a project name of its own."""
    try:
        socket.create_connection((HOST, PORT), 1).close()
    except OSError:
        pytest.skip(f"no redis at {REDIS}")
    monkeypatch.chdir(tmp_path)
    config = RepoConfig(
        project=f"t{uuid.uuid4().hex[:12]}",
        provider="local",
        registry=str(tmp_path / "registry.db"),
        entity_key_serialization_version=3,
        online_store={"type": "redis", "connection_string": f"{REDIS},db=1"},
    )
    made = FeatureStore(config=config)
    yield made
    made.teardown()


def view(name: str, keys: dict[str, ValueType], features: list[str], ttl: timedelta = timedelta(0)) -> FeatureView:
    key_types = {ValueType.INT64: Int64, ValueType.INT32: Int32, ValueType.STRING: String}
    schema = [Field(name=f, dtype=TYPES[f]) for f in features] + [
        Field(name=k, dtype=key_types[t]) for k, t in keys.items()
    ]
    entities = [Entity(name=k, join_keys=[k], value_type=t) for k, t in keys.items()]
    source = FileSource(name=f"{name}_source", path=f"{name}.parquet", timestamp_field="at")
    return FeatureView(name=name, entities=entities, ttl=ttl, schema=schema, source=source)


def values(r: random.Random) -> dict[str, Any]:
    made = {
        "n": r.choice([0, -1, 2**62, -(2**63) + 1, 300]),
        "i": r.choice([0, -(2**31), 2**31 - 1]),
        "d": r.choice([0.0, -1.5, 1e300]),
        "f": r.choice([0.0, 0.5, -2.25]),
        "s": r.choice(["", "é\n", "x" * 200]),
        "b": r.random() < 0.5,
        "t": NOW - timedelta(days=r.randrange(20_000)),
    }
    return {name: None if r.random() < 0.15 else value for name, value in made.items()}


def test_it_reads_what_feast_reads(store: FeatureStore) -> None:
    r = random.Random(0)
    whole, text, both = ValueType.INT64, ValueType.STRING, {"a": ValueType.INT32, "c": ValueType.INT64}
    views = [
        view("one", {"id": whole}, list(TYPES)),
        view("two", {"id": whole}, ["n", "s"], timedelta(days=2)),
        view("named", {"who": text}, ["d", "t"]),
        view("pair", both, ["s"]),
    ]
    store.apply([*{e.name: e for v in views for e in _entities(views)}.values(), *views])
    rows = []
    for n in range(60):
        rows.append({"id": n - 5, "who": f"é{n}" if n else "", "a": n % 7 - 3, "c": n * 2**40, **values(r)})
    frame = pd.DataFrame(rows).astype({"n": "Int64", "i": "Int32", "b": "boolean"})
    frame["at"] = [NOW - timedelta(days=n % 4, minutes=1) for n in range(60)]
    for one in views:
        names = [f.name for f in one.schema]
        store.write_to_online_store(one.name, frame[[*names, "at"]].assign(at=frame["at"]))
    listed = [
        Listed("one", {"id": "id"}, dict.fromkeys(TYPES, ""), 0.0, "", of="one", types={"id": "INT64"}),
        Listed("two", {"id": "id"}, {"n": "", "s": ""}, 2 * 86400.0, "", of="two", types={"id": "INT64"}),
        Listed("named", {"who": "whom"}, {"d": "", "t": ""}, 0.0, "", of="named", types={"who": "STRING"}),
        Listed("pair", {"c": "c", "a": "a"}, {"s": ""}, 0.0, "", of="pair", types={"a": "INT32", "c": "INT64"}),
    ]
    refs = [f"{v.name}:{f}" for v in listed for f in v.features]
    r.shuffle(refs)
    asked_by = ["whom", "id", "a", "c"]
    whom = [(row["who"], row["id"], row["a"], row["c"]) for row in rows]
    whom += [("nobody", 10**6, 2**40, 1), (None, None, None, 1), whom[3]]
    reader = RedisReader(Servers("redis", ((HOST, PORT),), {"db": 1}), store.project, listed, asked_by, refs, 5.0)
    got = asyncio.run(reader.read(whom, int(NOW.timestamp() * 1e6)))
    known = [n for n, key in enumerate(whom) if None not in key and key[2] < 2**31]
    entities = [dict(zip(("who", "id", "a", "c"), whom[n], strict=True)) for n in known]
    feast = store.get_online_features(features=refs, entity_rows=entities, full_feature_names=True).to_dict()
    for at, n in enumerate(known):
        wanted = [feast[ref.replace(":", "__")][at] for ref in refs]
        stale = n != 60 and (3 if n == 62 else n) % 4 >= 2
        for ref, have, want in zip(refs, got[n], wanted, strict=True):
            if ref.startswith("two:") and stale:
                want = None
            if isinstance(want, datetime):
                want = int(want.timestamp()) * 1_000_000
            assert _same(have, want), (n, ref, have, want)
    assert got[61] == [None] * len(refs) and got[62] == got[3]
    assert sum(value is not None for row in got for value in row) > 500


def _entities(views: list[FeatureView]) -> list[Entity]:
    kinds = {"id": ValueType.INT64, "who": ValueType.STRING, "a": ValueType.INT32, "c": ValueType.INT64}
    return [Entity(name=name, join_keys=[name], value_type=kind) for name, kind in kinds.items()]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return type(one) is type(other) and bool(one == other)


def test_values_are_decoded_as_feast_does() -> None:
    for field, some in {
        "string_val": ["", "a", "é" * 100, "\0"],
        "int32_val": [0, 1, -1, 2**31 - 1, -(2**31)],
        "int64_val": [0, 127, 128, -1, 2**63 - 1, -(2**63)],
        "double_val": [0.0, -0.0, math.inf, math.nan, 5e-324],
        "float_val": [0.0, 0.1, -math.inf],
        "bool_val": [True, False],
    }.items():
        for value in some:
            proto = Value(**{field: value})
            assert _same(direct.value_of(proto.SerializeToString()), feast_value_type_to_python_type(proto))
    assert direct.value_of(Value(unix_timestamp_val=-5).SerializeToString()) == -5_000_000
    assert direct.value_of(Value(unix_timestamp_val=-(2**63)).SerializeToString()) is None
    assert direct.value_of(Value().SerializeToString()) is None and direct.value_of(None) is None
    with pytest.raises(ToolError, match="of a type that models do not support"):
        direct.value_of(Value(bytes_val=b"x").SerializeToString())


def test_what_only_feast_reads() -> None:
    def at(text: str, **other: str) -> Servers | None:
        return parse_servers({"type": "redis", "connection_string": text, **other})

    assert at("h:1") == Servers("redis", (("h", 1),), {})
    options = {"db": 3, "username": "u", "password": "s"}
    assert at('h:1,db=3,username=u,password="s"') == Servers("redis", (("h", 1),), options)
    assert at("h:1,ssl=true") == Servers("redis", (("h", 1),), {"ssl": True})
    two = (("h", 1), ("i", 2))
    assert at("h:1,i:2", redis_type="redis_cluster") == Servers("redis_cluster", two, {})
    sentinels = at("h:1,i:2,db=1", redis_type="redis_sentinel", sentinel_master="m")
    assert sentinels == Servers("redis_sentinel", two, {"db": 1}, "m")
    assert at("h:1,h:2") is None and at("redis://h:1/0") is None and at("h:1,ssl=true,ssl_cert_reqs=x") is None
    assert at("h:1", client="glide") is None and at("h:1,health_check_interval=1") is None
    whole = Listed("v", {"id": "who"}, {}, 0.0, "", types={"id": "INT64"})
    assert direct.can_read(whole, {"who": "int32"}) and not direct.can_read(whole, {"who": "double"})
    assert not direct.can_read(Listed("v", {"id": "who"}, {}, 0.0, ""), {"who": "int64"})  # of a bundle of before


@asynccontextmanager
async def server(
    answer: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Something that listens; `answer` is told how many connections there were before."""
    count = iter(range(1000))

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(next(count), reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(taken, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def reader_at(port: int, timeout_s: float = 0.25) -> RedisReader:
    one = Listed("v", {"id": "id"}, {"n": "number"}, 0.0, "", of="v", types={"id": "INT64"})
    return RedisReader(Servers("redis", (("127.0.0.1", port),), {}), "p", [one], ["id"], ["v:n"], timeout_s)


SEVEN = b"*2\r\n$2\r\n\x08\x01\r\n$2\r\n\x20\x07\r\n"


def test_replies_in_pieces_and_a_connection_that_was_closed() -> None:
    async def answer(before: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(10_000):
            for byte in SEVEN * asked.count(b"HMGET"):
                writer.write(bytes([byte]))
                await writer.drain()
            if before == 0:
                return  # the next request finds it closed, or is closed upon

    async def work() -> None:
        async with server(answer) as port:
            reader = reader_at(port)
            assert await reader.read([(1,)], 0) == [[7]]
            assert await reader.read([(1,)], 0) == [[7]]
            assert await asyncio.gather(*(reader.read([(1,)], 0) for _ in range(20))) == [[[7]]] * 20

    asyncio.run(work())


def test_a_server_that_is_late_refuses_or_is_gone() -> None:
    late = [True]

    async def answer(before: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000):
            if late[0]:
                await asyncio.sleep(1)
            writer.write(SEVEN)

    async def refuse(before: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(b"-MOVED 1 key of somebody\r\n")
        await reader.read()

    async def work() -> None:
        async with server(answer) as port:
            reader = reader_at(port, 0.1)
            got = await asyncio.gather(*(reader.read([(1,)], 0) for _ in range(5)), return_exceptions=True)
            assert all(isinstance(one, ToolError) and "in time" in str(one) for one in got)
            late[0] = False
            assert await reader.read([(1,)], 0) == [[7]]  # an answer of before is not taken for this one's
        with pytest.raises(ToolError, match="cannot be reached"):
            await reader_at(port).read([(1,)], 0)
        async with server(refuse) as port:
            with pytest.raises(ToolError, match="Redis answers ReplyError") as told:
                await reader_at(port).read([(1,)], 0)
            assert "somebody" not in str(told.value)

    asyncio.run(work())


def test_a_password_that_is_wrong(store: FeatureStore) -> None:
    one = Listed("v", {"id": "id"}, {"n": "number"}, 0.0, "", of="v", types={"id": "INT64"})
    for options in ({"password": "canary"}, {"db": 10_000}):
        at = Servers("redis", ((HOST, PORT),), options)
        with pytest.raises(ToolError, match="refuses the user") as told:
            asyncio.run(RedisReader(at, "p", [one], ["id"], ["v:n"], 5.0).read([(1,)], 0))
        assert "canary" not in str(told.value)

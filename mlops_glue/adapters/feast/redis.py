"""Features read from Redis as Feast keeps them there, without Feast: one round trip for all entities of a request.

Feast's layout (docs/specs/online_store_format.md): each entity is a hash, under its serialised key and the project's
name. In it a field `_ts:<view>` holds a protobuf `Timestamp`, and one for each feature, named by the murmur3 hash of
`<view>:<feature>`, a protobuf `Value`. Read here are the scalars that a model takes; tests hold them against Feast.

hiredis packs the commands and parses the replies. `redis.asyncio` costs 0.6 to 1.5 ms more for 100 entities, which is
as much as the rest of such a request.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

from mlops_glue.adapters.feast.redis_servers import Command, Route, Servers
from mlops_glue.errors import MissingExtra, ToolError
from mlops_glue.records import FeatureView

STRING, INT32, INT64 = 2, 3, 4  # as Feast numbers the types of keys
NULL_TIME = -(1 << 63)

Entity = tuple[Any, ...]  # by what a row is asked, in the order of `asked_by`


def can_read(view: FeatureView, columns: dict[str, str]) -> bool:
    """Are the keys of this view of a type that is read here? `columns` has Arrow's types of the label rows' columns."""

    def is_plain(key: str, column: str) -> bool:
        arrow = columns.get(column, "")
        whole = view.types.get(key) in ("INT32", "INT64") and arrow.startswith(("int", "uint"))
        return whole or (view.types.get(key) == "STRING" and arrow in ("string", "large_string"))

    return not view.on_demand and bool(view.keys) and all(is_plain(key, column) for key, column in view.keys.items())


class RedisReader:
    """Reads the features of a model, all of a request at once.

    Args:
        servers: where Redis is.
        project: its name in Feast.
        views: of the model.
        asked_by: the columns of the entities that `read` takes, in their order.
        columns: the reference `view:feature` of each value that `read` gives, in their order.
        timeout_s: how long the server may take.
    """

    def __init__(
        self,
        servers: Servers,
        project: str,
        views: list[FeatureView],
        asked_by: list[str],
        columns: list[str],
        timeout_s: float,
    ) -> None:
        try:
            import hiredis  # noqa: F401 - reported at the start, and not by the first request
        except ImportError as error:
            raise MissingExtra("hiredis", "redis") from error
        self._servers, self._route = servers, Route(servers, timeout_s)
        self._timeout_s, self._width = timeout_s, len(columns)
        # by server; each serves one request at a time, and is kept
        self._idle: dict[tuple[str, int], list[_Connection]] = {}
        same_entity: dict[tuple[tuple[str, int], ...], list[FeatureView]] = {}
        for view in views:
            keys = tuple((key, asked_by.index(view.keys[key])) for key in sorted(view.keys))
            same_entity.setdefault(keys, []).append(view)
        self._hashes = [_Hash(project, dict(keys), some, columns) for keys, some in same_entity.items()]

    async def read(self, entities: Sequence[Entity], now_us: int) -> list[list[Any]]:
        """The values of each entity; null where there are none, or where they are older than their view's TTL.

        Raises:
            ToolError: the server cannot be reached, or does not answer in time.
        """
        found = {entity: [None] * self._width for entity in entities}
        asked = [
            (kind, entity, command) for kind in self._hashes for entity in found if (command := kind.command(entity))
        ]
        if asked:
            replies = await self._ask([command for _, _, command in asked])
            for reply, (kind, entity, _) in zip(replies, asked, strict=True):
                if not isinstance(reply, list):
                    raise ToolError(f"Redis says {type(reply).__name__}")  # its words may hold a key
                kind.put(reply, now_us, found[entity])
        return [found[entity] for entity in entities]

    async def size(self) -> int | None:
        """How many keys its database has; None where a server does not tell this user.

        Raises:
            ToolError: a server cannot be reached, or does not answer in time.
        """
        replies = await self._in_time(self._sizes)
        return sum(replies) if all(isinstance(reply, int) for reply in replies) else None

    async def _sizes(self) -> list[Any]:
        return [(await self._ask_at(place, [(b"DBSIZE",)]))[0] for place in await self._route.every()]

    async def _ask(self, commands: list[Command]) -> list[Any]:
        return await self._in_time(lambda: self._ask_each(commands))

    async def _in_time(self, work: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        """Work, a second time where keys may have gone to another server."""
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await work()
                except OSError:
                    if not self._route.can_change:
                        raise
                await self._route.forget()
                return await work()
        except TimeoutError:
            await self._route.forget()
            raise ToolError("Redis does not answer in time") from None
        except OSError as error:
            raise ToolError(f"Redis cannot be reached: {type(error).__name__}") from error

    async def _ask_each(self, commands: list[Command]) -> list[Any]:
        """The replies to commands, each from the server that has its key.

        Raises:
            OSError: a server cannot be reached, or has the key no more.
        """
        places = await self._route.of(commands)
        if len(set(places)) == 1 and not self._route.can_change:
            return await self._ask_at(places[0], commands)
        by_place: dict[tuple[str, int], list[int]] = {}
        for at, place in enumerate(places):
            by_place.setdefault(place, []).append(at)
        asked = [self._ask_at(place, [commands[at] for at in some]) for place, some in by_place.items()]
        replies: list[Any] = [None] * len(commands)
        for some, got in zip(by_place.values(), await asyncio.gather(*asked), strict=True):
            for at, reply in zip(some, got, strict=True):
                replies[at] = reply
        for at, reply in enumerate(replies):
            moved, _, to = str(reply).rpartition(" ") if isinstance(reply, Exception) else ("", "", "")
            if moved.startswith("MOVED ") and self._route.can_change:
                raise ConnectionResetError
            if moved.startswith("ASK "):  # its slot is on its way to another server
                host, _, port = to.rpartition(":")
                replies[at] = (await self._ask_at((host, int(port)), [(b"ASKING",), commands[at]]))[1]
        return replies

    async def _ask_at(self, place: tuple[str, int], commands: list[Command]) -> list[Any]:
        idle = self._idle.setdefault(place, [])
        while idle:
            try:
                return await self._ask_on(idle, idle.pop(), commands)
            except ConnectionError:
                continue  # it was closed while it was idle
        return await self._ask_on(idle, await _Connection.open(self._servers, place), commands)

    async def _ask_on(self, idle: list[_Connection], connection: _Connection, commands: list[Command]) -> list[Any]:
        try:
            replies = await connection.ask(commands)
        except BaseException:
            connection.close()  # another request must not get a late reply
            raise
        idle.append(connection)
        return replies


class _Hash:
    """The hash of an entity: what all views with these keys keep in it.

    `keys` are sorted by name; each has its place in the entities that `RedisReader.read` takes.
    """

    def __init__(self, project: str, keys: dict[str, int], views: list[FeatureView], columns: list[str]) -> None:
        import mmh3

        names = [name.encode() for name in keys]
        self._head = struct.pack("<I", len(names))
        self._head += b"".join(struct.pack("<II", STRING, len(name)) + name for name in names)
        self._tail = project.encode()
        self._keys = [(place, views[0].types[key]) for key, place in keys.items()]
        self._fields: list[bytes] = []
        self._views: list[tuple[int, int, list[tuple[int, int]]]] = []  # TTL in µs, place of the time, of the features
        for view in views:
            features = [(name, ref) for name in view.features if (ref := f"{view.name}:{name}") in columns]
            start = len(self._fields)
            places = [(at, columns.index(ref)) for at, (_, ref) in enumerate(features, start + 1)]
            self._views.append((int(view.ttl_s * 1e6), start, places))
            self._fields.append(f"_ts:{view.of}".encode())
            self._fields += [struct.pack("<I", mmh3.hash(f"{view.of}:{name}", signed=False)) for name, _ in features]

    def command(self, entity: Entity) -> Command | None:
        """What to send for one entity; None where a key is null or beyond its type, which no entity has."""
        try:
            key = b"".join(_packed(kind, entity[place]) for place, kind in self._keys)
        except struct.error:
            return None
        return (b"HMGET", self._head + key + self._tail, *self._fields)

    def put(self, reply: list[bytes | None], now_us: int, out: list[Any]) -> None:
        """The values of one entity into its row."""
        for ttl_us, start, places in self._views:
            if ttl_us and now_us - _time_us(reply[start]) > ttl_us:
                continue
            for at, place in places:
                out[place] = value_of(reply[at])


class _Connection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import hiredis

        self._reader, self._writer, self._parser = reader, writer, hiredis.Reader()
        self._pack = hiredis.pack_command

    @classmethod
    async def open(cls, servers: Servers, place: tuple[str, int]) -> _Connection:
        """Connect, and say who it is and which database is meant."""
        made = cls(*await asyncio.open_connection(*place, ssl=servers.tls))
        try:
            if any(isinstance(reply, Exception) for reply in await made.ask(servers.greeting)):
                raise ToolError("Redis refuses the user, the password or the database")
        except BaseException:
            made.close()
            raise
        return made

    async def ask(self, commands: list[Command]) -> list[Any]:
        """The replies to commands; a connection that the server has closed raises ConnectionError."""
        self._writer.write(b"".join(map(self._pack, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            data = await self._reader.read(1 << 16)
            if not data:
                raise ConnectionResetError
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not False:
                replies.append(reply)
        return replies

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()


def _packed(kind: str, value: Any) -> bytes:
    """A key as Feast serialises it.

    Raises:
        struct.error: it is null, or beyond its type.
    """
    if kind == "INT32":
        return struct.pack("<IIi", INT32, 4, value)
    if kind == "INT64":
        return struct.pack("<IIq", INT64, 8, value)
    if value is None:
        raise struct.error
    data = str(value).encode()
    return struct.pack("<II", STRING, len(data)) + data


def _time_us(data: bytes | None) -> int:
    """Microseconds since 1970 of a protobuf `Timestamp`; 0 where there is none."""
    from google.protobuf.timestamp_pb2 import Timestamp

    time: int = Timestamp.FromString(data or b"").ToMicroseconds()
    return time


def value_of(data: bytes | None) -> Any:
    """What a protobuf `Value` of Feast's holds: a time as microseconds since 1970; None where it holds nothing.

    Raises:
        ToolError: it is of a type that no model takes.
    """
    if not data:
        return None
    value = _value_parser()(data)
    field = value.WhichOneof("val")
    if field is None:
        raise ToolError("Redis holds a value of a type that no model takes")
    plain = getattr(value, field)
    if field != "unix_timestamp_val":
        return plain
    return None if plain == NULL_TIME else plain * 1_000_000


@cache
def _value_parser() -> Callable[[bytes], Any]:
    """The scalars of Feast's message `Value`; Feast's own class would take Feast along, seconds and 200 MB of it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="value.proto", syntax="proto3")
    message = file.message_type.add(name="Value")
    message.oneof_decl.add(name="val")
    for name, number, kind in (
        ("string_val", 2, kinds.TYPE_STRING),
        ("int32_val", 3, kinds.TYPE_INT32),
        ("int64_val", 4, kinds.TYPE_INT64),
        ("double_val", 5, kinds.TYPE_DOUBLE),
        ("float_val", 6, kinds.TYPE_FLOAT),
        ("bool_val", 7, kinds.TYPE_BOOL),
        ("unix_timestamp_val", 8, kinds.TYPE_INT64),
    ):
        message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL, oneof_index=0)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    parser: Callable[[bytes], Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("Value")).FromString
    return parser

"""Features read from Redis as Feast keeps them there, without Feast: one round trip for all entities of a request.

Feast's layout (docs/specs/online_store_format.md): each entity is a hash, under its serialised key and the project's
name. In it a field `_ts:<view>` holds a protobuf `Timestamp`, and one for each feature, named by the murmur3 hash of
`<view>:<feature>`, a protobuf `Value`. Read here are the scalars that a model takes; tests hold them against Feast.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_glue.errors import MissingExtra, ToolError
from mlops_glue.records import FeatureView

PARAMETERS = {"db", "username", "password", "socket_timeout", "socket_connect_timeout", "socket_keepalive"}
STRING, INT32, INT64 = 2, 3, 4  # as Feast numbers the types of values
NEVER = -(1 << 63)  # a time that is null


@dataclass(frozen=True)
class Address:
    """One server of Redis."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    db: int = 0


def address(store: dict[str, Any]) -> Address | None:
    """Where Feast's own options say that Redis is; None for what only Feast's client reads: clusters, sentinels, TLS.

    Args:
        store: the options of the online store.
    """
    if store.get("redis_type", "redis") != "redis" or store.get("client", "redis") != "redis":
        return None
    first, *rest = str(store.get("connection_string", "localhost:6379")).split(",")
    given = dict(one.partition("=")[::2] for one in rest)
    host, _, port = first.rpartition(":")
    if not host or not port.isdigit() or not set(given) <= PARAMETERS or not given.get("db", "0").isdigit():
        return None
    # Feast reads each value as JSON where it is some
    secrets = {name: given[name].strip('"') for name in ("username", "password") if name in given}
    return Address(host, int(port), **secrets, db=int(given.get("db", "0")))


def reads(view: FeatureView, columns: dict[str, str]) -> bool:
    """Are the keys of this view of a type that is read here?

    Args:
        view: with Feast's types of its keys.
        columns: Arrow's types of the columns of the label rows.
    """

    def is_plain(key: str, column: str) -> bool:
        arrow = columns.get(column, "")
        whole = view.types.get(key) in ("INT32", "INT64") and arrow.startswith(("int", "uint"))
        return whole or (view.types.get(key) == "STRING" and arrow in ("string", "large_string"))

    return not view.on_demand and bool(view.keys) and all(is_plain(*one) for one in view.keys.items())


class _Views:
    """Views about the same entities: one hash each, so one command.

    Args:
        project: Feast's name of it.
        keys: names of the join keys in the view, sorted, and the place of each in what is asked by.
        types: Feast's type of each.
        views: each with the places of its features in what is found.
    """

    def __init__(
        self,
        project: str,
        keys: list[tuple[str, int]],
        types: list[str],
        views: list[tuple[FeatureView, list[tuple[str, int]]]],
    ) -> None:
        import mmh3

        names = [name.encode() for name, _ in keys]
        self._head = struct.pack("<I", len(names)) + b"".join(
            struct.pack("<II", STRING, len(name)) + name for name in names
        )
        self._tail = project.encode()
        packs = {"STRING": _text, "INT32": _int32, "INT64": _int64}
        self._packs = [(place, packs[kind]) for (_, place), kind in zip(keys, types, strict=True)]
        fields: list[bytes] = []
        self._spans: list[tuple[int, int, list[tuple[int, int]]]] = []  # TTL in µs, place of the time, of the features
        for view, features in views:
            start = len(fields)
            places = [(at, place) for at, (_, place) in enumerate(features, start + 1)]
            self._spans.append((int(view.ttl_s * 1e6), start, places))
            fields.append(f"_ts:{view.of}".encode())
            fields += [struct.pack("<I", mmh3.hash(f"{view.of}:{name}", signed=False)) for name, _ in features]
        words = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
        rest = b"".join(_bulk(field) for field in fields)
        # what does not change of a command, put together once
        self._form = words.replace(b"%", b"%%") + b"$%d\r\n%b\r\n" + rest.replace(b"%", b"%%")

    def command(self, whom: tuple[Any, ...]) -> bytes | None:
        """What to send for one entity; None where nobody can be known by such a key."""
        key = self._head
        for place, pack in self._packs:
            value = whom[place]
            packed = None if value is None else pack(value)
            if packed is None:
                return None
            key += packed
        key += self._tail
        return self._form % (len(key), key)

    def put(self, reply: list[bytes | None], now_us: int, out: list[Any]) -> None:
        """The values of one entity into its row."""
        for ttl_us, start, places in self._spans:
            if ttl_us and now_us - moment(reply[start]) > ttl_us:
                continue
            for at, place in places:
                if data := reply[at]:
                    out[place] = value_of(data)


class RedisReader:
    """Reads the features of a model, all of a request at once.

    Args:
        at: the server.
        project: Feast's name of it.
        views: of the model.
        asked_by: the names of what `read` is given, in their order.
        columns: the reference `view:feature` of each value that `read` gives, in their order.
        timeout_s: how long the server may take.
    """

    def __init__(
        self,
        at: Address,
        project: str,
        views: list[FeatureView],
        asked_by: list[str],
        columns: list[str],
        timeout_s: float,
    ) -> None:
        self._wires, self._width = _Wires(at, timeout_s), len(columns)
        place = {ref: n for n, ref in enumerate(columns)}
        together: dict[tuple[tuple[str, int], ...], list[tuple[FeatureView, list[tuple[str, int]]]]] = {}
        for view in views:
            keys = tuple((key, asked_by.index(view.keys[key])) for key in sorted(view.keys))
            features = [(f, place[f"{view.name}:{f}"]) for f in view.features if f"{view.name}:{f}" in place]
            together.setdefault(keys, []).append((view, features))
        self._groups = [
            _Views(project, list(keys), [some[0][0].types[key] for key, _ in keys], some)
            for keys, some in together.items()
        ]

    async def read(self, whom: Sequence[tuple[Any, ...]], now_us: int) -> list[list[Any]]:
        """The values of each row; null where there are none, or where they are older than their view's TTL.

        Args:
            whom: of each row, what it is asked by.
            now_us: the time.

        Raises:
            ToolError: the server cannot be reached, or does not answer in time.
        """
        new = list(dict.fromkeys(whom))
        commands = [(group, at, group.command(one)) for group in self._groups for at, one in enumerate(new)]
        sent = [(group, at, command) for group, at, command in commands if command is not None]
        found: list[list[Any]] = [[None] * self._width for _ in new]
        if sent:
            replies = await self._wires.ask(b"".join([command for _, _, command in sent]), len(sent))
            for reply, (group, at, _) in zip(replies, sent, strict=True):
                if not isinstance(reply, list):
                    raise ToolError(f"Redis says {type(reply).__name__}")  # its words may hold a key
                group.put(reply, now_us, found[at])
        of = dict(zip(new, found, strict=True))
        return [of[one] for one in whom]

    async def size(self) -> int | None:
        """How many keys its database has; None where the server does not tell this user.

        Raises:
            ToolError: the server cannot be reached, or does not answer in time.
        """
        (reply,) = await self._wires.ask(b"*1\r\n$6\r\nDBSIZE\r\n", 1)
        return reply if isinstance(reply, int) else None


class _Lost(Exception):
    """The connection was closed."""


class _Wire(asyncio.Protocol):
    """One connection. Several requests may be on their way; replies come in their order."""

    def __init__(self) -> None:
        import hiredis

        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int, list[Any]]] = deque()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio says."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """As asyncio says."""
        self._reader.feed(data)
        while self._waiting and (reply := self._reader.gets()) is not False:
            answer, count, got = self._waiting[0]
            got.append(reply)
            if len(got) == count:
                self._waiting.popleft()
                if not answer.done():
                    answer.set_result(got)

    def connection_lost(self, error: Exception | None) -> None:
        """As asyncio says."""
        self.transport = None
        for answer, _, _ in self._waiting:
            if not answer.done():
                answer.set_exception(_Lost())
        self._waiting.clear()

    def ask(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        """Send commands; will be their replies."""
        answer = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            answer.set_exception(_Lost())
            return answer
        self._waiting.append((answer, count, []))
        self.transport.write(packed)
        return answer


class _Wires:
    """A connection that is made when it is needed, and anew when it was lost."""

    def __init__(self, at: Address, timeout_s: float) -> None:
        try:
            import hiredis  # noqa: F401 - told at the start and not by the first request
        except ImportError as error:
            raise MissingExtra("hiredis", "redis") from error
        self._at, self._timeout_s = at, timeout_s
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None

    async def ask(self, packed: bytes, count: int) -> list[Any]:
        """The replies to commands.

        Raises:
            ToolError: there are none in time.
        """
        wire = None
        try:
            async with asyncio.timeout(self._timeout_s):
                for again in (True, False):  # a connection that was idle may be found closed
                    wire = await self._connected()
                    try:
                        return await wire.ask(packed, count)
                    except _Lost:
                        if not again:
                            raise
        except TimeoutError:
            if wire is not None and wire.transport is not None:
                wire.transport.abort()  # what was asked after this is late too
            raise ToolError("Redis does not answer in time") from None
        except (_Lost, OSError) as error:
            raise ToolError(f"Redis cannot be reached: {type(error).__name__.strip('_')}") from error
        raise AssertionError

    async def _connected(self) -> _Wire:
        if self._wire is not None and self._wire.transport is not None and not self._wire.transport.is_closing():
            return self._wire
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        # one that waits no more does not end it for the others
        self._wire = await asyncio.shield(self._connecting)
        return self._wire

    async def _connect(self) -> _Wire:
        at = self._at
        async with asyncio.timeout(self._timeout_s):
            _, wire = await asyncio.get_running_loop().create_connection(_Wire, at.host, at.port)
            greeting = []
            if at.password is not None:
                greeting.append([b"AUTH", *([at.username.encode()] if at.username else []), at.password.encode()])
            if at.db:
                greeting.append([b"SELECT", str(at.db).encode()])
            if greeting:
                packed = b"".join(b"*%d\r\n" % len(words) + b"".join(map(_bulk, words)) for words in greeting)
                replies = await wire.ask(packed, len(greeting))
                if any(isinstance(reply, Exception) for reply in replies):
                    wire.transport.abort()
                    raise ToolError("Redis refuses the user, the password or the database")
        return wire


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _text(value: Any) -> bytes:
    data = str(value).encode()
    return _sized(STRING, len(data)) + data


def _int32(value: Any) -> bytes | None:
    return struct.pack("<IIi", INT32, 4, value) if -(1 << 31) <= value < 1 << 31 else None


def _int64(value: Any) -> bytes:
    return struct.pack("<IIq", INT64, 8, value)


def moment(data: bytes | None) -> int:
    """Microseconds since 1970 of a protobuf `Timestamp`; 0 where there is none."""
    if not data:
        return 0
    seconds, at = _varint(data, 1) if data[0] == 0x08 else (0, 0)
    nanos = _varint(data, at + 1)[0] if at < len(data) else 0
    return seconds * 1_000_000 + nanos // 1000


def value_of(data: bytes | None) -> Any:
    """What a protobuf `Value` of Feast's holds: a time as microseconds since 1970; None where it holds nothing.

    Raises:
        ToolError: it is of a type that no model takes.
    """
    if not data:
        return None
    if data[0] == 0x29:  # the most frequent one
        return _double(data)[0]
    read = READ.get(data[0])
    if read is None:
        raise ToolError("Redis holds a value of a type that no model takes")
    return read(data)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of 64 bits with sign, and where it ends."""
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value, shift = value & 0x7F, 7
    while (byte := data[at]) >= 0x80:
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
    value |= byte << shift
    return value - (1 << 64) if value >= 1 << 63 else value, at + 1


def _string(data: bytes) -> str:
    size, at = _varint(data, 1)
    return data[at : at + size].decode()


def _when(data: bytes) -> int | None:
    seconds = _varint(data, 1)[0]
    return None if seconds == NEVER else seconds * 1_000_000


_sized = struct.Struct("<II").pack
_double, _float = struct.Struct("<xd").unpack, struct.Struct("<xf").unpack
# by the first byte: the number of the field in `Value`, and how it is written
READ: dict[int, Callable[[bytes], Any]] = {
    0x12: _string,
    0x18: lambda data: _varint(data, 1)[0],
    0x20: lambda data: _varint(data, 1)[0],
    0x35: lambda data: _float(data)[0],
    0x38: lambda data: data[1] != 0,
    0x40: _when,
}

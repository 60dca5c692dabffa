"""The Redis servers that Feast's options of the online store describe: one server, a cluster, or sentinels; with TLS.

The clients of `redis.asyncio` find out which server has a key and which is the master. They are used at the start and
after a failure. `redis.py` sends the requests themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

CLOSE_S = 0.05

Command = tuple[bytes, ...]
Kind = Literal["redis", "redis_cluster", "redis_sentinel"]
TLS = {"ssl", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
PARAMETERS = {"db", "username", "password", "socket_timeout", "socket_connect_timeout", "socket_keepalive", *TLS}
REQUIRED = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}  # as redis-py has them


@dataclass(frozen=True)
class Servers:
    """What Feast's options say.

    Attributes:
        kind: of what listens at the nodes.
        nodes: host and port of each.
        options: of redis-py's clients.
        master: the name that sentinels know it by.
    """

    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    options: dict[str, Any]
    master: str = "mymaster"

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS settings; None if the connection is not encrypted."""
        get = self.options.get
        if not get("ssl"):
            return None
        context = ssl.create_default_context(cafile=get("ssl_ca_certs"), capath=get("ssl_ca_path"))
        required = REQUIRED[_certificate(self.options)]
        context.check_hostname = bool(get("ssl_check_hostname", True)) and required != ssl.CERT_NONE
        context.verify_mode = required
        if (certificate := get("ssl_certfile")) is not None:
            context.load_cert_chain(certificate, get("ssl_keyfile"))
        return context

    @property
    def greeting(self) -> list[Command]:
        """The first commands of a new connection."""
        user, password, db = (self.options.get(key) for key in ("username", "password", "db"))
        commands: list[Command] = []
        if password is not None:
            commands.append((b"AUTH", *([str(user).encode()] if user else []), str(password).encode()))
        return [*commands, (b"SELECT", str(db).encode())] if db else commands


def parse_servers(store: dict[str, Any]) -> Servers | None:
    """Parse Feast's options of the online store; None for options that only Feast supports."""
    kind = store.get("redis_type", "redis")
    if kind not in ("redis", "redis_cluster", "redis_sentinel") or store.get("client", "redis") != "redis":
        return None
    parts = str(store.get("connection_string", "localhost:6379")).split(",")
    options = {name: _value(text) for name, is_option, text in (part.partition("=") for part in parts) if is_option}
    places = [part.rpartition(":") for part in parts if "=" not in part]
    if not places or not all(host and ":" not in host and port.isdigit() for host, _, port in places):
        return None
    nodes = tuple((host, int(port)) for host, _, port in places)
    sound = set(options) <= PARAMETERS and str(options.get("db", 0)).isdigit() and (len(nodes) == 1 or kind != "redis")
    sound = sound and _certificate(options) in REQUIRED
    return Servers(kind, nodes, options, store.get("sentinel_master", "mymaster")) if sound else None


def _certificate(options: dict[str, Any]) -> str:
    """Return redis-py's word for whether the server must have a certificate."""
    return str(options.get("ssl_cert_reqs", "required") or "none").lower()


def _value(text: str) -> Any:
    """Parse an option as Feast does: as JSON if it is valid JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class Route:
    """Decides which server gets which command. In a cluster, the key decides: it is a command's first argument.

    Every method raises an OSError if no server answers.
    """

    def __init__(self, servers: Servers, timeout_s: float) -> None:
        self._servers, self._lock, self._cluster = servers, asyncio.Lock(), cast(Any, None)
        self._master: tuple[str, int] | None = None
        waits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        self._options = {**waits, **servers.options}
        if servers.kind != "redis":
            import redis.asyncio.cluster
            import redis.asyncio.sentinel  # noqa: F401 - at the start, not while a request waits

    @property
    def can_change(self) -> bool:
        """Can the keys be on another server after a failure?"""
        return self._servers.kind != "redis"

    async def forget(self) -> None:
        """Forget the servers, so that the next call asks for them again."""
        cluster, self._cluster, self._master = self._cluster, None, None
        with contextlib.suppress(Exception):  # it may hang, or be closed already
            async with asyncio.timeout(CLOSE_S):
                await cluster.aclose()

    async def of(self, commands: Sequence[Command]) -> list[tuple[str, int]]:
        """Return the server for each command."""
        if self._servers.kind == "redis_cluster":
            cluster = await self._known_cluster()
            nodes = [cluster.get_node_from_key(command[1]) for command in commands]
            return [(node.host, int(node.port)) for node in nodes]
        return [(await self.every())[0]] * len(commands)

    async def every(self) -> list[tuple[str, int]]:
        """Return all servers that have keys."""
        if self._servers.kind == "redis_cluster":
            return [(node.host, int(node.port)) for node in (await self._known_cluster()).get_primaries()]
        if self._servers.kind == "redis":
            return [self._servers.nodes[0]]
        from redis.asyncio.sentinel import Sentinel
        from redis.exceptions import RedisError

        async with self._lock:
            if self._master is None:
                make: Any = Sentinel
                sentinels = make(list(self._servers.nodes), **self._options)  # as Feast makes it
                try:
                    self._master = await sentinels.discover_master(self._servers.master)
                except RedisError as error:
                    raise ConnectionError(type(error).__name__) from error
                finally:
                    for sentinel in sentinels.sentinels:
                        await sentinel.aclose()
            return [cast(tuple[str, int], self._master)]

    async def _known_cluster(self) -> Any:
        from redis.asyncio.cluster import ClusterNode, RedisCluster
        from redis.exceptions import RedisError

        async with self._lock:
            if self._cluster is None:
                nodes = [ClusterNode(host, port) for host, port in self._servers.nodes]
                cluster = RedisCluster(startup_nodes=nodes, **self._options)
                try:
                    await cluster.initialize()
                except RedisError as error:
                    await cluster.aclose()
                    raise ConnectionError(type(error).__name__) from error
                self._cluster = cluster
            return self._cluster

"""Redis with TLS and a password, as a cluster and behind sentinels: read without Feast, what Feast wrote."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("feast")
pytest.importorskip("redis")

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64

from mlops_glue.adapters.feast.redis import RedisReader
from mlops_glue.adapters.feast.redis_servers import parse_servers
from mlops_glue.errors import ToolError
from mlops_glue.records import FeatureView as Listed
from tests.support.redis_servers import HOST, certificate, cli, free_port, plain, redis_server, until

ROWS = 200
WANTED = [[n / 2] for n in range(ROWS)]
Read = Callable[[], Awaitable[list[list[Any]]]]


def written(folder: Path, store: dict[str, Any], **changed: str) -> tuple[RedisReader, Read]:
    """Rows that Feast has written there; what reads them, of options with some changed."""
    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(folder / "registry.db"),
        entity_key_serialization_version=3,
        online_store=store,
    )
    feast = FeatureStore(config=config)
    who = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    source = FileSource(name="s", path="s.parquet", timestamp_field="at")
    schema = [Field(name="id", dtype=Int64), Field(name="x", dtype=Float64)]
    feast.apply([who, FeatureView(name="v", entities=[who], ttl=timedelta(0), schema=schema, source=source)])
    rows = {"id": range(ROWS), "x": [n / 2 for n in range(ROWS)], "at": datetime.now(UTC) - timedelta(hours=1)}
    feast.write_to_online_store("v", pd.DataFrame(rows))
    servers = parse_servers({**store, **changed})
    assert servers is not None
    listed = Listed("v", {"id": "id"}, {"x": ""}, 0.0, "", of="v", types={"id": "INT64"})
    reader = RedisReader(servers, "p", [listed], ["id"], ["v:x"], 10.0)
    return reader, lambda: reader.read([(n,) for n in range(ROWS)], 0)


def test_tls_and_a_password(tmp_path: Path) -> None:
    port, (pem, key) = free_port(), certificate(tmp_path)
    tls = ["--tls-port", str(port), "--tls-cert-file", str(pem), "--tls-key-file", str(key), "--tls-ca-cert-file"]
    options = [*plain(0), *tls, str(pem), "--tls-auth-clients", "no", "--requirepass", "canary-secret"]
    text = f"{HOST}:{port},ssl=true,password=canary-secret,db=2"
    with redis_server(tmp_path / "r", port, *options):
        store = {"type": "redis", "connection_string": f"{text},ssl_ca_certs={pem}"}
        reader, read = written(tmp_path, store)

        async def work() -> None:
            assert await read() == WANTED and await reader.size() == ROWS

        asyncio.run(work())
        for wrong, said in ((text, "cannot be reached: SSLCertVerificationError"), ("x", "refuses the user")):
            wrong = f"{HOST}:{port},ssl=true,password=x,ssl_ca_certs={pem}" if wrong == "x" else wrong
            with pytest.raises(ToolError, match=said) as caught:
                asyncio.run(written(tmp_path, store, connection_string=wrong)[1]())
            assert "canary" not in str(caught.value)


def test_a_cluster_whose_keys_move(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for port in ports:
            folder = tmp_path / str(port)
            stack.enter_context(redis_server(folder, port, *plain(port), "--cluster-enabled", "yes"))
        nodes = [f"{HOST}:{port}" for port in ports]
        cli(ports[0], "--cluster", "create", *nodes, "--cluster-yes")
        until(lambda: all("cluster_state:ok" in cli(port, "cluster", "info") for port in ports))
        store = {"type": "redis", "redis_type": "redis_cluster", "connection_string": ",".join(nodes)}
        reader, read = written(tmp_path, store, connection_string=f"{HOST}:{free_port()},{nodes[1]}")

        async def work() -> None:
            assert await read() == WANTED and await reader.size() == ROWS
            one, other = (cli(port, "cluster", "myid").strip() for port in ports[:2])
            whole = ["--cluster-from", one, "--cluster-to", other, "--cluster-slots", "5461", "--cluster-yes"]
            await asyncio.to_thread(cli, ports[0], "--cluster", "reshard", nodes[0], *whole)
            assert cli(ports[0], "dbsize").strip() == "0"  # what it had is elsewhere
            assert await read() == WANTED and await reader.size() == ROWS

        asyncio.run(work())


def test_sentinels_name_another_master(tmp_path: Path) -> None:
    master, replica, sentinel = (free_port() for _ in range(3))
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {sentinel}\nbind {HOST}\nsentinel monitor mine {HOST} {master} 1\n"
        "sentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 2000\n"
    )
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        first.enter_context(redis_server(tmp_path / "m", master, *plain(master)))
        stack.enter_context(redis_server(tmp_path / "r", replica, *plain(replica), "--replicaof", HOST, str(master)))
        until(lambda: "master_link_status:up" in cli(replica, "info", "replication"))
        stack.enter_context(redis_server(tmp_path / "s", sentinel, str(config), "--sentinel"))
        text = f"{HOST}:{sentinel}"
        kind = {"redis_type": "redis_sentinel", "sentinel_master": "mine"}
        until(lambda: "slaves=1" in cli(sentinel, "info", "sentinel"))
        reader, read = written(tmp_path, {"type": "redis", "connection_string": text, **kind})

        async def work() -> None:
            assert await read() == WANTED
            await asyncio.to_thread(first.close)
            await asyncio.to_thread(until, lambda: str(replica) in cli(sentinel, "sentinel", "masters"))
            await asyncio.to_thread(until, lambda: "role:master" in cli(replica, "info", "replication"))
            assert await read() == WANTED and await reader.size() == ROWS

        asyncio.run(work())
        unknown = {"type": "redis", "connection_string": text, **kind, "sentinel_master": "nobody"}
        servers = parse_servers(unknown)
        assert servers is not None
        listed = Listed("v", {"id": "id"}, {"x": ""}, 0.0, "", of="v", types={"id": "INT64"})
        with pytest.raises(ToolError, match="cannot be reached: ConnectionError"):
            asyncio.run(RedisReader(servers, "p", [listed], ["id"], ["v:x"], 10.0).read([(1,)], 0))

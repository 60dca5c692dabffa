"""A request to upgrade is answered like any other, however it is cut into packets, and so is what follows it."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn

from mlops_glue.config import Serve
from mlops_glue.records import Servable
from mlops_glue.serving import http_server
from mlops_glue.serving.http_server import OnePacketTransport, PlainHttp
from mlops_glue.serving.settings import Settings

UPGRADES = (
    b"",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    b"Upgrade: h2c\r\n",
    b"connection: keep-alive, upgrade\r\nupgrade: TLS/1.0\r\n",
)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"].endswith("shutdown"):
                return
    assert scope["type"] == "http"
    body = scope["method"].encode() + b" " + scope["path"].encode() + b" "
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def listening() -> Iterator[tuple[Any, uvicorn.Server, threading.Thread]]:
    with socket.create_server(("127.0.0.1", 0)) as at:
        options: dict[str, Any] = {"http": PlainHttp, "ws": "none", "log_level": "critical"}
        server = uvicorn.Server(uvicorn.Config(echo, timeout_graceful_shutdown=20, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield at.getsockname(), server, thread
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[Any]:
    with listening() as (at, _, _):
        yield at


def request(rng: random.Random, number: int) -> tuple[bytes, bytes]:
    """What is sent, and the body of the answer."""
    method, body = rng.choice([b"POST", b"POST", b"GET", b"HEAD"]), b""
    head = b"%b /p%d HTTP/1.1\r\nHost: x\r\n%b" % (method, number, rng.choice(UPGRADES))
    if method == b"POST":
        body = bytes(rng.choice(b"{}ab \r\n") for _ in range(rng.choice([0, 1, 2, 40])))
    if method == b"POST" and rng.random() < 0.3:
        cut = rng.randint(0, len(body))
        pieces = [one for one in (body[:cut], body[cut:]) if one]
        sent = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + sent, b"%b /p%d %b" % (method, number, body)
    length = b"Content-Length: %d\r\n" % len(body) if method == b"POST" else b""
    return head + length + b"\r\n" + body, b"" if method == b"HEAD" else b"%b /p%d %b" % (method, number, body)


def answer(stream: Any, has_body: bool = True) -> tuple[bytes, bytes]:
    status, length = stream.readline(), 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return status.split(b" ")[1], stream.read(length) if has_body else b""


@pytest.mark.parametrize("seed", range(200))
def test_requests_are_answered_in_order(seed: int, address: Any) -> None:
    rng = random.Random(seed)
    several = [request(rng, number) for number in range(rng.randint(1, 5))]
    sent = b"".join(one for one, _ in several)
    cuts = sorted(rng.sample(range(1, len(sent)), min(rng.choice([0, 0, 1, 3, 8]), len(sent) - 1)))
    with socket.create_connection(address, 5) as client, client.makefile("rb") as stream:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            client.sendall(sent[start:end])
            time.sleep(0.001 if cuts else 0)
        for _, wanted in several:
            assert answer(stream, has_body=bool(wanted)) == (b"200", wanted)


def test_what_is_no_request_is_a_400(address: Any) -> None:
    for sent in (
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ):
        with socket.create_connection(address, 5) as client, client.makefile("rb") as stream:
            client.sendall(sent)
            assert answer(stream)[0] == b"400" and stream.read() == b""


def test_head_and_body_are_sent_together() -> None:
    class Sent(list[bytes]):
        write, closed = list.append, False

        def close(self) -> None:
            self.closed = True

    sent = Sent()
    joined = OnePacketTransport(sent)
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    for one in (b"HTTP/1.1 100 Continue\r\n\r\n", head, b"{}", head, b"HTTP/1.1 as a body", b" and more of it", head):
        joined.write(one)
    assert sent == [b"HTTP/1.1 100 Continue\r\n\r\n", head + b"{}", head + b"HTTP/1.1 as a body", b" and more of it"]
    joined.flush()
    joined.flush()
    assert sent[4:] == [head]
    joined.write(head)
    joined.close()
    assert sent[5:] == [head] and sent.closed and joined.closed


def test_100_continue(address: Any) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    for upgrade in UPGRADES:
        with socket.create_connection(address, 5) as client, client.makefile("rb") as stream:
            client.sendall(head + upgrade + b"\r\n")
            assert stream.readline() == b"HTTP/1.1 100 Continue\r\n" and stream.readline() == b"\r\n"
            client.sendall(b"{}")
            assert answer(stream) == (b"200", b"POST /p {}")


def test_it_ends_in_time_with_upgrades_open() -> None:
    with listening() as (at, server, thread), contextlib.ExitStack() as open_:
        for upgrade in UPGRADES * 3:
            client = open_.enter_context(socket.create_connection(at, 5))
            stream = open_.enter_context(client.makefile("rb"))
            client.sendall(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + upgrade + b"\r\n{}")
            assert answer(stream)[0] == b"200"
        late = open_.enter_context(socket.create_connection(at, 5))
        stream = open_.enter_context(late.makefile("rb"))
        late.sendall(b"POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + UPGRADES[1] + b"\r\n{")
        time.sleep(0.2)
        server.should_exit = True
        time.sleep(0.3)
        late.sendall(b"}")
        assert answer(stream) == (b"200", b"POST /late {}")
        thread.join(5)
        assert not thread.is_alive()


def test_a_worker_of_glue_serve_answers_by_this_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[uvicorn.Config] = []
    monkeypatch.setattr(http_server, "Worker", lambda settings: echo)
    monkeypatch.setattr(uvicorn, "Server", lambda config: made.append(config) or Mock())
    with socket.create_server(("127.0.0.1", 0)) as at:
        http_server.run_worker(Settings(Servable(1, "", ""), "m", Path(), options=Serve(shutdown_s=2.0)), at)
    (config,) = made
    config.load()
    assert config.loaded_app is echo and config.ws_protocol_class is None and not config.proxy_headers
    assert config.http_protocol_class.__name__ == "PlainHttp" and config.timeout_graceful_shutdown == 2

"""Work that nobody answers is left behind; what is slow and goes on is not."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_glue.errors import ToolError, Unreachable, UsageError
from mlops_glue.waiting import answered, within

LIMIT_S = 0.5


def test_what_hangs_is_left_behind() -> None:
    released = threading.Event()

    def silenced() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            released.wait(20)

    before = sys.stdout
    with pytest.raises(Unreachable, match=r"the store does not answer within 0\.2 s"):
        within(0.2, "the store", silenced)
    assert sys.stdout is before
    released.set()
    with pytest.raises(ToolError, match="no"):
        within(5, "it", lambda: (_ for _ in ()).throw(ToolError("no")))
    assert within(5, "it", lambda: 7) == 7


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_limit_that_is_no_time_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLUE_ANSWER_TIMEOUT_S", text)
    with pytest.raises(UsageError, match=f"GLUE_ANSWER_TIMEOUT_S={text}: should be a number of seconds above 0"):
        answered("the store", lambda: 7)
    monkeypatch.setenv("GLUE_ANSWER_TIMEOUT_S", "60")
    assert answered("the store", lambda: 7) == 7


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as here,
        server.accept()[0] as there,
    ):
        yield here, there


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a connection has got")
def test_who_says_nothing_is_left_and_who_says_something_is_not(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    monkeypatch.chdir(tmp_path)

    def trickle() -> None:
        for _ in range(8):
            time.sleep(LIMIT_S / 4)
            there.sendall(b"x")

    def read(count: int) -> int:
        os.chdir("/")
        return sum(len(here.recv(1)) for _ in range(count))

    threading.Thread(target=trickle, daemon=True).start()
    assert within(LIMIT_S, "it", lambda: read(8), idle=True) == 8
    os.chdir(tmp_path)
    with pytest.raises(Unreachable, match=r"it does not answer within 0\.5 s"):
        within(LIMIT_S, "it", lambda: read(1), idle=True)
    assert Path.cwd() == tmp_path
    there.sendall(b"x")  # so that the thread ends


def test_who_computes_or_sends_is_not_left(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair

    def compute() -> int:
        end = time.monotonic() + 3 * LIMIT_S
        while time.monotonic() < end:
            sum(range(1000))
        return 1

    def drain() -> None:
        with contextlib.suppress(OSError):  # the test has ended
            while there.recv(1 << 18):
                time.sleep(LIMIT_S / 8)

    assert within(LIMIT_S, "it", compute, idle=True) == 1
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    threading.Thread(target=drain, daemon=True).start()
    within(LIMIT_S, "it", lambda: here.sendall(bytes(4 << 20)), idle=True)

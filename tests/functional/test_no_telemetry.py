"""Nothing that glue starts asks another machine for anything, from the first run to serving and the monitor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_glue import telemetry
from tests.support.project import Glue, row_of
from tests.support.server import ask, serving

HOOK = """
import json, os, sys
def look(event, given):
    if event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        return
    place = given[0] if event.startswith("socket.get") else given[1]
    host = place[0] if isinstance(place, tuple) else place
    if isinstance(host, bytes):
        host = host.decode("utf-8", "replace")
    near = (None, "", "localhost", "::1", "0.0.0.0", "::")
    if host in near or str(host).startswith(("127.", "/", "\\0")):
        return
    with open(os.environ["SEEN_SOCKETS"], "a") as file:
        file.write(json.dumps([event, str(place), sys.argv[:3]]) + "\\n")
sys.addaudithook(look)
"""


def test_no_socket_leaves_the_machine(
    penguins: Path, tmp_path: Path, cold_glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    seen = tmp_path / "seen.txt"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
    monkeypatch.setenv("SEEN_SOCKETS", str(seen))
    for name in telemetry.OFF:
        monkeypatch.delenv(name, raising=False)
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert "192.0.2.1" in seen.read_text()  # it would be noticed
    seen.unlink()
    cold_glue("run", cwd=penguins)
    with serving(penguins) as (url, _):
        assert ask(url, body=row_of(penguins))[0] == 200
    cold_glue("monitor", "--current", "../penguins.csv", cwd=penguins, code=None)
    assert not seen.exists() or [json.loads(line) for line in seen.read_text().splitlines()] == []

"""Several servers as on several hosts, behind a real nginx that has the file of `glue package`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.server import Process, answering, ask, free_port, start, until

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx")


class Host:
    """A machine with a copy of a project, and the `glue serve` of it."""

    _process: Process | None = None

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.root / "told.txt").open("a") as told:
            self._process = start("--quiet", "--port", str(self.port), cwd=self.root, stderr=told)

    @property
    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(ask(self.url, "/ready")[0] == 200)
        assert self.is_alive, (self.root / "told.txt").read_text()
        return False

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_ready(self) -> None:
        until(lambda: self.is_ready, seconds=180)

    def kill(self) -> None:
        """As when its power fails: every process at once."""
        assert self._process is not None
        pid = self._process.pid
        assert answering(pid)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(60)

    def stop(self) -> None:
        if self._process is not None and self.is_alive:
            self._process.send_signal(signal.SIGINT)
            self.wait()


@dataclass
class Proxy:
    """An nginx."""

    config: Path
    made: str  # what `glue package` wrote
    url: str
    pid: int = 0

    def write(self, hosts: list[Host]) -> None:
        """Its file, with these hosts for the name that Docker knows."""
        servers = "\n".join(f"    server 127.0.0.1:{h.port} max_fails=1 fail_timeout=5s;" for h in hosts)
        text, places = re.subn(r" +server server:\d+ resolve [^;]+;", servers, self.made)
        text, ports = re.subn(r"listen 8080;", f"listen {self.url.removeprefix('http://')};", text)
        assert (places, ports) == (1, 1)
        text = text.replace("/tmp/nginx", f"{self.config.parent}/nginx").replace("auto;", "2;")
        self.config.write_text(text)

    def reload(self, hosts: list[Host]) -> None:
        self.write(hosts)
        os.kill(self.pid, signal.SIGHUP)


@contextlib.contextmanager
def proxy(folder: Path, made: str, hosts: list[Host]) -> Iterator[Proxy]:
    """It answers, until the end of the block."""
    assert NGINX is not None
    folder.mkdir()
    found = Proxy(folder / "nginx.conf", made, f"http://127.0.0.1:{free_port()}")
    found.write(hosts)
    words = [NGINX, "-e", "stderr", "-p", str(folder), "-c", str(found.config), "-g", "daemon off;"]
    with (folder / "told.txt").open("w") as told, subprocess.Popen(words, stderr=told) as process:
        found.pid = process.pid
        try:
            until(lambda: ask(found.url, "/ready")[0] == 200)
            yield found
        finally:
            process.terminate()

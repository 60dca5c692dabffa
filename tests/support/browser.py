"""Chromium without a window, told what to do over its DevTools protocol, and axe-core in its pages."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
ANSWER_S = 60.0
AXE = "axe.run(%s, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
AXE += "`${v.id}: ${v.help}: ${v.nodes.map(n => n.target.join(' ')).join(', ')}`))"


class Browser:
    """One tab.

    Attributes:
        asked: every address that it asked for since the last `open`.
        said: what went wrong in it since then: the console's errors, exceptions, requests that failed.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._count, self._session = connection, 0, ""
        self.asked: list[str] = []
        self.said: list[str] = []
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        self._connection.send(json.dumps({"id": self._count, "method": method, "params": params, **session}))
        while (heard := self._hear()).get("id") != self._count:
            pass
        assert "error" not in heard, (method, heard["error"])
        return dict(heard["result"])

    def _hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self._connection.recv(timeout=ANSWER_S))
        params = heard.get("params", {})
        match heard.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Network.loadingFailed":
                self.said.append(params["errorText"])
            case "Runtime.exceptionThrown":
                self.said.append(str(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.said.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.said.append(str(params["args"]))
        return heard

    def open(self, url: str) -> None:
        """Load a page, all of it."""
        self.asked, self.said = [], []
        self.tell("Page.navigate", url=url)
        while self._hear().get("method") != "Page.loadEventFired":
            pass

    def see(self, width: int, scheme: str = "light", media: str = "") -> None:
        """As on a screen of this width, in light or dark; or as on paper, where `media` is "print"."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tell("Emulation.setEmulatedMedia", media=media, features=features)

    def value(self, expression: str) -> Any:
        """What JavaScript says, in the page."""
        words = {"awaitPromise": True, "returnByValue": True}
        found = self.tell("Runtime.evaluate", expression=expression, **words)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def axe(self, within: str = "document") -> list[str]:
        """What axe-core finds wrong in an element, with every rule that it has."""
        if not self.value("typeof axe === 'object'"):  # once in a page
            self.value((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        found: list[str] = self.value(AXE % within)
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A Chromium that keeps what it writes in a folder, and asks nothing of its own of the network."""
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    words = [str(CHROMIUM), "--headless", "--disable-gpu", f"--user-data-dir={folder}", "--remote-debugging-port=0"]
    root = ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else []
    with subprocess.Popen([*words, *quiet, *root], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "DevTools listening on " in line)
            url = line.rpartition(" ")[2].strip()
            with connect(url, max_size=None, proxy=None, ping_interval=None) as connection:  # it waits by itself
                yield Browser(connection)
                with contextlib.suppress(Exception):
                    connection.send(json.dumps({"id": 0, "method": "Browser.close"}))
                    process.wait(10)
        finally:
            process.terminate()

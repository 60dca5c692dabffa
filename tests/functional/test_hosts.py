"""Three servers behind nginx: a version is promoted, a host is killed, drained, added, and no request fails."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.hosts import Host, needs_nginx, proxy
from tests.support.project import Glue, on_penguins, row_of
from tests.support.server import JSON, ask, until, with_serve

pytestmark = needs_nginx
CLIENTS, PAUSE_S = 4, 0.05


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """Two versions, the first champion, in a registry that every host reaches, and the package of it."""
    root = on_penguins(tmp_path_factory.mktemp("hosts"), "p", glue, empty_store)
    serve = f"{{poll_s: 0.5, drain_s: 2, timeout_s: 8, prediction_log: {root.parent}/log, log: {{rotate_s: 1}}}}"
    with_serve(root, f"{serve}\ntracking: {{uri: 'sqlite:///{root}/mlflow.db'}}")
    quick = ("--set", "train.estimator=sklearn.linear_model.LogisticRegression")
    glue("run", *quick, cwd=root)
    glue("run", *quick, "--set", "train.params={C: 0.5}", "--no-promote", cwd=root, code=None)
    glue("package", str(root.parent / "serving"), cwd=root)
    return root


@pytest.fixture
def hosts(project: Path, tmp_path: Path) -> Iterator[list[Host]]:
    """Three that serve, and a fourth machine, not yet started, with the disk of the first."""
    found = [Host(shutil.copytree(project, tmp_path / f"host{n}", symlinks=True)) for n in range(3)]
    found.append(Host(found[0].root))
    with contextlib.ExitStack() as stack:
        for one in found:
            stack.callback(one.stop)
        for one in found[:3]:
            one.start()
        for one in found[:3]:
            one.wait_ready()
        yield found


class Load:
    """Clients that ask one after the other, each time on a connection of its own; one reads, the others predict."""

    def __init__(self, url: str, row: dict[str, Any]) -> None:
        self.url, self.row = url, row
        self.statuses = Counter[Any]()
        self.answers: list[dict[str, Any]] = []
        self._end = threading.Event()

    @contextlib.contextmanager
    def going(self) -> Iterator[Load]:
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            asking = [pool.submit(self._ask, body) for body in [self.row] * CLIENTS + [None]]
            try:
                yield self
                for one in asking:
                    assert not one.done()
            finally:
                self._end.set()

    def _ask(self, body: Any) -> None:
        while not self._end.wait(PAUSE_S):
            try:
                status, told = ask(self.url, "/predict" if body else "/model", body)
            except (OSError, AssertionError) as error:  # it is no answer of ours
                status, told = repr(error), {}
            self.statuses[status] += 1
            if body and status == 200:
                self.answers.append(told)

    def more(self, number: int = 40, version: int | None = None) -> None:
        """Wait until so many more are answered, by a version."""
        seen = len(self.answers)
        until(lambda: sum(version in (None, one["model_version"]) for one in self.answers[seen:]) >= number)


def metrics(hosts: list[Host]) -> dict[str, list[float]]:
    """Each series as `sum by (name)` over its labels would be, of each host."""
    found: dict[str, list[float]] = {}
    for host in hosts:
        sums = Counter[str]()
        for family in text_string_to_metric_families(ask(host.url, "/metrics")[1]):
            for sample in family.samples:
                sums[sample.name] += sample.value
        for name, value in sums.items():
            found.setdefault(name, []).append(value)
    return found


def test_no_request_fails_and_no_row_is_lost(project: Path, hosts: list[Host], tmp_path: Path, glue: Glue) -> None:
    first, second, third, fourth = hosts
    made = (project.parent / "serving/deploy/nginx.conf").read_text()
    with proxy(tmp_path / "nginx", made, hosts[:3]) as front:
        with Load(front.url, row_of(project)).going() as load:
            load.more(version=1)
            glue("promote", "2", "--force", "--reason", "a test", cwd=project)
            for one in hosts[:3]:
                until(lambda one=one: ask(one.url, "/model")[1]["version"] == 2)
            load.more(version=2)

            first.kill()
            load.more()

            second.terminate()
            until(lambda: ask(second.url, "/ready")[0] == 503)
            assert _asked_alone(second, row_of(project)) == (200, "close")
            assert second.wait() == 0
            load.more()

            fourth.start()
            fourth.wait_ready()
            front.reload([third, fourth])
            until(lambda: metrics([fourth])["glue_rows_total"][0])
            load.more()
        assert set(load.statuses) == {200}, load.statuses
        assert ask(front.url, "/metrics")[0] == 404

        before = metrics([third, fourth])
        load.answers += [ask(front.url, body=row_of(project))[1] for _ in range(40)]
        until(lambda: _grown(before, metrics([third, fourth]), "glue_rows_total") == 40)
        after = metrics([third, fourth])
        assert _grown(before, after, "glue_latency_seconds_count") == 40
        assert all(new > old for new, old in zip(after["glue_rows_total"], before["glue_rows_total"], strict=True))
        assert sum(after["glue_in_flight"]) == 0 and sum(after["glue_model_info"]) == 2
        assert set(after["glue_model_version"]) == {2} and sum(after["glue_degraded"]) == 0
    _check_end(third)
    fourth.terminate()
    assert fourth.wait() == 0
    _check_log(pd.read_parquet(project.parent / "log"), [one["request_id"] for one in load.answers])


def _asked_alone(host: Host, row: dict[str, Any]) -> tuple[int, str | None]:
    """How it answers a client that would keep its connection: the status, and what becomes of that."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
    connection.request("POST", "/predict", json.dumps(row), JSON)
    reply = connection.getresponse()
    reply.read()
    return reply.status, reply.getheader("connection")


def _grown(before: dict[str, list[float]], after: dict[str, list[float]], name: str) -> float:
    return sum(after[name]) - sum(before[name])


def _check_log(log: pd.DataFrame, answered: list[str]) -> None:
    """What was answered is there once. What a host had scored when it was killed is there too, by the same caller."""
    assert log["glue_request_id"].is_unique and set(answered) <= set(log["glue_request_id"])
    is_answer = log["glue_request_id"].isin(answered)
    assert log["glue_caller_id"].notna().sum() >= len(answered) and log["glue_caller_id"][is_answer].is_unique
    twice = log[~is_answer & log["glue_caller_id"].notna()]
    assert set(twice["glue_caller_id"]) <= set(log["glue_caller_id"][is_answer]) and len(twice) <= CLIENTS


def _check_end(host: Host) -> None:
    """While a server ends, nobody waits in a queue that it does not read; what is in flight is answered."""
    with socket.create_connection(("127.0.0.1", host.port)) as kept:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        kept.sendall(head)
        host.terminate()
        until(lambda: not _accepts(host.port))
        assert host.is_alive and b" 408 " in kept.recv(100)
    assert host.wait() == 0


def _accepts(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0

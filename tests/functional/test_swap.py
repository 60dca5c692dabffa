"""Versions that come and go while requests are answered; workers that die; servers that end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow.dataset as ds
import pytest

from mlops_glue import config as configs
from mlops_glue import files
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
from mlops_glue.delivery import shadow
from mlops_glue.errors import DataError
from mlops_glue.records import Servable
from mlops_glue.serving import initial
from mlops_glue.serving.follow import Follower
from mlops_glue.serving.settings import Settings
from tests.support.models import endless
from tests.support.project import Glue, row_of
from tests.support.server import JSON, answering, ask, serving, until, with_serve

QUICK = "{poll_s: 0.5, prediction_log: data/predictions}"
SLOW = "{poll_s: 600, prediction_log: data/predictions}"  # the registry is not asked; to import MLflow takes seconds


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, glue: Glue, once_run_penguins: Path) -> Path:
    """A project with two good versions, and a third whose model was changed after it was registered."""
    root = shutil.copytree(once_run_penguins, tmp_path_factory.mktemp("swap"), dirs_exist_ok=True) / "project"
    for seed in ("1", "2"):
        glue("run", "--set", f"train.seed={seed}", cwd=root, code=None)
    with_serve(root, QUICK)
    (broken,) = (
        p for p in (root / "mlartifacts").rglob("bundle/model.onnx") if p.parent.parent.parent.name == run_of(root, 3)
    )
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(data)
    champion(root, 1)
    return root


def run_of(root: Path, version: int) -> str:
    """The id of the MLflow run that made a version."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as db:
        return str(db.execute("select run_id from model_versions where version = ?", (version,)).fetchone()[0])


def champion(root: Path, version: int) -> None:
    """Move the alias as another program would."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db", timeout=30)) as db, db:
        db.execute("update registered_model_aliases set version = ? where alias = 'champion'", (version,))


def registered(root: Path, version: int, digest: str) -> None:
    """Say of a version that this is its bundle's digest."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db", timeout=30)) as db, db:
        words = "update model_version_tags set value = ? where key = ? and version = ?"
        assert db.execute(words, (digest, BUNDLE_DIGEST, version)).rowcount == 1


@pytest.fixture
def unasked(project: Path) -> Iterator[Path]:
    """The project, where the server asks the registry at its start only."""
    before = with_serve(project, SLOW)
    yield project
    (project / "glue.yaml").write_text(before)


@dataclass
class Load:
    """Clients that ask one after the other, each over one connection."""

    url: str
    row: dict[str, Any]
    clients: int = 4
    answers: list[tuple[float, float, int, dict[str, Any]]] = field(default_factory=list)  # sent, got, status, said
    broken: int = 0  # connections that ended without an answer
    _end: bool = False

    @contextlib.contextmanager
    def going(self) -> Iterator[Load]:
        threads = [threading.Thread(target=self._ask, args=[n]) for n in range(self.clients)]
        for one in threads:
            one.start()
        try:
            yield self
        finally:
            self._end = True
            for one in threads:
                one.join(30)

    def _ask(self, client: int) -> None:
        host, n, connection = self.url.removeprefix("http://"), 0, None
        body = json.dumps(self.row)
        while not self._end:
            sent, n = time.time(), n + 1
            try:
                connection = connection or http.client.HTTPConnection(host, timeout=30)
                connection.request("POST", "/predict", body, {**JSON, "X-Request-Id": f"{client}-{n}"})
                reply = connection.getresponse()
                said = json.loads(reply.read())
                self.answers.append((sent, time.time(), reply.status, said))
            except (OSError, http.client.HTTPException, ValueError):
                self.broken += 1
                connection = None
                time.sleep(0.02)
            time.sleep(0.03)  # what is asked here is whether an answer fails, and not how many there are

    @property
    def statuses(self) -> set[int]:
        return {status for _, _, status, _ in self.answers}


def logged(root: Path) -> list[str]:
    """Request ids in the Parquet files, with row."""
    table = ds.dataset(root / "data/predictions", partitioning="hive", exclude_invalid_files=False).to_table()
    return [
        f"{i}/{r}" for i, r in zip(table["glue_request_id"].to_pylist(), table["glue_row"].to_pylist(), strict=True)
    ]


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.long)])
def test_the_alias_is_followed_and_no_request_fails(seconds: int, project: Path) -> None:
    """Moved back and forth, one version corrupted, the registry away for a while."""
    moves: list[tuple[float, float, int]] = [(0.0, 0.0, 1)]  # when the alias moved, when both workers had followed
    with serving(project, "--workers", "2", "--quiet") as (url, _), Load(url, row_of(project)).going() as load:
        until(lambda: load.answers)
        start, n = time.time(), 0
        while time.time() < start + seconds or n < 5:
            n += 1
            version = 3 if n == 3 else 2 if moves[-1][2] == 1 else 1
            if n == 5:
                (project / "mlflow.db").rename(project / "away.db")
                until(lambda: any("registry cannot be reached" in one for one in ask(url, "/ready")[1]["degraded"]))
                assert ask(url, "/ready")[0] == 200 and not (project / "mlflow.db").exists()
                (project / "away.db").rename(project / "mlflow.db")
            moved = time.time()
            champion(project, version)
            if version == 3:
                until(lambda: any("v3 is not served" in one for one in ask(url, "/ready")[1]["degraded"]))
                assert "glue_model_reload_failures_total 1.0" in ask(url, "/metrics")[1]
            else:
                swaps = f"glue_model_swaps_total {2.0 * len(moves)}"
                until(lambda line=swaps: line in ask(url, "/metrics")[1])  # type: ignore[misc]
                moves.append((moved, time.time(), version))
            time.sleep(seconds / 20)
        assert not any(ask(url, "/ready")[1]["degraded"])
    champion(project, 1)
    assert load.statuses == {200} and load.broken == 0 and n >= 5
    assert len(load.answers) > 5 * seconds
    ends = [*(seen for _, seen, _ in moves[1:]), float("inf")]
    for sent, got, _, said in load.answers:
        could = {v for (moved, _, v), end in zip(moves, ends, strict=True) if moved <= got and sent <= end}
        assert said["model_version"] in could
    assert {said["model_version"] for _, _, _, said in load.answers} == {1, 2}


def test_promote_and_rollback_are_followed(project: Path, glue: Glue) -> None:
    with serving(project, "--quiet", cold=True) as (url, pid):
        glue("promote", "2", "--alias", "challenger", cwd=project)
        said = glue("promote", "3", cwd=project, code=4).stderr
        assert "v3: its bundle is not the one that was registered" in said
        assert "was never champion, or was rolled back" in glue("rollback", "3", cwd=project, code=2).stderr
        assert "has no such version" in glue("promote", "9", cwd=project, code=2).stderr
        glue("run", "--set", "train.seed=1", cwd=project, code=None)  # the holdout of v2 is here again
        champion(project, 1)
        assert "v2 is champion, replacing v1" in glue("promote", cwd=project).stdout  # the challenger
        until(lambda: ask(url, "/model")[1]["version"] == 2)
        assert ask(url, "/openapi.json")[1]["info"]["version"] == "2"
        assert "v1 is champion; v2 was rolled back" in glue("rollback", cwd=project).stdout
        until(lambda: ask(url, body=row_of(project))[1]["model_version"] == 1)
        assert "v2 was rolled back at" in glue("run", cwd=project, code=1).stdout
        assert ask(url, "/ready")[1] == {"status": "ready", "model": "project", "model_version": 1, "degraded": []}
        assert json.loads(glue("promote", "2", "--json", cwd=project).stdout)["champion"] == 2
        told = glue("promote", "1", cwd=project, code=1).stdout
        assert "v1 refused: holdout: the current holdout is not that of v1" in told and "v2 stays champion" in told
        assert "v1 is champion; v2 was rolled back" in glue("rollback", "1", cwd=project).stdout
        assert "v1 is already champion" in glue("rollback", "1", cwd=project, code=2).stderr
        memory = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))  # type: ignore[union-attr]
        assert memory < 200_000


def test_a_start_without_the_registry(project: Path, glue: Glue) -> None:
    assert "can be served" in glue("serve", "--check", cwd=project).stdout
    (project / "mlflow.db").rename(project / "away.db")
    try:
        with serving(project, "--quiet") as (url, _):
            assert "the registry could not be reached (mlflow.db does not exist)" in (project / "told.txt").read_text()
            assert ask(url, body=row_of(project))[0] == 200
            problem = "the registry cannot be reached: mlflow.db does not exist"
            until(lambda: ask(url, "/ready")[1]["degraded"] == [problem])
            (project / "away.db").rename(project / "mlflow.db")
            until(lambda: ask(url, "/ready")[1]["degraded"] == [])
    finally:
        with contextlib.suppress(OSError):
            (project / "away.db").rename(project / "mlflow.db")
    assert glue("serve", "--version", "2", "--check", cwd=project).stdout


def test_a_registry_that_was_not_written_to_is_not_asked_again(
    project: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To import MLflow takes seconds; whoever moves the alias writes to the file."""
    assert glue("serve", "--check", cwd=project).stdout
    config = configs.load(project)
    monkeypatch.setattr(initial, "run_apart", Mock(side_effect=RuntimeError("it is asked")))
    found, problem = initial.initial_version(project, config, None, None)
    assert found.version == 1 and problem is None
    champion(project, 2)
    time.sleep(0.1)
    with pytest.raises(RuntimeError, match="it is asked"):
        initial.initial_version(project, config, None, None)
    assert "v2" in glue("serve", "--check", cwd=project).stdout
    champion(project, 1)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_workers_lose_no_answer(times: int, unasked: Path) -> None:
    """Each answer is in the log exactly once; the others go on, and another worker takes the place."""
    shutil.rmtree(unasked / "data/predictions", ignore_errors=True)
    r = random.Random(times)
    with serving(unasked, "--workers", "2", "--quiet") as (url, pid):
        with Load(url, row_of(unasked)).going() as load:
            for _ in range(times):
                time.sleep(r.uniform(0.3, 1.0))
                workers = until(lambda: len(found := answering(pid)) >= 2 and found)
                os.kill(r.choice(workers), signal.SIGKILL)
            until(lambda: ask(url, "/ready")[0] == 200)
            time.sleep(0.3)
        until(lambda: len(answering(pid)) == 2)
    assert load.statuses == {200} and load.broken <= times * load.clients
    ids = logged(unasked)
    acknowledged = {f"{said['request_id']}/0" for _, _, _, said in load.answers}
    assert len(ids) == len(set(ids)) and acknowledged <= set(ids)
    assert len(ids) - len(acknowledged) <= load.broken
    assert list((unasked / ".glue/serve/log").iterdir()) == []


def test_a_server_that_is_killed_leaves_nothing_behind(unasked: Path) -> None:
    """Not even its workers; the log is shipped by the next one."""
    shutil.rmtree(unasked / "data/predictions", ignore_errors=True)
    with contextlib.suppress(AssertionError), serving(unasked, "--quiet") as (url, pid):
        asked = [ask(url, body=row_of(unasked))[1]["request_id"] for _ in range(5)]
        children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{one}").exists() and _alive(one) for one in children))
    with serving(unasked, "--quiet"):
        until(lambda: any((unasked / "data/predictions").rglob("*.parquet")) and len(logged(unasked)) == 5)
    assert {one.partition("/")[0] for one in logged(unasked)} == set(asked)


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.long)])
def test_a_server_ends_without_a_dropped_request(times: int, unasked: Path) -> None:
    """/ready says no first; what is answered is logged and shipped."""
    for _ in range(times):
        shutil.rmtree(unasked / "data/predictions", ignore_errors=True)
        with serving(unasked, "--workers", "2", "--quiet") as (url, pid):
            with Load(url, row_of(unasked), clients=4).going() as load:
                time.sleep(0.5)
                os.kill(pid, signal.SIGTERM)
                until(lambda: ask(url, "/ready")[0] == 503)
                before = len(load.answers)
                time.sleep(0.3)
                assert len(load.answers) > before  # it still answers
                load._end = True
            until(lambda: not Path(f"/proc/{pid}").exists() or not _alive(pid))
        assert load.statuses == {200} and load.broken == 0
        assert len(logged(unasked)) == len(load.answers)


def test_a_version_that_never_answers_is_not_served(project: Path, glue: Glue) -> None:
    """It is what was registered, and nothing is to be seen in it."""
    of = {p.parent.parent.parent.name: p.parent for p in (project / "mlartifacts").rglob("bundle/model.onnx")}
    good, bad = of[run_of(project, 2)], of[run_of(project, 3)]
    before = bad.rename(project / "bad")
    shutil.copytree(good, bad)
    endless(bad)
    registered(project, 3, files.digest(bad))
    try:
        with serving(project, "--quiet", env={"GLUE_TRIAL_TIMEOUT_S": "3"}) as (url, _):
            champion(project, 3)
            told = until(lambda: ask(url, "/ready")[1]["degraded"])
            assert "v3 is not served" in told[0] and "does not answer" in told[0], told
            assert ask(url, body=row_of(project))[1]["model_version"] == 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GLUE_TRIAL_TIMEOUT_S", "3")
            said = glue("serve", "--check", cwd=project, code=4).stderr
        assert "v3: does not answer: its own example is not scored within 3 s" in said
    finally:
        champion(project, 1)
        shutil.rmtree(bad)
        before.rename(bad)


def test_shadow_and_canary(project: Path, glue: Glue) -> None:
    glue("promote", "2", "--alias", "challenger", cwd=project)
    row = row_of(project)
    shutil.rmtree(project / "data/predictions", ignore_errors=True)
    before = with_serve(project, QUICK.replace("{", "{shadow: challenger, ", 1))
    try:
        with serving(project, "--quiet") as (url, _):
            until(lambda: ask(url, "/model")[1]["shadow"] == 2)
            said = [ask(url, body={"rows": [row, row]}, X_Request_Id=f"mine-{n}")[1] for n in range(10)]
            assert {one["model_version"] for one in said} == {1}
        table = ds.dataset(project / "data/predictions", partitioning="hive").to_table().to_pandas()
        assert len(table) == 40 and table.glue_caller_id.nunique() == 10
        pairs = table.pivot(index=["glue_request_id", "glue_row"], columns="glue_answered", values="glue_version")
        assert pairs[True].eq(1).all() and pairs[False].eq(2).all()
        assert set(table[table.glue_answered].glue_alias) == {"champion"}
        said = table.pivot(index=["glue_request_id", "glue_row"], columns="glue_answered", values="prediction")
        found = shadow.agreement(configs.load(project), project, 1, 2, labels=True)
        assert found == (pytest.approx((said[True] != said[False]).mean()), 20)  # what a promotion goes by
        (project / "glue.yaml").write_text(before)
        with_serve(project, QUICK.replace("{", "{canary: {alias: challenger, share: 0.3}, ", 1))
        with serving(project, "--quiet") as (url, _):
            until(lambda: ask(url, "/model")[1]["canary"] == 2)
            got = {
                n: {ask(url, body=row, X_Request_Id=f"who-{n}")[1]["model_version"] for _ in range(2)}
                for n in range(100)
            }
        assert all(len(one) == 1 for one in got.values())  # the same id gets the same version
        assert 15 <= sum(one == {2} for one in got.values()) <= 45
    finally:
        (project / "glue.yaml").write_text(before)
    said = glue("serve", "--check", cwd=project).stdout
    before = with_serve(project, "{shadow: champion}")
    assert "serve.shadow: " in glue("serve", "--check", cwd=project, code=2).stderr
    (project / "glue.yaml").write_text(before)


def test_a_version_that_cannot_be_brought_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(Servable(1, str(tmp_path), "x"), "m", tmp_path)
    tries: list[int] = []
    wanted = Servable(2, str(tmp_path), "y")

    def bring(version: int) -> Servable:
        tries.append(version)
        if len(tries) < 3:
            raise DataError("it is broken")
        return wanted

    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    taken: list[Servable] = []
    follower = Follower(settings, lambda alias: 2, bring, taken.append)
    for seconds in range(60):
        clock[0] = float(seconds)
        follower.look()
    assert len(tries) == 3 and taken == [wanted]
    assert json.loads((tmp_path / "desired.json").read_text())["champion"]["version"] == 2
    assert not (tmp_path / "registry.problem").exists()

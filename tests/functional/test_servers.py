"""The fraud project on servers, as a team has them; then lost, and made again from git and its remotes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from mlops_glue.pipeline.stages import NAMES
from tests.support import team
from tests.support.feature_project import edit
from tests.support.project import Glue
from tests.support.redis_servers import free_port, plain, redis_server
from tests.support.server import POSTGRES, ask, hooked, serving, until

SMALL = ("3_000, 200_000, 240", "300, 3_000, 240")  # customers, transactions and days
CHEAP = {"train.params": "{max_iter: 15}", "evaluate.thresholds": "{}", "validation": "{}"}
PROD = """
environments:
  prod:
    data: {remote: "${DVC_REMOTE_URL}"}
    tracking: {uri: "${MLFLOW_TRACKING_URI}", timeout_s: 5}
    features:
      online_store: {type: redis, connection_string: "${REDIS}"}
      registry: {registry_type: sql, path: "${FEAST_REGISTRY}"}
    serve: {poll_s: 0.5, prediction_log: "s3://logs/predictions", log: {rotate_s: 0.5}}
    monitor: {min_rows: 100, alerts: {webhooks: [{url: "${HOOK_URL}"}]}}
    audit: {remote: origin}
"""
ASKED = ["customer_id", "amount", "merchant_category", "hour"]


def git(root: Path, *words: str) -> str:
    who = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    return subprocess.run([*who, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@dataclass
class Shop:
    """A project that has run on servers: a champion, everything pushed."""

    root: Path
    store: str  # MLflow's database: what follows `postgresql://`
    gates: dict[str, team.Gate]  # in front of the servers
    told: list[dict[str, Any]]  # by the webhook

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Requests by entity."""
        table = pq.read_table(self.root / "data/raw/transactions.parquet", columns=ASKED)
        return table.slice(table.num_rows - 300).to_pylist()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Iterator[Shop]:
    folder, port = tmp_path_factory.mktemp("servers"), free_port()
    with contextlib.ExitStack() as stack:
        variables = stack.enter_context(pytest.MonkeyPatch.context())
        store, features = (stack.enter_context(team.database()) for _ in range(2))
        s3 = stack.enter_context(team.s3(folder))
        behind = team.Gate(POSTGRES)  # between MLflow and its database
        through = store.replace(POSTGRES, f"{team.HOST}:{behind.port}")
        mlflow = stack.enter_context(team.mlflow(folder, through, "s3://mlflow/runs"))
        stack.enter_context(redis_server(folder / "redis", port, *plain(port)))
        url, told = stack.enter_context(hooked())
        servers: dict[str, int | str] = {"s3": s3, "mlflow": mlflow, "redis": port, "registry": POSTGRES}
        gates = {name: team.Gate(server) for name, server in servers.items()} | {"database": behind}
        at = {name: f"{team.HOST}:{gate.port}" for name, gate in gates.items()}
        places = {
            **team.KEYS,
            "AWS_ENDPOINT_URL": f"http://{at['s3']}",
            "DVC_REMOTE_URL": "s3://dvc/fraud",
            "MLFLOW_TRACKING_URI": f"http://{at['mlflow']}",
            "REDIS": at["redis"],
            "FEAST_REGISTRY": f"postgresql+psycopg://{features.replace(POSTGRES, at['registry'])}",
            "HOOK_URL": url,
        }
        for name, value in places.items():
            variables.setenv(name, value)
        root = folder / "fraud"
        glue("init", "fraud", cwd=folder)
        edit(root / "data/generate.py", SMALL)
        subprocess.run([sys.executable, "data/generate.py"], cwd=root, check=True, capture_output=True)
        with (root / "glue.yaml").open("a") as config:
            config.write(PROD)
        git(folder, "init", "-q", "--bare", "origin.git")
        git(root, "remote", "add", "origin", str(folder / "origin.git"))
        team.make_buckets(s3, "dvc", "mlflow", "logs")
        until(lambda: team.is_up(mlflow), 300)
        changes = [word for key, value in CHEAP.items() for word in ("--set", f"{key}={value}")]
        said = glue("run", "--env", "prod", "--push", *changes, cwd=root)
        assert "files to ${DVC_REMOTE_URL}" in said.stderr
        kept(root)
        yield Shop(root, store, gates, told)


def on_postgres(root: Path) -> None:
    """Another environment, `postgres`: the same with the online store on PostgreSQL, where Feast's registry is."""
    user, host, port, name = re.fullmatch(r".*//(.*)@(.*):(\d+)/(.*)", os.environ["FEAST_REGISTRY"]).groups()  # type: ignore[union-attr]
    store = (
        f"{{type: postgres, host: {host}, port: {port}, database: {name}, user: {user}, password: x, sslmode: disable}}"
    )
    text = PROD.partition("\n  prod:")[2].replace('{type: redis, connection_string: "${REDIS}"}', store)
    with (root / "glue.yaml").open("a") as config:
        config.write(f"  postgres:{text}")


def kept(root: Path) -> None:
    """Committed, and sent to the remote of git."""
    git(root, "add", ".")
    git(root, "commit", "-qm", "as it is")
    git(root, "push", "-q", "origin", "HEAD:main")


def test_the_loop_and_the_same_project_from_git_and_remotes_alone(shop: Shop, glue: Glue) -> None:
    root, rows = shop.root, shop.rows
    with serving(root, "--env", "prod", "--quiet") as (url, _):
        first = ask(url, body={"rows": rows})[1]
        assert first["model_version"] == 1 and ask(url, "/ready")[1]["degraded"] == []
        drifted = [{**row, "amount": row["amount"] * 30, "hour": 3} for row in rows]
        assert ask(url, body={"rows": drifted})[0] == 200

        def is_logged() -> bool:
            said = glue("monitor", "--env", "prod", "--no-page", "--json", cwd=root, code=None).stdout
            return bool(json.loads(said)["rows"] == 2 * len(rows))

        until(is_logged, 120, 0.5)
        assert [message["type"] for message in shop.told] == ["opened"] and shop.told[0]["env"] == "prod"

        glue("run", "--env", "prod", "--push", "--set", "train.params={max_iter: 25}", cwd=root, code=None)
        glue("promote", "2", "--env", "prod", "--force", "--reason", "a test", cwd=root, code=None)
        until(lambda: ask(url, body={"rows": rows[:1]})[1]["model_version"] == 2, 120)
    kept(root)
    on_postgres(root)
    said = glue("materialize", "--env", "postgres", cwd=root).stdout  # which reads back what it wrote
    assert said == "customer_features  executed\ntransaction_features  executed\n"

    shutil.rmtree(root)
    git(root.parent, "clone", "-q", "-b", "main", "origin.git", str(root))
    done = json.loads(glue("run", "--env", "prod", "--pull", "--json", cwd=root).stdout)
    assert {one["stage"]: one["outcome"] for one in done["stages"]} == dict.fromkeys(NAMES, "unchanged")
    assert (done["version"], done["champion"], done["new"]) == (2, 2, False)
    assert "the chain is intact" in glue("audit", "--env", "prod", cwd=root).stdout


@pytest.mark.parametrize("iterations", [(7, 7), pytest.param((5, 6, 7, 7), marks=pytest.mark.long)])
def test_machines_publish_and_promote_at_once(
    iterations: tuple[int, ...], shop: Shop, glue: Glue, tmp_path: Path
) -> None:
    """Two of them the same result: that is one version. The last one that the record names is champion."""
    before = len(json.loads(glue("audit", "--env", "prod", "--json", cwd=shop.root).stdout)["entries"])

    def work(iterations: int, machine: Path) -> int:
        glue("run", "--env", "prod", "--set", f"train.params={{max_iter: {iterations}}}", cwd=machine, code=None)
        made = int(json.loads((machine / ".glue/delivery.json").read_text())["version"])
        glue("promote", str(made), "--env", "prod", "--force", "--reason", f"of {made}", cwd=machine)
        return made

    machines = [Path(shutil.copytree(shop.root, tmp_path / f"m{at}")) for at in range(len(iterations))]
    with ThreadPoolExecutor(len(machines)) as pool:
        made = list(pool.map(work, iterations, machines))
    assert made[-2] == made[-1] and len({*made}) == len({*iterations})
    told = json.loads(glue("audit", "--env", "prod", "--json", cwd=shop.root).stdout)
    moves = [one for one in told["entries"][before:] if one["alias"] == "champion"]
    assert told["problems"] == [] and {*made} == {one["version"] for one in moves}


FROZEN = {  # what a command says of a server that takes connections and never answers
    ("mlflow", "promote 1"): "MLflow: ${MLFLOW_TRACKING_URI} does not answer: timed out",
    ("s3", "promote 1"): "MLflow: the artifact store does not answer",
    ("s3", "run --push"): "DVC's remote does not answer within 2 s",
    ("s3", "monitor --no-page"): "s3://logs/predictions does not answer within 2 s",
    ("redis", "materialize"): "Feast's online store does not answer within 2 s",
    ("registry", "materialize"): "Feast's registry does not answer within 2 s",
}


@pytest.mark.parametrize(("away", "command"), FROZEN)
@pytest.mark.parametrize("accident", ["freeze", pytest.param("shut", marks=pytest.mark.long)])
def test_a_server_that_is_away(
    accident: str, away: str, command: str, shop: Shop, glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with one line, long before the libraries would give up."""
    monkeypatch.setenv("GLUE_ANSWER_TIMEOUT_S", "2")
    gate, started = shop.gates[away], time.monotonic()
    getattr(gate, accident)()
    try:
        said = glue(*command.split(), "--env", "prod", cwd=shop.root, code=4).stderr.splitlines()
    finally:
        gate.thaw()
    assert time.monotonic() - started < 100  # on a slow machine
    assert said[-2].startswith("error: ")
    assert accident == "shut" or said[-2].startswith(f"error: {FROZEN[away, command]}")
    assert said[-1].startswith("hint: is it up? glue doctor")


class Ended:
    """The n-th request of a kind ends who sends it; whether the server gets it is the question."""

    def __init__(self, request: str, number: int, *, arrives: bool) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._request, self._left, self._arrives = request, number, arrives

    def __call__(self, line: str) -> None:
        self._left -= self._request in line
        if self._left or self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if not self._arrives:
            raise ConnectionResetError


def published_although_killed(shop: Shop, glue: Glue, warm: Path, model: str, end: Ended) -> bool:
    """A run is killed in the middle and run again: was it, and there is one version, with no run that goes on."""
    config = shop.root / "glue.yaml"
    before = config.read_text()
    config.write_text(before.replace("  model: fraud_detection_model", f"  model: {model}"))
    words = [str(warm / "glue"), "run", "--env", "prod"]
    try:
        shop.gates["mlflow"].on_request = end
        end.process = subprocess.Popen(words, cwd=shop.root, stderr=subprocess.DEVNULL, start_new_session=True)
        killed = end.process.wait(300) != 0
        shop.gates["mlflow"].thaw()
        told = json.loads(glue("run", "--env", "prod", "--json", cwd=shop.root).stdout)
    finally:
        shop.gates["mlflow"].thaw()
        config.write_text(before)
    assert (told["version"], told["champion"]) == (1, 1) and "executed" not in [
        one["outcome"] for one in told["stages"] if one["stage"] in ("train", "evaluate", "package")
    ]
    with psycopg.connect(f"postgresql://{shop.store}") as database:
        count = "select count(*) from model_versions where name = %s"
        assert database.execute(count, [model]).fetchone() == (1,)
        assert database.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)
    return killed


@pytest.mark.long
@pytest.mark.parametrize("arrives", [True, False])
def test_killed_at_one_request_after_another(arrives: bool, shop: Shop, glue: Glue, warm: Path) -> None:
    """At each sixth, of publishing, promoting and filling the store."""
    for number in itertools.count(1, 6):
        end = Ended(" HTTP/1", number, arrives=arrives)
        if not published_although_killed(shop, glue, warm, f"killed_{arrives}_{number}", end):
            break
    assert number > 30


WORDS = {  # what a team runs
    "run": "run --set train.params.max_iter={n}",
    "run --push": "run --push",
    "promote": "promote 1 --force --reason test",
    "status": "status",
    "lineage": "lineage 1",
    "predict": "predict data/raw/transactions.parquet scored.parquet",
    "monitor": "monitor --no-page",
    "materialize": "materialize --force",
    "serve --check": "serve --check",
}
NUMBERS = itertools.count(30)


@pytest.fixture(scope="module")
def logged(shop: Shop) -> Shop:
    """With a prediction log."""
    with serving(shop.root, "--env", "prod", "--quiet") as (url, _):
        assert ask(url, body={"rows": shop.rows})[0] == 200
    return shop


def note(*cells: object) -> None:
    """A row for the table in docs/environments.md, where a file is named for it."""
    if place := os.environ.get("GLUE_TEST_OUTAGES"):
        with Path(place).open("a") as file:
            file.write(f"| {' | '.join(map(str, cells))} |\n")


def tried(shop: Shop, glue: Glue, words: str) -> tuple[int, float, list[str]]:
    """Exit code, seconds, and what was said last; it is one line with a hint where the command fails."""
    started = time.monotonic()
    done = glue(*words.split(), "--env", "prod", cwd=shop.root, code=None)
    took, said = time.monotonic() - started, done.stderr.splitlines()
    assert done.returncode in (0, 1, 4), (words, said)
    assert "Traceback" not in done.stderr
    assert done.returncode != 4 or (said[-2].startswith("error: ") and said[-1].startswith("hint: ")), (words, said)
    return done.returncode, took, said


@pytest.mark.long
@pytest.mark.parametrize("away", ["mlflow", "database", "s3", "redis", "registry"])
@pytest.mark.parametrize("accident", ["freeze", "shut", "restart"])
def test_each_command_while_a_server_is_away(
    accident: str, away: str, logged: Shop, glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails in time with a line, or goes on; when the server is back, it does what it does."""
    monkeypatch.setenv("GLUE_ANSWER_TIMEOUT_S", "5")
    gate = logged.gates[away]
    for name, template in WORDS.items():
        words = template.format(n=next(NUMBERS))
        if accident == "restart":
            back = threading.Timer(2, gate.thaw)
            threading.Timer(1, gate.shut).start()
            back.start()
        else:
            getattr(gate, accident)()
        try:
            code, took, said = tried(logged, glue, words)
        finally:
            if accident == "restart":
                back.join()
            gate.thaw()
        again = tried(logged, glue, words)[0]
        note(away, accident, name, code, f"{took:.0f} s", again, said[-2] if code == 4 else "")
        assert took < 100 and again in (0, 1), (name, code, said)

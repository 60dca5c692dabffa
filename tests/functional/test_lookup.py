"""Features by entity in what is served: from the embedded store and from Redis, and with a store that is dead."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlops_glue import config as configs
from mlops_glue import feature_stores
from mlops_glue.records import FeatureList
from tests.support.feature_project import CONFIG, DEFINITIONS, edit, tables
from tests.support.project import CHEAP, Glue
from tests.support.server import REDIS, ask, is_listening, serving, until, with_serve


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Path:
    """Run once, its features for ever good, under a project name of its own."""
    folder = tmp_path_factory.mktemp("lookup")
    for name, table in zip(("customers", "events"), tables(), strict=True):
        table.to_csv(folder / f"{name}.csv", index=False)
    both = ["--data", "customers.csv", "--data", "events.csv"]
    glue("init", "p", *both, "--entity", "customer_id", "--timestamp", "at", "--target", "y", cwd=folder)
    root = folder / "p"
    edit(root / DEFINITIONS, ("timedelta(days=20)", "timedelta(0)"))
    edit(root / "feature_repo/feature_store.yaml", ("project: p", f"project: t{uuid.uuid4().hex[:12]}"))
    glue("run", *CHEAP, cwd=root)
    return root


@pytest.fixture(autouse=True)
def _as_it_was(filled: Path) -> Iterator[None]:
    kept = {name: (filled / name).read_bytes() for name in (CONFIG, DEFINITIONS)}
    yield
    for name, content in kept.items():
        (filled / name).write_bytes(content)


def in_environment(root: Path, store: str) -> None:
    with_serve(root, "{lookup_timeout_s: 0.15}")
    text = (root / CONFIG).read_text()
    (root / CONFIG).write_text(f"{text}environments: {{o: {{features: {{online_store: {store}}}}}}}\n")


def asked(root: Path) -> tuple[FeatureList, list[dict[str, Any]]]:
    """The features of the model, and the example with keys alone."""
    listed = FeatureList.from_dict(json.loads((root / "artifacts/bundle/features.json").read_text()))
    example = json.loads((root / "artifacts/bundle/input_example.json").read_text())
    return listed, [{k: v for k, v in row.items() if k not in listed.columns} for row in example]


def with_features(root: Path, rows: list[dict[str, Any]], env: str | None) -> list[dict[str, Any]]:
    """The rows with what the store has, by Feast."""
    listed, _ = asked(root)
    live = feature_stores.open_live(configs.load(root, env), root)
    keys = [{"customer_id": row["customer_id"]} for row in rows]
    got = live.read(listed.use, listed.views, keys, datetime.now(UTC))
    found = [{column: one[ref.replace(":", "__")] for column, ref in listed.columns.items()} for one in got]
    return [{**row, **one} for row, one in zip(rows, found, strict=True)]


def looked_up(url: str, pid: int, root: Path, env: str | None) -> list[dict[str, Any]]:
    """By keys it says what it says with the features; the predictions of the example."""
    _, example = asked(root)
    rows = [*example, {**example[0], "customer_id": 10_000}, {**example[0], "customer_id": None}]
    full = with_features(root, rows[:-1], env)
    status, looked = ask(url, body={"rows": rows})
    assert status == 200, looked
    given = ask(url, body={"rows": [*full, {**full[-1], "customer_id": None}]})[1]
    assert looked["predictions"] == given["predictions"]
    assert len({json.dumps(one) for one in looked["predictions"]}) > 2
    one = {**rows[0], "balance": 5.0}  # what the row gives itself is taken
    wanted = ask(url, body={**full[0], "balance": 5.0})[1]["prediction"]
    assert ask(url, body=one)[1]["prediction"] == wanted
    nobody = {name: value for name, value in rows[0].items() if name != "customer_id"}
    assert ask(url, body=nobody)[1]["problems"][0]["field"] == "customer_id"
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert not [tool for tool in ("pandas", "pyarrow", "grpc", "sklearn") if f"/{tool}/" in maps]
    return list(looked["predictions"][: len(example)])


def not_found(url: str) -> float:
    (said,) = re.findall(r'glue_entities_not_found_total\{view="customers"\} (\S+)', ask(url, "/metrics")[1])
    return float(said)


def test_a_store_that_says_nothing_costs_a_503_in_time(filled: Path) -> None:
    pytest.importorskip("redis")
    _, rows = asked(filled)
    full = with_features(filled, rows, None)
    with socket.socket() as hole:  # takes connections, and says nothing
        hole.bind(("127.0.0.1", 0))
        hole.listen(256)
        in_environment(filled, f"{{type: redis, connection_string: '127.0.0.1:{hole.getsockname()[1]}'}}")
        with serving(filled, "--quiet", "--env", "o") as (url, _):
            for _ in range(12):
                started = time.perf_counter()
                status, said = ask(url, body={"rows": rows})
                assert (status, time.perf_counter() - started < 5) == (503, True), said
                assert ask(url, body={"rows": full})[0] == 200
            assert 'glue_errors_total{kind="online_store"} 12.0' in ask(url, "/metrics")[1]


class Gate:
    """An address before another, which lets connections through, or ends them all and takes none."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self._open, self._pairs = (host, port), True, []
        self._hole = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._hole.getsockname()[1]}"
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                came, _ = self._hole.accept()
                if not self._open:
                    came.close()
                    continue
                there = socket.create_connection(self._to)
                self._pairs += [came, there]
                for one, other in ((came, there), (there, came)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        self._open = False
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        self._open = True


def test_redis_which_goes_and_comes_back_and_is_emptied(filled: Path, glue: Glue) -> None:
    """Each is in `degraded` while it is so; what is wrong is a 503, and what is not found is counted."""
    host, _, port = REDIS.partition(":")
    if not is_listening(host, int(port)):
        pytest.skip(f"no redis at {REDIS}")
    gate = Gate(host, int(port))
    in_environment(filled, f"{{type: redis, connection_string: '{gate.address}'}}")
    glue("materialize", "--env", "o", cwd=filled)
    _, rows = asked(filled)
    try:
        with serving(filled, "--quiet", "--env", "o", cold=True) as (url, pid):

            def degraded() -> list[str]:
                return list(ask(url, "/ready")[1]["degraded"])

            right = looked_up(url, pid, filled, "o")
            assert degraded() == []
            gate.shut()
            assert ask(url, body={"rows": rows})[0] == 503
            until(lambda: any("online store" in one for one in degraded()))
            gate.reopen()
            until(lambda: (again := ask(url, body={"rows": rows}))[0] == 200 and again[1]["predictions"] == right)
            until(lambda: degraded() == [])
            before = not_found(url)
            feature_stores.open_live(configs.load(filled, "o"), filled).teardown()
            lost = [ask(url, body={"rows": rows})[1] for _ in range(10)]
            assert lost[-1]["predictions"] != right
            until(lambda: any("has nothing in customers for" in one for one in degraded()))
            assert not_found(url) - before == 10 * len(rows)
            glue("materialize", "--force", "--env", "o", cwd=filled)
            assert ask(url, body={"rows": rows})[1]["predictions"] == right
    finally:
        feature_stores.open_live(configs.load(filled, "o"), filled).teardown()
        glue("materialize", "--force", cwd=filled)  # the registry, too, was torn down


def test_the_embedded_store_and_its_file_that_is_gone_and_comes_back(filled: Path, glue: Glue) -> None:
    _, rows = asked(filled)
    with serving(filled, "--quiet", cold=True) as (url, pid):
        right = looked_up(url, pid, filled, None)
        file = filled / "feature_repo/data/online.db"
        for path in file.parent.glob("online.db*"):
            path.rename(path.with_name(f"away.{path.name}"))
        assert ask(url, body={"rows": rows})[0] == 503
        glue("materialize", cwd=filled)
        assert ask(url, body={"rows": rows})[1]["predictions"] == right


def test_a_definition_that_changed_is_not_served(filled: Path, glue: Glue) -> None:
    edit(filled / DEFINITIONS, ("timedelta(0)", "timedelta(days=7)"))
    said = glue("serve", "--check", cwd=filled, code=4).stderr
    assert "has changed since the model was trained" in said


def test_keys_are_in_the_example_and_not_in_the_reference(filled: Path) -> None:
    bundle = filled / "artifacts/bundle"
    columns = [one["name"] for one in json.loads((bundle / "schema.json").read_text())["columns"]]
    assert "customer_id" not in columns
    assert "customer_id" in json.loads((bundle / "input_example.json").read_text())[0]
    assert set(columns) < set(pq.read_schema(bundle / "reference.parquet").names)
    assert "customer_id" not in pq.read_schema(bundle / "reference.parquet").names


def test_a_registry_that_does_not_answer(
    filled: Path, glue: Glue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing: each command asks once, and what is on a schedule goes on."""
    text = (filled / CONFIG).read_text()
    (filled / CONFIG).write_text(f"{text}environments: {{o: {{tracking: {{uri: '${{WHERE}}', timeout_s: 1}}}}}}\n")
    table, here = "artifacts/featurize/joined.parquet", f"sqlite:///{filled}/mlflow.db"
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        frozen.setblocking(False)
        away = f"http://127.0.0.1:{frozen.getsockname()[1]}"

        def run(*words: str, where: str = away, code: int | None = 0) -> str:
            monkeypatch.setenv("WHERE", where)
            done = glue(*words, "--env", "o", cwd=filled, code=code)
            asked = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    frozen.accept()[0].close()
                    asked += 1
            assert asked == (where != here), (words, asked)
            return done.stdout + done.stderr

        answers = "error: MLflow: ${WHERE} does not answer: timed out\nhint: is it up? glue doctor"
        assert answers in run("materialize", code=4)
        run("materialize", where=here)
        run("monitor", "--current", table, "--no-page", where=here, code=None)
        assert "does not answer: timed out: using the features of v1, which was champion at 2" in run("materialize")
        said = run("monitor", "--current", table, "--no-page", code=None)
        assert re.search(r"known to this machine; this run is not logged in the registry\n", said)
        assert re.search(r"^p v1, 600 rows: ", said, re.MULTILINE) and "error: " not in said
        database = away.replace("http://", "postgresql://me:canary@") + "/d"
        said = run("monitor", "--current", table, "--no-page", where=database, code=None)
        assert "the database (postgresql) cannot be reached" in said and "known to this machine" in said
        assert re.search(r"^p v1, 600 rows: ", said, re.MULTILINE) and "canary" not in said
        assert answers in run("promote", "1", code=4)
        assert answers in run("predict", table, str(tmp_path / "out.csv"), code=4)
        assert answers in run("run", code=4) and not (tmp_path / "out.csv").exists()

"""Work on a Ray cluster of two nodes: the results of the local engine, and one of the nodes may die."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray.cluster_utils

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.adapters import ray as adapter
from mlops_glue.adapters import skops
from mlops_glue.delivery import tune
from mlops_glue.errors import DataError, ToolError
from mlops_glue.pipeline import execute
from mlops_glue.pipeline.stages import STAGES
from tests.support.project import Glue

FILES = 10


class Nodes:
    """A cluster whose head has one CPU, and nodes with one that can be killed."""

    def __init__(self) -> None:
        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
        self._cluster = ray.cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address
        self._node: Any = None

    def add(self) -> None:
        """A second node, unless there is one."""
        if self._node is None:
            self._node = self._cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    def kill(self) -> None:
        """End the second node as a power cut does, with the processes that work on it."""
        os.kill(self._node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        self._cluster.remove_node(self._node, allow_graceful=False)
        self._node = None

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short:  # it holds paths of sockets
        os.environ.update(HOME=short, RAY_TMPDIR=short, RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
        made = Nodes()
        yield made
        made.stop()
        assert not Path(short, ".ray").exists()  # a token that later clusters would take
    os.environ.clear()
    os.environ.update(before)


def asked(item: int) -> tuple[int, str, str]:
    logging.getLogger("mlops_glue.any").warning("of %d", item)
    if item < 0:
        raise DataError(f"{item}: below zero", hint="above")
    return item, str(Path.cwd()), os.environ["ASKED"]


def test_results_come_in_order_with_logs_and_errors(
    nodes: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nodes.add()
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    with contextlib.chdir(tmp_path), adapter.cluster(nodes.address, 60.0, {"ASKED": "yes"}) as bind:
        run = bind(asked)
        assert list(run(range(5))) == [(item, str(tmp_path), "yes") for item in range(5)]
        assert [record.getMessage() for record in caplog.records][:5] == [f"of {item}" for item in range(5)]
        with pytest.raises(DataError, match="-1: below zero") as caught:
            list(run([1, -1]))
        assert caught.value.hint == "above"
        with pytest.raises(ToolError, match=r"Ray: FileNotFoundError: .*nowhere"):
            list(bind(os.stat)(["nowhere"]))
    assert {name: value for name, value in os.environ.items() if name.startswith("RAY_")} == before


def test_who_does_not_answer_is_named_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(ToolError, match=rf"^Ray at {address}: no answer within 2 s$"),
            adapter.cluster(address, 2, {}),
        ):
            pass


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, once_run_penguins: Path) -> Path:
    """A folder with a project that has a champion, and tables to score."""
    folder = tmp_path_factory.mktemp("ray")
    shutil.copytree(once_run_penguins, folder, dirs_exist_ok=True)
    table = pd.read_csv(folder / "penguins.csv")
    (folder / "in").mkdir()
    for number in range(FILES):
        many = pd.concat([table] * (60 + number), ignore_index=True)
        many.assign(row=range(len(many))).to_csv(folder / "in" / f"{number}.csv", index=False)
    return folder


def test_a_search_of_forests_finds_the_same_trees(scored: Path, nodes: Nodes, tmp_path: Path) -> None:
    """Its candidates are spread, and then the trees of the best one."""
    model = "GridSearchCV(RandomForestClassifier(4, random_state=random_state), {'max_depth': [2, 3]}, cv=2)"
    nodes.add()
    root = Path(shutil.copytree(scored / "project", tmp_path / "project", symlinks=True))
    imports = "from sklearn.ensemble import RandomForestClassifier\nfrom sklearn.model_selection import GridSearchCV\n"
    (root / "model.py").write_text(f"{imports}\n\ndef build(random_state=None):\n    return {model}\n")
    text = (root / "glue.yaml").read_text().partition("\nenvironments:")[0]
    made = []
    for engine in ("", f"\ncompute: {{engine: ray, address: '{nodes.address}'}}\n"):
        (root / "glue.yaml").write_text(text + engine)
        execute.run_stage(next(stage for stage in STAGES if stage.name == "train"), configs.load(root), root)
        made.append(skops.load(root / layout.MODEL).steps[-1][1])
    here, there = made
    assert here.get_params() == there.get_params()
    for one, other in zip(here, there, strict=True):
        kept = [tree.tree_.__getstate__() for tree in (one, other)]
        assert kept[0]["nodes"].tobytes() == kept[1]["nodes"].tobytes()
        assert np.array_equal(kept[0]["values"], kept[1]["values"])


def test_scoring_outlives_a_node(scored: Path, nodes: Nodes, glue: Glue) -> None:
    glue("predict", "../in", "../local", cwd=scored / "project")
    nodes.add()
    with (scored / "project" / "glue.yaml").open("a") as file:
        file.write(f"\nenvironments: {{prod: {{compute: {{engine: ray, address: '{nodes.address}'}}}}}}\n")
    words = ["glue", "predict", "../in", "../there", "--env", "prod"]
    out = scored / "there"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, cwd=scored / "project", text=True, **pipes) as process:
        until(lambda: len(list(out.glob("*.parquet"))) >= 2, process)
        nodes.kill()
        printed, said = process.communicate(timeout=120)
    assert (process.returncode, printed) == (0, ""), said
    there, here = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (out, scored / "local"))
    assert there == here and len(there) == FILES  # each row once, nothing half-written
    assert [line.split(":")[0] for line in said.splitlines()] == [f"../there/{name}" for name in sorted(there)]


def test_a_search_outlives_a_node_and_finds_what_it_finds_here(
    scored: Path, nodes: Nodes, tools: None, tmp_path: Path
) -> None:
    """The model is the project's own code; each fold is a task."""
    nodes.add()
    found = []
    for address in (None, nodes.address):
        root = Path(shutil.copytree(scored / "project", tmp_path / f"{address is None}", symlinks=True))
        text = (root / "glue.yaml").read_text().partition("\nenvironments:")[0]
        engine = "" if address is None else f"compute: {{engine: ray, address: '{address}'}}\n"
        (root / "glue.yaml").write_text(f"{text}\ntune: {{folds: 3, space: {{max_iter: [2, 30]}}}}\n{engine}")

        def progress(ended: int, *_: object, here: bool = address is None) -> None:
            if ended == 2 and not here:
                nodes.kill()

        found.append(tune.tune(configs.load(root), root, tune.Options(trials=4), progress))
    here, there = ([(t.params, t.value, t.outcome) for t in each.trials] for each in found)
    assert here == there and {outcome for *_, outcome in here} <= {"complete", "pruned"}
    assert (found[0].best.number, found[0].gain) == (found[1].best.number, found[1].gain)


def until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not done():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

"""The default store: made whole or not at all, by one process or many; a dead process's run does not stay RUNNING."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_glue.adapters.mlflow import Store, scrub
from mlops_glue.errors import ToolError

OPEN = (
    "import sys; from pathlib import Path; from mlops_glue.adapters.mlflow import Store; Store(Path(sys.argv[1]), None)"
)


def sound(root: Path) -> bool:
    with sqlite3.connect(root / "mlflow.db") as store:
        return store.execute("pragma integrity_check").fetchone() == ("ok",)


def test_many_processes_make_one_store(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OPEN, str(tmp_path)]
    started = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert sound(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".glue", "mlflow.db"]


def test_a_killed_creation_leaves_no_store_and_the_next_one_makes_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OPEN, str(tmp_path)]
    with subprocess.Popen(words) as process:
        for _ in range(1200):
            if list(tmp_path.glob(".mlflow.db.*")):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "mlflow.db").exists()
    assert Store(tmp_path, None).champion("none") is None
    assert sound(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".glue", "mlflow.db"]


def test_a_run_of_a_dead_process_is_closed(tmp_path: Path) -> None:
    store = Store(tmp_path, None)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    client = store._client
    experiment = client.create_experiment("e")
    runs = [client.create_run(experiment, tags={"glue.pid": str(pid)}) for pid in (dead.pid, os.getpid())]
    assert len(store.dead_runs("e")) == 1
    store.end_dead_runs("e")
    assert [client.get_run(r.info.run_id).info.status for r in runs] == ["KILLED", "RUNNING"]


def test_credentials_are_scrubbed() -> None:
    assert scrub("cannot reach https://me:pw@host/x\nmore") == "cannot reach https://***@host/x"


@pytest.mark.parametrize("body", [b"\xfc\x80noise" * 500, b"SQLite format 3\x00" + bytes(5000)])
def test_a_broken_store_is_told_with_its_name(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(body)
    with pytest.raises(ToolError, match=r"^mlflow\.db: MLflow: ") as caught:
        Store(tmp_path, None).champion("m")
    assert "mv mlflow.db" in (caught.value.hint or "")

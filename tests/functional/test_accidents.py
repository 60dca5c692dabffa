"""Pull the plug, run twice at once, fill the disk: nothing is torn, nothing is lost, nothing is told by a traceback."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.project import Glue
from tests.support.server import until

FAST = ["--set", "train.estimator=sklearn.linear_model.LogisticRegression", "--set", "train.params={max_iter: 200}"]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Path:
    """A project that was never run, on a table that trains in no time: to be copied."""
    folder = tmp_path_factory.mktemp("accidents")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 3)).round(4)
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(town=rng.choice(["u", "v"], 200), y=x[:, 0] > 0)
    table.to_csv(folder / "t.csv", index=False)
    glue("init", "fresh", "--data", "t.csv", "--target", "y", cwd=folder)
    glue("run", "--until", "ingest", *FAST, cwd=folder / "fresh")  # writes the estimator to glue.yaml
    for made in ("artifacts", "dvc.lock", ".dvc/cache", ".dvc/tmp"):
        path = folder / "fresh" / made
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder / "fresh"


@pytest.fixture
def fresh(new: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(new, tmp_path / "fresh")


@pytest.fixture
def stored(fresh: Path, empty_store: Path) -> Path:
    """The same with MLflow's database made."""
    shutil.copy(empty_store, fresh)
    return fresh


@pytest.fixture(scope="module")
def run_once(new: Path, glue: Glue) -> Path:
    """The same, run and then moved, so that no copy finds a bundle where it was made: to be copied."""
    root = shutil.copytree(new, new.with_name("ran"))
    glue("run", cwd=root)
    return root.rename(root.with_name("kept"))


@pytest.fixture
def ran(run_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(run_once, tmp_path / "ran")


def result(root: Path, glue: Glue) -> tuple[str, str]:
    """Metrics and the hash of the champion's predictions."""
    glue("predict", "data/raw/t.csv", "scored.csv", cwd=root)
    scored = (root / "scored.csv").read_bytes()
    (root / "scored.csv").unlink()
    return (root / "artifacts/evaluate/metrics.json").read_text(), hashlib.sha256(scored).hexdigest()


def check_whole(root: Path) -> None:
    """One version, no run RUNNING, an intact store, nothing temporary, no lock held."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
        assert store.execute("select count(*) from model_versions").fetchone() == (1,)
        assert store.execute("select count(*) from registered_model_aliases").fetchone() == (1,)
        assert store.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)
    left = [p for p in root.rglob("*") if p.name.endswith((".tmp", ".tmp-journal", ".part"))]
    assert left == []
    assert not (root / ".glue" / "running").exists()


def _killed(come: Callable[[], object], root: Path, command: str = "glue") -> None:
    """A run ends when something has come."""
    process = subprocess.Popen(
        [command, "run"], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    come()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _as_if_it_had_not_been(wanted: tuple[str, str], root: Path, glue: Glue) -> None:
    """The next run makes what a run makes that was never killed."""
    glue("run", cwd=root)
    assert result(root, glue) == wanted
    check_whole(root)
    assert glue("doctor", cwd=root).stdout.endswith("No problems found\n")


def test_killed_in_a_stage_in_the_making_of_the_store_and_at_publishing(
    fresh: Path, ran: Path, glue: Glue, warm: Path
) -> None:
    """One after the other: a run that is killed goes on from where the one before it was."""
    for there, command in (
        (lambda: "artifacts/" in (fresh / ".dvc/tmp/rwlock").read_text(), str(warm / "glue")),
        (lambda: any(fresh.glob(".mlflow.db.*.tmp")), "glue"),  # which takes some time in a new process alone
        (lambda: any(fresh.glob("mlartifacts/**/MLmodel")), str(warm / "glue")),
    ):
        _killed(partial(until, there, 120, 0.01), fresh, command)
    _as_if_it_had_not_been(result(ran, glue), fresh, glue)


@pytest.mark.long
def test_killed_at_fifty_moments_and_run_again(fresh: Path, tmp_path: Path, glue: Glue) -> None:
    scratch, rng = tmp_path / "copy", random.Random(11)
    shutil.copytree(fresh, scratch)
    started = time.perf_counter()
    subprocess.run(["glue", "run"], cwd=scratch, check=True, capture_output=True)  # cold, as those that are killed
    duration = time.perf_counter() - started
    wanted = result(scratch, glue)
    check_whole(scratch)
    shutil.rmtree(scratch)
    for at in range(50):  # spread over the run, each at random within its part
        shutil.copytree(fresh, scratch)
        _killed(partial(time.sleep, (at + rng.random()) / 50 * duration), scratch)
        _as_if_it_had_not_been(wanted, scratch, glue)
        shutil.rmtree(scratch)


@pytest.mark.parametrize("half", ["", '{"read": {', "\0"])
def test_killed_while_dvc_wrote_who_reads_and_writes(half: str, fresh: Path, glue: Glue) -> None:
    """The moment is too short to be met by chance often."""
    words = ["run", "--until", "ingest", "--force"]
    glue(*words, cwd=fresh)
    (fresh / ".dvc/tmp/rwlock").write_text(half)
    (fresh / ".glue/running").write_text("1\n")
    assert "left over from a crash: .dvc/tmp/rwlock" in glue("doctor", cwd=fresh, code=1).stdout
    glue(*words, cwd=fresh)
    assert "rwlock" not in glue("doctor", cwd=fresh, code=None).stdout


def _two_at_once(root: Path, warm: Path) -> None:
    words = [str(warm / "glue"), "run"]
    both = [
        subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "Traceback" not in "".join(said)
    assert "waiting for another glue" in "".join(said)
    check_whole(root)


@pytest.mark.parametrize("pairs", [1, pytest.param(10, marks=pytest.mark.long)])
def test_two_runs_at_once(pairs: int, fresh: Path, tmp_path: Path, glue: Glue, warm: Path) -> None:
    for pair in range(pairs):
        root = tmp_path / f"pair{pair}"
        shutil.copytree(fresh, root)
        if pair % 2:  # every other pair in a project that was run before
            glue("run", cwd=root)
            (root / ".glue" / "unchanged.json").unlink()
            shutil.rmtree(root / "artifacts" / "train")
        _two_at_once(root, warm)


def test_one_that_waits_too_long_says_for_what(fresh: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setenv("GLUE_LOCK_TIMEOUT_S", "0.5")
    with FileLock(fresh / ".glue" / "lock"):
        assert "another glue has been running" in glue("run", cwd=fresh, code=4).stderr


def _run_on_a_full_disk(root: Path, limit: int) -> None:
    """No file may grow beyond `limit` bytes, which is what a full disk looks like to a program."""

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    config = (root / "glue.yaml").read_bytes()
    done = subprocess.run(
        ["glue", "run"], cwd=root, capture_output=True, text=True, preexec_fn=full, timeout=300, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "error: " in done.stderr and "Traceback" not in done.stderr
    assert "a bug in glue" not in done.stderr, done.stderr
    assert (root / "glue.yaml").read_bytes() == config


def test_a_full_disk(fresh: Path, glue: Glue) -> None:
    """Fuller and fuller, and then there is room: what the runs before it left does not keep a run from its end."""
    for limit in (200_000, 3000, 0):
        _run_on_a_full_disk(fresh, limit)
    glue("run", cwd=fresh)
    check_whole(fresh)


@pytest.mark.long
@pytest.mark.parametrize("limit", [0, 300, 3000, 20_000, 200_000, 600_000])
def test_a_run_after_one_on_a_full_disk(limit: int, fresh: Path, glue: Glue) -> None:
    _run_on_a_full_disk(fresh, limit)
    glue("run", cwd=fresh)
    check_whole(fresh)


def test_a_folder_that_may_not_be_written(fresh: Path, glue: Glue) -> None:
    """Root may write anywhere, so root gives that up."""
    for path in [fresh, *fresh.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def powerless() -> None:
        if os.geteuid() == 0:  # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: permissions hold for root
            assert [ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) for capability in (1, 2)] == [0, 0]

    try:
        done = subprocess.run(
            ["glue", "run"],
            cwd=fresh,
            capture_output=True,
            text=True,
            preexec_fn=powerless,
            timeout=300,
            check=False,
        )
    finally:
        for path in [fresh, *fresh.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 4, done.stderr
    assert re.search(r"error: (Permission denied|Read-only file system): .*\.glue", done.stderr), done.stderr
    assert "hint: check the permissions: ls -ld" in done.stderr


def test_no_canary_is_told_or_written(stored: Path, glue: Glue, warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "REDIS_URL", "GITHUB_TOKEN", "DATABASE_URL", "STORE"]
    for at, name in enumerate(names):
        monkeypatch.setenv(name, f"https://user:hushhush{at}@127.0.0.1:9/x")
    monkeypatch.setenv("STORE", f"sqlite:///{stored.as_posix()}/elsewhere.db?timeout=hushhush5")
    done = glue("run", cwd=stored)
    said = done.stdout + done.stderr
    for words in (["status"], ["why", "train"], ["doctor"], ["run", "--force", "--until", "ingest"]):
        ran = glue(*words, cwd=stored)
        said += ran.stdout + ran.stderr
    (stored / "glue.yaml").write_text((stored / "glue.yaml").read_text() + "\ntracking:\n  uri: ${DATABASE_URL}\n")
    for words, code in ((["run"], 4), (["doctor"], 1)):
        ran = glue(*words, cwd=stored, code=code)
        said += ran.stdout + ran.stderr
    words = [str(warm / "glue"), "--traceback", "run"]
    traced = subprocess.run(words, cwd=stored, capture_output=True, text=True, check=False)
    assert traced.returncode != 0
    said += traced.stdout
    assert "hushhush" not in said
    written = [p for p in stored.rglob("*") if p.is_file() and b"hushhush" in p.read_bytes()]
    assert written == []


def test_a_table_that_changed_under_dvc(ran: Path, glue: Glue) -> None:
    raw = ran / "data/raw/t.csv"
    raw.write_text(raw.read_text() + raw.read_text().splitlines()[-1] + "\n")
    assert "data/raw/t.csv" in glue("doctor", cwd=ran).stdout
    assert "data/raw/t.csv" in json.loads(glue("why", "ingest", "--json", cwd=ran).stdout)["reasons"][0]
    told = json.loads(glue("run", "--json", "--no-publish", cwd=ran).stdout)
    assert {s["outcome"] for s in told["stages"]} == {"executed"}
    assert "data/raw/t.csv" not in glue("doctor", cwd=ran).stdout  # the run tracked it anew


def test_a_lock_that_was_edited_by_hand(ran: Path, glue: Glue) -> None:
    lock = ran / "dvc.lock"
    sound = lock.read_text()
    lock.write_text(sound.replace("md5: ", "md5: 0", 1))
    assert json.loads(glue("run", "--json", cwd=ran).stdout)["new"] is False
    assert lock.read_text() == sound
    for broken in ("stages: [", "schema: '9.0'\nstages: {}\n", "<<<<<<< HEAD\n" + sound):
        lock.write_text(broken)
        for words in (["run"], ["doctor"]):
            done = glue(*words, cwd=ran, code=None)
            assert done.returncode in (1, 2, 4), (broken[:20], done.stdout, done.stderr)
            assert "dvc.lock" in done.stdout + done.stderr
            assert "a bug in glue" not in done.stderr
        assert lock.read_text() == broken


def test_a_champion_that_cannot_be_read_is_no_green_light(ran: Path, glue: Glue) -> None:
    for file in (ran / "mlartifacts").rglob("bundle/model.onnx"):
        file.write_bytes(file.read_bytes()[:-10] + b"0123456789")
    assert "its bundle is not the one that was registered" in glue("doctor", cwd=ran, code=1).stdout
    done = glue("run", "--set", "train.params={max_iter: 201, C: 0.9}", cwd=ran, code=1)
    assert "could not be scored on this holdout" in done.stdout


def test_what_the_doctor_says_mends_a_bundle_that_was_lost(ran: Path, glue: Glue) -> None:
    shutil.rmtree(ran / "mlartifacts")
    said = glue("doctor", cwd=ran, code=1).stdout
    assert "v1: its bundle cannot be read from mlartifacts/" in said
    assert "         glue run --force\n" in said
    assert "unchanged" in glue("run", "--force", cwd=ran).stderr
    assert "and its bundle is intact" in glue("doctor", cwd=ran).stdout


def test_a_project_that_was_moved_or_copied(ran: Path, glue: Glue) -> None:
    moved = ran.rename(ran.with_name("x_y ü%"))
    copy = Path(shutil.copytree(moved, moved.with_name("copy")))
    for root in (moved, copy):
        assert "and its bundle is intact" in glue("doctor", cwd=root).stdout
    glue("run", "--set", "train.params={max_iter: 201, C: 0.9}", "--no-promote", cwd=moved)
    assert [len(list((root / "mlartifacts").glob("*/artifacts/bundle"))) for root in (moved, copy)] == [2, 1]
    assert not ran.exists()


def test_what_mlflow_keeps_of_a_run_is_no_pipeline_of_the_project(stored: Path, glue: Glue) -> None:
    """With a database of the user's, MLflow puts artifacts into `mlruns` here: a dvc.yaml and a dvc.lock among them."""
    with (stored / "glue.yaml").open("a") as config:
        config.write(f"environments:\n  prod:\n    tracking: {{uri: 'sqlite:///{stored}.db'}}\n")
    glue("run", "--env", "prod", cwd=stored)
    assert list((stored / "mlruns").rglob("dvc.yaml"))
    told = json.loads(glue("status", "--json", cwd=stored).stdout)["stages"]
    assert set(map(tuple, told.values())) == {()}
    assert len(told) == 7


def test_a_password_in_the_config_is_found_and_not_told(stored: Path, glue: Glue) -> None:
    config, text = stored / "glue.yaml", (stored / "glue.yaml").read_text()
    for password, code in (("canary-password", 1), ("${CANARY}", 0)):
        config.write_text(f"{text}environments:\n  prod:\n    tracking:\n      uri: http://me:{password}@127.0.0.1:9\n")
        said = glue("doctor", cwd=stored, code=code).stdout
        assert ("glue.yaml environments.prod.tracking.uri: contains a password" in said) == bool(code)
        assert "canary-password" not in said


def test_uncommitted_work_and_no_git(ran: Path, glue: Glue) -> None:
    with contextlib.closing(sqlite3.connect(ran / "mlflow.db")) as store:
        rows = dict(store.execute("select key, value from model_version_tags").fetchall())
    assert rows["glue.git_dirty"] == "true"
    shutil.rmtree(ran / ".git")
    assert "hint: git init" in glue("run", "--force", cwd=ran, code=4).stderr
    (ran / ".dvc" / "config").write_text((ran / ".dvc" / "config").read_text() + "    no_scm = true\n")
    glue("run", "--force", cwd=ran)
    assert "not in a git repository" in glue("doctor", cwd=ran).stdout

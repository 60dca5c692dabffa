"""The default store: made whole or not at all, by one process or many; a dead process's run does not stay RUNNING."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from mlops_glue import files, processes, secrets
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store, connection, database, runs, uri
from mlops_glue.adapters.mlflow.errors import translate_errors
from mlops_glue.adapters.mlflow.store import with_line
from mlops_glue.delivery import history
from mlops_glue.delivery.promote import Reason, move, rollback
from mlops_glue.errors import DataError, ToolError, Unreachable

OPEN = (
    "import sys; from pathlib import Path; from mlops_glue.adapters.mlflow import Store;"
    "Store(Path(sys.argv[1]), sys.argv[2] or None)"
)


def sound(file: Path) -> bool:
    with contextlib.closing(sqlite3.connect(file)) as store:
        return store.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("place", ["", "shared/ü 1%41.db"])
def test_many_processes_make_one_store(tmp_path: Path, place: str) -> None:
    roots = [tmp_path / name for name in ("a", "b", "c")] if place else [tmp_path] * 3
    uri = f"sqlite:///{tmp_path}/{quote(place)}?timeout=20" if place else ""
    forks = multiprocessing.get_context("fork")
    together = forks.Barrier(len(roots))

    def open_store(root: Path) -> None:
        together.wait()
        Store(root, uri or None)

    started = [forks.Process(target=open_store, args=[root]) for root in roots]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0]
    file = tmp_path / (place or "mlflow.db")
    assert sound(file)
    mine = {".ü 1%41.db.lock", file.name} if place else {".glue", "mlflow.db"}
    assert {p.name for p in file.parent.iterdir()} == mine
    assert Store(tmp_path, uri or None).champion("none") is None


def test_a_store_that_another_program_made_meanwhile_stays(tmp_path: Path, empty_store: Path) -> None:
    """MLflow itself takes no lock of ours."""
    file = tmp_path / "shared.db"
    made = database.has_database
    looks = iter([False, False])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "has_database", lambda path: next(looks, True) if path == file else made(path))
        patch.setattr(database.os, "fsync", lambda handle: file.write_bytes(b"theirs"))
        database.create(file, tmp_path / "lock")
    assert file.read_bytes() == b"theirs"
    assert {p.name for p in tmp_path.iterdir()} == {"shared.db", "lock"}


@pytest.mark.parametrize("place", [None, "shared.db"])
def test_a_store_whose_making_was_broken_off(tmp_path: Path, place: str | None) -> None:
    """MLflow, killed while it makes a database, leaves one that it never takes again."""
    file = tmp_path / (place or "mlflow.db")
    uri = None if place is None else f"sqlite:///{file}"
    with contextlib.closing(sqlite3.connect(file)) as half:
        half.execute("create table experiments (experiment_id integer)")
        half.commit()
    with pytest.raises(ToolError, match=rf"^{'mlflow.db' if place is None else file}: MLflow: ") as caught:
        Store(tmp_path, uri)
    named = "mlflow.db" if place is None else str(file)
    without = f"mv {named} {named}.broken; glue run"
    assert caught.value.hint == f"restore {named} from a backup, or start without its history: {without}"
    file.write_bytes(b"")  # touched: nothing is lost
    database.create(file, tmp_path / "lock")
    assert sound(file)


def test_a_killed_creation_leaves_no_store_and_the_next_one_makes_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OPEN, str(tmp_path), ""]
    with subprocess.Popen(words) as process:
        for _ in range(1200):
            if list(tmp_path.glob(".mlflow.db.*")):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "mlflow.db").exists()
    assert Store(tmp_path, None).champion("none") is None
    assert sound(tmp_path / "mlflow.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".glue", "mlflow.db"]


def test_only_a_run_of_a_dead_process_of_this_system_is_closed(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path)
    store = Store(tmp_path, None)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        dead = processes.identity(process.pid)
        process.communicate(b"")
    own = processes.identity()
    boot, space, pid, start = own.split()
    others = [
        {runs.PROCESS: own},
        {runs.PROCESS: f"other {' '.join(dead.split()[1:])}"},  # another machine's, or before this one's last start
        {runs.PROCESS: f"{boot} pid:[1] {' '.join(dead.split()[2:])}"},  # another container's
        {runs.PROCESS: ""},
        {runs.PROCESS: boot},
        {"glue.pid": dead.split()[2]},
        {},
    ]
    reused = f"{boot} {space} {pid} {int(start) + 1}"  # a process that had our id before us
    ended = [{runs.PROCESS: dead}, {runs.PROCESS: reused}]
    client = store.client
    experiment = client.create_experiment("e")
    made = [client.create_run(experiment, tags=tags).info.run_id for tags in (*others, *ended)]
    assert sorted(store.dead_runs("e")) == sorted(made[-2:])
    store.end_dead_runs("e")
    assert [client.get_run(run).info.status for run in made] == ["RUNNING"] * len(others) + ["KILLED"] * 2


def test_only_what_glue_placed_beside_the_database_follows_it(tmp_path: Path, empty_store: Path) -> None:
    """An experiment of the user's keeps its place, there or not, by whatever name; and so do its runs."""
    before = tmp_path / "before"
    (before / "mlartifacts").mkdir(parents=True)
    (tmp_path / "nas/mlartifacts").mkdir(parents=True)
    shutil.copy(empty_store, before)
    client = Store(before, None).client
    places = {
        "on the nas": (tmp_path / "nas/mlartifacts").as_uri(),
        "not mounted": "file:///mnt/gone/mlartifacts",
        "by hand": (before / "mlartifacts").as_uri(),
    }
    for name, place in places.items():
        client.create_experiment(name, artifact_location=place)
    for name in ("own", "moved away"):
        Store(before, None)._experiment(name)
    with contextlib.closing(sqlite3.connect(before / "mlflow.db")) as store:
        store.execute("update experiments set artifact_location = 'file:///mnt/mlartifacts' where name = 'moved away'")
        store.commit()
    names = ["own", "moved away", *places]
    placed = {n: client.create_run(client.get_experiment_by_name(n).experiment_id).info.run_id for n in names}
    for again in ("after", "once more"):
        shutil.copytree(before, tmp_path / again)
        client = Store(tmp_path / again, None).client
        got = {name: client.get_experiment_by_name(name).artifact_location for name in names}
        here = (tmp_path / again / "mlartifacts").as_uri()
        assert got == {"own": here, "moved away": "file:///mnt/mlartifacts", **places}
        assert all(
            client.get_run(run).info.artifact_uri == f"{got[name]}/{run}/artifacts" for name, run in placed.items()
        )
        before = tmp_path / again


def test_credentials_are_scrubbed() -> None:
    with pytest.raises(ToolError) as caught, translate_errors():
        raise ValueError("cannot reach https://me:pw@host/x\nmore")
    assert caught.value.message == "MLflow: ValueError: cannot reach https://***@host/x"


@pytest.mark.parametrize("body", [b"\xfc\x80noise" * 500, b"SQLite format 3\x00" + bytes(5000)])
def test_a_broken_store_is_told_with_its_name(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(body)
    with pytest.raises(ToolError, match=r"^mlflow\.db: MLflow: ") as caught:
        Store(tmp_path, None).champion("m")
    assert "mv mlflow.db" in (caught.value.hint or "")


def sqlite_full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (sqlite_full(), True),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_a_full_disk_is_told_as_one(error: Exception, full: bool) -> None:
    """Also where another error has come of it."""
    with pytest.raises(ToolError) as told, translate_errors():
        try:
            raise error
        except Exception as cause:
            raise ValueError("could not write") from cause
    assert told.value.message.startswith("MLflow: the disk is full: " if full else "MLflow: ValueError")
    assert told.value.hint == ("free some disk space, then try again" if full else None)


def test_what_a_parameter_and_a_description_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "canary-1234")
    secrets.note(["MY_TOKEN"])
    given = {"max_iter": 3, "api_key": "canary", "url": "http://x/?t=canary-1234", "long": "x" * 9000, "token": None}
    made = {name: runs.param_value(name, value) for name, value in given.items()}
    assert (made["max_iter"], made["api_key"], made["token"], len(made["long"])) == ("3", "***", "None", 6000)
    assert "canary" not in str(made)
    first = with_line(None, "* 09:00, glue run: **champion**")
    assert first == "* 09:00, glue run: **champion**"
    assert with_line(first, "* 09:05, glue run: **champion**") is None  # the same decision again
    assert with_line(first, "* 09:05, glue rollback: gone") == f"{first}\n* 09:05, glue rollback: gone"
    assert with_line("good", "* 09:05, x") == "good\n\n* 09:05, x"
    assert with_line("x" * 4995, "* 09:05, x") is None


def test_a_run_that_fails_says_so_and_the_names_say_which_it_was(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path)
    store = Store(tmp_path, None)
    (tmp_path / "b").mkdir()
    with pytest.raises(RuntimeError), store.running("e", "m v1", {"k": "v"}, 7.5):
        raise RuntimeError
    assert store.register("m", experiment="e", fingerprint="f", tags={}, bundle=tmp_path / "b") == (1, True)
    assert store.register("m", experiment="e", fingerprint="f", tags={}, bundle=tmp_path / "b") == (1, False)
    store.log_monitoring_run("m", 1, experiment="e", metrics={"drift share": 0.5, "a/b": 1.0}, tags={}, artifacts=[])
    store.start_run("e", {"mlflow.source.name": "python train.py"})
    store.add_to_description("m", 1, "* 09:00, glue run: **champion**")
    client = store.client
    logged = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    ended = [("m v1", "FAILED"), ("m v1", "FINISHED"), ("m v1 monitored", "FINISHED"), ("python train.py", "RUNNING")]
    assert sorted((run.info.run_name, run.info.status) for run in logged) == ended
    version = client.get_model_version("m", "1")
    assert (
        version.description == client.get_run(version.run_id).data.tags[runs.NOTE] == "* 09:00, glue run: **champion**"
    )


def test_a_server_that_does_not_answer_is_asked_once_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    connection.quiet(2.5)
    assert [os.environ[name] for name in names] == ["0", "3"]
    monkeypatch.setenv(names[0], "7")
    connection.quiet()
    assert os.environ[names[0]] == "7"


def test_a_database_that_does_not_answer_is_asked_once() -> None:
    """MLflow would wait for ever, and try ten times."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        with pytest.raises(Unreachable, match=r"the database .postgresql. cannot be reached"):
            database.check_answers(f"postgresql+psycopg://me:canary@127.0.0.1:{port}/d", 1)
    with pytest.raises(Unreachable) as caught:
        database.check_answers(f"postgresql+psycopg://me:canary@127.0.0.1:{port}/d", 1)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "said"),
    [("http://", "does not answer: timed out"), ("postgresql://me:canary@", "database .* cannot be reached")],
)
def test_a_server_that_did_not_answer_is_not_asked_again(
    uri: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it asked before it is needed."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        store = Store(tmp_path, f"{uri}127.0.0.1:{frozen.getsockname()[1]}", create=False, timeout_s=1)
        for _ in range(2):
            with pytest.raises(Unreachable, match=said):
                store.champion("m")
        frozen.accept()[0].close()
        frozen.setblocking(False)
        with pytest.raises(BlockingIOError):
            frozen.accept()


@contextlib.contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """The address of a server that answers so, one request after another; 0: it closes the connection instead."""
    asked: list[str] = []
    following = itertools.chain(statuses, itertools.repeat(200))

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(self.path.partition("?")[0].rpartition("2.0/mlflow/")[2])
            if (status := next(following)) == 0:
                self.close_connection = True
                return
            body = json.dumps({"model_version": {"name": "m", "version": "3"}}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_connection_that_was_closed_is_opened_anew_but_nothing_is_created_twice(tmp_path: Path) -> None:
    with answering(200, 0, 200, 0) as (uri, asked):
        store = Store(tmp_path, uri, create=False)
        assert store.champion("m") == store.champion("m") == 3
        assert asked == ["registered-models/alias"] * 3
        with pytest.raises(Unreachable, match="does not answer: Remote end closed connection without response"):
            store.client.create_run("1")
        assert asked[3:] == ["runs/create"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_has_lost_its_database_does_not_answer(status: int, tmp_path: Path) -> None:
    with answering(status) as (uri, asked):
        store = Store(tmp_path, uri, create=False)
        with pytest.raises(Unreachable, match=f"does not answer: too many {status} error responses"):
            store.champion("m")
        with pytest.raises(Unreachable):
            store.champion("m")
        assert len(asked) == 1


def test_artifacts_that_the_store_has_lost_are_told_and_the_bundle_is_brought_back(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of such a database
    shutil.copy(empty_store, tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/model").write_text("it")
    store = Store(tmp_path, f"sqlite:///{tmp_path / empty_store.name}")
    tags = {BUNDLE_DIGEST: files.digest(tmp_path / "b")}
    store.register("m", experiment="e", fingerprint="f", tags=tags, bundle=tmp_path / "b")
    found = store.download_bundle("m", 1, tmp_path / "before")
    place = Path(store.client.get_run(store.client.get_model_version("m", "1").run_id).info.artifact_uri)
    shutil.rmtree(place)
    with pytest.raises(DataError, match=r"/artifacts/bundle does not exist") as told:
        store.download_bundle("m", 1, tmp_path / "lost")
    assert told.value.hint is not None and "backup" in told.value.hint
    with pytest.raises(DataError, match="its logged model cannot be read"):
        store.has_signature("m", 1)
    store.repair_bundle("m", 1, found)
    assert (store.download_bundle("m", 1, tmp_path / "after") / "model").read_text() == "it"


@pytest.fixture
def database_file(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty database in the working directory, where MLflow puts its artifacts, next to an empty bundle `b`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    return Path(shutil.copy(empty_store, tmp_path))


def test_a_result_stays_rolled_back_in_the_registry_when_its_version_is_deleted(
    tmp_path: Path, database_file: Path
) -> None:
    store = Store(tmp_path, f"sqlite:///{database_file}")
    assert history.rolled_back_before(store, "m", "f") == {}  # there is no such model yet
    for _ in range(2):
        store.register("m", experiment="e", fingerprint="f", tags={}, bundle=tmp_path / "b")
        history.note_rolled_back(store, "m", (version := store.versions("m")[-1]), "noon")
        store.client.delete_model_version("m", str(version))
        assert history.rolled_back_before(store, "m", "f") == {history.ROLLED_BACK: f"noon as v{version}"}
    store.register("m", experiment="e", fingerprint="f", tags={}, bundle=tmp_path / "b")
    for _ in range(2):
        history.forget_rolled_back(store, "m", 3)
        assert history.rolled_back_before(store, "m", "f") == {}


def test_a_version_whose_run_is_deleted_gets_no_decision_but_can_be_rolled_back(
    tmp_path: Path, database_file: Path
) -> None:
    store = Store(tmp_path, f"sqlite:///{database_file}")
    for mark in "ab":
        (tmp_path / "b/model").write_text(mark)
        tags = {BUNDLE_DIGEST: files.digest(tmp_path / "b")}
        store.register("m", experiment="e", fingerprint=mark, tags=tags, bundle=tmp_path / "b")
    for version in (1, 2):
        move(store, "m", version, Reason())
    runs = [store.client.get_model_version("m", str(version)).run_id for version in (1, 2)]
    for run in runs:
        store.client.delete_run(run)
    for refused in (lambda: store.write_artifact("m", 1, "f.json", "{}"), lambda: rollback(store, "m")):
        with pytest.raises(DataError, match=f"m v1: its run {runs[0]} is deleted") as told:
            refused()
        assert told.value.hint == f"mlflow runs restore --run-id {runs[0]}"
    assert not store.client.get_model_version("m", "2").description  # nothing has changed
    store.client.restore_run(runs[0])
    assert rollback(store, "m") == (1, 2)
    assert "v1 is champion" in store.client.get_model_version("m", "2").description


def test_a_folder_is_refused_by_mlflow_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which `unusable` says so."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.file_store import FileStore

    monkeypatch.delenv(uri.ALLOW_FOLDERS, raising=False)
    assert uri.unusable(str(tmp_path)) is not None
    with pytest.raises(MlflowException, match=uri.ALLOW_FOLDERS):
        FileStore(str(tmp_path))
    monkeypatch.setenv(uri.ALLOW_FOLDERS, "true")
    assert uri.unusable(str(tmp_path)) is None
    FileStore(str(tmp_path))


def test_an_alias_is_read_from_the_database_as_mlflow_gives_it(tmp_path: Path, database_file: Path) -> None:
    store = Store(tmp_path, f"sqlite:///{database_file}")
    store.register("m", experiment="e", fingerprint="f", tags={}, bundle=tmp_path / "b")
    assert database.alias_in(database_file, "m", "champion") is None is store.champion("m")
    store.client.set_registered_model_alias("m", "champion", "1")
    assert database.alias_in(database_file, "m", "champion") == 1 == store.champion("m")
    with pytest.raises(ToolError):
        database.alias_in(tmp_path / "none.db", "m", "champion")

"""Fixtures: scratch projects made by the real CLI, tables from installed packages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import Screen, Terminal
from tests.warm import ready

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("GIT_CONFIG_GLOBAL", os.devnull)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # where every core has a worker, the threads of a fit wait for each other
os.environ.pop("MLFLOW_TRACKING_URI", None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup; what is started here is to be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _dvc_in(folder: Path) -> None:
    os.environ.update(DVC_SITE_CACHE_DIR=str(folder / "site"), DVC_GLOBAL_CONFIG_DIR=str(folder / "config"))


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """DVC's caches stay out of the machine's: here for the projects that are made once."""
    _dvc_in(tmp_path_factory.mktemp("dvc"))


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each test has caches of its own; what it sets in the environment (MLflow does) ends with it."""
    before = dict(os.environ)
    _dvc_in(tmp_path_factory.mktemp("dvc"))
    yield
    os.environ.clear()
    os.environ.update(before)


Glue = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def warm() -> Iterator[socket.socket]:
    """The process of `warm.py`."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [sys.executable, str(Path(__file__).with_name("warm.py")), str(its.fileno())]
    with ours, subprocess.Popen(words, pass_fds=[its.fileno()], start_new_session=True) as process:
        its.close()
        ours.settimeout(600)
        yield ours
        os.killpg(process.pid, signal.SIGKILL)


def _checked(done: subprocess.CompletedProcess[str], code: int | None) -> subprocess.CompletedProcess[str]:
    assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def _asked(warm: socket.socket, words: Sequence[str], cwd: Path, out: int, err: int, **env: str | None) -> int:
    """Its exit code."""
    full = {name: value for name, value in {**os.environ, **env}.items() if value is not None}
    request = {"words": list(words), "cwd": str(cwd), "env": full}
    socket.send_fds(warm, [json.dumps(request).encode()], [out, err])
    return int(warm.recv(100))


@pytest.fixture(scope="session")
def glue(warm: socket.socket) -> Glue:
    """Run `glue` as a user does, the imports spared; `code` is the exit code that is expected, None: any."""

    def run(*words: str, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            ended = _asked(warm, words, cwd, out.fileno(), err.fileno())
            out.seek(0)
            err.seek(0)
            return _checked(subprocess.CompletedProcess(["glue", *words], ended, out.read(), err.read()), code)

    return run


@pytest.fixture(scope="session")
def on_terminal(warm: socket.socket) -> Callable[..., Screen]:
    """Run `glue` in a pseudo-terminal; variables by keyword, None: not set."""

    def run(*words: str, cwd: Path, code: int = 0, columns: int = 80, **env: str | None) -> Screen:
        terminal = Terminal(columns)
        screen = terminal.close(_asked(warm, words, cwd, terminal.end, terminal.end, **{"TERM": "xterm", **env}))
        assert screen.code == code, screen.raw
        return screen

    return run


@pytest.fixture(scope="session")
def cold_glue() -> Glue:
    """The same in a new process each time."""

    def run(*words: str, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["glue", *words], cwd=cwd, capture_output=True, text=True, timeout=600)
        return _checked(done, code)

    return run


@pytest.fixture(scope="session")
def tools() -> None:
    """The same as `warm.py`, in this process: it, too, forks for Great Expectations, which then is there already."""
    ready()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run in it; to make it takes MLflow some seconds."""
    folder = tmp_path_factory.mktemp("store")
    code = "import sys; from pathlib import Path; from mlops_glue.adapters.mlflow import Store; Store(Path('.'), None)"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return folder / "mlflow.db"


QUICK_MODEL = """from sklearn.ensemble import HistGradientBoostingClassifier


def build(max_iter=10, random_state=None):
    return HistGradientBoostingClassifier(max_iter=max_iter, random_state=random_state)
"""


def on_penguins(folder: Path, name: str, glue: Glue, empty_store: Path) -> Path:
    """A project on the penguins, whose table lies beside it, initialised and not yet run.

    Its model is a quick one; the one of `glue init` is tried by `test_references`.
    """
    import palmerpenguins

    palmerpenguins.load_penguins().to_csv(folder / "penguins.csv", index=False)
    glue("init", name, "--data", "penguins.csv", "--target", "species", cwd=folder)
    shutil.copy(empty_store, folder / name)
    (folder / name / "model.py").write_text(QUICK_MODEL)
    return folder / name


@pytest.fixture(scope="session")
def new_penguins(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A folder with such a project: to be copied."""
    return on_penguins(tmp_path_factory.mktemp("penguins"), "project", glue, empty_store).parent


@pytest.fixture
def penguins(tmp_path: Path, new_penguins: Path) -> Path:
    """A project on the penguins, initialised and not yet run."""
    shutil.copytree(new_penguins, tmp_path, dirs_exist_ok=True)
    return tmp_path / "project"


def until(true: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for something that comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := true():
                return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


JSON = {"Content-Type": "application/json"}


def row_of(root: Path) -> dict[str, Any]:
    """A row of the training data, as a request has it."""
    return json.loads((root / "artifacts/bundle/input_example.json").read_text())[0]  # type: ignore[no-any-return]


def answering(pid: int) -> list[int]:
    """The processes of a server that answer: those of its children that wait for connections."""

    def waits(child: int) -> bool:
        with contextlib.suppress(OSError):  # the process has ended
            for file in Path(f"/proc/{child}/fd").iterdir():
                with contextlib.suppress(OSError):  # it has closed the file
                    if "eventpoll" in str(file.readlink()):
                        return True
        return False

    return [c for c in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) if waits(c)]


@contextlib.contextmanager
def serving(root: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """The address and the process id of a server, stopped at the end."""
    told = root / "told.txt"
    with (
        told.open("w") as err,
        subprocess.Popen(
            ["glue", "serve", "--port", "0", *words],
            cwd=root,
            stderr=err,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        ) as process,
    ):
        try:
            url = _until(
                lambda: (found := re.search(r"on (http://[^ ,;]+)", told.read_text())) and found.group(1), process
            )
            _until(lambda: _ready(url), process)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _until(ask: Any, process: subprocess.Popen[bytes]) -> Any:
    for _ in range(1800):
        found = ask()
        if found:
            return found
        assert process.poll() is None, "the server has ended"
        time.sleep(0.1)
    raise AssertionError("the server is not ready")


def _ready(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(url, "/ready")[0] == 200)
    return False


def ask(url: str, path: str = "/predict", body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and what is in the body."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(url + path, data, {**(JSON if data is not None else {}), **named})
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:
            status, text = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
        assert error.headers["content-type"] == "application/problem+json" or path != "/predict"
        assert len(text) < 4096
    return status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode()


def with_serve(root: Path, options: str) -> str:
    """Put a section `serve` in glue.yaml; the text that was there."""
    before = (root / "glue.yaml").read_text()
    (root / "glue.yaml").write_text(f"{before[: before.index('serve:')]}serve: {options}\n")
    return before

"""Fixtures: scratch projects made by the real CLI, tables from installed packages."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("GIT_CONFIG_GLOBAL", os.devnull)
os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """DVC's caches stay out of the machine's; what a test sets in the environment (MLflow does) ends with it."""
    before = dict(os.environ)
    folder = tmp_path_factory.mktemp("dvc")
    os.environ.update(DVC_SITE_CACHE_DIR=str(folder / "site"), DVC_GLOBAL_CONFIG_DIR=str(folder / "config"))
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


@pytest.fixture
def glue(warm: socket.socket) -> Glue:
    """Run `glue` as a user does, the imports spared; `code` is the exit code that is expected, None: any."""

    def run(*words: str, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        request = {"words": words, "cwd": str(cwd), "env": dict(os.environ)}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            socket.send_fds(warm, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
            ended = int(warm.recv(100))
            out.seek(0)
            err.seek(0)
            return _checked(subprocess.CompletedProcess(["glue", *words], ended, out.read(), err.read()), code)

    return run


@pytest.fixture
def cold_glue() -> Glue:
    """The same in a new process each time."""

    def run(*words: str, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["glue", *words], cwd=cwd, capture_output=True, text=True, timeout=600)
        return _checked(done, code)

    return run


@pytest.fixture
def penguins(tmp_path: Path, glue: Glue) -> Path:
    """A project on the penguins, initialised and not yet run."""
    import palmerpenguins

    palmerpenguins.load_penguins().to_csv(tmp_path / "penguins.csv", index=False)
    glue("init", "project", "--data", "penguins.csv", "--target", "species", cwd=tmp_path)
    return tmp_path / "project"

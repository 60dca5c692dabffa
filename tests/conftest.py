"""Fixtures: scratch projects made by the real CLI, tables from installed packages."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, groupby
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support import warm as warm_process
from tests.support.asking import ask, command
from tests.support.project import Glue, on_penguins
from tests.support.terminal import Screen, Terminal

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("GIT_CONFIG_GLOBAL", os.devnull)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # where every core has a worker, the threads of a fit wait for each other
os.environ.pop("MLFLOW_TRACKING_URI", None)
for _name in [name for name in os.environ if name == "CI" or name.startswith(("GITHUB_", "GITLAB_", "CI_"))]:
    del os.environ[_name]  # what is tested behaves as on a laptop, until a test says that it runs in a job
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup; what is started here is to be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)

WARM = "GLUE_TEST_WARM"  # where the process is that the workers share
CACHES = count()
SHARED = pytest.StashKey[contextlib.ExitStack]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests come last in each half, with which one of two workers begins: shared out, they let both end at once.

    The slow ones stay together by file, so that what a file makes for all its tests is mostly made once.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        quick = [item for item in items if "/unit/" in item.nodeid]
        slow = [list(file) for _, file in groupby((i for i in items if "/unit/" not in i.nodeid), lambda i: i.path)]
        middle = len(items) // 2 - sum(map(len, slow[::2]))
        items[:] = [*chain(*slow[::2]), *quick[:middle], *chain(*slow[1::2]), *quick[middle:]]


def _dvc_in(folder: Path) -> None:
    os.environ.update(DVC_SITE_CACHE_DIR=str(folder / "site"), DVC_GLOBAL_CONFIG_DIR=str(folder / "config"))


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """DVC's caches stay out of the machine's: here for the projects that are made once."""
    _dvc_in(tmp_path_factory.mktemp("dvc"))


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> None:
    """What is imported so far is garbage never: each collection would look through it for half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each test has caches of its own; what it sets in the environment (MLflow does) ends with it."""
    before = dict(os.environ)
    # few tests make it; to make a folder for each of thousands, pytest would list those of all before it
    _dvc_in(tmp_path_factory.getbasetemp() / "dvc-of-tests" / str(next(CACHES)))
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """The workers of pytest-xdist share one process of `warm.py`, which imports while they collect."""
    folder = config.stash[SHARED].enter_context(tempfile.TemporaryDirectory())
    os.environ[WARM] = str(config.stash[SHARED].enter_context(_warm(Path(folder))))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SHARED] = contextlib.ExitStack()


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()  # what is left at the end of the process, libraries call a leak
    config.stash[SHARED].close()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for PATH, whose `glue` and `dvc` ask the process of `warm.py`, its socket, and an empty store."""
    if WARM in os.environ:
        yield Path(os.environ[WARM])
        return
    with _warm(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


@contextlib.contextmanager
def _warm(folder: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as its:
        its.bind(str(folder / "socket"))
        its.listen()
        words = [sys.executable, warm_process.__file__, str(its.fileno()), str(folder)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[its.fileno()], start_new_session=True)
    for program in warm_process.PROGRAMS:
        command(folder / program, str(folder / "socket"))
    with process:
        yield folder
        os.killpg(process.pid, signal.SIGKILL)


def _checked(done: subprocess.CompletedProcess[str], code: int | None) -> subprocess.CompletedProcess[str]:
    assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def _asked(warm: Path, words: Sequence[str], cwd: Path, out: int, err: int, **env: str | None) -> int:
    """Its exit code."""
    full = {name: value for name, value in {**os.environ, **env}.items() if value is not None}
    with Path(os.devnull).open() as nothing:
        return ask(str(warm / "socket"), words, str(cwd), full, [nothing.fileno(), out, err])


@pytest.fixture(scope="session")
def glue(warm: Path) -> Glue:
    """Run `glue` as a user does, the imports spared; `code` is the exit code that is expected, None: any."""

    def run(*words: str, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            ended = _asked(warm, words, cwd, out.fileno(), err.fileno())
            out.seek(0)
            err.seek(0)
            return _checked(subprocess.CompletedProcess(["glue", *words], ended, out.read(), err.read()), code)

    return run


@pytest.fixture(scope="session")
def on_terminal(warm: Path) -> Callable[..., Screen]:
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


@pytest.fixture
def quick_path(warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PATH has first are programs that ask the process of `warm.py`: a `dvc` or `glue` is spared its imports."""
    monkeypatch.setenv("PATH", f"{warm}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session")
def tools() -> None:
    """The same as `warm.py`, in this process."""
    warm_process.ready()
    gc.freeze()


@pytest.fixture(scope="session")
def empty_store(warm: Path, glue: Glue) -> Path:
    """MLflow's database without a run in it."""
    glue("--version", cwd=warm)  # it is there once the process answers
    return warm / "mlflow.db"


@pytest.fixture(scope="session")
def new_penguins(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A folder with such a project: to be copied."""
    return on_penguins(tmp_path_factory.mktemp("penguins"), "project", glue, empty_store).parent


@pytest.fixture
def penguins(tmp_path: Path, new_penguins: Path) -> Path:
    """A project on the penguins, initialised and not yet run."""
    shutil.copytree(new_penguins, tmp_path, dirs_exist_ok=True)
    return tmp_path / "project"


@pytest.fixture(scope="session")
def once_run_penguins(warm: Path, new_penguins: Path, glue: Glue) -> Path:
    """The same folder, the project run and then moved, so that no copy finds a bundle where it was made.

    The workers of pytest-xdist share it.
    """
    kept = warm / "ran"
    with FileLock(warm / "ran.lock"):
        if not kept.exists():
            there = Path(shutil.copytree(new_penguins, warm / "running"))
            glue("run", cwd=there / "project")
            there.rename(kept)
    return kept


@pytest.fixture
def ran_penguins(tmp_path: Path, once_run_penguins: Path) -> Path:
    """A project on the penguins with a champion."""
    shutil.copytree(once_run_penguins, tmp_path, dirs_exist_ok=True)
    return tmp_path / "project"

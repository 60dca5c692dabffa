"""A process beside another one ends with it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_glue.errors import ToolError
from mlops_glue.processes import run_apart
from tests.support.server import until

BESIDE = """
import os, sys, time
from pathlib import Path
from mlops_glue.processes import run_apart

def wait(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    run_apart(wait, sys.argv[1], does="waits")
"""


def runs(process: int) -> bool:
    """Also False of one that has ended and that nobody waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_beside_a_killed_process_ends(number: int, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(BESIDE)
    told = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "beside.py", str(told)], cwd=tmp_path)
    until(lambda: told.is_file() and told.read_text(), 60)
    assert runs(int(told.read_text()))
    parent.send_signal(number)
    assert parent.wait(30) == -number
    until(lambda: not runs(int(told.read_text())), 30)


def test_one_whose_parent_was_gone_before_it_began_ends() -> None:
    code = "from mlops_glue.processes import end_with_parent; end_with_parent(1); print('goes on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_what_it_returns_and_raises_comes_back() -> None:
    assert run_apart(divmod, 7, 2, does="divides") == (3, 1)
    with pytest.raises(ZeroDivisionError):
        run_apart(divmod, 7, 0, does="divides")
    with pytest.raises(ToolError, match="the process that ends was killed"):
        run_apart(os._exit, 3, does="ends")
    with pytest.raises(ToolError, match="the process that waits was killed"):
        run_apart(os.abort, does="waits")

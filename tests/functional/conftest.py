"""Fixtures of the functional tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_glue import cli
from tests.support.project import Ran


@pytest.fixture
def inside(tools: None, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*words: str, cwd: Path) -> Ran:
        with contextlib.chdir(cwd), pytest.raises(SystemExit) as stop:
            cli.main(list(words))
        out, err = capfd.readouterr()
        assert "Traceback" not in err and "a bug in glue" not in err, err
        return int(stop.value.code or 0), out, err

    return run

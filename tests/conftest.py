"""Fixtures: scratch projects made by the real CLI, tables from installed packages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's site cache and configuration stay out of the machine's."""
    folder = tmp_path_factory.mktemp("dvc")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(folder / "config"))


Glue = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def glue() -> Glue:
    """Run `glue` as a user does; `code` is the exit code that is expected."""

    def run(*words: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["glue", *words], cwd=cwd, capture_output=True, text=True, timeout=600)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def penguins(tmp_path: Path, glue: Glue) -> Path:
    """A project on the penguins, initialised and not yet run."""
    import palmerpenguins

    palmerpenguins.load_penguins().to_csv(tmp_path / "penguins.csv", index=False)
    glue("init", "project", "--data", "penguins.csv", "--target", "species", cwd=tmp_path)
    return tmp_path / "project"

"""The recorded environment: what differs, what is pinned, and what is said where it cannot be built."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_glue.delivery import exact_env
from mlops_glue.errors import ToolError

THEN: dict[str, Any] = {
    "python": "3.11.7",
    "glue": "0.1.0",
    "machine": "x86_64",
    "packages": {"mlops-glue": "0.1.0", "numpy": "2.3.0", "scikit-learn": "1.7.2", "pytest": "8.0"},
    "libraries": [{"internal_api": "openblas", "architecture": "Haswell"}, {"internal_api": "x", "architecture": None}],
    "variables": {},
}
UV = """#!/bin/sh
echo "$@" >> {log}
case "$*" in {fails}) echo "  × No solution found: there is no version of
  │ numpy==2.3.0" >&2; exit 1;; esac
"""


def test_differences_are_those_that_results_depend_on() -> None:
    now = copy.deepcopy(THEN)
    assert exact_env.differences(THEN, now) == []
    now["packages"] |= {"pytest": "9.0", "numpy": "2.4.0"}
    del now["packages"]["scikit-learn"]
    now["python"], now["libraries"][0]["architecture"] = "3.12.1", "Zen"
    told = exact_env.differences(THEN, now)
    assert told[0] == "python 3.11.7, here 3.12.1" and told[-1] == "openblas kernel Haswell, here Zen"
    assert sorted(told[1:-1]) == ["numpy 2.3.0, here 2.4.0", "scikit-learn 1.7.2, here absent"]


def test_a_package_that_the_estimator_comes_from_counts() -> None:
    then, now = copy.deepcopy(THEN), copy.deepcopy(THEN)
    then["computes"] = now["computes"] = ["numpy", "xgboost-cpu"]
    then["packages"]["xgboost-cpu"], now["packages"]["xgboost-cpu"] = "3.2.0", "3.4.1"
    assert exact_env.differences(then, now) == ["xgboost-cpu 3.2.0, here 3.4.1"]
    now["computes"] = ["numpy", "xgboost"]  # the same module of another package
    now["packages"] = now["packages"] | {"xgboost": "3.2.0", "xgboost-cpu": None}
    assert exact_env.differences(then, now) == ["xgboost absent, here 3.2.0", "xgboost-cpu 3.2.0, here absent"]


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a `uv` on the path that fails where its words match; the file of what it was asked."""
    log = tmp_path / "asked.txt"

    def put(fails: str = "nothing") -> Path:
        tool = tmp_path / "bin" / "uv"
        tool.parent.mkdir()
        tool.write_text(UV.format(log=log, fails=fails))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
        return log

    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    return put


def test_every_package_is_pinned_and_none_is_resolved(uv: Any, tmp_path: Path) -> None:
    log = uv()
    assert exact_env.build(THEN, tmp_path / "env") == tmp_path / "env" / "bin"
    pins = (tmp_path / "env.txt").read_text().split()
    assert pins == ["numpy==2.3.0", "scikit-learn==1.7.2", "pytest==8.0"]  # glue comes from where this one is of
    venv, packages, glue = log.read_text().splitlines()
    assert venv == f"venv --quiet --python 3.11.7 {tmp_path / 'env'}"
    assert "--no-deps" in packages and packages.endswith(f"-r {tmp_path / 'env.txt'}")
    assert "--no-deps" in glue


@pytest.mark.parametrize(
    ("fails", "what", "hint"),
    [("venv*", "Python 3.11.7", "uv python install 3.11.7"), ("*env.txt", "its packages", "whether uv's index has")],
)
def test_what_cannot_be_had_is_one_line(uv: Any, tmp_path: Path, fails: str, what: str, hint: str) -> None:
    uv(fails)
    with pytest.raises(ToolError) as refused:
        exact_env.build(THEN, tmp_path / "env")
    said = "No solution found: there is no version of numpy==2.3.0"
    assert refused.value.message == f"the recorded environment cannot be built: {what}: {said}"
    assert refused.value.hint is not None and hint in refused.value.hint and "without --exact-env" in refused.value.hint


def test_without_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="--exact-env needs uv") as refused:
        exact_env.build(THEN, tmp_path / "env")
    assert refused.value.hint == "pip install uv"
    assert not (tmp_path / "env").exists()

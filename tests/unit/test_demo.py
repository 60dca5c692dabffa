"""`glue monitor --demo-drift` where its first run comes to nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_glue import files, layout
from mlops_glue.commands import demo
from mlops_glue.errors import CheckFailed, ToolError


def test_a_first_run_that_is_refused_ends_it_with_the_reason(tmp_path: Path) -> None:
    told: dict[str, Any] = {"champion": None, "refused": ["auc 0.5000 misses threshold min 0.8"]}
    files.write_json(tmp_path / layout.DELIVERY, told)
    with pytest.raises(CheckFailed, match=r"first run on a sample was refused: auc 0\.5000 misses threshold min 0\.8"):
        demo.check_champion(tmp_path)
    files.write_json(tmp_path / layout.DELIVERY, told | {"champion": 1})
    demo.check_champion(tmp_path)


def test_a_command_that_fails_is_told_by_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    err = "train .... failed\nerror: t: column 'a' does not meet it\nhint: see\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stdout="", stderr=err))
    with pytest.raises(ToolError) as failed:
        demo.run_glue(tmp_path, "run")
    assert failed.value.message == "glue run: t: column 'a' does not meet it"

"""`glue run` is DVC's own reproduce: the two write the same `dvc.lock`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mlops_glue.adapters import dvc
from tests.conftest import Glue


def test_the_two_internal_names_are_there() -> None:
    assert dvc.in_process_supported()


def test_glue_run_and_dvc_repro_write_the_same_lock(penguins: Path, glue: Glue) -> None:
    glue("run", "--no-publish", cwd=penguins)
    mine = (penguins / "dvc.lock").read_bytes()
    subprocess.run(["rm", "-rf", "artifacts", "dvc.lock", ".dvc/cache/runs"], cwd=penguins, check=True)
    subprocess.run(["dvc", "repro"], cwd=penguins, capture_output=True, check=True)
    assert (penguins / "dvc.lock").read_bytes() == mine

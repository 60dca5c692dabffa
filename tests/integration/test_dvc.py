"""`glue run` is DVC's own reproduce: the two write the same `dvc.lock`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from mlops_glue import layout
from mlops_glue.adapters import dvc
from tests.conftest import Glue


def test_the_two_internal_names_are_there() -> None:
    assert dvc.in_process_supported()


def test_glue_run_and_dvc_repro_write_the_same_lock(penguins: Path, glue: Glue) -> None:
    glue("run", "--no-publish", cwd=penguins)
    mine = _lock(penguins)
    subprocess.run(["rm", "-rf", "artifacts", "dvc.lock", ".dvc/cache/runs"], cwd=penguins, check=True)
    subprocess.run(["dvc", "repro"], cwd=penguins, capture_output=True, check=True)
    assert _lock(penguins) == mine


def _lock(project: Path) -> object:
    """`dvc.lock` without the hashes and sizes of the model files, whose bytes carry object ids and times."""
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        for entry in (*stage["deps"], *stage["outs"]):
            if entry["path"] in (layout.MODEL, layout.BUNDLE):
                del entry["md5"], entry["size"]
    return lock

"""Projects that tests begin from, and what they hold."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import palmerpenguins
import pandas as pd

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.pipeline.execute import run_stage
from mlops_glue.pipeline.stages import STAGES

Glue = Callable[..., subprocess.CompletedProcess[str]]


QUICK_MODEL = """from sklearn.ensemble import HistGradientBoostingClassifier


def build(max_iter=10, random_state=None):
    return HistGradientBoostingClassifier(max_iter=max_iter, random_state=random_state)
"""


def on_penguins(folder: Path, name: str, glue: Glue, empty_store: Path) -> Path:
    """A project on the penguins, whose table lies beside it, initialised and not yet run.

    Its model is a quick one; the one of `glue init` is tried by `test_references`.
    """

    palmerpenguins.load_penguins().to_csv(folder / "penguins.csv", index=False)
    glue("init", name, "--data", "penguins.csv", "--target", "species", cwd=folder)
    shutil.copy(empty_store, folder / name)
    (folder / name / "model.py").write_text(QUICK_MODEL)
    return folder / name


def row_of(root: Path) -> dict[str, Any]:
    """A row of the training data, as a request has it."""
    return json.loads((root / "artifacts/bundle/input_example.json").read_text())[0]  # type: ignore[no-any-return]


Ran = tuple[int, str, str]


CHEAP = ["--set", "train.params={max_iter: 5}", "--set", "train.estimator="]


def table(rows: int = 60, **columns: Any) -> pd.DataFrame:
    """A number that tells the target, noise, a category, and the target `y` of yes and no."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=rows)
    made = {
        "x": x.round(4),
        "noise": rng.normal(size=rows).round(4),
        "town": rng.choice(["Ulm", "Bonn", "Kiel"], size=rows),
        "y": np.where(x + 0.3 * rng.normal(size=rows) > 0, "yes", "no"),
    }
    return pd.DataFrame(made | columns)


def run_stages(root: Path, changes: dict[str, str]) -> None:
    """Run the pipeline in this process, as `glue stage` does each: without DVC, which takes as long again.

    The changes are made to `glue.yaml` first, as by `--set`.
    """
    files.write_text(root / layout.CONFIG, configs.overridden(root, changes))
    config = configs.load(root)
    for stage in STAGES:
        run_stage(stage, config, root)


BOOM = "raise SystemExit('this file must not be run')\n"


def contents(top: Path) -> dict[str, bytes]:
    """Every file but git's and DVC's own notes."""
    files = (p for p in top.rglob("*") if p.is_file() and ".git" not in p.parts and "tmp" not in p.parts)
    return {p.relative_to(top).as_posix(): p.read_bytes() for p in files}

"""`glue run`: the pipeline, then delivery."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_glue import console, files, layout, modules
from mlops_glue.delivery import describe
from mlops_glue.delivery import run as runs
from mlops_glue.delivery.record import Delivery
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.report import run as report
from mlops_glue.scaffold.commit import due, undo


def run(options: runs.Options, *, as_json: bool = False, env: str | None = None) -> int:
    """Run changed stages, then publish and promote the model if allowed. Return 1 if a check refuses it."""
    root = layout.find_root()
    done = runs.run(root, env or os.environ.get("GLUE_ENV"), options, console.stage, console.fold)
    for line in describe.warnings(done.evaluation, published=done.delivery is not None):
        console.progress(f"warning: {line}")
    if done.delivery is None or done.evaluation is None:
        if as_json:
            console.result_json(report.record(done, {}))
        return 0
    parity = files.read_json(root / layout.BUNDLE / "parity.json")
    _warn_of_packages(done.delivery["packages"])
    if as_json:
        console.result_json(report.record(done, parity))
        for reason in done.refused:  # a job keeps the JSON in a file
            console.progress(f"refused: {reason}")
    else:
        _print(done.evaluation, done.delivery, parity)
        _print_git(root, done.delivery, done.inputs)
    return 1 if done.refused else 0


def _warn_of_packages(packages: dict[str, str]) -> None:
    """Warn if a package's installed version differs from the version that built the model."""
    for name, version in packages.items():
        now = modules.installed(name)
        if now != version:
            built = f"the model was built with {name} {version}, but {now or 'no version'} is installed"
            console.progress(f"warning: {built}: glue run --force rebuilds it")


def _print(evaluation: Evaluation, delivery: Delivery, parity: dict[str, Any]) -> None:
    """Print the metrics, the outcome for the version, and the next commands."""
    table = report.metrics(evaluation)
    console.result()
    console.table(table.rows, table.head)
    for note in table.notes:
        console.result(note)
    console.result()
    for line in report.outcome(delivery, evaluation, parity):
        console.result(line, good="is champion", bad="refused")
    console.result("next     glue report   glue serve   glue predict IN OUT   mlflow ui   dvc dag")


def _print_git(root: Path, delivery: Delivery, inputs: list[str] | None) -> None:
    """Print the commit command; for a refused model, the command that restores the previous files."""
    refused = bool(delivery["refused"])
    message = f"{delivery['model']} v{delivery['version']}"
    command = undo(root, inputs) if refused else due(root, message, inputs=inputs)
    if command is not None:
        console.result(f"{'undo' if refused else 'commit':<9}{command}")

"""`glue track -- COMMAND`: run an unmodified user command as one MLflow run, without a pipeline."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery import tracked_run
from mlops_glue.errors import UsageError


def track(command: tuple[str, ...], *, metrics: tuple[str, ...] = (), env: str | None = None) -> int:
    """Run the command, then log its parameters and metrics. Return the command's exit code."""
    if shutil.which(command[0]) is None:
        why = "cannot be run" if Path(command[0]).is_file() else "no such command"
        raise UsageError(f"{command[0]}: {why}", hint="glue track -- python train.py")
    try:
        root = layout.find_root()
    except UsageError as error:
        raise UsageError(error.message, hint="glue adopt --tracking") from None
    environment = dict(os.environ)  # copied before glue changes MLflow's settings for itself
    config = configs.load(root, env, tables=False, needs=())
    run = tracked_run.tracked(root, config, command, environment, metrics)
    console.progress(f"run {run.id} of experiment {config.project}: {run.status.lower()}")
    return run.exit_code

"""`glue stage NAME`: run one stage; called by `dvc.yaml`."""

from __future__ import annotations

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.errors import UsageError
from mlops_glue.pipeline import execute, stages
from mlops_glue.suggest import did_you_mean


def stage(name: str, format_version: int) -> int:
    """Run one stage in this process."""
    if name not in stages.NAMES:
        raise UsageError(f"no stage {name!r}", hint=did_you_mean(name, list(stages.NAMES)))
    if format_version != stages.FORMAT:
        raise UsageError(
            f"dvc.yaml has stage format {format_version}, but this version of glue uses {stages.FORMAT}",
            hint="glue run",
        )
    root = layout.find_root()
    execute.run_stage(stages.named(name), configs.load(root), root)
    return 0

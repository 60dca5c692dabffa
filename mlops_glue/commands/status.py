"""`glue status` and `glue why`: what would run and why, the current champion, and the outcome of the last run."""

from __future__ import annotations

from dataclasses import asdict

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.errors import UsageError
from mlops_glue.report import status as report
from mlops_glue.suggest import did_you_mean


def status(*, as_json: bool = False, env: str | None = None) -> int:
    """Print each stage with the cause to run it, the champion, refused versions, and the last run's failure."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=())
    found = report.status(root, config)
    if as_json:
        console.result_json(asdict(found) if config.data else {"model": config.model_name, **asdict(found)})
        return 0
    for line in report.lines(found, root, config):
        console.result(line)
    return 0


def why(stage: str | None = None, *, as_json: bool = False, env: str | None = None) -> int:
    """Print every cause for a stage to run; without a stage, the causes of all stages."""
    reasons, upstream = report.pending(layout.find_root(), env)
    if stage is None:
        if as_json:
            console.result_json({"stages": reasons, "after": upstream})
        for name in [] if as_json else reasons:
            first, *more = reasons[name] or [report.unchanged(name, upstream)]
            console.result(f"{name:<12} {first}")
            for cause in more:
                console.result(f"{'':<12} {cause}")
        return 0
    if stage not in reasons:
        raise UsageError(f"no stage {stage!r}", hint=did_you_mean(stage, list(reasons)))
    if as_json:
        console.result_json({"stage": stage, "reasons": reasons[stage], "after": upstream.get(stage, [])})
        return 0
    for line in reasons[stage] or [report.unchanged(stage, upstream)]:
        console.result(line)
    return 0

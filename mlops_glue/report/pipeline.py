"""Each stage of the pipeline: its outcome in the last run, and whether it is still up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.errors import GlueError
from mlops_glue.pipeline import dvc_yaml, queries
from mlops_glue.pipeline.session import DID_NOT_RUN
from mlops_glue.report.facts import read_json

DELIVERY = ("publish", "promote", "materialize")
STALE = ("changed", "failed", "not run")  # outcomes of a stage whose results are out of date
FINE = ("executed", "restored", "unchanged")  # outcomes that may be out of date if an earlier stage is stale
MOST_REASONS = 6


@dataclass(frozen=True)
class Stage:
    """A stage."""

    name: str
    outcome: str  # in the last run; or changed, not run, not known, may be out of date
    seconds: float | None  # duration of its last execution
    reasons: list[str]


@dataclass(frozen=True)
class Pipeline:
    """All stages.

    Attributes:
        time: when the last run was.
        failed: why the last run failed.
        problem: why the changes since then are unknown.
        stages: each stage.
        stale: the names of the stages that are out of date.
        behind: those, and the stages that depend on them.
    """

    time: str | None
    failed: str | None
    problem: str | None
    stages: list[Stage]
    stale: list[str]
    behind: list[str]


def pipeline(config: configs.Config, root: Path) -> Pipeline:
    """Return each stage's state from the last run and DVC; empty if there is no pipeline."""
    if config.data is None:
        return Pipeline(None, None, None, [], [], [])
    last = read_json(root / layout.LAST_RUN) or {"time": None, "problem": None, "stages": []}
    lines = {line["stage"]: line for line in last["stages"]}
    pending: Mapping[str, list[str] | None] = dict.fromkeys(dvc_yaml.definition(config, root))
    depending: Mapping[str, list[str]] = {}
    problem = None
    try:
        pending, depending = queries.pending(config, root, dvc_yaml.stale(config, root))
    except GlueError as error:
        problem = f"changes since the last run are unknown: {error.message}"
    delivery = DELIVERY if config.features.use else DELIVERY[:2]
    was_delivered = not last["time"] and (root / layout.DELIVERY).is_file()  # by a run that recorded no stages
    stages = [_stage(name, lines.get(name), causes) for name, causes in pending.items()]
    stale = [stage.name for stage in stages if stage.outcome in STALE]
    behind = {*stale, *depending}
    if behind & {"evaluate", "package"}:
        behind |= {*delivery}
    for name in delivery:
        stages.append(_stage(name, lines.get(name), [] if name in lines or was_delivered else ["not reached"]))
    stages = [
        Stage(stage.name, "may be out of date", stage.seconds, [f"after {', '.join(stale)}"])
        if stage.name in behind and stage.outcome in FINE
        else stage
        for stage in stages
    ]
    return Pipeline(last["time"], last["problem"], problem, stages, stale, sorted(behind))


def _stage(name: str, line: Mapping[str, Any] | None, causes: list[str] | None) -> Stage:
    """Build a stage from its line in the last run and the causes for running it again (None: unknown)."""
    if line is None:
        outcome = "not known" if causes is None else "not run" if causes else "unchanged"
        return Stage(name, outcome, None, (causes or [])[:MOST_REASONS])
    outcome = "changed" if causes and line["outcome"] not in ("failed", "refused") else line["outcome"]
    seconds = line.get("executed_s") if line["outcome"] in DID_NOT_RUN else line["seconds"]
    return Stage(name, outcome, seconds, (causes or line["reasons"])[:MOST_REASONS])

"""Each stage of the pipeline: what became of it in the last run, and whether that is still so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.adapters import dvc
from mlops_glue.errors import GlueError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.session import DID_NOT_RUN
from mlops_glue.report.facts import read_json

DELIVERY = ("publish", "promote", "materialize")
STALE = ("changed", "failed", "not run")  # outcomes of a stage whose results are not of what is here now
FINE = ("executed", "restored", "unchanged")  # outcomes that mean little where an earlier stage is stale
MOST_REASONS = 6


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    outcome: str  # of the last run; or changed, not run, not known, may be out of date
    seconds: float | None  # that it took when it ran last
    reasons: list[str]


@dataclass(frozen=True)
class Pipeline:
    """Every stage, with those that are out of date and those that take what these make."""

    time: str | None  # of the last run
    failed: str | None  # how it failed
    problem: str | None  # why it is not known what has changed since
    stages: list[Stage]
    stale: list[str]
    behind: list[str]


def pipeline(config: configs.Config, root: Path) -> Pipeline:
    """What the last run and DVC say of each stage."""
    last = read_json(root / layout.LAST_RUN) or {"time": None, "problem": None, "stages": []}
    lines = {line["stage"]: line for line in last["stages"]}
    pending: dict[str, list[str]] | None = None
    problem = None
    try:
        pending = dvc.status(root, dvc_yaml.stale(config, root))
    except GlueError as error:
        problem = f"what has changed since is not known: {error.message}"
    written = (files.read_yaml(root / "dvc.yaml") or {}).get("stages") if (root / "dvc.yaml").is_file() else None
    defined = {**(written or {}), **dvc_yaml.definition(config, root)}  # as the next run will have it
    delivery = DELIVERY if config.features.use else DELIVERY[:2]
    was_delivered = not last["time"] and (root / layout.DELIVERY).is_file()  # by a run that kept no lines
    stages = [_stage(name, lines.get(name), _causes(name, pending)) for name in defined]
    stages += [
        _stage(name, lines.get(name), [] if name in lines or was_delivered else ["not reached"]) for name in delivery
    ]
    edges = [*_edges(defined), *((name, "publish") for name in ("evaluate", "package") if name in defined)]
    stale = [stage.name for stage in stages if stage.outcome in STALE and stage.name in defined]
    behind = _behind(stale, [*edges, *pairwise(delivery)])
    stages = [_after(stale, stage) if stage.name in behind and stage.outcome in FINE else stage for stage in stages]
    return Pipeline(last["time"], last["problem"], problem, stages, stale, behind)


def _causes(name: str, pending: Mapping[str, list[str]] | None) -> list[str] | None:
    """Why a stage, or one of those that `foreach` makes of it, would run again; None: not known."""
    if pending is None:
        return None
    return [cause for stage, causes in pending.items() if stage.partition("@")[0] == name for cause in causes]


def _stage(name: str, line: Mapping[str, Any] | None, causes: list[str] | None) -> Stage:
    if line is None:
        outcome = "not known" if causes is None else "not run" if causes else "unchanged"
        return Stage(name, outcome, None, (causes or [])[:MOST_REASONS])
    outcome = "changed" if causes and line["outcome"] not in ("failed", "refused") else line["outcome"]
    seconds = line.get("executed_s") if line["outcome"] in DID_NOT_RUN else line["seconds"]
    return Stage(name, outcome, seconds, (causes or line["reasons"])[:MOST_REASONS])


def _after(stale: list[str], stage: Stage) -> Stage:
    return Stage(stage.name, "may be out of date", stage.seconds, [f"after {', '.join(stale)}"])


def _behind(stale: list[str], edges: list[tuple[str, str]]) -> list[str]:
    """The stages that are out of date, and those that take what these make."""
    reached = set(stale)
    for _ in edges:
        reached |= {taker for maker, taker in edges if maker in reached}
    return sorted(reached)


def _edges(defined: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of stages: the second takes what the first makes."""

    def paths(stage: Any, *keys: str) -> list[str]:
        entries = [entry for key in keys for entry in (stage.get(key) or [] if isinstance(stage, dict) else [])]
        return [str(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries]

    made = [(out, name) for name, stage in defined.items() for out in paths(stage, "outs", "metrics", "plots")]
    for name, stage in defined.items():
        for dep in paths(stage, "deps"):
            for out, maker in made:
                if maker != name and (dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/")):
                    yield maker, name

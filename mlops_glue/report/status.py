"""The project's status: the stages that would run and why, the champion, and the outcome of the last run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout, trusted
from mlops_glue.adapters.mlflow.database import alias_in
from mlops_glue.delivery.fetch import read_only
from mlops_glue.delivery.record import Delivery, last_delivery
from mlops_glue.errors import GlueError, ToolError
from mlops_glue.pipeline import dvc_yaml, queries
from mlops_glue.pipeline.session import last_failure
from mlops_glue.report import facts

Causes = dict[str, list[str]]  # by stage


@dataclass(frozen=True)
class Status:
    """The state of a project.

    Attributes:
        stages: why each stage would run; empty if it would not.
        after: by stage, the stages whose output would have to change for it to run.
        delivery: what the last run delivered.
        champion: the version; None if there is none, or it is unknown.
        problem: why the champion is unknown.
        as_of: when this machine last asked who is champion, ISO 8601 in UTC; None: now.
        failed: where and how the last run failed.
    """

    stages: Causes = field(default_factory=dict)
    after: Causes = field(default_factory=dict)
    delivery: Delivery | None = None
    champion: int | None = None
    problem: str | None = None
    as_of: str | None = None
    failed: dict[str, Any] | None = None


def status(root: Path, config: configs.Config) -> Status:
    """Read the status without writing anything. A project without a pipeline has only the registry's champion."""
    if config.data is None:
        store = read_only(root, config)
        return Status(champion=store.champion(config.model_name) if store is not None else None)
    reasons, upstream = pending(root, config.environment)
    delivered = last_delivery(root, config)
    champion, problem, as_of = _champion(root, config, delivered)
    return Status(reasons, upstream, delivered, champion, problem, as_of, last_failure(root))


def pending(root: Path, env: str | None) -> tuple[Causes, Causes]:
    """Return why each stage would run, and the stages whose output would have to change for it to run."""
    dvc_yaml.check_readable(root)
    # this writes nothing: DVC reads the stages as the next run will define them
    config = configs.load(root, env)
    return queries.pending(config, root, dvc_yaml.stale(config, root))


def lines(found: Status, root: Path, config: configs.Config) -> Iterator[str]:
    """Yield the status in words."""
    if config.data is None:
        only = configs.only_does(config)
        if only is not None and not only[0].startswith("serves"):
            yield f"this project only {only[0]}. Next: {only[1]}"
        else:
            yield f"champion of {config.model_name}: {f'v{found.champion}' if found.champion else 'none'}"
        return
    for name, why in found.stages.items():
        yield f"{name:<12} {'changed: ' + ', '.join(why[:3]) if why else unchanged(name, found.after)}"
    yield from _delivered(config, found)
    if (trust := root / layout.BUNDLE / trusted.FILE).is_file():
        yield f"the current model runs code from {', '.join(files.read_json(trust)['names'])}"
    if found.failed is not None:
        yield f"the last run failed{found.failed['where']}: {found.failed['problem']}"


def unchanged(stage: str, upstream: Causes) -> str:
    """Describe a stage that would not run, and the changes that would make it run."""
    before = upstream.get(stage)
    return f"unchanged; would run if the output of {' or '.join(before)} changes" if before else "unchanged"


def _champion(
    root: Path, config: configs.Config, delivered: Delivery | None
) -> tuple[int | None, str | None, str | None]:
    """Return the champion, the registry's problem, and when the champion was known if that is not now.

    If a run delivered here, no registry server is contacted; the project's own database is read, which costs nothing.
    """
    if delivered is not None and config.tracking.uri is not None:
        noted = datetime.fromtimestamp((root / layout.DELIVERY).stat().st_mtime, UTC)
        return delivered["champion"], None, noted.isoformat(timespec="seconds")
    if delivered is not None:
        file = root / layout.TRACKING_DB
        if problem := facts.database_problem(file):
            return delivered["champion"], f"{layout.TRACKING_DB} {problem}", None
        try:
            return alias_in(file, config.model_name, "champion"), None, None
        except ToolError:  # another MLflow may keep it elsewhere
            return delivered["champion"], None, None
    if config.tracking.uri is None and not (root / layout.DELIVERY).is_file():
        return None, None, None
    try:
        store = read_only(root, config)
        return (None if store is None else store.champion(config.model_name)), None, None
    except GlueError as error:
        return None, error.message, None


def _delivered(config: configs.Config, found: Status) -> Iterator[str]:
    """Yield the champion, and why the last version is not champion."""
    where = f" in environment {config.environment}" if config.environment else ""
    of, named = f"{config.model_name}{where}", f"v{found.champion}" if found.champion else "none"
    if found.problem is not None:
        before = f"; after the last run it was {named}: see glue doctor" if found.delivery is not None else ""
        yield f"the champion of {of} is unknown: {found.problem}{before}"
    elif found.delivery is None:
        yield f"champion of {of}: {named}" if found.champion else f"no version delivered yet{where}"
    else:
        last = found.delivery["version"]
        then = f" at {found.as_of[:16].replace('T', ' ')} UTC, when last asked here" if found.as_of else ""
        yield f"champion of {of}: {named}{then}; last version: v{last}"
        if last != found.champion:
            yield from (f"v{last} was refused: {reason}" for reason in found.delivery["refused"])

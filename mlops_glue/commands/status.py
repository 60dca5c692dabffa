"""`glue status` and `glue why`: what would run and the exact cause; what is champion; how the last run ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, trusted
from mlops_glue.adapters import dvc
from mlops_glue.delivery.fetch import read_only
from mlops_glue.delivery.record import Delivery, last_delivery
from mlops_glue.errors import GlueError, UsageError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.session import last_failure
from mlops_glue.report import facts
from mlops_glue.suggest import did_you_mean

Causes = dict[str, list[str]]  # by stage


def status(*, as_json: bool = False, env: str | None = None) -> int:
    """Print each stage with why it would run, the champion, what was refused, and how the last run failed."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=())
    if config.data is None:
        return _champion_alone(root, config, as_json)
    reasons, upstream = _pending(env)
    delivered, failed = last_delivery(root, config), last_failure(root)
    champion, problem = _champion(root, config, delivered)
    if as_json:
        stages = {"stages": reasons, "after": upstream, "delivery": delivered}
        console.result_json({**stages, "champion": champion, "problem": problem, "failed": failed})
        return 0
    for name, why in reasons.items():
        console.result(f"{name:<12} {'changed: ' + ', '.join(why[:3]) if why else _unchanged(name, upstream)}")
    for line in _delivered(config, delivered, champion, problem):
        console.result(line)
    if (trust := root / layout.BUNDLE / trusted.FILE).is_file():
        console.result(f"the model here runs code of {', '.join(files.read_json(trust)['names'])}")
    if failed is not None:
        console.result(f"the last run failed{failed['where']}: {failed['problem']}")
    return 0


def _champion(root: Path, config: configs.Config, delivered: Delivery | None) -> tuple[int | None, str | None]:
    """The champion, and what is wrong with the registry; of what was delivered here, without asking the registry."""
    if delivered is not None:
        problem = facts.database_problem(root / layout.TRACKING_DB) if config.tracking.uri is None else None
        return delivered["champion"], problem and f"{layout.TRACKING_DB} {problem}"
    if config.tracking.uri is None and not (root / layout.DELIVERY).is_file():
        return None, None
    try:
        store = read_only(root, config)
        return (None if store is None else store.champion(config.model_name)), None
    except GlueError as error:
        return None, error.message


def _delivered(
    config: configs.Config, delivered: Delivery | None, champion: int | None, problem: str | None
) -> list[str]:
    """Who is champion, and why the last version is not."""
    where = f" in environment {config.environment}" if config.environment else ""
    of, named = f"{config.model_name}{where}", f"v{champion}" if champion else "none"
    if problem is not None:
        before = f"; after the last run it was {named}: see glue doctor" if delivered is not None else ""
        return [f"the champion of {of} is not known: {problem}{before}"]
    if delivered is None:
        return [f"champion of {of}: {named}" if champion else f"nothing delivered yet{where}"]
    last = delivered["version"]
    refused = [f"v{last} was refused: {reason}" for reason in delivered["refused"] if last != champion]
    return [f"champion of {of}: {named}; last version: v{last}", *refused]


def _champion_alone(root: Path, config: configs.Config, as_json: bool) -> int:
    """Of what has no pipeline: which version the registry names, or what it does instead."""
    only = configs.only_does(config)
    store = read_only(root, config)
    champion = store.champion(config.model_name) if store is not None else None
    if as_json:
        nothing: dict[str, Any] = {"stages": {}, "after": {}, "delivery": None}
        console.result_json({**nothing, "model": config.model_name, "champion": champion})
    elif only is not None and not only[0].startswith("serves"):
        console.result(f"this project only {only[0]}. Next: {only[1]}")
    else:
        console.result(f"champion of {config.model_name}: {f'v{champion}' if champion else 'none'}")
    return 0


def why(stage: str | None = None, *, as_json: bool = False, env: str | None = None) -> int:
    """Print every cause for which a stage would run; without a stage, those of each."""
    reasons, upstream = _pending(env)
    if stage is None:
        if as_json:
            console.result_json({"stages": reasons, "after": upstream})
        for name in [] if as_json else reasons:
            first, *more = reasons[name] or [_unchanged(name, upstream)]
            console.result(f"{name:<12} {first}")
            for cause in more:
                console.result(f"{'':<12} {cause}")
        return 0
    if stage not in reasons:
        raise UsageError(f"no stage {stage!r}", hint=did_you_mean(stage, list(reasons)))
    if as_json:
        console.result_json({"stage": stage, "reasons": reasons[stage], "after": upstream.get(stage, [])})
        return 0
    for line in reasons[stage] or [_unchanged(stage, upstream)]:
        console.result(line)
    return 0


def _unchanged(stage: str, upstream: Causes) -> str:
    before = upstream.get(stage)
    return f"unchanged; would run if the output of {' or '.join(before)} changes" if before else "unchanged"


def _pending(env: str | None) -> tuple[Causes, Causes]:
    root = layout.find_root()
    dvc_yaml.check_merged(root)
    # nothing is written here: DVC reads the stages as the next run will define them
    return dvc.pending(root, dvc_yaml.stale(configs.load(root, env), root))

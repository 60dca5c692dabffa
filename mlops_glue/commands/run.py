"""`glue run`: the pipeline, then delivery."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.adapters import dvc
from mlops_glue.errors import ToolError, UsageError, did_you_mean
from mlops_glue.pipeline import runner, stages


def run(
    *,
    force: bool = False,
    until: str | None = None,
    overrides: dict[str, str] | None = None,
    publish: bool = True,
    subprocess: bool = False,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Run what changed, publish the result, promote it where it may be. Returns 1 where a check said no."""
    root = layout.find_root()
    if until is not None and until not in stages.STAGES:
        raise UsageError(f"--until: no stage {until!r}", hint=did_you_mean(until, list(stages.STAGES)))
    if overrides:
        write_overrides(root, overrides)
    config = configs.load(root, env)
    outcomes: list[dict[str, Any]] = []

    def event(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
        console.stage(name, outcome, seconds, reasons)
        if outcome:
            outcomes.append({"stage": name, "outcome": outcome, "seconds": round(seconds, 3), "reasons": reasons})

    with project_lock(root):
        runner.write_definition(config, root)
        inside: Callable[[str], None] | None = None
        if not subprocess:
            if dvc.in_process_supported():
                inside = lambda name: runner.run_stage(name, config, root)  # noqa: E731
            else:
                console.progress("warning: this DVC lacks the names that in-process stages need; using subprocesses")
        dvc.reproduce(root, inside, event, until=until, force=force)
        if (until is not None and until != stages.STAGES[-1]) or not publish:
            if as_json:
                console.result_json({"stages": outcomes})
            return 0
        return _deliver(config, root, outcomes, as_json)


def _deliver(config: configs.Config, root: Path, outcomes: list[dict[str, Any]], as_json: bool) -> int:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery.promote import promote
    from mlops_glue.delivery.publish import publish

    uri = config.tracking.uri and configs.resolve(config.tracking.uri, "tracking.uri")
    store = Store(root, uri)
    fingerprint = runner.fingerprint(root)
    version, new = publish(config, root, store, fingerprint)
    verdict = promote(config, root, store, version)
    report = io.read_json(root / layout.EVALUATION / "evaluation.json")
    parity = io.read_json(root / layout.BUNDLE / "parity.json")
    told = {
        "fingerprint": fingerprint,
        "model": config.model_name,
        "version": version,
        "new": new,
        "champion": verdict.champion,
        "refused": verdict.refused,
        "format": parity["format"],
    }
    io.write_json(root / layout.DELIVERY, told)
    if as_json:
        console.result_json({"stages": outcomes, **told, "metrics": report["metrics"]})
        return 1 if verdict.refused else 0
    _summary(config, report, parity, told, verdict.previous)
    return 1 if verdict.refused else 0


def _summary(
    config: configs.Config, report: dict[str, Any], parity: dict[str, Any], told: dict[str, Any], previous: int | None
) -> None:
    limits = {t["metric"]: t for t in report["thresholds"]}
    rows = []
    for name, score in report["metrics"].items():
        limit = limits.get(name)
        bound = "" if limit is None else f"min {limit['min']}" if limit["min"] is not None else f"max {limit['max']}"
        mark = "" if limit is None else "met" if limit["met"] else "MISSED"
        cells = [name, *(f"{score[k]:.4f}" for k in ("value", "low", "high", "trivial")), bound, mark]
        rows.append(cells)
    console.result()
    console.table(rows, [f"holdout, {report['rows']:,} rows", "value", "95 % low", "high", "trivial", "threshold", ""])
    console.result()
    name, version = told["model"], told["version"]
    if parity["format"] != "onnx":
        console.result(f"the model is kept in skops form: {parity['reason']}")
    if told["refused"]:
        for reason in told["refused"]:
            console.result(f"{name} v{version} refused: {reason}")
        kept = f"v{told['champion']} stays champion" if told["champion"] else "there is no champion"
        console.result(kept)
        return
    was = f" (was v{previous})" if previous not in (None, version) else ""
    console.result(f"{name} v{version} is champion{was}, {'new' if told['new'] else 'published before'}")
    console.result(f"report: {layout.VALIDATION}/report.html   runs: mlflow ui   score: glue predict IN OUT")


def project_lock(root: Path) -> Any:
    """One `glue` at work in a project at a time; a second waits and says so."""
    from filelock import FileLock, Timeout

    path = root / layout.LOCK
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.progress("waiting for another glue at work in this project")
        try:
            lock.acquire(timeout=float(os.environ.get("GLUE_LOCK_TIMEOUT_S", "3600")))
        except Timeout:
            raise ToolError("another glue has been at work in this project too long", hint="see: ps aux") from None
    return lock


def write_overrides(root: Path, overrides: dict[str, str]) -> None:
    """Check `--set` values in full, then write them to `glue.yaml`: DVC hashes what is in the file."""
    configs.load(root, None, overrides)
    io.write_text(root / layout.CONFIG, configs.overridden(root, overrides))


def stage(name: str, format_version: int) -> int:
    """One stage: what `dvc.yaml` calls."""
    if name not in stages.STAGES:
        raise UsageError(f"no stage {name!r}", hint=did_you_mean(name, list(stages.STAGES)))
    if format_version != stages.FORMAT:
        raise UsageError(
            f"dvc.yaml is of stage format {format_version}, this glue's is {stages.FORMAT}", hint="glue run"
        )
    root = layout.find_root()
    runner.run_stage(name, configs.load(root), root)
    return 0

"""`glue run`: the pipeline, then delivery."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import console, files, layout, modules, tables
from mlops_glue.delivery import describe
from mlops_glue.delivery.describe import compared, number, stays
from mlops_glue.errors import ConfigError, DataError, GlueError, ToolError, UsageError, check_interrupted, did_you_mean
from mlops_glue.pipeline import unchanged
from mlops_glue.scaffold.commit import due, revision, undo
from mlops_glue.secrets import redacted

if TYPE_CHECKING:
    from mlops_glue import config as configs
    from mlops_glue.adapters.mlflow import Store


def run(
    *,
    force: bool = False,
    until: str | None = None,
    overrides: dict[str, str] | None = None,
    publish: bool = True,
    promote: bool = True,
    pull: bool = False,
    push: bool = False,
    subprocess: bool = False,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Run what changed, publish the result, promote it where it may be. Returns 1 where a check said no."""
    root = layout.find_root()
    env = env or os.environ.get("GLUE_ENV")
    if publish and promote and not (force or until or overrides or subprocess or pull or push):
        before = unchanged.as_left(root, env)
        if before is not None:
            return _as_before(root, before, as_json)

    from mlops_glue import config as configs
    from mlops_glue.adapters import dvc
    from mlops_glue.pipeline import ingest, runner, stages

    if until is not None and until not in stages.STAGES:
        raise UsageError(f"--until: no stage {until!r}", hint=did_you_mean(until, list(stages.STAGES)))
    runner.check_merged(root)
    if pull:
        with project_lock(root):
            came, kept_here = dvc.pull(root, configs.remote_url(configs.load(root, env, tables=False)))
            console.progress(redacted(came))
            for path in kept_here:
                console.progress(f"{path} was changed here, so it is not brought")
    if until == stages.STAGES[-1]:
        until = None  # that is everything: evaluate is beside it, not before it
    text = configs.overridden(root, overrides) if overrides else None  # written once nothing is left to refuse
    config = configs.load(root, env, text=text)
    remote = configs.remote_url(config) if pull or push else None
    outcomes: list[dict[str, Any]] = []

    def event(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
        if not outcome:
            check_interrupted()
        console.stage(name, outcome, seconds, reasons)
        if outcome in console.OUTCOMES:
            outcomes.append({"stage": name, "outcome": outcome, "seconds": round(seconds, 3), "reasons": reasons})
            check_interrupted()

    names = tables.column_names(root / config.source.path)
    if names is not None:  # told now, not after minutes of training
        try:
            ingest.check_columns(config, names)
        except ConfigError as error:
            raise configs.located(root, error) from error
    with project_lock(root), marked(root), _noted(root):
        with contextlib.ExitStack() as entered:
            inside = {} if subprocess else entered.enter_context(runner.in_process(config, root))
            runner.write_definition(config, root)
            if not env:
                runner.name_remote(config, root)
            if text is not None:  # DVC hashes what is in the file
                files.write_text(root / layout.CONFIG, text)
            at_start = unchanged.snapshot(root)
            if inside and not dvc.in_process_supported():
                inside = {}
                console.progress("warning: this DVC lacks the names that in-process stages need; using subprocesses")
            try:
                with console.fold("pipeline"):
                    dvc.reproduce(root, inside, event, until=until, force=force, pull=pull, remote=remote)
            except GlueError:
                if len(outcomes) > 1 and outcomes[-1]["outcome"] == "failed":
                    console.progress(f"the results before {outcomes[-1]['stage']} are kept: glue run goes on there")
                raise
        if push:
            console.progress(redacted(dvc.push(root, remote)))
        after = unchanged.snapshot(root)
        if until is not None or not publish:
            if any(one["stage"] == "evaluate" for one in outcomes):
                _warn(files.read_json(root / layout.EVALUATION / "evaluation.json"), refused_later=True)
            if as_json:
                console.result_json({"stages": outcomes})
            return 0
        trained = any(one["stage"] == "train" and one["outcome"] == "executed" for one in outcomes)
        took_s = _took(root, outcomes)
        told = _deliver(config, root, env, promote=promote, trained=trained, took_s=took_s)
        code = _tell(root, outcomes, told, as_json)
        if not promote:  # the next run has something to do
            return code
        kept = {
            "stages": [o["stage"] for o in outcomes],
            "code": [config.train.estimator, config.features.transform if config.features.use else None],
            "features": config.features.repo if config.features.use else None,
            "stores": [layout.TRACKING_DB, *told["kept_in"][:1]] if config.tracking.uri is None else None,
            "there": told["kept_in"],
            "env": env,
        }
        unchanged.record(root, at_start, after, kept)
        return code


def _as_before(root: Path, before: dict[str, Any], as_json: bool) -> int:
    """Say again what the last run said: nothing has changed since."""
    told = files.read_json(root / layout.DELIVERY)
    with _noted(root):  # a failure in between is over
        for name in [*before["stages"], "publish"]:
            console.stage(name, "unchanged", 0.0, [])
        reasons = [stays(told["champion"])] if told["refused"] else []
        console.stage("promote", "refused" if reasons else "unchanged", 0.0, reasons)
        if told["online"]:
            console.stage("materialize", "unchanged", 0.0, [])
    outcomes = [{"stage": name, "outcome": "unchanged", "seconds": 0.0, "reasons": []} for name in before["stages"]]
    return _tell(root, outcomes, told | {"new": False, "previous": told["champion"]}, as_json)


def _took(root: Path, outcomes: list[dict[str, Any]]) -> float:
    """How long the stages took when they ran, in seconds: now, or in the run that did."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        former = files.read_json(root / layout.LAST_RUN)["took"]
        ran = [one["seconds"] if one["outcome"] == "executed" else former.get(one["stage"]) for one in outcomes]
        return sum(seconds or 0.0 for seconds in ran)
    return sum(float(one["seconds"]) for one in outcomes)


def _deliver(
    config: configs.Config, root: Path, env: str | None, *, promote: bool, trained: bool, took_s: float
) -> dict[str, Any]:
    """Publish, promote and materialize; what came of it, kept in `delivery.json` too."""
    from mlops_glue import config as configs
    from mlops_glue.pipeline import runner

    with console.staged("publish") as done:
        from mlops_glue.adapters.mlflow import Store
        from mlops_glue.delivery.promote import promote as to_alias
        from mlops_glue.delivery.publish import publish

        fingerprint = runner.fingerprint(root)
        packages = runner.packages(config, root)
        before = _delivered(root)
        if not trained and before.get("fingerprint") == fingerprint:
            packages |= before.get("packages", {})  # those that made it
        store = Store(root, configs.tracking_uri(config))
        version, new = publish(config, root, store, fingerprint, revision(config, root), took_s=took_s)
        done.outcome, done.reasons = "executed" if new else "unchanged", [f"{config.model_name} v{version}"]
    alias = "champion" if promote else "challenger"
    with console.staged("promote") as done:
        verdict = to_alias(config, root, store, version, alias=alias)
        done.outcome = "refused" if verdict.refused else "unchanged" if verdict.previous == version else "executed"
        done.reasons = [stays(verdict.champion) if verdict.refused else alias]
    try:
        online = materialized(config, root, store, env)
    except DataError as error:  # the champion stays, and its features are no longer defined as it knows them
        if not verdict.refused:
            raise
        console.progress(f"warning: the online store is left as it is: {error.message}")
        online = {"views": {}, "kept_in": []}
    told = {
        "fingerprint": fingerprint,
        "model": config.model_name,
        "env": config.environment,
        "version": version,
        "new": new,
        "digest": _registered_digest(root, store, config.model_name, version),
        "champion": verdict.champion,
        "previous": verdict.previous,
        "refused": verdict.refused,
        "comparison": verdict.comparison,
        "same_as": _same_as(store, config.model_name, version, verdict.previous),
        "fresh": files.read_json(root / layout.EVALUATION / "evaluation.json").get("fresh"),
        "online": online["views"],
        "kept_in": online["kept_in"],
        "packages": packages,
    }
    files.write_json(root / layout.DELIVERY, told)
    return told


def _delivered(root: Path) -> dict[str, Any]:
    """What the last run delivered; nothing where the file is lost or torn."""
    with contextlib.suppress(OSError, ValueError):
        told = files.read_json(root / layout.DELIVERY)
        return told if isinstance(told, dict) else {}
    return {}


def _same_as(store: Store, model: str, version: int, champion: int | None) -> int | None:
    """The champion before, where the new version is the same model to the byte."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST

    if champion in (None, version):
        return None
    mine, other = (store.tags(model, one).get(BUNDLE_DIGEST) for one in (version, champion))
    return champion if mine == other else None


def _registered_digest(root: Path, store: Any, model: str, version: int) -> str | None:
    """Of the version's bundle, where the one on disk is it."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST

    digest: str | None = store.tags(model, version).get(BUNDLE_DIGEST)
    return digest if digest == files.digest(root / layout.BUNDLE) else None


def materialized(
    config: configs.Config, root: Path, store: Any, env: str | None, *, force: bool = False
) -> dict[str, Any]:
    """Fill the online store for the champion: each view with its outcome, and the files that say so."""
    champion = store.champion(config.model_name) if config.features.use else None
    taken = store.feature_list(config.model_name, champion) if champion is not None else None
    if taken is None:
        return {"views": {}, "kept_in": []}
    from mlops_glue.delivery.materialize import materialize
    from mlops_glue.records import FeatureList

    with console.staged("materialize") as stage:
        done = materialize(config, root, FeatureList.from_dict(taken), env=env, force=force)
        stage.reasons = [one.view for one in done.views if one.outcome == "executed"]
        stage.outcome = "executed" if stage.reasons else "unchanged"
    return {"views": {one.view: one.outcome for one in done.views}, "kept_in": done.files}


def _tell(root: Path, outcomes: list[dict[str, Any]], told: dict[str, Any], as_json: bool) -> int:
    """The result, and the exit code: 1 where the model was refused."""
    report = files.read_json(root / layout.EVALUATION / "evaluation.json")
    parity = files.read_json(root / layout.BUNDLE / "parity.json")
    _warn(report)
    for name, version in told.get("packages", {}).items():
        now = modules.installed(name)
        if now != version:
            made = f"the model was made with {name} {version}, and {now or 'none'} is installed"
            console.progress(f"warning: {made}: glue run --force makes it anew")
    if as_json:
        console.result_json({"stages": outcomes, **told, "format": parity["format"], "metrics": report["metrics"]})
        for reason in told["refused"]:  # a job keeps the JSON in a file
            console.progress(f"refused: {reason}")
    else:
        _summary(report, parity, told, told["previous"])
        refused = bool(told["refused"])
        typed = undo(root) if refused else due(root, f"{told['model']} v{told['version']}")
        if typed is not None:
            console.result(f"{'undo' if refused else 'commit':<9}{typed}", whole=True)
    return 1 if told["refused"] else 0


def _warn(report: dict[str, Any], *, refused_later: bool = False) -> None:
    """What the metrics may owe their goodness to, and where nothing is published what a promotion will refuse."""
    for line in report.get("warnings", []):  # an evaluation of a former glue has none
        console.progress(f"warning: {line}")
    for line in describe.missed(report["thresholds"]) if refused_later else ():
        console.progress(f"warning: {line}: it would be refused")


def _summary(report: dict[str, Any], parity: dict[str, Any], told: dict[str, Any], previous: int | None) -> None:
    limits = {t["metric"]: t for t in report["thresholds"]}
    rows = []
    for name, score in report["metrics"].items():
        limit = limits.get(name)
        asked = "" if limit is None else describe.bounds(limit)
        mark = "" if limit is None else "met" if limit["met"] else "MISSED"
        numbers = (number(score[k]) for k in ("value", "low", "high", "trivial"))
        rows.append([name, *numbers, asked, mark])
    console.result()
    console.table(rows, [f"holdout, {report['rows']:,} rows", "value", "95 % low", "high", "trivial", "threshold", ""])
    drawn = report.get("intervals")  # an evaluation of a former glue has none
    if drawn is not None and drawn["rows"] < report["rows"]:
        console.result(
            f"the intervals are of {drawn['samples']} bootstrap samples of {drawn['rows']:,} rows, narrowed to all"
        )
    console.result()
    name, version, against = told["model"], told["version"], told["comparison"]
    if parity["format"] != "onnx":
        console.result(f"the model is kept in skops form: {parity['reason']}")
    if "fresh" in report:
        console.result(f"{console.learned(report['fresh'])}: all of the above is of the rows held out")
    if against is not None:
        console.result(compared(against))
    for reason in told["refused"]:
        console.result(f"{name} v{version} refused: {reason}", bad="refused")
    if told.get("same_as") is not None:
        console.result(f"v{version} is the same model as v{told['same_as']}: what changed made no difference to it")
    if told["refused"]:
        console.result(stays(told["champion"]))
    elif told["champion"] != version:
        console.result(f"{name} v{version} is challenger")
    else:
        was = f", before it v{previous}" if previous not in (None, version) else ""
        console.result(f"{name} v{version} is champion{was}", good="is champion")
    console.result(f"reports  {layout.EVALUATION}/report.html  {layout.VALIDATION}/report.html")
    console.result("next     glue report   glue serve   glue predict IN OUT   mlflow ui   dvc dag")


@contextlib.contextmanager
def project_lock(root: Path, of: str = layout.LOCK, *, waits: bool = True) -> Iterator[None]:
    """One `glue` at work in a project at a time; a second waits and says so, or is refused."""
    from filelock import FileLock, Timeout

    path = root / of
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not waits:
            said = f"another glue {path.stem} is at work in this project"
            raise ToolError(said, hint="wait until it has ended") from None
        console.progress("waiting for another glue at work in this project")
        try:
            lock.acquire(timeout=float(os.environ.get("GLUE_LOCK_TIMEOUT_S", "3600")))
        except Timeout:
            raise ToolError("another glue has been at work in this project too long", hint="see: ps aux") from None
    try:
        yield
    finally:
        lock.release()


def last_failure(root: Path) -> dict[str, str] | None:
    """Where and how the last run of the pipeline failed; None where it did not, or no run is known."""
    try:
        last = files.read_json(root / layout.LAST_RUN)
        stage = next((one["stage"] for one in last["stages"] if one["outcome"] == "failed"), None)
        return {"where": f" at {stage}" if stage else "", **last} if last["problem"] else None
    except (OSError, GlueError, LookupError, TypeError):  # lost, or torn
        return None


def at_work(root: Path) -> bool:
    """Does another process hold the project's lock?"""
    from filelock import FileLock, Timeout

    if not (root / layout.LOCK).is_file():
        return False
    try:
        with FileLock(root / layout.LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def marked(root: Path) -> Iterator[None]:
    """Say that a run is at work; where the one before was killed, take away what it left half-written."""
    mark = root / layout.RUNNING
    if mark.exists():
        for path in files.leftovers(root):
            path.unlink(missing_ok=True)
    mark.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


@contextlib.contextmanager
def _noted(root: Path) -> Iterator[None]:
    """Keep what became of each stage, and how the run ended, for `glue report`."""
    path = root / layout.LAST_RUN
    before = files.read_json(path) if path.is_file() else {}
    took = before.get("took") or {one["stage"]: one.get("executed_s") for one in before.get("stages", [])}
    started, problem, hint = datetime.now(UTC), None, None
    with console.stages_kept() as lines:
        try:
            yield
        except BaseException as error:
            problem, hint = (
                (error.message, error.hint) if isinstance(error, GlueError) else (type(error).__name__, None)
            )
            problem = "it was interrupted" if isinstance(error, KeyboardInterrupt) else problem
            raise
        finally:
            took |= {one["stage"]: one["seconds"] for one in lines if one["outcome"] not in (*console.KEPT, "failed")}
            for one in lines:  # of what did not run: how long it took when it did, whatever failed since
                one["executed_s"] = took.get(one["stage"])
            told = {"time": started.isoformat(timespec="seconds"), "problem": problem, "hint": hint}
            with contextlib.suppress(OSError):  # the run's own error is the one to tell
                files.write_json(path, {**told, "stages": lines, "took": took})


def stage(name: str, format_version: int) -> int:
    """One stage: what `dvc.yaml` calls."""
    from mlops_glue import config as configs
    from mlops_glue.pipeline import runner, stages

    if name not in stages.STAGES:
        raise UsageError(f"no stage {name!r}", hint=did_you_mean(name, list(stages.STAGES)))
    if format_version != stages.FORMAT:
        raise UsageError(
            f"dvc.yaml is of stage format {format_version}, this glue's is {stages.FORMAT}", hint="glue run"
        )
    root = layout.find_root()
    runner.run_stage(name, configs.load(root), root)
    return 0

"""A run: the pipeline, then the delivery. Stages that changed run, and the result is published and promoted."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import files, layout
from mlops_glue.delivery import commit, record
from mlops_glue.delivery.describe import stays
from mlops_glue.errors import ConfigError, GlueError, UsageError, check_interrupted
from mlops_glue.pipeline import evaluation, session, up_to_date
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.pipeline.session import OnStage, Recorder, StageResult
from mlops_glue.pipeline.up_to_date import LastRun
from mlops_glue.secrets import redacted
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from mlops_glue import config as configs
    from mlops_glue.pipeline.second_core import Validator

log = logging.getLogger(__name__)
Group = Callable[[str], contextlib.AbstractContextManager[object]]
Snapshots = tuple[up_to_date.Snapshot | None, up_to_date.Snapshot | None]  # before and after DVC's reproduce


@dataclass(frozen=True)
class Options:
    """The options of a run; by default, run all changed stages, publish and promote."""

    force: bool = False  # run every stage
    refresh: bool = False  # read the queries of the tables again
    until: str | None = None  # stop after this stage
    overrides: Mapping[str, str] = field(default_factory=dict)  # keys of `glue.yaml` to set before the run
    publish: bool = True
    promote: bool = True
    pull: bool = False  # fetch tables and results from DVC's remote
    push: bool = False  # send them there
    subprocess: bool = False  # run each stage in a separate process


@dataclass(frozen=True)
class RunResult:
    """The result of a run."""

    stages: list[StageResult]
    delivery: record.Delivery | None = None  # None: publishing was not requested
    evaluation: Evaluation | None = None  # None: it was not made
    inputs: list[str] | None = None  # of a run in which nothing changed: as `commit.inputs` gives them

    @property
    def refused(self) -> list[str]:
        """Why the model is not champion; empty if it is."""
        return self.delivery["refused"] if self.delivery is not None else []


def run(
    root: Path,
    env: str | None,
    options: Options | None = None,
    on_stage: OnStage = lambda *_: None,
    group: Group = contextlib.nullcontext,
) -> RunResult:
    """Run the changed stages, publish the result, and promote it if it meets the conditions.

    `on_stage` is called as each stage begins and ends; `group` is entered around a group of stages, with its name.

    Raises:
        GlueError: a stage or a check failed. A refused model is not an error.
    """
    options = options or Options()
    last = up_to_date.load(root, env) if options == Options() else None
    if last is not None:
        return _nothing_changed(root, last, on_stage)
    from mlops_glue.pipeline import dvc_yaml, queries, second_core, stages

    if options.until is not None and options.until not in stages.NAMES:
        raise UsageError(f"--until: no stage {options.until!r}", hint=did_you_mean(options.until, list(stages.NAMES)))
    if options.until == stages.NAMES[-1]:
        options = replace(
            options, until=None
        )  # the last stage: run everything, because evaluate does not come before it
    dvc_yaml.check_readable(root)
    if options.pull:
        _pull(root, env)
    config, text = _configured(root, env, options)
    if options.publish and options.until is None:
        from mlops_glue.delivery.fetch import usable_uri

        usable_uri(config)  # before training, not after it
    first = not (root / "dvc.lock").exists()  # then validate runs
    with (
        session.project_lock(root),
        session.marked(root),
        session.recorded(root, on_stage) as recorder,
        second_core.validator(config, root, at_once=first and not options.subprocess) as validator,
    ):
        queries.read(config, root, recorder, again=options.refresh)
        if config.source.query is not None:  # its columns are known now
            _check_columns(config, root)
        snapshots = _reproduce(config, root, options, text, recorder, group, validator)
        results = list(recorder.ended)
        if options.until is not None or not options.publish:
            evaluated = any(result.stage == "evaluate" for result in results)
            return RunResult(results, None, evaluation.read(root / layout.EVALUATION) if evaluated else None)
        delivery = _deliver(config, root, options, recorder, snapshots)
    return RunResult(results, delivery, evaluation.read(root / layout.EVALUATION))


def _nothing_changed(root: Path, last: LastRun, on_stage: OnStage) -> RunResult:
    """Return the result of the last run again."""
    delivery = record.read(root)
    with session.recorded(root, on_stage) as recorder:  # clears a failure in between
        for name in last.stages:
            recorder(name, "unchanged", 0.0, [])
        results = list(recorder.ended)
        recorder("publish", "unchanged", 0.0, [])
        reasons = [stays(delivery["champion"])] if delivery["refused"] else []
        recorder("promote", "refused" if reasons else "unchanged", 0.0, reasons)
        if delivery["online"]:
            recorder("materialize", "unchanged", 0.0, [])
    delivery |= {"new": False, "previous": delivery["champion"]}
    return RunResult(results, delivery, evaluation.read(root / layout.EVALUATION), last.inputs)


def _pull(root: Path, env: str | None) -> None:
    """Fetch the tables and results from DVC's remote."""
    from mlops_glue import config as configs
    from mlops_glue.adapters import dvc

    with session.project_lock(root):
        summary, changed_here = dvc.pull(root, configs.remote_url(configs.load(root, env, tables=False)))
        log.info("%s", redacted(summary))
        for path in changed_here:
            log.info("%s was changed here, so it was not fetched", path)


def _configured(root: Path, env: str | None, options: Options) -> tuple[configs.Config, str | None]:
    """Return the config, and the new text of `glue.yaml`; None if it does not change."""
    from mlops_glue import config as configs

    text = configs.overridden(root, dict(options.overrides)) if options.overrides else None
    config = configs.load(root, env, text=text)
    if config.source.query is None:
        _check_columns(config, root)
    return config, text


def _check_columns(config: configs.Config, root: Path) -> None:
    """Check before the stages run that the labels table has all columns named in `glue.yaml`.

    Raises:
        ConfigError: a column is missing.
    """
    from mlops_glue import config as configs
    from mlops_glue import tables
    from mlops_glue.pipeline import ingest

    names = tables.column_names(root / config.source.path)
    if names is not None:
        try:
            sections = ("data", "features", "train", *(() if config.features.use else ("evaluate",)))
            ingest.check_columns(config, {config.data.labels.source: names}, *sections)
        except ConfigError as error:
            raise configs.located(root, error) from error


def _reproduce(
    config: configs.Config,
    root: Path,
    options: Options,
    text: str | None,
    recorder: Recorder,
    group: Group,
    validator: Validator,
) -> Snapshots:
    """Run DVC's reproduce, and return the control files' content before and after it."""
    from mlops_glue import config as configs
    from mlops_glue.adapters import dvc
    from mlops_glue.pipeline import dvc_yaml, execute

    def event(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
        if not outcome:
            check_interrupted()
        recorder(name, outcome, seconds, reasons)
        if outcome in session.OUTCOMES:
            check_interrupted()

    remote = configs.remote_url(config) if options.pull or options.push else None
    in_process = {} if options.subprocess else validator.replaced(execute.in_process(config, root))
    dvc_yaml.sync(config, root)
    if not config.environment:
        dvc_yaml.name_remote(config, root)
    if text is not None:  # all checks have passed; DVC hashes the file
        files.write_text(root / layout.CONFIG, text)
    before = up_to_date.snapshot(root)
    if in_process and not dvc.in_process_supported():
        in_process = {}
        log.warning("warning: this DVC lacks the names that in-process stages need; using subprocesses")
    try:
        with group("pipeline"):
            dvc.reproduce(
                *(root, in_process, event),
                until=options.until,
                force=options.force,
                pull=options.pull,
                remote=remote,
                variables=execute.variables(config),
            )
    except GlueError:
        if len(recorder.ended) > 1 and recorder.ended[-1].outcome == "failed":
            log.info("the results before %s are kept: glue run continues from there", recorder.ended[-1].stage)
        raise
    if options.push:
        log.info("%s", redacted(dvc.push(root, remote)))
    return before, up_to_date.snapshot(root)


def _deliver(
    config: configs.Config, root: Path, options: Options, recorder: Recorder, snapshots: Snapshots
) -> record.Delivery:
    from mlops_glue.delivery.deliver import deliver
    from mlops_glue.pipeline import stages

    results = list(recorder.ended)
    trained = any(result.stage == "train" and result.outcome == "executed" for result in results)
    took_s = sum(recorder.took.get(result.stage, 0.0) for result in results)
    delivery = deliver(config, root, recorder, promote=options.promote, trained=trained, took_s=took_s)
    if options.promote:  # else the next run has something to do
        kept_in = delivery["kept_in"]
        last = LastRun(
            stages=[result.stage for result in results],
            import_paths=stages.import_paths(config),
            feature_repo=stages.feature_repo(config),
            stores=[layout.TRACKING_DB, *kept_in[:1]] if config.tracking.uri is None else None,
            required=kept_in,
            inputs=sorted(commit.inputs(root)),
            env=config.environment,
        )
        up_to_date.record(root, *snapshots, last)
    return delivery

"""A search for estimator parameters on the training rows. It can be resumed, and its result is verified.

The best of fifty trials looks better than it is, because it was selected by chance too. So the best trial and the
current `glue.yaml` are cross-validated again, on other folds, and compared row by row.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import engine, files, layout, measures, metrics, paired
from mlops_glue.adapters.mlflow import Logged
from mlops_glue.adapters.optuna import Scores, Study, Trial, mean_score
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import ConfigError, StageError, UsageError
from mlops_glue.modules import code_of
from mlops_glue.pipeline import cross_validate, execute, spaces, target_scale
from mlops_glue.pipeline.evaluation import scale_in_words
from mlops_glue.pipeline.session import project_lock
from mlops_glue.pipeline.train import DEFAULT
from mlops_glue.processes import end_with_parent
from mlops_glue.schema import Schema

log = logging.getLogger(__name__)
Progress = Callable[[int, int, float | None], None]  # finished trials, all trials, best score
HOPELESS = 5  # failed trials after which the parameters are not the cause


@dataclass(frozen=True)
class Options:
    """The options of a search; None: as configured in `glue.yaml`.

    Attributes:
        trials: the number of trials, over all calls together.
        timeout_s: start no trial after this time.
        processes: the number of parallel processes; on a cluster, of parallel trials.
        estimator: an estimator to use instead of the one in `glue.yaml`.
    """

    trials: int | None = None
    timeout_s: float | None = None
    processes: int = 1
    estimator: str | None = None


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        metric: the metric to optimize.
        higher_is_better: whether a higher metric is better.
        estimator: the estimator that was tuned.
        rows: the number of training rows.
        baseline: the mean score of the current `glue.yaml`; None if its model cannot be fitted.
        trials: all finished trials.
        best: the best trial.
        gain: the gain of the best trial over the current `glue.yaml`, on other folds.
        finding: better, worse, or no difference shown.
        changes: keys of `glue.yaml` with the values of the best trial.
    """

    metric: str
    higher_is_better: bool
    estimator: str
    rows: int
    baseline: float | None
    trials: list[Trial]
    best: Trial
    gain: paired.Difference
    finding: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class _Job:
    """The work of one process."""

    config: configs.Config  # with the estimator that is tuned
    root: Path
    study: str
    metric: str
    space: spaces.Space
    trials: int
    timeout_s: float
    processes: int
    seed: int

    @property
    def how(self) -> metrics.Metric:
        return measures.find(self.config, _schema(self.root), self.root, self.metric)

    def open(self) -> Study:
        file = self.root / layout.TUNING
        return Study(file, self.study, maximize=self.how.higher_is_better, seed=self.seed)


def tune(config: configs.Config, root: Path, options: Options, progress: Progress) -> Tuned:
    """Search, and compare the best trial with the current `glue.yaml`. The output of stage split must be up to date.

    Raises:
        UsageError: there is no search space for the estimator.
        StageError: no trial could be fitted.
        ToolError: another search is running in this project.
    """
    if config.train.target != "as_is":
        with contextlib.chdir(root), execute.isolated(root, config.train.seed):
            config, scale = target_scale.settled(config, root)
        log.info("%s", scale_in_words(scale))
    job = _job(config, root, options)
    lock = project_lock(root, layout.TUNING_LOCK, waits=False)
    with lock, contextlib.chdir(root), execute.isolated(root, config.train.seed), engine.opened(config) as bind:
        study = job.open()
        study.fail_dead()
        _search(job, study, progress, bind)
        trials = study.trials()
        best = _best(trials, higher_is_better=job.how.higher_is_better)
        rows = cross_validate.read(config, root)
        baseline = study.fact("baseline", lambda: _baseline(config, job, rows, bind))
        proof = study.fact(f"proof of {best.number}", lambda: asdict(_proof(config, job, rows, best, bind)))
    gain = paired.Difference(**proof)
    changes: dict[str, Any] = {f"train.params.{name}": value for name, value in best.params.items()}
    if job.config.train.named != config.train.named:
        changes = {"train.estimator": job.config.train.estimator, "train.params": best.params}
        changes |= {"train.onnx": None} if config.train.onnx is not None else {}
    tuned = Tuned(
        *(
            job.metric,
            job.how.higher_is_better,
            _estimator(job.config, root),
            rows.table.num_rows,
            baseline,
            trials,
            best,
            gain,
        ),
        finding=paired.finding(gain, slack=0.0),
        changes=changes,
    )
    _log(config, root, job, tuned)
    return tuned


def _best(trials: list[Trial], *, higher_is_better: bool) -> Trial:
    complete = [trial for trial in trials if trial.value is not None]
    if complete:
        return (max if higher_is_better else min)(complete, key=lambda trial: trial.value or 0.0)
    failed = next((trial for trial in trials if trial.why is not None), None)
    if failed is None:
        raise UsageError("no trial finished before the timeout", hint="use a longer --timeout")
    raise StageError(f"tune: no trial could be fitted; the first, {failed.params}: {failed.why}")


def _job(config: configs.Config, root: Path, options: Options) -> _Job:
    task, settings = _task(root), config.tune
    estimator, space = searched(config, options.estimator, task)
    own = config.train.named or DEFAULT[task]
    if estimator != own:
        if options.estimator is None:
            log.info("%s has no search space, so %s is tuned; to tune it, set tune.space", own, estimator)
        other = config.train.model_copy(update={"estimator": estimator, "onnx": None, "params": {}})
        config = config.model_copy(update={"train": other})
    metric = measures.main_metric(config, task)
    timeout_s = options.timeout_s
    if timeout_s is None:
        timeout_s = configs.span(settings.timeout).total_seconds() if settings.timeout else float("inf")
    code = {file: files.sha256(root / file) for file in code_of([config.train.code], None, root)}
    data = {name: files.sha256(root / name) for name in (layout.TRAIN, layout.COLUMNS)}
    means, decided = measures.definition(config, _schema(root), root, metric), str(config.evaluate.decision_threshold)
    if config.evaluate.chosen and measures.find(config, _schema(root), root, metric).of_label and task == "binary":
        log.info("%s is computed from the model's own labels here: glue run chooses the threshold afterwards", metric)
    of = [
        config.train.model_dump(),
        config.split.model_dump(),
        space,
        metric,
        means,
        decided,
        settings.folds,
        code,
        data,
    ]
    study = hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()[:16]
    trials = options.trials or settings.trials
    return _Job(config, root, study, metric, space, trials, timeout_s, options.processes, config.train.seed)


def searched(config: configs.Config, estimator: str | None, task: str) -> tuple[str, spaces.Space]:
    """Return the estimator to tune, and its search space: from `glue.yaml`, or else for its class.

    If there is none for the project's estimator, the default estimator is tuned, and must be better than it.

    Raises:
        UsageError: there is no search space for the requested estimator.
    """
    own = config.train.named or DEFAULT[task]
    if config.tune.space and estimator is None:
        return own, {name: value.model_dump(exclude_none=True) for name, value in config.tune.space.items()}
    space = spaces.of_class(estimator or own)
    if space is not None:
        return estimator or own, space
    if estimator is not None:
        raise UsageError(
            f"--estimator {estimator}: no search space is known for it",
            hint="set train.estimator to it, and in glue.yaml tune: {space: {PARAMETER: [low, high]}}",
        )
    return DEFAULT[task], spaces.KNOWN["HistGradientBoosting"]


def _schema(root: Path) -> Schema:
    return Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])


def _task(root: Path) -> str:
    return _schema(root).task


def _estimator(config: configs.Config, root: Path) -> str:
    return config.train.named or DEFAULT[_task(root)]


def _search(job: _Job, study: Study, progress: Progress, bind: engine.Bind | None) -> None:
    """Search on the cluster, or in this and other processes, which end with this one."""
    spawn = multiprocessing.get_context("spawn")
    others = [
        spawn.Process(target=_work, args=(job, number, time.time() + job.timeout_s, os.getpid()))
        for number in range(1, job.processes if bind is None else 1)
    ]
    better = max if job.how.higher_is_better else min

    def on_trial() -> None:
        ended = study.trials()
        values = [trial.value for trial in ended if trial.value is not None]
        if not values and len(ended) >= HOPELESS and all(trial.why is not None for trial in ended):
            raise StageError(f"tune: no trial could be fitted; the last: {ended[-1].why}")
        progress(len(ended), job.trials, better(values, default=None))

    try:
        for other in others:
            other.start()
        _try_parameters(job, study, job.timeout_s, on_trial, bind)
        for other in others:
            other.join()
    finally:
        for other in others:
            if other.is_alive():
                other.terminate()


def _work(job: _Job, number: int, until: float, parent: int) -> None:
    """One of the other processes."""
    end_with_parent(parent)
    os.chdir(job.root)
    with execute.isolated(job.root, job.seed):
        study = _Job(**{**vars(job), "seed": job.seed + number}).open()
        _try_parameters(job, study, until - time.time(), lambda: None)


def _try_parameters(
    job: _Job, study: Study, timeout_s: float, on_trial: Callable[[], None], bind: engine.Bind | None = None
) -> None:
    from threadpoolctl import threadpool_limits

    rows = cross_validate.read(job.config, job.root)
    folds, how = cross_validate.folds_of(job.config, rows, job.seed), job.how
    run = _run(job, rows, folds, bind)

    def scores(params: dict[str, Any]) -> Any:
        return cross_validate.scores(cross_validate.with_params(job.config, params), rows, how, folds, run)

    each: Scores = scores
    with threadpool_limits(max(1, (os.cpu_count() or 1) // job.processes)):
        study.search(
            job.space,
            each,
            trials=job.trials,
            deadline=time.monotonic() + timeout_s,
            on_trial=on_trial,
            at_once=1 if bind is None else job.processes,
        )


def _run(
    job: _Job, rows: cross_validate.Rows, folds: list[cross_validate.Fold], bind: engine.Bind | None
) -> cross_validate.Run | None:
    """Return how to run the folds on a cluster; None to run them here."""
    return bind(partial(cross_validate.elsewhere, job.root, rows, folds)) if bind is not None else None


def _baseline(config: configs.Config, job: _Job, rows: cross_validate.Rows, bind: engine.Bind | None) -> float | None:
    """Return the mean score of the current `glue.yaml` on the folds of the search."""
    folds = cross_validate.folds_of(config, rows, job.seed)
    mean = mean_score(list(cross_validate.scores(config, rows, job.how, folds, _run(job, rows, folds, bind))))
    return None if math.isnan(mean) else mean


def _proof(
    config: configs.Config, job: _Job, rows: cross_validate.Rows, best: Trial, bind: engine.Bind | None
) -> paired.Difference:
    """Return the gain of the best trial over the current `glue.yaml`, on folds that the search did not use."""
    folds = cross_validate.folds_of(config, rows, job.seed + 1)
    run = _run(job, rows, folds, bind)
    mine, theirs = (
        cross_validate.together(cross_validate.predictions(each, rows, folds, run))
        for each in (cross_validate.with_params(job.config, best.params), config)
    )
    return paired.difference(job.how, mine, theirs, seed=job.seed, level=config.promote.confidence)


def _log(config: configs.Config, root: Path, job: _Job, tuned: Tuned) -> None:
    """Log the search as an MLflow run, with its trials as child runs."""
    score = f"cv_{job.metric}"
    found = {score: tuned.best.value, "baseline": tuned.baseline}
    found |= {"gain": tuned.gain.value, "gain_low": tuned.gain.low, "gain_high": tuned.gain.high}
    top = Logged(
        params={"estimator": tuned.estimator, "metric": job.metric, "folds": config.tune.folds},
        metrics={name: value for name, value in found.items() if value is not None and value == value},
        tags={"glue.finding": tuned.finding, "mlflow.note.content": f"Best: {tuned.best.params}"},
    )
    below = {
        f"trial {trial.number}": Logged(
            trial.params, {} if trial.value is None else {score: trial.value}, {"glue.outcome": trial.outcome}
        )
        for trial in tuned.trials
    }
    name = f"tune {tuned.estimator.rpartition('.')[2]}"
    opened(root, config, registry=False).log_tree(config.project, name, job.study, top, below)


def text_with(root: Path, tuned: Tuned) -> str:
    """Return the text of `glue.yaml` with the parameters of the best trial.

    Raises:
        UsageError: a value cannot be set without a change elsewhere.
        ConfigError: the result is not valid.
    """
    text = configs.overridden(root, {key: json.dumps(value) for key, value in tuned.changes.items()})
    try:
        configs.load(root, text=text)
    except ConfigError as error:
        raise configs.located(root, error) from error
    return text

"""The state of a project, as `glue report --json` prints it and the pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout, tables
from mlops_glue.adapters import dvc
from mlops_glue.delivery.commit import revision
from mlops_glue.delivery.record import Delivery, last_delivery
from mlops_glue.errors import first_line
from mlops_glue.monitoring.history import past
from mlops_glue.pipeline import validated
from mlops_glue.pipeline.fingerprint import fingerprint
from mlops_glue.report import facts, success
from mlops_glue.report.pipeline import Pipeline, pipeline
from mlops_glue.report.success import Measure
from mlops_glue.secrets import redacted
from mlops_glue.version import __version__

MOST_RUNS = 200  # monitoring runs


@dataclass(frozen=True)
class DataTable:
    """A training table."""

    name: str
    path: str
    rows: int | None
    columns: int | None
    md5: str
    expectations: list[validated.Expectation] | None


@dataclass(frozen=True)
class Log:
    """The prediction log."""

    to: str | None = None  # without secrets; None: predictions are not logged
    newest: str | None = None  # time of its newest file, if it is a local folder; ISO 8601, UTC
    waiting: int = 0  # files on this machine that are not uploaded yet


@dataclass(frozen=True)
class Monitoring:
    """The last monitoring run and earlier runs."""

    log: bool  # whether `glue serve` logs predictions
    problem: str | None = None
    latest: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)  # for the same model and environment, newest first
    versions: list[dict[str, Any]] = field(default_factory=list)  # in the last run, each with a list of columns


@dataclass(frozen=True)
class Project:
    """The content of the project page."""

    project: str
    model: str
    target: str | None  # None: no pipeline
    made: str
    glue: str
    env: str | None
    commit: str | None
    dirty: bool
    pipeline: Pipeline
    data: list[DataTable]
    evaluation: dict[str, Any] | None
    metrics: list[facts.Metric]
    slices: list[facts.Slices]
    delivery: Delivery | None
    registry: facts.Registry
    main: str | None  # the promotion metric
    monitoring: Monitoring
    log: Log = field(default_factory=Log)
    measures: list[Measure] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Return the parts that could not be read, each with the reason."""
        parts = {"registry": self.registry.problem, "monitoring": self.monitoring.problem}
        return [f"{part}: {problem}" for part, problem in parts.items() if problem]


def collect(config: configs.Config, root: Path) -> Project:
    """Read the state of a project."""
    commit, dirty = revision(config, root)
    evaluation = facts.read_json(root / facts.EVALUATION)
    registry = facts.registry(config, root)
    champion = registry.champion.metrics if registry.champion else None
    metrics = facts.metrics(evaluation, champion, main=config.promote.metric)
    measured = [metric.name for metric in metrics] or [name for v in registry.versions for name in v.metrics]
    return Project(
        project=config.project,
        model=config.model_name,
        target=config.data.labels.target if config.data is not None else None,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        glue=__version__,
        env=config.environment,
        commit=commit,
        dirty=dirty,
        pipeline=pipeline(config, root),
        data=_tables(config, root),
        evaluation=evaluation,
        metrics=metrics,
        slices=facts.slices(evaluation),
        delivery=delivery_of(config, root, registry),
        registry=registry,
        main=config.promote.metric or next(iter(measured), None),
        monitoring=_monitoring(config, root),
        log=_log(config, root),
        measures=success.collect(config, root),
    )


def _tables(config: configs.Config, root: Path) -> list[DataTable]:
    md5 = {dep["path"]: str(dep.get("md5", "")) for stage in dvc.locked(root).values() for dep in stage.get("deps", [])}
    found = []
    for name, source in config.data.sources.items() if config.data is not None else ():
        try:
            shape = tables.parquet_shape(root / configs.path_of(config, name))
        except (OSError, ValueError):  # Arrow's errors are ValueErrors: there is no such file, or it was cut short
            shape = None
        found.append(
            DataTable(
                name=name,
                path=source.path,
                rows=shape[0] if shape else None,
                columns=len(shape[1]) if shape else None,
                md5=md5.get(source.path, ""),
                expectations=facts.expectations(validated.folder(root, name, config.data.labels.source)),
            )
        )
    return found


def delivery_of(config: configs.Config, root: Path, registry: facts.Registry) -> Delivery | None:
    """Return what the last run delivered, with the current champion if the registry answers.

    None if the current result is another one, for instance after `git checkout` and `dvc checkout`.
    """
    delivered = last_delivery(root, config)
    if delivered is not None and delivered["fingerprint"] != fingerprint(root):
        return None
    if delivered is None or not registry.versions:
        return delivered
    return {**delivered, "champion": registry.champion.version if registry.champion else None}


def _monitoring(config: configs.Config, root: Path) -> Monitoring:
    """Read the results of the last monitoring runs; a file that cannot be read is reported in `problem`."""
    log = config.serve.prediction_log is not None
    if not (root / layout.LATEST).is_file():
        return Monitoring(log)
    try:
        latest = files.read_json(root / layout.LATEST)
        own = [run for run in past(root) if (run["model"], run["env"]) == (latest["model"], latest["env"])]
        runs = own[-MOST_RUNS:][::-1]
        versions = [{**version, "columns": _columns(version, runs)} for version in latest["versions"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Monitoring(log, f"{layout.MONITORING} cannot be read: {first_line(error)}")
    return Monitoring(log, None, latest, runs, versions)


def _log(config: configs.Config, root: Path) -> Log:
    """Return the log's location and the number of files not uploaded yet, without contacting a server."""
    to = config.serve.prediction_log
    if to is None:
        return Log()
    spool, folder = root / layout.SPOOL, root / to
    waiting = sum(path.is_file() for path in spool.iterdir()) if spool.is_dir() else 0
    newest = None
    if "://" not in to and not configs.references(to) and folder.is_dir():
        days = sorted(folder.glob("date=*"))
        times = [path.stat().st_mtime for path in days[-1].iterdir()] if days else []
        newest = datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else None
    return Log(redacted(to), newest, waiting)


def _columns(version: Mapping[str, Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a version's columns with their previous distance: the prediction, drifted columns, then by weight."""
    own = [run for run in runs if run["versions"][:1] == [version["version"]]]
    before = own[1] if len(own) > 1 else {"columns": {}, "prediction_drift": None}
    rows = [
        {**found, "name": name, "before": before["columns"].get(name)} for name, found in version["columns"].items()
    ]
    rows.sort(key=lambda row: (not row["drifted"], -row["weight"]))
    if version["prediction"]:
        prediction = {**version["prediction"], "name": "prediction", "weight": None}
        rows.insert(0, {**prediction, "before": before["prediction_drift"]})
    return rows

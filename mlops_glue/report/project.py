"""`glue report`: one page of where a project stands, that needs no server, no network and no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops_glue import config as configs
from mlops_glue import files, layout, tables
from mlops_glue.adapters import dvc
from mlops_glue.delivery import describe
from mlops_glue.delivery.commit import revision
from mlops_glue.delivery.record import Delivery, last_delivery
from mlops_glue.errors import first_line
from mlops_glue.monitoring.history import past
from mlops_glue.report import facts
from mlops_glue.report.pipeline import Pipeline, pipeline
from mlops_glue.version import __version__

MOST_ROWS = 100  # of a table on the page
MOST_RUNS = 20  # of the monitor
PLOT_BYTES = 500_000  # a plot that is larger is not on the page
PLOTS = {  # what each shows, for who does not see it
    "roc": "ROC curve: true against false positive rate, at every threshold",
    "precision_recall": "Precision against recall, at every threshold",
    "calibration": "Calibration: the observed share against the predicted probability; on the diagonal they agree",
    "confusion": "Confusion matrix: how many rows of each true class were predicted as which",
    "prediction": "Predicted against true values; on the diagonal they agree",
    "residuals": "Residuals: true minus predicted, against predicted; around zero they are good",
}


@dataclass(frozen=True)
class DataTable:
    """A table that the model learns from."""

    name: str
    path: str
    rows: int | None
    columns: int | None
    md5: str
    expectations: list[facts.Expectation] | None
    report: str  # of its validation, from the project folder


@dataclass(frozen=True)
class Monitoring:
    """The last run of the monitor and those before."""

    log: bool  # does `glue serve` keep what it is asked?
    problem: str | None = None
    latest: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)  # of the same model and environment, newest first
    versions: list[dict[str, Any]] = field(default_factory=list)  # of the last run, with a list of columns


@dataclass(frozen=True)
class Project:
    """Everything that the page says."""

    project: str
    model: str
    target: str
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
    main: str | None  # the metric that is promoted by
    monitoring: Monitoring

    def problems(self) -> list[str]:
        """What could not be read."""
        parts = {"registry": self.registry.problem, "monitoring": self.monitoring.problem}
        return [f"{part}: {problem}" for part, problem in parts.items() if problem]


def collect(config: configs.Config, root: Path) -> Project:
    """Read where a project stands."""
    commit, dirty = revision(config, root)
    evaluation = facts.read_json(root / facts.EVALUATION)
    registry = facts.registry(config, root)
    champion = registry.champion.metrics if registry.champion else None
    metrics = facts.metrics(evaluation, champion, main=config.promote.metric)
    measured = [metric.name for metric in metrics] or [name for v in registry.versions for name in v.metrics]
    return Project(
        project=config.project,
        model=config.model_name,
        target=config.data.labels.target,
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
        delivery=_delivery(config, root, registry),
        registry=registry,
        main=config.promote.metric or next(iter(measured), None),
        monitoring=_monitoring(config, root),
    )


def _tables(config: configs.Config, root: Path) -> list[DataTable]:
    md5 = {dep["path"]: str(dep.get("md5", "")) for stage in dvc.locked(root).values() for dep in stage.get("deps", [])}
    found = []
    for name, source in config.data.sources.items():
        try:
            shape = tables.parquet_shape(root / configs.path_of(config, name))
        except (OSError, ValueError):  # Arrow's errors are ValueErrors: there is no such file, or it was cut short
            shape = None
        folder = layout.VALIDATION if name == config.data.labels.source else f"{layout.VALIDATION}/{name}"
        found.append(
            DataTable(
                name=name,
                path=source.path,
                rows=shape[0] if shape else None,
                columns=len(shape[1]) if shape else None,
                md5=md5.get(source.path, ""),
                expectations=facts.expectations(root / folder),
                report=f"{folder}/report.html",
            )
        )
    return found


def _delivery(config: configs.Config, root: Path, registry: facts.Registry) -> Delivery | None:
    """What the last run delivered; who is champion, the registry knows better, where it answers."""
    delivered = last_delivery(root, config)
    if delivered is None or not registry.versions:
        return delivered
    return {**delivered, "champion": registry.champion.version if registry.champion else None}


def _monitoring(config: configs.Config, root: Path) -> Monitoring:
    """What the last runs of the monitor found; where something cannot be read, that it is so."""
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


def _columns(version: Mapping[str, Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a version was asked, by column: the prediction, then what drifted, then by weight; and the run before."""
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


def render(project: Project, root: Path, target: Path) -> str:
    """The page as HTML; `target` is where it will be, so that its links go from there."""
    filters: dict[str, Callable[..., Any]] = {
        "n": describe.number,
        "when": _when,
        "percent": _percent,
        "seconds": _seconds,
        "compared": describe.compared,
        "cells": describe.condition_cells,
    }
    champion = project.registry.champion
    card = layout.CARD.format(champion.version) if champion is not None else None
    values = {
        **vars(project),
        "plots": _plots(root, project),
        "links": _links(root, target, card),
        "card": card,
        "most": MOST_ROWS,
    }
    text = files.render(layout.templates() / "report" / "index.html", values, filters=filters)
    return "\n".join(line for line in text.splitlines() if line.strip()) + "\n"


def _plots(root: Path, project: Project) -> list[dict[str, Any]]:
    """Those of the evaluation, as images in the page: no script in them runs, no id of one is another's."""
    found = []
    numbers = ", ".join(f"{metric.name} {describe.number(metric.value)}" for metric in project.metrics)
    for name, alt in PLOTS.items():
        path = root / layout.PLOTS / f"{name}.svg"
        if path.is_file():
            data = path.read_bytes()
            source = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}" if len(data) <= PLOT_BYTES else None
            found.append({"name": name, "alt": f"{alt}. {numbers}", "source": source})
    return found


def _links(root: Path, target: Path, card: str | None) -> dict[str, str]:
    """From the page to what exists, by path in the project; nothing from a page that lies outside."""
    folder = target.resolve().parent
    if not folder.is_relative_to(root):
        return {}
    wanted = [f"{layout.EVALUATION}/report.html", layout.PAGE, card or ""]
    wanted += [p.relative_to(root).as_posix() for p in (root / layout.VALIDATION).rglob("report.html")]
    existing = [path for path in wanted if (root / path).is_file()]
    return {path: quote(Path(os.path.relpath(root / path, folder)).as_posix()) for path in existing}


def _when(text: str | None) -> str:
    """A time as people read it, in UTC."""
    return "" if not text else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"

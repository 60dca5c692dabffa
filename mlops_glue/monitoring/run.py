"""One run of the monitor: observe, judge, then page, alert, MLflow, history and retraining.

Each of these happens whatever becomes of the others: a channel, a disk or a registry that fails hides no verdict.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlops_glue import config as configs
from mlops_glue import layout, tables
from mlops_glue.adapters.evidently import Painter
from mlops_glue.delivery import known
from mlops_glue.delivery.fetch import opened
from mlops_glue.drift import prediction_column, sample_part
from mlops_glue.errors import GlueError
from mlops_glue.monitoring import history, wording
from mlops_glue.monitoring.alerts import alert
from mlops_glue.monitoring.drift import Version
from mlops_glue.monitoring.observe import Observed, Source, observe_log, observe_table
from mlops_glue.monitoring.retrain import Train, retrain
from mlops_glue.monitoring.sample import PAGE_ROWS
from mlops_glue.monitoring.window import Window
from mlops_glue.monitoring.wording import ALERTING, Record
from mlops_glue.pipeline.session import project_lock

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store

WORST_FIRST = (*ALERTING, "ok")


def run(
    config: configs.Config,
    root: Path,
    now: datetime,
    rows: Window | Path,
    version: int | None,
    *,
    page: bool,
    on_verdict: Callable[[Record], None],
    train: Train,
) -> tuple[Record, list[Exception]]:
    """Compare, pass the record to `on_verdict` at once, then react; `train` is called where the verdict asks for it.

    Of a window of the log `version` is the only one that counts; of a table, the one that it is compared with.

    Returns:
        The record of the run, and what went wrong beside the verdict.

    Raises:
        GlueError: nothing could be compared.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(project_lock(root, layout.MONITOR_LOCK, waits=False))
        painter = stack.enter_context(Painter()) if page else None  # it imports for seconds, meanwhile
        store = opened(root, config, create=False)
        source = Source(store, root, config, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        if isinstance(rows, Path):
            observed = observe_table(source, rows, version, now)
        else:
            observed = observe_log(source, rows, version)
        answering = {own.version.number for own in observed.versions}
        if isinstance(rows, Window) and version is None:
            answering = _answering_versions(store, config, root, observed)
        record = _findings(config, now, observed, answering)
        if store.away is not None:
            by = "the versions are compared with as this machine knows them, and this run is not logged there"
            record["problems"].append(f"{store.away.message}: {by}")
        on_verdict(record)
        problems = observed.failed
        with _noted(problems):
            _draw(config, root, observed, record, painter)
        with _noted(problems):
            alert(config, root, store, record, now)
        if store.away is None:
            with _noted(problems):
                _log_runs(config, root, store, record)
        with _noted(problems):
            history.keep(root, record)
    if "retrain" in config.monitor.on_alert and record["verdict"] in ALERTING:  # after the lock: training takes long
        with _noted(problems):
            record["retrain"] = retrain(config, root, store, observed.labelled, now, train)
    return record, problems


def _findings(config: configs.Config, now: datetime, observed: Observed, answering: set[int]) -> Record:
    """The whole record, which `latest.json` keeps."""
    versions = [rows.monitor.verdict(config.monitor) | {"performance": rows.performance} for rows in observed.versions]
    shares = [version["drift_share"] for version in versions if version["drift_share"] is not None]
    distances = [version["prediction"]["distance"] for version in versions if version["prediction"]]
    record = {
        "time": now,
        "since": observed.since,
        "until": observed.until,
        "env": config.environment,
        "model": config.model_name,
        "rows": sum(version["rows"] for version in versions),
        "min_rows": config.monitor.min_rows,
        "drift_share": max(shares, default=None),
        "prediction_drift": max((distance for distance in distances if distance is not None), default=None),
        "problems": [*observed.problems, *filter(None, map(wording.unanswered, versions))],
        "versions": versions,
    }
    combine_verdicts(record, answering, target=config.monitor.drift.target)
    return record


def combine_verdicts(record: Record, answering: set[int], *, target: bool) -> None:
    """Put performance, and drift of the labels where `target` asks for it, into the verdicts of versions and window."""
    for version in record["versions"]:
        performance = version["performance"]
        if performance is not None and performance["verdict"] == "performance":
            version["verdict"] = "performance"
        elif target and version["verdict"] == "ok" and wording.label_drift(performance):
            version["verdict"] = "drift"
        version["former"] = version["version"] not in answering
    current = [version for version in record["versions"] if not version["former"]]
    verdicts = {version["verdict"] for version in current}
    record["verdict"] = next((verdict for verdict in WORST_FIRST if verdict in verdicts), "not enough data")
    record["performance"] = next((version["performance"] for version in current if version["performance"]), None)


def _answering_versions(store: Store, config: configs.Config, root: Path, observed: Observed) -> set[int]:
    """The versions that still answer: what a former one was asked is reported, and alarms nobody."""
    aliases = ["champion", *([config.serve.canary.alias] if config.serve.canary else [])]
    try:
        found = {alias: store.get_alias(config.model_name, alias) for alias in aliases}
        if (champion := found["champion"]) is not None:
            known.note_champion(root, config, champion)
        return {number for number in found.values() if number is not None}
    except GlueError as error:  # the registry is gone since the bundles came
        observed.problems.append(f"every version counts, as it is not known which one answers: {error.message}")
        return {rows.version.number for rows in observed.versions}


@contextlib.contextmanager
def _noted(problems: list[Exception]) -> Iterator[None]:
    """What goes wrong in the block hides and changes no verdict."""
    try:
        yield
    except Exception as error:
        problems.append(error)


def _draw(config: configs.Config, root: Path, observed: Observed, record: Record, painter: Painter | None) -> None:
    """Draw Evidently's page of the version with the most rows, and note in the record where it is."""
    record["page"] = None
    if painter is None or not observed.versions:
        return
    rows, verdict = observed.versions[0], record["versions"][0]
    columns = verdict["columns"] | ({"prediction": verdict["prediction"]} if verdict["prediction"] else {})
    project = f"{config.project}: " if config.project != record["model"] else ""
    about = {"title": f"{project}{record['model']} v{rows.version.number}"}
    back = (root / layout.REPORT).with_name("monitoring.html")
    if back.is_file():
        about["back"] = os.path.relpath(back, (root / layout.PAGE).parent)
    if observed.since is not None:
        about["window"] = f"{observed.since:%Y-%m-%d %H:%M} to {observed.until:%Y-%m-%d %H:%M} UTC"
    reference, current = page_samples(rows.version, rows.sample)
    painter.draw(root / layout.PAGE, reference, current, rows.version.schema, columns, verdict, about)
    record["page"] = layout.PAGE


def page_samples(version: Version, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows of the reference and of the window, each with one column `prediction`: what prediction drift is about."""
    sample = tables.read_parquet(version.folder / layout.SAMPLE)
    train, holdout = (sample_part(sample, part) for part in ("train", "test"))
    return _with_prediction(version, train, holdout), _with_prediction(version, rows, rows)


def _with_prediction(version: Version, table: pa.Table, predicted: pa.Table) -> pa.Table:
    """Rows of a table, with predictions that may be of other rows."""
    found = prediction_column(version.schema, predicted.column_names)
    if found is not None:
        values = predicted.column(found[0]).take(np.arange(table.num_rows) % predicted.num_rows)
        table = table.drop([name for name in table.column_names if name == "prediction"])
        table = table.append_column("prediction", values)
    return table.take(tables.evenly_spaced(table.num_rows, PAGE_ROWS))


def _log_runs(config: configs.Config, root: Path, store: Store, record: Record) -> None:
    """A run in MLflow for each version, with its distances; the page with the first."""
    experiment = f"{config.project}-monitor"
    store.end_dead_runs(experiment)
    artifacts = [root / record["page"]] if record["page"] else []
    for number, version in enumerate(record["versions"]):
        metrics = {
            "rows": version["rows"],
            "drift_share": version["drift_share"],
            "prediction_drift": (version["prediction"] or {}).get("distance"),
        }
        if (performance := version["performance"]) is not None:
            source = "estimated" if performance["estimated"] else "by_labels"
            metrics[f"{source}.{performance['metric']}"] = performance["value"]
        metrics |= {f"distance.{name}": column["distance"] for name, column in version["columns"].items()}
        version["run"] = store.log_monitoring_run(
            record["model"],
            version["version"],
            experiment=experiment,
            metrics={name: float(value) for name, value in metrics.items() if value is not None},
            tags={"glue.verdict": version["verdict"]},
            artifacts=artifacts if number == 0 else [],
        )

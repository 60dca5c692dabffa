"""A monitoring run: observe, judge, then page, alert, MLflow, history and retraining.

A failure in one of these steps does not stop the others: a failing channel, disk or registry never hides a verdict.
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
    """Compare, pass the record to `on_verdict` immediately, then alert, log and retrain.

    Args:
        config: the config.
        root: the project's folder.
        now: the time of the run.
        rows: a window of the prediction log, or a table.
        version: for a window, the only version to monitor; for a table, the version to compare with.
        page: whether to create Evidently's page.
        on_verdict: called with the record.
        train: called if the verdict requires retraining.

    Returns:
        The record of the run, and the errors in the later steps.

    Raises:
        GlueError: nothing could be compared.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(project_lock(root, layout.MONITOR_LOCK, waits=False))
        painter = stack.enter_context(Painter()) if page else None  # its imports take seconds, in the background
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
            fallback = "using the versions known to this machine; this run is not logged in the registry"
            record["problems"].append(f"{store.away.message}: {fallback}")
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
    """Build the complete record, which is stored in `latest.json`."""
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
    """Include performance, and with `target` label drift, in the verdicts of the versions and of the window."""
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
    """Return the versions that still answer requests. Retired versions are reported, but cause no alert."""
    aliases = ["champion", *([config.serve.canary.alias] if config.serve.canary else [])]
    try:
        found = {alias: store.get_alias(config.model_name, alias) for alias in aliases}
        if (champion := found["champion"]) is not None:
            known.note_champion(root, config, champion)
        return {number for number in found.values() if number is not None}
    except GlueError as error:  # the registry stopped answering after the bundles were fetched
        observed.problems.append(f"all versions count, because the active ones are unknown: {error.message}")
        return {rows.version.number for rows in observed.versions}


@contextlib.contextmanager
def _noted(problems: list[Exception]) -> Iterator[None]:
    """Collect an error in the block, so that it does not affect the verdict."""
    try:
        yield
    except Exception as error:
        problems.append(error)


def _draw(config: configs.Config, root: Path, observed: Observed, record: Record, painter: Painter | None) -> None:
    """Create Evidently's page for the version with the most rows, and add its path to the record."""
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
    """Return rows of the reference and of the window, each with a column `prediction` for prediction drift."""
    sample = tables.read_parquet(version.folder / layout.SAMPLE)
    train, holdout = (sample_part(sample, part) for part in ("train", "test"))
    return _with_prediction(version, train, holdout), _with_prediction(version, rows, rows)


def _with_prediction(version: Version, table: pa.Table, predicted: pa.Table) -> pa.Table:
    """Add predictions to a table's rows. The predictions may belong to other rows."""
    found = prediction_column(version.schema, predicted.column_names)
    if found is not None:
        values = predicted.column(found[0]).take(np.arange(table.num_rows) % predicted.num_rows)
        table = table.drop([name for name in table.column_names if name == "prediction"])
        table = table.append_column("prediction", values)
    return table.take(tables.evenly_spaced(table.num_rows, PAGE_ROWS))


def _log_runs(config: configs.Config, root: Path, store: Store, record: Record) -> None:
    """Log an MLflow run for each version with its distances; the first run includes the page."""
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

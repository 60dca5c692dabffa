"""One run of the monitor: observe, judge, then page, alert, MLflow, history and retraining.

Each of these happens whatever becomes of the others: a channel, a disk or a registry that fails hides no verdict.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.monitoring import history, page
from mlops_glue.monitoring.incident import alert
from mlops_glue.monitoring.observe import Observed, VersionLoader, observe_log, observe_table
from mlops_glue.monitoring.retrain import Train, retrain
from mlops_glue.monitoring.verdict import ALERTING, answering_versions, findings
from mlops_glue.monitoring.window import Window
from mlops_glue.pipeline.session import project_lock

if TYPE_CHECKING:
    from mlops_glue.adapters.evidently import Painter
    from mlops_glue.adapters.mlflow import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a run looks at.

    Attributes:
        rows: a window of the prediction log, or the path of a table.
        version: of the log, the only one that counts; of a table, the one that it is compared with.
        page: draw Evidently's page.
        before_log: is called with a scratch folder before the log is listed.
    """

    rows: Window | Path
    version: int | None = None
    page: bool = True
    before_log: Callable[[Path], None] = lambda _: None


@dataclass
class Problems:
    """A context that collects what goes wrong beside the verdict, which it neither hides nor changes."""

    found: list[Exception] = field(default_factory=list)

    def __enter__(self) -> Problems:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.found.append(error)
        return True


def run(
    config: configs.Config,
    root: Path,
    env: str | None,
    now: datetime,
    request: Request,
    on_verdict: Callable[[dict[str, Any]], None],
    train: Train,
) -> tuple[dict[str, Any], list[Exception]]:
    """Compare, then react.

    Args:
        config: of the project.
        root: the project.
        env: the environment's name.
        now: the time.
        request: what to look at.
        on_verdict: is called with the record as soon as the verdict is known.
        train: runs the pipeline and delivers, where the verdict asks for it.

    Returns:
        The record of the run, and what went wrong beside the verdict.

    Raises:
        GlueError: nothing could be compared.
    """
    from mlops_glue.delivery.fetch import opened

    with contextlib.ExitStack() as stack:
        stack.enter_context(project_lock(root, layout.MONITOR_LOCK, waits=False))
        painter = stack.enter_context(_painter()) if request.page else None  # it imports for seconds, meanwhile
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = opened(root, config, create=False)
        observed = _observe(VersionLoader(store, root, config, scratch), request, scratch, now)
        record = findings(config, env, now, observed, answering_versions(store, config, observed, request.version))
        on_verdict(record)
        problems = Problems([*observed.failed])
        if observed.by_labels is not None and observed.by_labels.problem is not None:
            problems.found.append(observed.by_labels.problem)
        with problems:
            page.draw(root, observed, record, painter)
        with problems:
            alert(config, root, store, record, now)
        with problems:
            _log_runs(config, root, store, record)
        with problems:
            history.keep(root, record)
    with problems:  # after the lock: training takes long
        if "retrain" in config.monitor.on_alert and record["verdict"] in ALERTING:
            labelled = observed.by_labels.labelled if observed.by_labels is not None else []
            record["retrain"] = retrain(config, root, store, env, labelled, now, train)
    return record, problems.found


def _painter() -> Painter:
    from mlops_glue.adapters.evidently import Painter

    return Painter()


def _observe(loader: VersionLoader, request: Request, scratch: Path, now: datetime) -> Observed:
    if isinstance(request.rows, Path):
        return observe_table(loader, request.rows, request.version, now)
    request.before_log(scratch / "waiting")
    if request.version is not None:
        loader.number(request.version)  # raises where there is no such version
    return observe_log(loader, request.rows, request.version)


def _log_runs(config: configs.Config, root: Path, store: Store, record: dict[str, Any]) -> None:
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

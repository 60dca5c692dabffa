"""`glue monitor`: check served data for drift from the training data of the version that served it."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery.run import run as run_pipeline
from mlops_glue.errors import GlueError, ToolError, UsageError, brief
from mlops_glue.monitoring import alerts, retrain, wording
from mlops_glue.monitoring.run import run
from mlops_glue.monitoring.window import Window, of_log
from mlops_glue.monitoring.wording import ALERTING, Record, Verdict


def monitor(
    *,
    current: str | None = None,
    last: str | None = None,
    since: str | None = None,
    rows: int | None = None,
    version: int | None = None,
    page: bool = True,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Compare a window of the prediction log, or a table, with the reference. Return 1 on drift."""
    now = datetime.now(UTC)
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    given = {"--current": current, "--last": last, "--since": since, "--rows": rows}
    if len(named := [name for name, value in given.items() if value is not None]) > 1:
        raise UsageError(f"{named[0]} and {named[1]}: give only one window", hint=f"leave out {named[1]}")
    if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
        raise UsageError(f"{config.model_name} has no version yet", hint="glue run")
    with tempfile.TemporaryDirectory() as folder:
        window: Window | Path = Path(current or "")
        if current is None:
            window = of_log(config, root, now, last=last, since=since, rows=rows)
            _add_unshipped(window, root, Path(folder) / "waiting")
        on_verdict = _print_problems if as_json else _print_verdict
        train = partial(run_pipeline, on_stage=console.stage, group=console.fold)
        record, problems = run(config, root, now, window, version, page=page, on_verdict=on_verdict, train=train)
    if as_json:
        console.result_json(record)
    else:
        _print_reaction(record)
    return _exit_code(problems, drifts=record["verdict"] in ALERTING)


def resume(env: str | None) -> int:
    """Allow retraining again, here and in jobs, after a person has reviewed the refused candidates."""
    root = layout.find_root()
    refused = retrain.resume(configs.load(root, env, tables=False, needs=()), root)
    console.result(f"retraining is resumed; {refused} candidates in a row were refused")
    return 0


def test_alert(env: str | None) -> int:
    """Send a test alert to every channel; return 1 if a channel fails."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False)
    results = alerts.send_test(config.monitor.alerts, config.model_name, env, root / layout.PAGE)
    if not results:
        raise UsageError(
            f"{layout.CONFIG} monitor.alerts: has no channels", hint='monitor: {alerts: {channels: ["${SLACK_URL}"]}}'
        )
    for channel, problem in results.items():
        console.result(f"{channel}: {problem or 'sent'}")
    return 1 if any(results.values()) else 0


def _add_unshipped(window: Window, root: Path, folder: Path) -> None:
    """Add rows that this machine has answered but not yet shipped to the log.

    They are read before the log is listed, so that rows shipped in between are not missed.
    """
    spool = root / layout.SPOOL
    if not spool.is_dir() or not any(spool.iterdir()):
        return
    from mlops_glue.adapters.fsspec import Folder
    from mlops_glue.serving.ship import unshipped

    folder.mkdir()
    window.problems += unshipped(spool, folder)
    window.waiting = Folder(str(folder))


def _exit_code(problems: list[Exception], *, drifts: bool) -> int:
    """Return 1 if there is an alert, whatever else went wrong; without an alert, raise the first problem."""
    for problem in problems[0 if drifts else 1 :]:
        console.error(problem if isinstance(problem, GlueError) else ToolError(brief(problem)))
    if problems and not drifts:
        raise problems[0]
    return 1 if drifts else 0


def _print_problems(record: Record) -> None:
    for problem in record["problems"]:
        console.progress(problem)


def _print_verdict(record: Record) -> None:
    _print_problems(record)
    for version in record["versions"]:
        _print_version(record, version)
    if record["verdict"] == "not enough data":
        console.result(wording.too_few(record))
        if not record["rows"]:
            console.progress(
                "serve.prediction_log has no rows in this window: did glue serve answer requests during it?"
            )
    console.flush()


def _print_version(record: Record, version: Verdict) -> None:
    """Print the drift and the performance of a version."""
    bad = f": {wording.named(version['verdict'])}" if version["verdict"] in ALERTING else ""
    console.result(wording.of_version(record, version), good=": ok", bad=bad)
    for line in wording.details(version):
        console.result(f"  {line}")
    performance = version["performance"]
    for problem in performance["problems"] if performance is not None else ():
        console.progress(f"labels: {problem}")


def _print_reaction(record: Record) -> None:
    """Print the paths of the reports, the alert's recipients, and the outcome of a retraining."""
    console.result(f"reports  {'  '.join(filter(None, (layout.LATEST, record['page'])))}")
    sent = record.get("alert")
    if sent and sent["sent"]:
        console.result(f"alert: {sent['event'] or 'undelivered alerts'}, to {', '.join(sent['sent'])}")
    elif sent and sent["since"] and not sent["problems"]:
        console.result(f"alert: open since {sent['since']}, already sent")
    if done := record.get("retrain"):
        console.result(f"retraining: {done['outcome']}: {done['reason']}")

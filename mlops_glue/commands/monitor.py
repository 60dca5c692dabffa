"""`glue monitor`: does what was served drift from what the version that served it was trained on?"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import config as configs
from mlops_glue import console, layout, tables
from mlops_glue.bundle import check_tables
from mlops_glue.commands.react import (
    BAD,
    Performances,
    alert,
    drifted_share,
    judged,
    of_table,
    tell_performance,
    tell_reaction,
    train_again,
)
from mlops_glue.drift import prediction_column, sample_part
from mlops_glue.errors import DataError, GlueError, ToolError, UsageError, first_line
from mlops_glue.monitoring import history
from mlops_glue.monitoring.drift import DriftMonitor, Version
from mlops_glue.monitoring.sample import RowSample
from mlops_glue.monitoring.window import Window, moment, pieces_of, span
from mlops_glue.pipeline.session import project_lock

if TYPE_CHECKING:
    from mlops_glue.adapters.evidently import Painter
    from mlops_glue.adapters.mlflow import Store

PAGE_ROWS = 2000  # of each side
SHOWN = 12  # columns in the terminal


@dataclass
class Seen:
    """The rows of a window by the version that answered them."""

    watches: list[tuple[DriftMonitor, Any]]  # with a sample of the rows; the version with the most rows first
    since: datetime | None
    until: datetime
    problems: list[str]
    performance: Performances | None = None  # of the log
    performances: dict[int, dict[str, Any] | None] = field(default_factory=dict)  # by version
    failed: list[Exception] = field(default_factory=list)  # versions that could not be compared with, and why


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
    """Compare a window of the prediction log, or a table, with the reference. Returns 1 where it drifts.

    Args:
        current: a table, instead of the log.
        last: length of the window; default `monitor.last`.
        since: its beginning, instead.
        rows: the latest so many, instead.
        version: of `current`, what it is compared with; of the log, the only one that counts.
        page: draw Evidently's page.
        as_json: print the whole verdict.
        env: an entry of `environments`.
    """
    now = datetime.now(UTC)
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    given = {"--current": current, "--last": last, "--since": since, "--rows": rows}
    if len(named := [name for name, value in given.items() if value is not None]) > 1:
        raise UsageError(f"{named[0]} and {named[1]}: one window at a time", hint=f"leave {named[1]} out")
    if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
        raise UsageError(f"{config.model_name} has no version yet", hint="glue run")
    window = _window(config, root, now, last, since, rows) if current is None else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(project_lock(root, layout.MONITOR_LOCK, waits=False))
        painter = stack.enter_context(_painter()) if page else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        from mlops_glue.delivery.fetch import opened

        store = opened(root, config, create=False)
        bundles = Bundles(store, root, config, scratch)
        if window is not None:
            _with_unshipped(window, root, scratch / "waiting")
            if version is not None:
                bundles.champion(version)  # is there such a one?
            seen = _of_log(bundles, window, version)
        else:
            seen = _of_table(bundles, Path(str(current)), version, now)
        counts = _counting(store, config, seen, version)
        told = _told(config, env or os.environ.get("GLUE_ENV"), now, seen, counts)
        if not as_json:  # first of all: whatever becomes of the rest, this is known
            _tell_verdict(told)
        after = After([*seen.failed, *([seen.performance.problem] if seen.performance else [])])
        with after:
            _draw(root, seen, told, painter)
        with after:
            alert(config, root, store, told, now)
        with after:
            _logged(config, root, store, told)
        with after:
            aside, lost = history.keep(root, told)
            for line in aside:
                console.progress(f"warning: {line}")
            after.note(lost)
    with after:  # after the lock: to train takes long
        train_again(config, root, store, told, seen.performance.tables if seen.performance else [], now)
    if as_json:
        _tell_problems(told)
        console.result_json(told)
    else:
        _tell_after(told)
    return after.ended(bad=told["verdict"] in BAD)


class After:
    """What went wrong beside the verdict, which it neither hides nor changes.

    Args:
        problems: what is known so far.
    """

    def __init__(self, problems: list[Exception | None]) -> None:
        self._problems: list[Exception] = [one for one in problems if one is not None]

    def __enter__(self) -> After:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, Exception):
            self.note(error)
        return isinstance(error, Exception)

    def note(self, problem: Exception | None) -> None:
        """One more, if any."""
        self._problems += [problem] if problem is not None else []

    def ended(self, *, bad: bool) -> int:
        """The exit code: that of an alert whatever else went wrong; without one the first problem is raised."""
        for one in self._problems[0 if bad else 1 :]:
            console.error(one if isinstance(one, GlueError) else ToolError(f"{type(one).__name__}: {first_line(one)}"))
        if self._problems and not bad:
            raise self._problems[0]
        return 1 if bad else 0


class Bundles:
    """The versions that are needed, each fetched once."""

    def __init__(self, store: Store, root: Path, config: configs.Config, scratch: Path) -> None:
        self.config, self.root, self._store, self._scratch = config, root, store, scratch

    def champion(self, version: int | None) -> int:
        """The number that is asked for, or the champion's."""
        from mlops_glue.delivery.fetch import chosen_version

        return chosen_version(self._store, self.root, self.config, version)[1]

    def of(self, number: int) -> Version:
        """A version with its reference."""
        from mlops_glue.delivery.trial import brought

        folder = self._scratch / f"v{number}"
        folder.mkdir(exist_ok=True)
        try:
            found = brought(self._store, self.root, self.config.model_name, number, folder)
            check_tables(found)
            return Version.of(number, found)
        except GlueError as error:
            raise DataError(f"v{number} cannot be compared with: {error.message}", hint=error.hint) from error


def _painter() -> Painter:
    from mlops_glue.adapters.evidently import Painter

    return Painter()


def _window(
    config: configs.Config, root: Path, now: datetime, last: str | None, since: str | None, rows: int | None
) -> Window:
    """The part of the prediction log that is asked for."""
    from mlops_glue.adapters.fsspec import Folder

    if config.serve.prediction_log is None:
        raise UsageError(
            f"{layout.CONFIG} serve.prediction_log: is not set, so nothing is known of what was served",
            hint="serve: {prediction_log: data/predictions}, or glue monitor --current FILE",
        )
    where = configs.resolve(config.serve.prediction_log, "serve.prediction_log")
    folder = Folder(where if "://" in where else str(root / where))
    begin = moment(since) if since is not None else None
    if begin is not None and begin > now:
        raise UsageError(f"--since {since}: is in the future", hint=f"it is {now.isoformat(timespec='seconds')}")
    if begin is None and rows is None:
        begin = now - span(last or config.monitor.last)
    return Window(folder, config.model_name, begin, now, rows)


def _with_unshipped(window: Window, root: Path, folder: Path) -> None:
    """Rows that this machine has answered and that are not in the log yet: a server ships them every so often."""
    spool = root / layout.SPOOL
    if not spool.is_dir() or not any(spool.iterdir()):
        return
    from mlops_glue.adapters.fsspec import Folder
    from mlops_glue.serving.ship import unshipped

    folder.mkdir()
    window.problems += unshipped(spool, folder)  # before the log is listed: what is shipped meanwhile is there then
    window.waiting = Folder(str(folder))


def _of_log(bundles: Bundles, window: Window, version: int | None) -> Seen:
    """What was answered in the window, each row with its version."""
    window.bounded(version)
    watches, failed = [], []
    files = window.files()
    for number, names in files.items():
        if version not in (None, number):
            continue
        try:
            watched = _of_version(bundles, window, number, names)
        except Exception as error:  # that another version drifts is not hidden by it
            failed.append(error)
            continue
        watches += [watched] if watched is not None else []
    if failed and not watches:
        raise failed[0]
    watches.sort(key=lambda one: -one[0].rows)
    if not watches and window.problems:
        raise DataError(window.problems[0], hint="nothing in the window can be compared, so nothing is known")
    by_labels = Performances(bundles.config, bundles.root, window)
    performances = {w.version.number: by_labels.of(w.version, w.rows, files[w.version.number]) for w, _ in watches}
    return Seen(watches, window.since, window.until, window.problems, by_labels, performances, failed)


def _of_version(bundles: Bundles, window: Window, number: int, names: list[str]) -> tuple[DriftMonitor, Any] | None:
    """The rows of one version; None where there is none, or too few of a version that cannot be compared with."""
    log = bundles.config.serve.log
    try:
        chosen = bundles.of(number)
    except GlueError as error:
        rows = sum(piece.num_rows for piece in window.pieces(names, ["glue_time"]))
        if rows >= bundles.config.monitor.min_rows:
            raise
        if rows:
            window.problems.append(f"{rows} rows are left out: {error.message}")
        return None
    watch, sampled = DriftMonitor(chosen, frozenset([*log.omit, *log.hash])), RowSample(PAGE_ROWS)
    for piece in window.pieces(names):
        watch.add(piece)
        sampled.add(piece)
    return (watch, sampled.table()) if watch.rows else None


def _of_table(bundles: Bundles, path: Path, version: int | None, now: datetime) -> Seen:
    """Rows of any table; where it does not tell what the model says of them, a sample of them is scored."""
    tables.find_table(f"--current {path}", path)
    from mlops_glue.commands.predict import with_features
    from mlops_glue.scoring import Bundle

    chosen = bundles.of(bundles.champion(version))
    bundle = Bundle(chosen.folder)
    watch, sampled = DriftMonitor(chosen), RowSample(PAGE_ROWS)
    types = chosen.schema.types | (bundle.features.types if bundle.features else {})
    for raw in pieces_of(path, types, chosen.schema.decimal):
        piece = with_features(bundles.config, bundles.root, bundle, raw, path)
        watch.add(piece)
        sampled.add(piece)
    rows, problems = sampled.table(), []
    if not watch.knows_predictions and watch.problems:
        column, why = next(iter(watch.problems.items()))
        problems.append(f"not scored, so no performance is known: {column}: {why}")
        watch.problems["prediction"] = "not known, as the rows cannot be scored"  # so it is not ok
    elif not watch.knows_predictions:
        rows = bundle.scored(rows, rows, where=str(path))
        watch.add_predictions(rows)
    return Seen(
        [(watch, rows)], None, now, problems, None, {chosen.number: of_table(bundles.config, chosen, rows, watch.rows)}
    )


def _counting(store: Store, config: configs.Config, seen: Seen, version: int | None) -> set[int]:
    """The versions that still answer: what a former one was asked is told, and alarms nobody."""
    if version is not None or seen.performance is None:
        return {watch.version.number for watch, _ in seen.watches}
    aliases = ["champion", *([config.serve.canary.alias] if config.serve.canary else [])]
    try:
        return {number for alias in aliases if (number := store.get_alias(config.model_name, alias)) is not None}
    except GlueError as error:  # the registry is gone since the bundles came
        seen.problems.append(f"every version counts, for which one answers is not known: {error.message}")
        return {watch.version.number for watch, _ in seen.watches}


def _told(config: configs.Config, env: str | None, now: datetime, seen: Seen, counts: set[int]) -> dict[str, Any]:
    """The whole verdict: that of the window is the worst of its versions'."""
    versions = [
        {**watch.verdict(config.monitor), "performance": seen.performances.get(watch.version.number)}
        for watch, _ in seen.watches
    ]
    shares = [one["drift_share"] for one in versions if one["drift_share"] is not None]
    distances = [far for one in versions if (far := (one["prediction"] or {}).get("distance")) is not None]
    told = {
        "time": now,
        "since": seen.since,
        "until": seen.until,
        "env": env,
        "model": config.model_name,
        "rows": sum(one["rows"] for one in versions),
        "min_rows": config.monitor.min_rows,
        "drift_share": max(shares, default=None),
        "prediction_drift": max(distances, default=None),
        "problems": [*seen.problems, *filter(None, map(_unanswered, versions))],
        "versions": versions,
    }
    judged(told, counts, target=config.monitor.drift.target)
    return told


def _unanswered(one: dict[str, Any]) -> str | None:
    """Rows to which a version had no answer: one request may hold a number that overflows the model."""
    if not one["unanswered"]:
        return None
    of = f"v{one['version']}: {one['unanswered']:,} of {one['predictions']:,} predictions are null"
    return f"{of}: the model has no answer to such rows; no performance counts them"


def _draw(root: Path, seen: Seen, told: dict[str, Any], painter: Painter | None) -> None:
    """Draw the page of the version with the most rows."""
    told["page"] = None
    if painter is None or not seen.watches:
        return
    (watch, rows), verdict = seen.watches[0], told["versions"][0]
    columns = verdict["columns"] | ({"prediction": verdict["prediction"]} if verdict["prediction"] else {})
    both, schema = samples(watch.version, rows), watch.version.schema
    about = {"title": f"{told['model']} v{watch.version.number}", **back(root)}
    if seen.since is not None:
        about["window"] = f"{seen.since:%Y-%m-%d %H:%M} to {seen.until:%Y-%m-%d %H:%M} UTC"
    painter.draw(root / layout.PAGE, *both, schema, columns, verdict, about)
    told["page"] = layout.PAGE


def back(root: Path) -> dict[str, str]:
    """The way from the page to the project's report, where there is one."""
    report = root / layout.REPORT
    return {"back": os.path.relpath(report, (root / layout.PAGE).parent)} if report.is_file() else {}


def samples(version: Version, rows: Any) -> tuple[Any, Any]:
    """Rows of the reference and of the window, each with one column `prediction`: what prediction drift is about."""
    kept = tables.read_parquet(version.folder / layout.SAMPLE)
    train, holdout = (sample_part(kept, part) for part in ("train", "test"))
    out = []
    for table, of in ((train, holdout), (rows, rows)):
        told = prediction_column(version.schema, of.column_names)
        if told is not None:
            said = of.column(told[0]).take(np.arange(table.num_rows) % of.num_rows)
            table = table.drop([n for n in table.column_names if n == "prediction"]).append_column("prediction", said)
        out.append(table.take(tables.evenly_spaced(table.num_rows, PAGE_ROWS)))
    return out[0], out[1]


def _logged(config: configs.Config, root: Path, store: Store, told: dict[str, Any]) -> None:
    """A run in MLflow for each version, with its distances; the page with the first."""
    experiment = f"{config.project}-monitor"
    store.end_dead_runs(experiment)
    page = [root / told["page"]] if told["page"] else []
    for at, one in enumerate(told["versions"]):
        numbers = {"rows": one["rows"], "drift_share": one["drift_share"]}
        numbers |= {"prediction_drift": (one["prediction"] or {}).get("distance")}
        if (of := one["performance"]) is not None:
            numbers |= {f"{'estimated' if of['estimated'] else 'by_labels'}.{of['metric']}": of["value"]}
        numbers |= {f"distance.{name}": column["distance"] for name, column in one["columns"].items()}
        one["run"] = store.log_monitoring_run(
            told["model"],
            one["version"],
            experiment=experiment,
            metrics={name: float(value) for name, value in numbers.items() if value is not None},
            tags={"glue.verdict": one["verdict"]},
            artifacts=page if at == 0 else [],
        )


def _tell_problems(told: dict[str, Any]) -> None:
    for problem in told["problems"]:
        console.progress(problem)


def _tell_verdict(told: dict[str, Any]) -> None:
    _tell_problems(told)
    for one in told["versions"]:
        _tell_version(told, one)
    if told["verdict"] == "not enough data":
        least = f"a verdict needs {told['min_rows']:,} (monitor.min_rows)"
        console.result(f"not enough data: {console.rows(told['rows'])} in the window, {least}")
        if not told["rows"]:
            console.progress("serve.prediction_log has no rows of this window: did glue serve answer requests in it?")
    console.flush()


def _tell_after(told: dict[str, Any]) -> None:
    pages = [layout.LATEST, *([told["page"]] if told["page"] else [])]
    console.result(f"reports  {'  '.join(pages)}")
    tell_reaction(told)


def _tell_version(told: dict[str, Any], one: dict[str, Any]) -> None:
    """What drifted of a version, the weightiest first."""
    share = "" if one["drift_share"] is None else f"; {drifted_share(one, one['drift_share'])}"
    allowed = f" (alert above {one['threshold']:.0%})" if share else ""
    former = " (retired)" if one["former"] else ""
    verdict = "performance dropped" if one["verdict"] == "performance" else one["verdict"]
    line = f"{told['model']} v{one['version']}{former}, {console.rows(one['rows'])}: {verdict}{share}{allowed}"
    console.result(line, good=": ok", bad=f": {verdict}" if one["verdict"] in ("drift", "performance") else "")
    said = {name: one["columns"][name] for name in one["drifted"]}
    if one["prediction"] and one["prediction"]["drifted"]:
        said = {"prediction": one["prediction"], **said}
    width = max(map(len, said), default=0)
    for name, column in list(said.items())[:SHOWN]:
        far = "" if column["distance"] is None else f"  {column['method']} {column['distance']:.3f}"
        beyond = f", drift from {column['threshold']:.3f}" if far and column["why"] == "distribution" else ""
        why = {"nulls": f"  {column['null_share']:.0%} nulls, before {column['reference_null_share']:.0%}"}
        other = "" if column["why"] == "distribution" else why.get(column["why"], f"  {column['why']}")
        few = name == "prediction" and 0 < one["predictions"] < one["rows"]
        other += f"  of a sample of {console.rows(one['predictions'])}" if few else ""
        weight = f"  weight {column['weight']:.0%}" if "weight" in column else ""
        console.result(f"  {name:<{width}}{weight}{far}{beyond}{other}")
    if len(said) > SHOWN:
        console.result(f"  and {len(said) - SHOWN} more")
    tell_performance(one["performance"])

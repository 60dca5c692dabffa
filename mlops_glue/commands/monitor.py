"""`glue monitor`: does what was served drift from what the version that served it was trained on?"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.errors import DataError, GlueError, ToolError, UsageError
from mlops_glue.monitoring import history
from mlops_glue.monitoring.drift import Version, Watch
from mlops_glue.monitoring.window import Sampled, Window, moment, pieces_of, span

if TYPE_CHECKING:
    from mlops_glue.adapters.evidently import Painter
    from mlops_glue.adapters.mlflow import Store

PAGE_ROWS = 2000  # of each side
SHOWN = 12  # columns in the terminal


@dataclass
class Seen:
    """The rows of a window by the version that answered them."""

    watches: list[tuple[Watch, Sampled]]  # the version with the most rows first
    since: datetime | None
    until: datetime
    problems: list[str]


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
    config = configs.load(root, env, tables=False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(root))
        painter = stack.enter_context(_painter()) if page else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        from mlops_glue.delivery.fetch import opened

        store = opened(root, config, create=False)
        bundles = Bundles(store, root, config, scratch)
        if current is not None:
            seen = _of_table(bundles, Path(current), version, now)
        else:
            seen = _of_log(bundles, _window(config, now, last, since, rows), version)
        told = _told(config, env, now, seen)
        problem = _drawn(root, seen, told, painter)
        _logged(config, root, store, told)
    history.keep(root, told)
    _tell(told, as_json)
    if problem is not None:
        raise problem
    return 1 if told["verdict"] in ("drift", "performance") else 0


class Bundles:
    """The versions that are needed, each fetched once."""

    def __init__(self, store: Store, root: Path, config: configs.Config, scratch: Path) -> None:
        self.config, self._store, self._root, self._scratch = config, store, root, scratch

    def champion(self, version: int | None) -> int:
        """The number that is asked for, or the champion's."""
        from mlops_glue.delivery.fetch import chosen_version

        return chosen_version(self._store, self._root, self.config, version)

    def of(self, number: int) -> Version:
        """A version with its reference."""
        folder = self._scratch / f"v{number}"
        folder.mkdir(exist_ok=True)
        return Version.of(number, self._store.bundle(self.config.model_name, number, folder))


@contextlib.contextmanager
def _alone(root: Path) -> Any:
    """One monitor at a time in a project."""
    from filelock import FileLock, Timeout

    path = root / layout.MONITOR_LOCK
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ToolError("another glue monitor is at work in this project", hint="wait until it has ended") from None
    with lock:
        yield


def _painter() -> Painter:
    from mlops_glue.adapters.evidently import Painter

    return Painter()


def _window(config: configs.Config, now: datetime, last: str | None, since: str | None, rows: int | None) -> Window:
    from mlops_glue.adapters.fsspec import Folder

    if config.serve.prediction_log is None:
        raise UsageError(
            f"{layout.CONFIG} serve.prediction_log: is not set, so nothing that was served is known",
            hint="serve: {prediction_log: data/predictions}, or glue monitor --current FILE",
        )
    where = configs.resolve(config.serve.prediction_log, "serve.prediction_log")
    folder = Folder(where if "://" in where else str(layout.find_root() / where))
    begin = moment(since) if since is not None else None
    if begin is None and rows is None:
        begin = now - span(last or config.monitor.last)
    return Window(folder, begin, now, rows)


def _of_log(bundles: Bundles, window: Window, version: int | None) -> Seen:
    window.bounded()
    log = bundles.config.serve.log
    watches = []
    for number, names in window.files().items():
        if version in (None, number):
            watch, sampled = Watch(bundles.of(number), frozenset([*log.omit, *log.hash])), Sampled(PAGE_ROWS)
            for piece in window.pieces(names):
                watch.add(piece)
                sampled.add(piece)
            watches.append((watch, sampled))
    watches = sorted((one for one in watches if one[0].rows), key=lambda one: -one[0].rows)
    if not watches and window.problems:
        raise DataError(window.problems[0], hint="nothing in the window can be read, so nothing is known")
    return Seen(watches, window.since, window.until, window.problems)


def _of_table(bundles: Bundles, path: Path, version: int | None, now: datetime) -> Seen:
    if not path.is_file():
        raise UsageError(f"--current {path}: no such file")
    chosen = bundles.of(bundles.champion(version))
    watch, sampled = Watch(chosen), Sampled(PAGE_ROWS)
    for piece in pieces_of(path, chosen.schema.types):
        watch.add(piece)
        sampled.add(piece)
    return Seen([(watch, sampled)], None, now, [])


def _told(config: configs.Config, env: str | None, now: datetime, seen: Seen) -> dict[str, Any]:
    """The whole verdict: that of the window is the worst of its versions'."""
    versions = [watch.verdict(config.monitor) for watch, _ in seen.watches]
    said = {one["verdict"] for one in versions}
    shares = [one["drift_share"] for one in versions if one["drift_share"] is not None]
    distances = [one["prediction"]["distance"] for one in versions if one["prediction"]]
    return {
        "time": now,
        "since": seen.since,
        "until": seen.until,
        "env": env,
        "model": config.model_name,
        "rows": sum(one["rows"] for one in versions),
        "verdict": next((v for v in ("drift", "ok") if v in said), "not enough data"),
        "min_rows": config.monitor.min_rows,
        "drift_share": max(shares, default=None),
        "prediction_drift": max(distances, default=None),
        "performance": None,
        "problems": seen.problems,
        "versions": versions,
    }


def _drawn(root: Path, seen: Seen, told: dict[str, Any], painter: Painter | None) -> GlueError | None:
    """Draw the page of the version with the most rows; what went wrong with it does not lose the verdict."""
    told["page"] = None
    if painter is None or not seen.watches:
        return None
    import pyarrow.compute as pc

    (watch, sampled), verdict = seen.watches[0], told["versions"][0]
    sample = io.read_parquet(watch.version.folder / layout.SAMPLE)
    train = sample.filter(pc.equal(sample.column(layout.PART), "train"))
    try:
        painter.draw(root / layout.PAGE, train, sampled.table(), watch.version.schema, verdict["columns"])
    except GlueError as error:
        return error
    told["page"] = layout.PAGE
    return None


def _logged(config: configs.Config, root: Path, store: Store, told: dict[str, Any]) -> None:
    """A run in MLflow for each version, with its distances; the page with the first."""
    experiment = f"{config.project}-monitor"
    store.end_dead_runs(experiment)
    page = [root / told["page"]] if told["page"] else []
    for at, one in enumerate(told["versions"]):
        numbers = {"rows": one["rows"], "drift_share": one["drift_share"]}
        numbers |= {"prediction_drift": (one["prediction"] or {}).get("distance")}
        numbers |= {f"distance.{name}": column["distance"] for name, column in one["columns"].items()}
        one["run"] = store.monitored(
            told["model"],
            one["version"],
            experiment=experiment,
            metrics={name: float(value) for name, value in numbers.items() if value is not None},
            tags={"glue.verdict": one["verdict"]},
            files=page if at == 0 else [],
        )


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.result_json(told)
        return
    for problem in told["problems"]:
        console.progress(problem)
    for one in told["versions"]:
        console.result(f"{told['model']} v{one['version']}, {one['rows']:,} rows: {one['verdict']}")
        for name in one["drifted"][:SHOWN]:
            column = one["columns"][name]
            console.result(f"  {name}  {column['why']}  {column['distance']}  (from {column['threshold']:.2f})")
    console.result(f"verdict: {told['verdict']}; {layout.LATEST}")

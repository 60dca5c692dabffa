"""The rows that a run of the monitor looks at, by the version that answered them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import tables
from mlops_glue.bundle import check_tables
from mlops_glue.delivery.complete import with_features
from mlops_glue.errors import DataError, GlueError
from mlops_glue.monitoring.by_version import PerformanceByVersion, performance_of_table
from mlops_glue.monitoring.drift import DriftMonitor, Version
from mlops_glue.monitoring.sample import PAGE_ROWS, RowSample
from mlops_glue.monitoring.window import Window, pieces_of

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store


@dataclass
class Observed:
    """The rows of a window.

    Attributes:
        monitors: of each version, with a sample of its rows; the version with the most rows first.
        since: the window's beginning, if it has one.
        until: its end.
        problems: what could not be taken, in words.
        by_labels: performance from the log; None of a table.
        performances: by version.
        failed: why versions could not be compared with.
    """

    monitors: list[tuple[DriftMonitor, pa.Table]]
    since: datetime | None
    until: datetime
    problems: list[str]
    by_labels: PerformanceByVersion | None = None
    performances: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    failed: list[Exception] = field(default_factory=list)


class VersionLoader:
    """Brings versions from the registry.

    Args:
        store: the registry.
        root: the project.
        config: of the project.
        scratch: a folder for the bundles.
    """

    def __init__(self, store: Store, root: Path, config: configs.Config, scratch: Path) -> None:
        self.config, self.root, self._store, self._scratch = config, root, store, scratch

    def number(self, version: int | None) -> int:
        """The version that is asked for, which must exist, or the champion's number."""
        from mlops_glue.delivery.fetch import chosen_version

        return chosen_version(self._store, self.root, self.config, version)[1]

    def load(self, number: int) -> Version:
        """A version with its reference.

        Raises:
            DataError: it cannot be compared with.
        """
        from mlops_glue.delivery.trial import brought

        folder = self._scratch / f"v{number}"
        folder.mkdir(exist_ok=True)
        try:
            found = brought(self._store, self.root, self.config.model_name, number, folder)
            check_tables(found)
            return Version.of(number, found)
        except GlueError as error:
            raise DataError(f"v{number} cannot be compared with: {error.message}", hint=error.hint) from error


def observe_log(loader: VersionLoader, window: Window, version: int | None) -> Observed:
    """What was answered in the window, each row with its version.

    A version that cannot be compared with does not hide that another one drifts.

    Raises:
        GlueError: nothing in the window can be compared.
    """
    window.resolve_start(version)
    monitors, failed = [], []
    by_version = window.files()
    for number, names in by_version.items():
        if version not in (None, number):
            continue
        try:
            found = _observe_version(loader, window, number, names)
        except Exception as error:
            failed.append(error)
            continue
        monitors += [found] if found is not None else []
    if failed and not monitors:
        raise failed[0]
    monitors.sort(key=lambda found: -found[0].rows)
    if not monitors and window.problems:
        raise DataError(window.problems[0], hint="nothing in the window can be compared, so nothing is known")
    by_labels = PerformanceByVersion(loader.config, loader.root, window)
    performances = {
        rows.version.number: by_labels.measure(rows.version, rows.rows, by_version[rows.version.number])
        for rows, _ in monitors
    }
    return Observed(monitors, window.since, window.until, window.problems, by_labels, performances, failed)


def _observe_version(
    loader: VersionLoader, window: Window, number: int, names: list[str]
) -> tuple[DriftMonitor, pa.Table] | None:
    """The rows of one version; None where it has none, or too few and cannot be compared with."""
    log = loader.config.serve.log
    try:
        version = loader.load(number)
    except GlueError as error:
        rows = sum(piece.num_rows for piece in window.pieces(names, ["glue_time"]))
        if rows >= loader.config.monitor.min_rows:
            raise
        if rows:
            window.problems.append(f"{rows} rows are left out: {error.message}")
        return None
    monitor, sample = DriftMonitor(version, frozenset([*log.omit, *log.hash])), RowSample(PAGE_ROWS)
    for piece in window.pieces(names):
        monitor.add(piece)
        sample.add(piece)
    table = sample.table()
    return (monitor, table) if monitor.rows and table is not None else None


def observe_table(loader: VersionLoader, path: Path, version: int | None, now: datetime) -> Observed:
    """Rows of any table; where it does not hold what the model says of them, a sample of them is scored."""
    from mlops_glue.scoring import Bundle

    tables.find_table(f"--current {path}", path)
    chosen = loader.load(loader.number(version))
    bundle = Bundle(chosen.folder)
    monitor, sample = DriftMonitor(chosen), RowSample(PAGE_ROWS)
    types = chosen.schema.types | (bundle.features.types if bundle.features else {})
    for raw in pieces_of(path, types, chosen.schema.decimal):
        piece = with_features(loader.config, loader.root, bundle, raw, path)
        monitor.add(piece)
        sample.add(piece)
    rows, problems = sample.table(), list[str]()
    assert rows is not None  # a table without rows is refused
    if not monitor.knows_predictions and monitor.problems:
        column, why = next(iter(monitor.problems.items()))
        problems.append(f"not scored, so no performance is known: {column}: {why}")
        monitor.problems["prediction"] = "not known, as the rows cannot be scored"  # so it is not ok
    elif not monitor.knows_predictions:
        rows = bundle.scored(rows, rows, where=str(path))
        monitor.add_predictions(rows)
    performance = performance_of_table(loader.config, chosen, rows, monitor.rows)
    return Observed([(monitor, rows)], None, now, problems, None, {chosen.number: performance})

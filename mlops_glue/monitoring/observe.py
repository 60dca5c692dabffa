"""The served rows in a window, by version, with their drift monitor and performance."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import tables
from mlops_glue.bundle import check_table
from mlops_glue.delivery import known
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.fetch import chosen_version
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import ConfigError, DataError, GlueError, Unreachable
from mlops_glue.files import read_json
from mlops_glue.monitoring import labels, performance
from mlops_glue.monitoring.drift import DriftMonitor, Version
from mlops_glue.monitoring.labels import Joined, Labels
from mlops_glue.monitoring.sample import PAGE_ROWS, RowSample
from mlops_glue.monitoring.window import File, Window, pieces_of
from mlops_glue.parsing import as_text

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store


@dataclass
class VersionRows:
    """The rows in a window that one version answered, with a sample for the page."""

    monitor: DriftMonitor
    sample: pa.Table
    performance: dict[str, Any] | None = None

    @property
    def version(self) -> Version:
        """The version that answered."""
        return self.monitor.version


@dataclass
class Observed:
    """The rows in a window.

    Attributes:
        since: the window's beginning, if it has one.
        until: its end.
        problems: rows and labels that were not used, in words.
        versions: the versions, most rows first.
        labelled: rows of the log with their labels, a table for each version.
        failed: the errors in comparisons and measurements.
    """

    since: datetime | None
    until: datetime
    problems: list[str]
    versions: list[VersionRows] = field(default_factory=list)
    labelled: list[pa.Table] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)

    def fail(self, error: Exception) -> None:
        """Record an error, once even if several versions have it."""
        if str(error) not in map(str, self.failed):
            self.failed.append(error)


@dataclass(frozen=True)
class Source:
    """The source of versions: the registry, a project and its config, and a folder for bundles."""

    store: Store
    root: Path
    config: configs.Config
    scratch: Path

    def number(self, version: int | None) -> int:
        """Return the requested version, which must exist, or the champion; in an outage the last known champion."""
        try:
            number = chosen_version(self.store, self.root, self.config, version)[1]
        except Unreachable:
            if version is not None:
                return version  # `load` fails if its bundle is not stored here
            if (last := known.champion(self.root, self.config)) is None:
                raise
            return last.version
        if version is None:
            known.note_champion(self.root, self.config, number)
        return number

    def load(self, number: int) -> Version:
        """Load a version with its reference.

        Raises:
            DataError: the version has no usable reference.
        """
        folder = self.scratch / f"v{number}"
        folder.mkdir(exist_ok=True)
        try:
            bundle = self._bring(number, folder)
            check_table(bundle)
            return Version.of(number, bundle)
        except GlueError as error:
            raise DataError(f"v{number} cannot be used for comparison: {error.message}", hint=error.hint) from error

    def _bring(self, number: int, folder: Path) -> Path:
        """Fetch the bundle from the registry and store a copy; in an outage, use the stored copy."""
        try:
            bundle = brought(self.store, self.root, self.config.model_name, number, folder)
        except Unreachable:
            if (kept := known.bundle_of(self.root, self.config, number)) is None:
                raise
            return kept
        known.note(self.root, self.config, number, bundle)
        return bundle


def observe_log(source: Source, window: Window, only: int | None) -> Observed:
    """Observe the answered rows in the window, for all versions or one.

    A version that cannot be compared, or labels that cannot be read, do not hide the drift of another version.

    Raises:
        GlueError: nothing in the window can be compared.
    """
    if only is not None:
        source.number(only)  # raises if there is no such version
    window.resolve_start(only)
    observed = Observed(window.since, window.until, window.problems)
    by_version = {number: own for number, own in window.files().items() if only in (None, number)}
    for number, own in by_version.items():
        try:
            rows = _version_rows(source, window, number, own)
        except Exception as error:
            observed.fail(error)
        else:
            observed.versions += [rows] if rows is not None else []
    if observed.failed and not observed.versions:
        raise observed.failed[0]
    if not observed.versions and window.problems:
        raise DataError(window.problems[0], hint="nothing in the window can be compared, so there is no verdict")
    observed.versions.sort(key=lambda rows: -rows.monitor.rows)
    known = _labels(source, observed)
    for rows in observed.versions:
        try:
            rows.performance = _performance(source, window, rows, by_version[rows.version.number], known, observed)
        except Exception as error:
            observed.fail(error)
    return observed


def _version_rows(source: Source, window: Window, number: int, files: list[File]) -> VersionRows | None:
    """Return the rows of one version; None if it has none, or has few and cannot be compared."""
    log = source.config.serve.log
    try:
        version = source.load(number)
    except GlueError as error:
        rows = sum(piece.num_rows for piece in window.pieces(files, ["glue_time"]))
        if rows >= source.config.monitor.min_rows:
            raise
        if rows:
            window.problems.append(f"{rows} rows are excluded: {error.message}")
        return None
    monitor, sample = DriftMonitor(version, frozenset([*log.omit, *log.hash])), RowSample(PAGE_ROWS)
    for piece in window.pieces(files):
        monitor.add(piece)
        sample.add(piece)
    table = sample.table()
    return VersionRows(monitor, table) if monitor.rows and table is not None else None


def _labels(source: Source, observed: Observed) -> Labels | None:
    """Read the labels; None if none are configured, or they cannot be read."""
    config = source.config
    if config.monitor.labels is None:
        return None
    try:
        return labels.read(config.monitor.labels, config.data.labels.target, source.root)
    except GlueError as error:
        observed.fail(configs.located(source.root, error) if isinstance(error, ConfigError) else error)
        return None


def _performance(
    source: Source,
    window: Window,
    rows: VersionRows,
    files: list[File],
    known: Labels | None,
    observed: Observed,
) -> dict[str, Any] | None:
    """Measure performance with enough labels, or else estimate it from a sample of rows; None without a holdout."""
    version, config = rows.version, source.config
    if trained_elsewhere(version):
        return None
    joined, sample = Joined(None, rows.monitor.rows), RowSample(performance.ESTIMATED_ROWS)
    if known is not None:
        learns = config.monitor.on_alert and config.monitor.retrain.data == "append"  # needs all columns
        needed = [*version.schema.answers, "glue_request_id", "glue_row", "glue_time", known.log_column]
        joined = labels.join(known, window.pieces(files, None if learns else needed))
    if joined.table is not None:
        joined = joined.in_words_of(version.schema)
        observed.labelled.append(joined.table)
    if joined.labelled < config.monitor.performance.min_labelled and version.schema.labels is not None:
        for piece in window.pieces(files, [*version.schema.answers, "glue_time"]):
            sample.add(piece)
    return performance.of_version(config, source.root, version, joined, sample.table())


def trained_elsewhere(version: Version) -> bool:
    """Whether glue did not train the version, so that there is no holdout to compare performance with."""
    return bool(read_json(version.folder / "parity.json").get("adopted"))


def observe_table(source: Source, path: Path, number: int | None, now: datetime) -> Observed:
    """Observe the rows of a table. If it contains no predictions, a sample of its rows is scored."""
    from mlops_glue.scoring import Bundle

    tables.find_table(f"--current {path}", path)
    version = source.load(source.number(number))
    bundle = Bundle(version.folder, trust=source.config.package.trust)
    monitor, sample = DriftMonitor(version), RowSample(PAGE_ROWS)
    types = version.schema.types | (bundle.features.types if bundle.features else {})
    for raw in pieces_of(path, types, version.schema.decimal):
        piece = with_features(source.config, source.root, bundle, raw, path)
        monitor.add(piece)
        sample.add(piece)
    rows = sample.table()
    assert rows is not None  # a table without rows is refused
    observed = Observed(None, now, [])
    if not monitor.knows_predictions and monitor.problems:
        column, why = next(iter(monitor.problems.items()))
        observed.problems.append(f"not scored, so performance is unknown: {column}: {why}")
        monitor.problems["prediction"] = "unknown, because the rows cannot be scored"  # so the verdict is not ok
    elif not monitor.knows_predictions:
        rows = bundle.scored(rows, rows, where=str(path))
        monitor.add_predictions(rows)
    observed.versions = [VersionRows(monitor, rows)]
    if "prediction" in rows.column_names and not trained_elsewhere(version):
        joined, target = Joined(None, monitor.rows), version.schema.target
        if target in rows.column_names:
            known = rows.append_column(labels.TRUTH, as_text(rows.column(target)))
            joined = Joined(known.filter(known.column(labels.TRUTH).is_valid()), monitor.rows)
        observed.versions[0].performance = performance.of_version(source.config, source.root, version, joined, rows)
    return observed

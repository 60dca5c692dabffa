"""How each version of a window performs: by labels where there are some, else estimated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import files
from mlops_glue.errors import ConfigError, GlueError
from mlops_glue.monitoring import labels
from mlops_glue.monitoring.drift import Version
from mlops_glue.monitoring.performance import ESTIMATED_ROWS, performance
from mlops_glue.monitoring.sample import RowSample
from mlops_glue.monitoring.target import target_drift
from mlops_glue.monitoring.window import Window
from mlops_glue.parsing import as_text

if TYPE_CHECKING:
    import pyarrow as pa


class PerformanceByVersion:
    """Joins the labels with the rows of one version after another.

    Attributes:
        labelled: rows of the log with their truth, of all versions so far.
        problem: the first thing that went wrong with the labels.
    """

    def __init__(self, config: configs.Config, root: Path, window: Window) -> None:
        self._config, self._window = config, window
        self.labelled: list[pa.Table] = []
        self.problem: Exception | None = None
        self._labels: labels.Labels | None = None
        if config.monitor.labels is not None:
            try:
                self._labels = labels.read(config.monitor.labels, config.data.labels.target, root)
            except ConfigError as error:
                self.problem = configs.located(root, error)
            except GlueError as error:
                self.problem = error

    def measure(self, version: Version, rows: int, names: list[str]) -> dict[str, Any] | None:
        """The performance of a version, or None where nothing can be said of it.

        That the inputs drift is reported whatever is wrong with the labels.

        Args:
            version: the one that answered.
            rows: how many of its rows are in the window.
            names: the files of the log that have them.
        """
        if trained_elsewhere(version):
            return None
        try:
            return self._measure(version, rows, names)
        except Exception as error:
            self.problem = self.problem or error
            return None

    def _measure(self, version: Version, rows: int, names: list[str]) -> dict[str, Any]:
        answers = ["prediction", *(f"probability_{label}" for label in version.schema.labels or [])]
        monitor, joined, sample = self._config.monitor, labels.Joined(None, rows), RowSample(ESTIMATED_ROWS)
        if self._labels is not None:
            joined = labels.join(self._labels, self._window.pieces(names, self._columns(answers)))
        if joined.table is not None:
            joined = joined.in_words_of(version.schema)
            self.labelled.append(joined.table)
        estimates = joined.labelled < monitor.performance.min_labelled and version.schema.labels is not None
        for piece in self._window.pieces(names, [*answers, "glue_time"]) if estimates else ():
            sample.add(piece)
        sampled, metric = sample.table(), self._config.promote.metric
        record = performance(version.schema, version.folder, monitor.performance, metric, joined, sampled)
        if record["estimated"] and sampled is not None and sampled.num_rows < rows:
            record["sampled"] = sampled.num_rows
        return record | {"target": target_drift(version.schema, version.folder, monitor.drift, joined)}

    def _columns(self, answers: list[str]) -> list[str] | None:
        """The columns of the log that are needed; None: all, which a retraining learns from."""
        monitor = self._config.monitor
        if monitor.on_alert and monitor.retrain.data == "append":
            return None
        assert self._labels is not None
        return [*answers, "glue_request_id", "glue_row", "glue_time", self._labels.log_column]


def trained_elsewhere(version: Version) -> bool:
    """Is there no holdout that the performance could be held against?"""
    return bool(files.read_json(version.folder / "parity.json").get("adopted"))


def performance_of_table(config: configs.Config, version: Version, rows: pa.Table, total: int) -> dict[str, Any] | None:
    """How a version performs on scored rows of a table that has the truth itself, or an estimate of it.

    Args:
        config: of the project.
        version: what scored them.
        rows: all rows of the table, or a sample.
        total: how many the table has.
    """
    if "prediction" not in rows.column_names or trained_elsewhere(version):
        return None
    joined, target = labels.Joined(None, total), version.schema.target
    if target in rows.column_names:
        known = rows.append_column(labels.TRUTH, as_text(rows.column(target)))
        joined = labels.Joined(known.filter(known.column(labels.TRUTH).is_valid()), total)
    options, metric = config.monitor.performance, config.promote.metric
    record = performance(version.schema, version.folder, options, metric, joined, rows)
    record["sampled"] = rows.num_rows if rows.num_rows < total else None
    return record | {"target": target_drift(version.schema, version.folder, config.monitor.drift, joined)}

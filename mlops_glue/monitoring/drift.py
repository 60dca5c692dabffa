"""Drift of the rows that a version answered, and of its predictions, from the training data.

`mlops_glue.drift` measures the distances and their noise; the limits of `monitor.drift` are applied here. The pull
request report compares tables with the same `DriftMonitor` (`tables.compared`), but with the base commit's table as the
reference and with equal weights: the rule is the same, the numbers are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout
from mlops_glue.config import Drift, Monitor
from mlops_glue.drift import Difference, Distribution, Numbers, Reference, predictions
from mlops_glue.encoding import encode
from mlops_glue.errors import DataError, first_line
from mlops_glue.monitoring.sample import RowSample
from mlops_glue.schema import Schema
from mlops_glue.suggest import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
UNREADABLE = (ValueError, TypeError, NotImplementedError)  # from Arrow and NumPy, for values of another type
PROBLEM_LENGTH = 120
LEVEL = 0.95  # probability of no false alarm, over all columns of a window
# With this many rows, the sampling error is smaller than the noise from the 5,000 rows of a bundle's reference.
COMPARED_ROWS, LEAST_ROWS, COMPARED_CELLS = 100_000, 5_000, 4_000_000


@dataclass(frozen=True)
class Version:
    """A version of the model, with the data for monitoring it.

    Attributes:
        number: its number in the registry.
        schema: the schema in its bundle.
        reference: the reference to compare with.
        folder: its bundle.
    """

    number: int
    schema: Schema
    reference: Reference
    folder: Path

    @classmethod
    def of(cls, number: int, folder: Path) -> Version:
        """Read a version from its bundle.

        Raises:
            DataError: the bundle has no reference, or its reference has another schema.
        """
        schema = Schema.from_dict(files.read_json(folder / "schema.json"))
        return cls(number, schema, Reference.read(folder, schema), folder)


class DriftMonitor:
    """Compares a random sample of the rows that one version answered with its reference. Rows are added in pieces.

    Args:
        version: the version that answered.
        unlogged: columns that the prediction log omits or hashes.

    Attributes:
        rows: the number of rows.
        predictions: the number of rows that have a prediction column.
        unanswered: the number of rows whose prediction is missing or not finite.
        problems: why a raw column, or `prediction`, cannot be compared.
        others: columns that the version does not use.
    """

    def __init__(self, version: Version, unlogged: frozenset[str] = frozenset()) -> None:
        self.version, self.rows = version, 0
        self.predictions = self.unanswered = 0
        self.problems: dict[str, str] = {}
        self.others: set[str] = set()
        self._columns = [c for c in version.schema.columns if c.name not in unlogged]
        most = max(LEAST_ROWS, min(COMPARED_ROWS, COMPARED_CELLS // max(len(self._columns), 1)))
        self._inputs, self._predictions = RowSample(most), RowSample(most)

    def add(self, table: pa.Table) -> None:
        """Add rows. A column that is missing or has another type is recorded in `problems`."""
        self.rows += table.num_rows
        names = set(table.column_names)
        schema = self.version.schema
        known = {*(column.name for column in schema.columns), schema.target, *schema.answers}
        self.others |= names - known - layout.OWN_COLUMNS
        for column in self._columns:
            if column.name not in names:
                near = suggestion(column.name, sorted(self.others))
                self.problems[column.name] = "the column is missing" + (f" ({near})" if near else "")
        self._inputs.keep(self._encoded(self._inputs.draw(table)))
        self.add_predictions(table)

    def add_predictions(self, table: pa.Table) -> None:
        """Add the predictions, if the rows contain them."""
        import pyarrow as pa

        if "prediction" in table.column_names:
            self.predictions += table.num_rows
            self.unanswered += table.num_rows - int(answered(table.column("prediction")).sum())
        if self.version.reference.prediction is None:
            return
        try:
            values = predictions(self.version.schema, self._predictions.draw(table))
        except UNREADABLE as error:
            self.problems["prediction"] = f"has another type: {first_line(error, PROBLEM_LENGTH)}"
        else:
            if values is not None:
                self._predictions.keep(pa.table({"prediction": values}))

    @property
    def knows_predictions(self) -> bool:
        """Whether there are predictions to compare, or the reference has none."""
        if self.version.reference.prediction is None:
            return True
        return _difference(self.version.reference.prediction, self._predictions.table(), "prediction").known > 0

    def _encoded(self, table: pa.Table) -> pa.Table:
        """Encode the columns that can be read."""
        import pyarrow as pa

        encoded: dict[str, Array] = {}
        for column in self._columns:
            if column.name in self.problems:
                continue
            schema = replace(self.version.schema, columns=[column])
            try:
                encoded |= encode(table.select([column.name]), schema)
            except DataError as error:
                self.problems[column.name] = error.message.partition(": ")[2][:PROBLEM_LENGTH]
            except UNREADABLE as error:
                self.problems[column.name] = f"has another type: {first_line(error, PROBLEM_LENGTH)}"
        return pa.table(encoded)

    def verdict(self, monitor: Monitor) -> dict[str, Any]:
        """Return the verdict (`verdict` is ok, drift or not enough data), with the details of each column."""
        enough = self.rows >= monitor.min_rows
        columns, prediction = self._columns_compared(monitor.drift), self._prediction_compared(monitor.drift)
        if not enough:
            for compared in (*columns.values(), *([prediction] if prediction else [])):
                compared["drifted"] = None
        drifted = [name for name, column in columns.items() if column["drifted"]]
        share = sum(columns[name]["weight"] for name in drifted) if enough else None
        by_inputs = share is not None and share > monitor.drift.share
        by_prediction = bool(prediction and prediction["drifted"] and monitor.drift.prediction)
        return {
            "version": self.version.number,
            "rows": self.rows,
            "sampled": self._inputs.sampled,
            "predictions": self.predictions,
            "unanswered": self.unanswered,
            "verdict": "not enough data" if not enough else "drift" if by_inputs or by_prediction else "ok",
            "drift_share": share,
            "threshold": monitor.drift.share,
            "drifted": sorted(drifted, key=lambda name: -columns[name]["weight"]),
            "prediction": prediction,
            "columns": columns,
            "other_columns": sorted(self.others),
        }

    def _compare(
        self, reference: Distribution, rows: pa.Table | None, name: str, raw: str, drift: Drift
    ) -> dict[str, Any]:
        """Return the verdict on an encoded column of a sample. A raw column with a problem counts as drifted.

        All columns and the prediction together have `LEVEL` (Bonferroni).
        """
        level = 1 - (1 - LEVEL) / (sum(len(c.inputs) for c in self._columns) + 1)
        verdict = compare(reference, _difference(reference, rows, name), drift, level)
        problem = self.problems.get(raw)
        return verdict | ({} if problem is None else {"distance": None, "drifted": True, "why": problem})

    def _columns_compared(self, drift: Drift) -> dict[str, Any]:
        weights, rows = self._weights(drift), self._inputs.table()
        return {
            name: self._compare(self.version.reference.columns[name], rows, name, column.name, drift)
            | {"weight": weights[name]}
            for column in self._columns
            for name in column.inputs
        }

    def _prediction_compared(self, drift: Drift) -> dict[str, Any] | None:
        reference = self.version.reference.prediction
        if reference is None or ("prediction" not in self.problems and not self._predictions.rows):
            return None
        return self._compare(reference, self._predictions.table(), "prediction", "prediction", drift)

    def _weights(self, drift: Drift) -> dict[str, float]:
        """Return the weights of the compared columns, which sum to 1."""
        names = [name for column in self._columns for name in column.inputs]
        given = self.version.reference.weights
        weights = {name: given.get(name, 0.0) if drift.weights == "importance" else 1.0 for name in names}
        total = sum(weights.values())
        return {name: weight / total if total else 1 / len(weights) for name, weight in weights.items()}


def _difference(reference: Distribution, rows: pa.Table | None, name: str) -> Difference:
    """Return the difference of a column. A column that could not be read has no rows."""
    values = rows.column(name).to_numpy() if rows is not None and name in rows.column_names else np.empty(0)
    return reference.compare(values)


def compare(reference: Distribution, difference: Difference, drift: Drift, level: float) -> dict[str, Any]:
    """Return the verdict on a column.

    Its threshold is the configured threshold, or the noise for this number of rows if that is larger.

    Args:
        reference: the distribution to compare with.
        difference: the column's difference from the reference.
        drift: `monitor.drift`.
        level: the probability that noise is below the threshold.
    """
    configured = drift.number if reference.method == "wasserstein" else drift.category
    threshold = max(configured, reference.noise(difference.known, level))
    by_distance = difference.distance is not None and difference.distance >= threshold
    before = reference.nulls / max(reference.nulls + reference.known, 1)
    why = "distribution" if by_distance else "nulls" if _nulls_drift(reference, difference, drift, level) else None
    verdict = {
        "method": reference.method,
        "distance": difference.distance,
        "threshold": threshold,
        "drifted": why is not None,
        "why": why,
        "null_share": difference.null_share,
        "reference_null_share": before,
    }
    if isinstance(reference, Numbers):
        return verdict | {
            "out_of_range": difference.unseen,
            "range": list(reference.range) if reference.varies else None,
        }
    return verdict | {"unseen": difference.unseen}


def _nulls_drift(reference: Distribution, difference: Difference, drift: Drift, level: float) -> bool:
    """Whether the share of nulls differs by more than the configured limit and by more than noise."""
    rows, reference_rows = difference.known + difference.nulls, reference.known + reference.nulls
    if not rows:
        return False
    before = reference.nulls / max(reference_rows, 1)
    spread = math.sqrt(before * (1 - before) * (1 / rows + 1 / max(reference_rows, 1)))
    return abs(difference.null_share - before) > max(drift.nulls, NormalDist().inv_cdf(level) * spread)


def answered(values: pa.ChunkedArray) -> Array:
    """Return which predictions of an Arrow column are valid: not null, and finite if they are numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        return np.asarray(pc.fill_null(pc.is_finite(values), False).to_numpy())
    return np.asarray(values.is_valid().to_numpy())

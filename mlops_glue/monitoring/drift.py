"""Has what a version was asked, or what it said, another distribution than what it was trained on?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout
from mlops_glue.config import Drift, Monitor
from mlops_glue.drift import Numbers, Reference, Summary, counted, outcome
from mlops_glue.errors import DataError, first_line
from mlops_glue.schema import Column, Schema, encode
from mlops_glue.suggest import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE = (ValueError, TypeError, NotImplementedError)  # Arrow's and NumPy's, of values of another type
LEVEL = 0.95  # of no false alarm, over all columns of a window


@dataclass(frozen=True)
class Version:
    """A version of the model as the monitor needs it."""

    number: int
    schema: Schema
    reference: Reference
    folder: Path  # its bundle

    @classmethod
    def of(cls, number: int, folder: Path) -> Version:
        """From its bundle.

        Raises:
            DataError: the bundle has no reference, or one of another schema.
        """
        schema = Schema.from_dict(files.read_json(folder / "schema.json"))
        return cls(number, schema, Reference.read(folder / layout.REFERENCE, schema), folder)


class Watch:
    """Rows that one version answered, summarised as they come.

    Args:
        version: the one that answered.
        unlogged: columns that the prediction log leaves out or hides.
    """

    def __init__(self, version: Version, unlogged: frozenset[str] = frozenset()) -> None:
        self.version, self.rows = version, 0
        self._columns = [c for c in version.schema.columns if c.name not in unlogged]
        names = [name for column in self._columns for name in column.inputs]
        self._seen: dict[str, Summary] = {name: version.reference.columns[name].empty() for name in names}
        self._prediction = version.reference.prediction.empty() if version.reference.prediction else None
        self.problems: dict[str, str] = {}  # by raw column
        self.predictions = self.unanswered = 0  # rows that have what it said, and such to which it had no answer
        self.others: set[str] = set()  # columns that the version does not know

    def add(self, table: pa.Table) -> None:
        """Count rows; a column that is missing or of another type is a problem of that column."""
        self.rows += table.num_rows
        there = set(table.column_names)
        known = {c.name for c in self.version.schema.columns} | {self.version.schema.target, "prediction"}
        self.others |= {n for n in there - known if not n.startswith(("glue_", "probability_"))}
        for column in self._columns:
            if column.name not in there:
                near = suggestion(column.name, sorted(self.others))
                self.problems[column.name] = "the column is missing" + (f" ({near})" if near else "")
            elif column.name not in self.problems:
                self._add(column, table)
        self.predicted(table)

    def predicted(self, table: pa.Table) -> None:
        """Count what the version said, where the rows tell."""
        if "prediction" in table.column_names:
            self.predictions += table.num_rows
            self.unanswered += table.num_rows - int(answered(table.column("prediction")).sum())
        told = outcome(self.version.schema, table.column_names)
        if told is None or self._prediction is None:
            return
        try:
            _count(self._prediction, table.column(told[0]))
        except UNREADABLE as error:
            self.problems["prediction"] = f"is not what it was: {first_line(error, 120)}"

    @property
    def told(self) -> bool:
        """Is it known what the version said?"""
        return self._prediction is None or self._prediction.known > 0

    def _add(self, column: Column, table: pa.Table) -> None:
        schema = replace(self.version.schema, columns=[column])
        try:
            if column.kind == "category":
                self._seen[column.name].add(_categories(table.column(column.name), schema))  # type: ignore[arg-type]
                return
            for name, encoded in encode(table.select([column.name]), schema).items():
                _count(self._seen[name], encoded)
        except DataError as error:
            self.problems[column.name] = error.message.partition(": ")[2]
        except UNREADABLE as error:
            self.problems[column.name] = f"is not what it was: {first_line(error, 120)}"

    def verdict(self, monitor: Monitor) -> dict[str, Any]:
        """What the rows say: `verdict` is ok, drift or not enough data; the rest is why, column by column."""
        enough = self.rows >= monitor.min_rows
        told = self.version.reference.prediction
        level = 1 - (1 - LEVEL) / (len(self._seen) + 1)  # Bonferroni's, the prediction too
        judge = _Judge(monitor.drift, level, self.rows)
        columns = {name: judge.column(self.version.reference.columns[name], one) for name, one in self._seen.items()}
        raw = {name: column for column in self._columns for name in column.inputs}
        weights = self._weights(monitor.drift)
        for name, one in columns.items():
            one["weight"] = weights[name]
            one |= self._problem(raw[name].name)
        prediction = None
        said, problem = self._prediction, self._problem("prediction")
        if told is not None and said is not None and (said.known + said.nulls or problem):
            prediction = judge.column(told, said) | problem
        if not enough:
            for one in (*columns.values(), *([prediction] if prediction else [])):
                one["drifted"] = None
        return self._told(monitor, columns, prediction, enough)

    def _problem(self, name: str) -> dict[str, Any]:
        """What there is of a column that has a problem, instead of a distance."""
        return {"distance": None, "drifted": True, "why": self.problems[name]} if name in self.problems else {}

    def _told(
        self, monitor: Monitor, columns: dict[str, Any], prediction: dict[str, Any] | None, enough: bool
    ) -> dict[str, Any]:
        drifted = [name for name, one in columns.items() if one["drifted"]]
        share = sum(columns[name]["weight"] for name in drifted) if enough else None
        by_inputs = share is not None and share > monitor.drift.share
        by_prediction = bool(prediction and prediction["drifted"] and monitor.drift.prediction)
        verdict = "not enough data" if not enough else "drift" if by_inputs or by_prediction else "ok"
        return {
            "version": self.version.number,
            "rows": self.rows,
            "predictions": self.predictions,
            "unanswered": self.unanswered,
            "verdict": verdict,
            "drift_share": share,
            "threshold": monitor.drift.share,
            "drifted": sorted(drifted, key=lambda name: -columns[name]["weight"]),
            "prediction": prediction,
            "columns": columns,
            "other_columns": sorted(self.others),
        }

    def _weights(self, drift: Drift) -> dict[str, float]:
        """Of the columns that are compared; they sum to 1."""
        given = self.version.reference.weights
        weights = {name: given.get(name, 0.0) if drift.weights == "importance" else 1.0 for name in self._seen}
        total = sum(weights.values())
        return {name: one / total if total else 1 / len(weights) for name, one in weights.items()}


@dataclass(frozen=True)
class _Judge:
    """Judges one column after another by the same rules."""

    drift: Drift
    level: float
    rows: int

    def column(self, reference: Summary, seen: Summary) -> dict[str, Any]:
        """Distance and threshold: the configured one, or what chance does with so few rows, whichever is greater."""
        distance = reference.distance(seen)  # type: ignore[arg-type]
        wanted = self.drift.number if reference.method == "wasserstein" else self.drift.category
        threshold = max(wanted, reference.by_chance(seen.known, self.level))
        before, now = (one.nulls / max(one.nulls + one.known, 1) for one in (reference, seen))
        nulls = seen.known + seen.nulls > 0 and abs(now - before) > self._by_chance(before, reference)
        why = "distribution" if distance is not None and distance >= threshold else "nulls" if nulls else None
        told = {
            "method": reference.method,
            "distance": distance,
            "threshold": threshold,
            "drifted": why is not None,
            "why": why,
            "null_share": now,
            "reference_null_share": before,
        }
        if isinstance(seen, Numbers):
            drawn = list(seen.ends()) if seen.varies else None
            return told | {"out_of_range": seen.outside / max(seen.known, 1), "range": drawn}
        return told | {"unseen": int(seen.counts[-1]) / max(seen.known, 1) if seen.whole else None}

    def _by_chance(self, share: float, reference: Summary) -> float:
        """The difference of two shares that is drift."""
        spread = share * (1 - share) * (1 / max(self.rows, 1) + 1 / max(reference.known + reference.nulls, 1))
        return max(self.drift.nulls, NormalDist().inv_cdf(self.level) * math.sqrt(spread))


def _categories(values: Any, schema: Schema) -> dict[str, int]:
    """How often each category is there, as the model reads it; "" is null."""
    import pyarrow as pa

    there = values.value_counts()
    (names,) = encode(pa.table([there.field(0)], [schema.columns[0].name]), schema).values()
    out: dict[str, int] = {}
    for name, rows in zip(names.tolist(), there.field(1).to_pylist(), strict=True):
        out[name] = out.get(name, 0) + rows
    return out


def answered(values: Any) -> Any:
    """Which predictions of an Arrow column are some: null is none, and so is what is no finite number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        return pc.fill_null(pc.is_finite(values), False).to_numpy()
    return values.is_valid().to_numpy()


def _count(summary: Summary, values: Any) -> None:
    if not isinstance(summary, Numbers):
        summary.add(counted(values))
    else:
        summary.add(np.asarray(values))

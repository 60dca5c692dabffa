"""A column in numbers that do not grow with its rows, and the distance between two such summaries.

Made once of what a version was trained on, when it is packaged, and of each window that is compared with it.

The distances are Evidently's: for numbers the Wasserstein distance by the reference's standard deviation
(`wasserstein`), for categories and booleans the Jensen-Shannon distance by natural logarithms (`jensenshannon`). Nulls
are left out of both and judged by their share.

One broken row is no drift: what lies farther beyond the reference's range than `MARGIN` standard deviations counts as
so far away, and of such rows the distance leaves out as many as are `few`; `outside` counts them all the same. A
column that had one value only has no standard deviation: it is judged by the share of other values, as a category is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops_glue import tables
from mlops_glue.errors import DataError
from mlops_glue.parsing import as_text
from mlops_glue.schema import DATE_PARTS, Schema

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Method = Literal["wasserstein", "jensenshannon"]

EDGES = 400  # at most, of a number's bins: half by rank, half by value
MOST_VALUES = 1000  # of a category; what is beyond counts as one value
FEW = 5  # rows of a value; with fewer its share is not known (the rule of thumb of the chi-square test)
LEAST_SPREAD = 0.001  # Evidently's least standard deviation
MARGIN = 3.0  # standard deviations beyond the reference's range: a value that is farther counts as so far away
FEW_SHARE, FEW_ROWS = 0.01, 2  # of a table: so many rows may be broken, and are no drift
ABSURD = 10.0  # times the range of the middle rows: a reference's own value beyond is broken too
DRAWS, LARGEST = 2000, 100  # of the distances between samples of one distribution


@dataclass
class Numbers:
    """Numbers by bins `(edge, next edge]`; the first bin has no lower end, the last no upper one.

    Attributes:
        edges: ascending, shape (edges,).
        counts: rows of each bin, shape (edges + 1,).
        totals: sum of the values of each bin: with them the area under the distribution function is exact.
        spread: the reference's standard deviation.
        chance: for many samples of one distribution the largest of distance times sqrt(rows), ascending.
        nulls: rows without a value.
        outside: rows beyond the reference's least and greatest value; of a reference, broken ones that it leaves out.
        far: rows that are farther below and above than `MARGIN`; of a reference there are none.
    """

    edges: Array
    counts: Array
    totals: Array
    spread: float
    chance: Array
    nulls: int = 0
    outside: int = 0
    far: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, values: Array) -> Numbers:
        """The summary of a reference, whose values say where the edges are."""
        there = np.sort(values[~np.isnan(values)])
        known = _without_broken(there)
        ranked = known[np.append(True, known[1:] != known[:-1])] if len(known) else np.zeros(1, values.dtype)
        if len(ranked) > EDGES // 2:  # the quantiles nearest to so many ranks
            ranked = known[np.rint(np.linspace(0, 1, EDGES // 2) * (len(known) - 1)).astype(int)]
        edges = np.unique(np.concatenate([ranked, np.linspace(ranked[0], ranked[-1], EDGES // 2, dtype=values.dtype)]))
        spread = float(np.std(known, dtype=float)) if len(known) else 0.0
        made = cls(
            edges.astype(float), np.zeros(len(edges) + 1, np.int64), np.zeros(len(edges) + 1), spread, np.zeros(1)
        )
        made.nulls = len(values) - len(there)
        made._count(known)
        made.outside = len(there) - len(known)
        made.chance = made._by_chance()
        return made

    def empty(self) -> Numbers:
        """A summary with the same bins and nothing in them."""
        none = np.zeros(len(self.counts), np.int64)
        return replace(self, counts=none, totals=none.astype(float), nulls=0, outside=0, far=(0, 0))

    def add(self, values: Array) -> None:
        """Count more values; NaN is null."""
        ordered = np.sort(values)  # NaN is last
        known = ordered[: int(np.searchsorted(ordered, np.nan))]
        self.nulls += len(values) - len(known)
        self._count(known)

    def _count(self, known: Array) -> None:
        """Ascending values, none of them NaN."""
        low, high = self.ends()
        at = np.concatenate([[0], np.searchsorted(known, self.edges.astype(known.dtype), "right"), [len(known)]])
        clipped = known.astype(float).clip(low, high)
        sums = np.concatenate([[0.0], np.cumsum(clipped)])
        self.counts += np.diff(at)
        self.totals += np.diff(sums[at])
        self.outside += int(np.searchsorted(known, self.edges[0].astype(known.dtype), "left")) + int(at[-1] - at[-2])
        below, above = int(np.searchsorted(clipped, low, "right")), int(np.searchsorted(clipped, high, "left"))
        self.far = self.far[0] + below * self.varies, self.far[1] + (len(known) - above) * self.varies

    def ends(self) -> tuple[float, float]:
        """As what a value counts that is far below, or far above."""
        return within(float(self.edges[0]), float(self.edges[-1]), self.spread)

    @property
    def varies(self) -> bool:
        """Had the reference more than one value?"""
        return len(self.edges) > 1

    @property
    def method(self) -> Method:
        """The distance by which it is judged."""
        return "wasserstein" if self.varies else "jensenshannon"

    def _without_few(self) -> Numbers:
        """The same without rows that are far away, as many as are `few`: of both sides the same share."""
        far = sum(self.far)
        if not far or far == self.known:
            return self
        share, counts, totals = min(few(self.known) / far, 1.0), self.counts.astype(float), self.totals.copy()
        for at, rows, end in zip((0, -1), self.far, self.ends(), strict=True):
            counts[at] -= share * rows
            totals[at] -= share * rows * end
        return replace(self, counts=counts, totals=totals)

    @property
    def known(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    def _areas(self) -> Array:
        """The area under the distribution function over each bin, the last one: over it, shape (edges + 1,)."""
        rows, edges = self.counts.sum(), self.edges
        start = np.concatenate([[0], np.cumsum(self.counts)[:-2]]) / rows
        inside = start * np.diff(edges, prepend=edges[0]) + (self.counts[:-1] * edges - self.totals[:-1]) / rows
        return np.append(inside, (self.totals[-1] - self.counts[-1] * edges[-1]) / rows)

    def distance(self, other: Numbers) -> float | None:
        """From a reference to what is compared with it; None where one of them has no value."""
        if not self.known or not other.known:
            return None
        if not self.varies:
            share = other.outside / other.known
            return float(_jensen_shannon(np.array([1.0, 0.0]), np.array([1 - share, share])))
        return float(np.abs(self._areas() - other._without_few()._areas()).sum() / max(self.spread, LEAST_SPREAD))

    def by_chance(self, rows: int, level: float) -> float:
        """The distance that a sample of so many rows of the same distribution stays below, with this probability."""
        if not self.known or not rows:
            return 0.0
        from_top = min(int((1 - level) * DRAWS), len(self.chance) - 1)
        return float(self.chance[-1 - from_top] * (1 / self.known + 1 / rows) ** 0.5)

    def _by_chance(self) -> Array:
        """In the limit of many rows: the area under Brownian bridges (del Barrio, Giné, Matrán 1999)."""
        if not self.known or not self.varies:
            return np.zeros(1)
        share = np.cumsum(self.counts)[:-2] / self.known  # at each edge but the last
        walk = _steps()[:, : len(share)] * np.sqrt(np.diff(share, prepend=0.0))
        np.cumsum(walk, axis=1, out=walk)
        end = walk[:, -1:] + _steps()[:, -1:] * math.sqrt(1 - share[-1])
        walk -= share * end
        areas = np.abs(walk, out=walk) @ np.diff(self.edges)
        return np.sort(areas)[-LARGEST:] / max(self.spread, LEAST_SPREAD)


@dataclass
class Values:
    """Values by their counts; the last count is of all that the reference does not list.

    Attributes:
        values: those of the reference, the most frequent first.
        counts: shape (values + 1,).
        nulls: rows without a value.
        whole: does the reference list all its values, so that any other one is unseen?
    """

    values: list[str]
    counts: Array
    nulls: int = 0
    whole: bool = True

    @classmethod
    def of(cls, counted: dict[str, int]) -> Values:
        """The summary of a reference, by counts; "" is null."""
        ranked = sorted((v for v in counted if v != ""), key=lambda v: (-counted[v], v))
        kept = ranked[:MOST_VALUES]
        counts = [counted[v] for v in kept] + [sum(counted[v] for v in ranked[MOST_VALUES:])]
        return cls(kept, np.array(counts, np.int64), counted.get("", 0), len(ranked) <= MOST_VALUES)

    @property
    def method(self) -> Method:
        """The distance by which it is judged."""
        return "jensenshannon"

    def empty(self) -> Values:
        """A summary of the same values with none counted."""
        return Values(self.values, np.zeros_like(self.counts), 0, self.whole)

    def add(self, counted: dict[str, int]) -> None:
        """Count more values."""
        place = {value: at for at, value in enumerate(self.values)}
        for value, count in counted.items():
            if value == "":
                self.nulls += count
            else:
                self.counts[place.get(value, -1)] += count

    @property
    def known(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    def distance(self, other: Values) -> float | None:
        """From a reference to what is compared with it; None where one of them has no value."""
        if not self.known or not other.known:
            return None
        return float(_jensen_shannon(self._shares(self), self._shares(other)))

    def _shares(self, of: Values) -> Array:
        """Values that the reference hardly has count as one, with those that it does not list."""
        often = self.counts[:-1] >= FEW
        return np.append(of.counts[:-1][often], of.counts[:-1][~often].sum() + of.counts[-1]) / of.known

    def by_chance(self, rows: int, level: float) -> float:
        """The distance that a sample of so many rows of the same distribution stays below, with this probability."""
        if not self.known or not rows:
            return 0.0
        rng, share = np.random.default_rng(0), self._shares(self)
        draws = min(DRAWS, max(200, 1_000_000 // len(share)))
        one, two = (rng.multinomial(n, share, draws) / n for n in (self.known, rows))
        return float(np.quantile(_jensen_shannon(one, two), level, method="higher"))


Summary = Numbers | Values


def few(rows: int) -> int:
    """How many of so many rows may be broken."""
    return max(FEW_ROWS, int(FEW_SHARE * rows))


def within(first: float, last: float, spread: float) -> tuple[float, float]:
    """Between what a value is no farther away than it counts: the reference's range with a margin."""
    margin = MARGIN * max(spread, LEAST_SPREAD)
    return first - margin, last + margin


def _without_broken(ordered: Array) -> Array:
    """Ascending values of a reference without those that are absurdly far from its middle rows.

    They would make the standard deviation so great that nothing is drift any more.
    """
    out = few(len(ordered))
    if len(ordered) <= 4 * out:
        return ordered
    middle = ordered[out:-out].astype(float)
    reach = ABSURD * (middle[-1] - middle[0])
    if reach == 0:
        return ordered
    ends = middle[0] - reach, middle[-1] + reach
    return ordered[np.searchsorted(ordered, ends[0], "left") : np.searchsorted(ordered, ends[1], "right")]


def _jensen_shannon(one: Array, two: Array) -> Array:
    """Jensen-Shannon distance of shares along the last axis, natural logarithms."""
    middle = (one + two) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(share > 0, share * np.log(share / middle), 0.0).sum(axis=-1) for share in (one, two)]
    return np.asarray(np.sqrt(np.maximum(sum(parts) / 2, 0.0)))


@cache
def _steps() -> Array:
    """Standard normal, shape (DRAWS, EDGES + 1)."""
    return np.random.default_rng(0).normal(size=(DRAWS, EDGES + 1))


def inputs(schema: Schema) -> dict[str, Method]:
    """The encoded columns of a model, and the distance that each is judged by."""
    out: dict[str, Method] = {}
    for column in schema.columns:
        if column.kind == "datetime":
            out |= {
                f"{column.name}.{part}": "wasserstein" if part == "days" else "jensenshannon" for part in DATE_PARTS
            }
        else:
            out[column.name] = "wasserstein" if column.kind == "number" else "jensenshannon"
    return out


def outcome(schema: Schema, names: list[str]) -> tuple[str, Method] | None:
    """The column of scored rows that prediction drift is about: the positive class's probability, the predicted label,
    or the predicted value."""
    probable = f"probability_{schema.class_order[-1]}" if schema.task == "binary" else ""
    if probable in names:
        return probable, "wasserstein"
    if "prediction" not in names:
        return None
    return "prediction", "wasserstein" if schema.labels is None else "jensenshannon"


def counted(values: Any) -> dict[str, int]:
    """How often each value is there: of Arrow values, or of floats that are whole numbers; "" is null."""
    if isinstance(values, np.ndarray):
        found, counts = np.unique(values, return_counts=True)
        return {"" if np.isnan(v) else str(int(v)): int(n) for v, n in zip(found, counts, strict=True)}
    pairs = as_text(values).value_counts()
    names, numbers = pairs.field(0).to_pylist(), pairs.field(1).to_pylist()
    out: dict[str, int] = {}
    for name, number in zip(names, numbers, strict=True):
        out[name or ""] = out.get(name or "", 0) + number
    return out


def summarised(values: Any, method: Method) -> Summary:
    """The summary of a reference column: an Arrow column, or an array."""
    if method == "jensenshannon":
        whole = np.asarray(values) if not hasattr(values, "type") or tables.is_number(values.type) else values
        return Values.of(counted(whole))
    return Numbers.of(np.asarray(values))


@dataclass(frozen=True)
class Reference:
    """What a version is compared with.

    Attributes:
        columns: by encoded column.
        weights: share that each of them has in what the model says; they sum to 1.
        prediction: of the holdout; None where it was not kept.
    """

    columns: dict[str, Summary]
    weights: dict[str, float]
    prediction: Summary | None

    def write(self, path: Path) -> None:
        """One Parquet file, a row for each column."""
        import pyarrow as pa

        named = [*self.columns.items(), *([("prediction", self.prediction)] if self.prediction else [])]
        rows = [
            {"column": name, "weight": self.weights.get(name), **{k: _plain(v) for k, v in asdict(one).items()}}
            for name, one in named
        ]
        kept = [{field: row.get(field) for field in FIELDS} for row in rows]
        tables.write_parquet(path, pa.Table.from_pylist(kept, _layout()))

    @classmethod
    def read(cls, path: Path, schema: Schema) -> Reference:
        """The inverse of `write`.

        Raises:
            DataError: it is missing, or is of another schema or another glue.
        """
        if not path.is_file():
            raise DataError(f"{path.name}: the bundle has no reference", hint="glue run, with this glue")
        found: dict[str, Summary] = {}
        weights: dict[str, float] = {}
        table = tables.read_parquet(path)
        if not table.schema.equals(_layout()):
            raise DataError(f"{path.name}: is of another glue", hint="glue run --force, with this glue")
        for row in table.to_pylist():
            name, weight = row.pop("column"), row.pop("weight")
            try:
                found[name] = _summary(row)
                found[name].empty()
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                raise DataError(f"{path.name}: the row of {name!r} is not as glue writes it") from error
            if weight is not None:
                weights[name] = weight
        prediction = found.pop("prediction", None)
        if list(found) != list(inputs(schema)):
            raise DataError(f"{path.name}: is of another schema than the bundle's", hint="glue run")
        return cls(found, weights, prediction)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _summary(row: dict[str, Any]) -> Summary:
    kind: Any = Values if row["edges"] is None else Numbers
    given = {name: row[name] for name in kind.__dataclass_fields__ if name in FIELDS}
    made: Summary = kind(**{k: np.array(v) if k in ARRAYS else v for k, v in given.items()})
    return made


ARRAYS = ("edges", "counts", "totals", "chance")
FIELDS = ("column", "weight", "edges", "counts", "totals", "spread", "chance", "nulls", "outside", "values", "whole")


def _layout() -> pa.Schema:
    import pyarrow as pa

    types = (pa.string(), pa.float64(), pa.list_(pa.float64()), pa.list_(pa.int64()), pa.list_(pa.float64()))
    more = (pa.float64(), pa.list_(pa.float64()), pa.int64(), pa.int64(), pa.list_(pa.string()), pa.bool_())
    return pa.schema(list(zip(FIELDS, (*types, *more), strict=True)))

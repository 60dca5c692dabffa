"""The distribution of a column in a reference, and the distance of other rows from it.

The distances are Evidently's: for numbers, the Wasserstein distance divided by the reference's standard deviation
(`wasserstein`); for categories and booleans, the Jensen-Shannon distance with natural logarithms (`jensenshannon`); for
free text, the latter on its words (`words`). They ignore nulls, which are judged by their share.

One broken row is not drift: values are clipped at `MARGIN` standard deviations past the reference's range, and a `few`
such rows are ignored. A column with only one value has no standard deviation, and is judged like a category.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops_glue import files, layout, tables
from mlops_glue.encoding import encode
from mlops_glue.errors import DataError, first_line
from mlops_glue.parsing import as_text
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Method = Literal["wasserstein", "jensenshannon", "words"]

METHODS: dict[str, Method] = {"number": "wasserstein", "text": "words"}  # by kind; other kinds use jensenshannon
MIN_COUNT = 5  # rows of a value; with fewer, its share is unreliable (rule of thumb of the chi-square test)
LEAST_SPREAD = 0.001  # Evidently's least standard deviation
MARGIN = 3.0  # standard deviations beyond the reference's range
FEW_SHARE, FEW_ROWS = 0.01, 2  # share and minimum number of rows that may be broken without counting as drift
ABSURD = 10.0  # times the range of the middle rows; the reference's own values beyond that are broken too
DRAWS, DRAWN_ROWS = 4000, 200  # samples of one distribution, for the distance that is due to chance


@dataclass(frozen=True)
class Difference:
    """How some rows differ from a reference.

    Attributes:
        distance: None if one of the two has no values.
        known: number of rows with a value.
        nulls: number of rows without a value.
        unseen: share of known values outside the reference's range or values; None if these are incomplete.
    """

    distance: float | None
    known: int
    nulls: int
    unseen: float | None

    @property
    def null_share(self) -> float:
        """Return the share of nulls; 0 without rows."""
        return self.nulls / max(self.known + self.nulls, 1)


@dataclass(frozen=True)
class Numbers:
    """Numbers of a reference.

    Attributes:
        values: ascending float64, without nulls and broken values.
        nulls: number of rows without a value.
    """

    values: Array
    nulls: int = 0

    @classmethod
    def of(cls, values: Array) -> Numbers:
        """Create from a column; NaN is null."""
        known = _known(values)
        return cls(_without_broken(known), len(values) - len(known))

    @property
    def known(self) -> int:
        """Return the number of rows with a value."""
        return len(self.values)

    @property
    def varies(self) -> bool:
        """Return whether there is more than one value."""
        return self.known > 0 and bool(self.values[0] < self.values[-1])

    @property
    def method(self) -> Method:
        """Return the distance that judges the column."""
        return "wasserstein" if self.varies else "jensenshannon"

    @cached_property
    def spread(self) -> float:
        """Return the standard deviation."""
        return max(float(np.std(self.values)), LEAST_SPREAD)

    @property
    def range(self) -> tuple[float, float]:
        """Return the limits to which values are clipped."""
        return float(self.values[0]) - MARGIN * self.spread, float(self.values[-1]) + MARGIN * self.spread

    def compare(self, values: Array) -> Difference:
        """Return the difference of a column from this one; NaN is null."""
        known = _known(values)
        nulls = len(values) - len(known)
        if not self.known or not len(known):
            return Difference(None, len(known), nulls, 0.0)
        inside = np.searchsorted(known, self.values[-1], "right") - np.searchsorted(known, self.values[0], "left")
        unseen = (len(known) - int(inside)) / len(known)
        if self.varies:
            distance = wasserstein(self.values, self._without_far(known)) / self.spread
        else:
            distance = float(jensen_shannon(np.array([1.0, 0.0]), np.array([1 - unseen, unseen])))
        return Difference(distance, len(known), nulls, unseen)

    def _without_far(self, known: Array) -> Array:
        """Clip ascending values to the range, and leave out a few far values, in proportion on both sides."""
        clipped = known.clip(*self.range)
        below, above = (
            int(np.searchsorted(known, self.range[0], "right")),
            len(known) - int(np.searchsorted(known, self.range[1], "left")),
        )
        far = below + above
        if far in (0, len(known)):
            return clipped
        left_out = min(few(len(known)), far)
        first = round(left_out * below / far)
        return clipped[first : len(known) - (left_out - first)]

    def noise(self, rows: int, level: float) -> float:
        """Return the distance that `rows` rows of the same distribution stay below, with the probability `level`.

        It is estimated from samples of the reference. The distance of a sample of `DRAWN_ROWS` rows is the mean
        difference of its ordered values from the reference's quantiles; it shrinks with the square root of the rows.
        """
        if not rows or not self.varies:
            return 0.0
        drawn = np.sort(np.random.default_rng(0).choice(self.values, (DRAWS, DRAWN_ROWS)), axis=1)
        expected = np.quantile(self.values, (np.arange(DRAWN_ROWS) + 0.5) / DRAWN_ROWS)
        distances = np.abs(drawn - expected).mean(axis=1) / self.spread
        shrunk = (DRAWN_ROWS * (1 / self.known + 1 / rows)) ** 0.5
        return float(np.quantile(distances, level, method="higher") * shrunk)


@dataclass(frozen=True)
class Categories:
    """Categories of a reference.

    Attributes:
        counts: number of rows by value; 0 for a value that only training had.
        nulls: number of rows without a value.
        complete: whether all values of training are included, so that any other value is unseen.
        words: whether the values are words of texts; each row then counts as one, as in `count_words`.
    """

    counts: Mapping[str, float]
    nulls: int = 0
    complete: bool = True
    words: bool = False

    @classmethod
    def of(cls, values: Array, listed: Sequence[str] | None = ()) -> Categories:
        """Create from a column, in the form of `count`; `listed` are all values of training, None: unknown."""
        counts = count(values)
        nulls = round(counts.pop("", 0))
        return cls(dict.fromkeys(listed or (), 0) | counts, nulls, listed is not None)

    @classmethod
    def of_words(cls, texts: Array) -> Categories:
        """Create from the words of free text."""
        counts = count_words(texts)
        return cls(counts, round(counts.pop("")), complete=False, words=True)

    @property
    def known(self) -> int:
        """Return the number of rows with a value."""
        return round(sum(self.counts.values()))

    @property
    def method(self) -> Method:
        """Return the distance that judges the column."""
        return "words" if self.words else "jensenshannon"

    def compare(self, values: Array) -> Difference:
        """Return the difference of a column, in the form of `count`, from this one."""
        counts = count_words(values) if self.words else count(values)
        nulls = round(counts.pop("", 0))
        known = round(sum(counts.values()))
        distance = None
        if known and self.known:
            distance = float(jensen_shannon(self._shares(self.counts), self._shares(counts)))
        new = sum(rows for value, rows in counts.items() if value not in self.counts)
        return Difference(distance, known, nulls, new / max(known, 1) if self.complete else None)

    def _shares(self, counts: Mapping[str, float]) -> Array:
        """Return shares by value; values that are rare in, or missing from, the reference are combined."""
        frequent = [counts.get(value, 0) for value, rows in self.counts.items() if rows >= MIN_COUNT]
        total = sum(counts.values())
        return np.array([*frequent, total - sum(frequent)]) / total

    def noise(self, rows: int, level: float) -> float:
        """Return the distance that `rows` rows of the same distribution stay below, with the probability `level`."""
        if not rows or not self.known:
            return 0.0
        rng, shares = np.random.default_rng(0), self._shares(self.counts)
        draws = min(DRAWS, max(200, 1_000_000 // len(shares)))
        one, two = (rng.multinomial(n, shares, draws) / n for n in (self.known, rows))
        return float(np.quantile(jensen_shannon(one, two), level, method="higher"))


Distribution = Numbers | Categories


def _known(values: Array) -> Array:
    """Return ascending float64 without NaN."""
    ordered = np.sort(values.astype(float))  # NaN is last
    return ordered[: int(np.searchsorted(ordered, np.nan))]


def few(rows: int) -> int:
    """Return the number of rows, out of `rows`, that may be broken."""
    return max(FEW_ROWS, int(FEW_SHARE * rows))


def _without_broken(ordered: Array) -> Array:
    """Remove values of a reference that are absurdly far from its middle rows.

    They would inflate the standard deviation so much that nothing would count as drift.
    """
    out = few(len(ordered))
    if len(ordered) <= 4 * out:
        return ordered
    middle = ordered[out:-out]
    reach = ABSURD * (middle[-1] - middle[0])
    if reach == 0:
        return ordered
    ends = middle[0] - reach, middle[-1] + reach
    return ordered[np.searchsorted(ordered, ends[0], "left") : np.searchsorted(ordered, ends[1], "right")]


def wasserstein(one: Array, two: Array) -> float:
    """Return the area between the distribution functions of two ascending arrays."""
    every = np.sort(np.concatenate([one, two]))
    shares = [np.searchsorted(values, every[:-1], "right") / len(values) for values in (one, two)]
    return float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(every)))


def jensen_shannon(one: Array, two: Array) -> Array:
    """Return the Jensen-Shannon distance of shares along the last axis, with natural logarithms."""
    middle = (one + two) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(share > 0, share * np.log(share / middle), 0.0).sum(axis=-1) for share in (one, two)]
    return np.asarray(np.sqrt(np.maximum(sum(parts) / 2, 0.0)))


def count(values: Array) -> dict[str, float]:
    """Count each value of text, or of floats that are whole numbers; "" is null."""
    if values.dtype == object:
        return dict(Counter(values.tolist()))
    found, counts = np.unique(values, return_counts=True)
    return {"" if np.isnan(v) else str(int(v)): int(n) for v, n in zip(found, counts, strict=True)}


def count_words(texts: Array) -> dict[str, float]:
    """Count each word, scaled so that a row with words counts as one; "" counts rows without words."""
    counts = Counter(word for text in texts.tolist() for word in text.split())
    nulls = int((texts == "").sum())
    scale = (len(texts) - nulls) / max(counts.total(), 1)
    return {"": float(nulls)} | {word: number * scale for word, number in counts.items()}


def drift_methods(schema: Schema) -> dict[str, Method]:
    """Return the distance that judges each encoded column of a model."""
    out: dict[str, Method] = {}
    for column in schema.columns:
        if column.kind == "datetime":
            out |= dict.fromkeys(column.inputs, "jensenshannon")
            out[column.inputs[0]] = "wasserstein"  # days
        else:
            out[column.name] = METHODS.get(column.kind, "jensenshannon")
    return out


def prediction_column(schema: Schema, names: list[str]) -> tuple[str, Method] | None:
    """Return the column of scored rows for prediction drift, and its distance.

    The column is the positive class's probability, the predicted label, or the predicted value.
    """
    probability = f"probability_{schema.class_order[-1]}" if schema.task == "binary" else ""
    if probability in names:
        return probability, "wasserstein"
    if "prediction" not in names:
        return None
    return "prediction", "wasserstein" if schema.labels is None else "jensenshannon"


def predictions(schema: Schema, table: pa.Table) -> Array | None:
    """Return that column as float64, or as text in which "" is null; None if the table lacks it.

    Raises:
        ValueError, TypeError, NotImplementedError: the column has another type.
    """
    import pyarrow.compute as pc

    found = prediction_column(schema, table.column_names)
    if found is None:
        return None
    name, method = found
    values = table.column(name)
    if method == "wasserstein":
        return np.asarray(values.to_numpy().astype(float))
    return np.asarray(pc.fill_null(as_text(values), "").to_numpy())


def distribution(values: Array, method: Method, listed: Sequence[str] | None = ()) -> Distribution:
    """Create the distribution of a reference's encoded column; `listed` is as for `Categories.of`."""
    if method == "words":
        return Categories.of_words(values)
    return Categories.of(values, listed) if method == "jensenshannon" else Numbers.of(values)


@dataclass(frozen=True)
class Reference:
    """The reference data of a version.

    Attributes:
        columns: distribution by encoded column.
        weights: importance of each column to the model; they sum to 1.
        prediction: distribution of the holdout's predictions; None if it was not stored.
    """

    columns: dict[str, Distribution]
    weights: dict[str, float]
    prediction: Distribution | None

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        predicted: pa.Table,
        schema: Schema,
        *,
        where: str = "reference",
        weights: dict[str, float] | None = None,
    ) -> Reference:
        """Create from raw rows for the inputs, and scored rows for the predictions; `where` names the table in errors.

        Without weights, all encoded columns have equal weights.
        """
        methods, encoded = drift_methods(schema), encode(rows, schema, where=where)
        listed = {column.name: column.categories for column in schema.columns if column.kind == "category"}
        columns = {name: distribution(encoded[name], method, listed.get(name, ())) for name, method in methods.items()}
        found, values = prediction_column(schema, predicted.column_names), predictions(schema, predicted)
        prediction = None if found is None or values is None else distribution(values, found[1])
        return cls(columns, weights or dict.fromkeys(columns, 1 / len(columns)), prediction)

    @classmethod
    def read(cls, folder: Path, schema: Schema) -> Reference:
        """Read from a bundle: its sample of training rows, and the predictions for the holdout.

        Raises:
            DataError: the sample is missing, or has another schema.
        """
        path = folder / layout.SAMPLE
        if not path.is_file():
            raise DataError(f"{path.name}: the bundle has no reference", hint="glue run, with this version of glue")
        try:
            train, test = (sample_part(tables.read_parquet(path), part) for part in ("train", "test"))
            return cls.of(train, test, schema, where=path.name, weights=_weights(folder / layout.HOLDOUT))
        except (ValueError, TypeError, KeyError, OSError, NotImplementedError) as error:  # includes Arrow's errors
            raise DataError(
                f"{path.name}: cannot be used as a reference: {first_line(error)}", hint="glue run"
            ) from error


def _weights(path: Path) -> dict[str, float] | None:
    """Read the weights of a bundle; None if it has none, because it was trained elsewhere.

    Raises:
        ValueError: the weights are invalid.
    """
    weights = files.read_json(path).get("weights") if path.is_file() else None
    if weights is None:
        return None
    if not isinstance(weights, dict) or not all(type(w) in (int, float) and 0 <= w <= 1 for w in weights.values()):
        raise ValueError(f"the weights in {path.name} are not between 0 and 1")
    return weights


def sample_part(sample: pa.Table, part: str) -> pa.Table:
    """Return the rows of a bundle's sample that belong to `train` or `test`."""
    import pyarrow.compute as pc

    return sample.filter(pc.equal(sample.column(layout.SPLIT_COLUMN), part))

"""Detect what makes metrics too good to be true: a column that is the target, holdout rows that training has seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from mlops_glue.schema import Schema

Array = np.ndarray[Any, Any]


class Values(Protocol):
    """The values of a column."""

    def __getitem__(self, which: slice, /) -> Any:
        """Return some of the values."""

    def to_numpy(self) -> Any:
        """Return all values."""


class Columns(Protocol):
    """Encoded features by name: a frame, or an object that reads a column on access."""

    def __getitem__(self, name: str, /) -> Values:
        """Return a column."""


Part = tuple[Columns, Array]  # encoded features and target of the training rows, or of the holdout
SCREENED_ROWS = 2000  # enough to show for most columns that they are not the target
MIN_ROWS = 30  # of a column to judge it
MIN_NULLS = 5  # rows with null, and rows without, to judge whether null itself predicts the target
MAX_CHANCE = 1e-5  # probability that an uninformative column separates the classes into ranges
MIN_DISTINCT = 10  # values of a number that may copy a regression's target; rows of each value of a category
MIN_CORRELATION = 0.99999  # of a linear copy that was rounded
MIN_DUPLICATES, MAX_DUPLICATE_SHARE = 5, 0.02  # of the holdout; fewer are not reported
MAX_EXPECTED = 0.005  # expected number of rows that equal a pair by chance, for the pair to count as duplicates
EXAMINED_PAIRS, COMPARED_ROWS = 500, 100_000  # pairs that are examined, rows that they are compared with


def target_leakage(schema: Schema, train: Part, test: Part, *, good: bool) -> list[str]:
    """Return a line for each column that alone determines the target.

    A number that only has the same order as a regression's target is reported only with a `good` (nearly perfect)
    score; otherwise it may be a trend.
    """
    lines = []
    step = max(1, len(train[1]) // SCREENED_ROWS)
    screened, every = _codes(train[1][::step], schema), None
    for column in schema.columns:
        for name in column.inputs:
            if explain_leak(train[0][name][::step].to_numpy(), screened, good) is None:
                continue
            every = every or _codes(np.concatenate([train[1], test[1]]), schema)
            values = np.concatenate([train[0][name].to_numpy(), test[0][name].to_numpy()])
            leak = explain_leak(values, every, good)
            if leak is not None:
                lines.append(f"column {column.name!r} {leak}: is it known before the target? if not, features.exclude")
                break
    return lines


def _codes(target: Array, schema: Schema) -> tuple[Array, Any]:
    """Return class numbers and the classes; for a regression the values and None."""
    return (target, None) if schema.labels is None else pd.factorize(target)


def explain_leak(values: Array, target: tuple[Array, Any], good: bool) -> str | None:
    """Return how a column determines the target; None if it does not."""
    truth, classes = target
    null = values == "" if values.dtype == object else np.isnan(values)
    if len(truth) < MIN_ROWS:
        return None
    if null.any() and MIN_NULLS <= null.sum() <= len(null) - MIN_NULLS:
        first = truth[null][0]
        if np.array_equal(truth == first, null):
            return f"is null exactly where the target is {first if classes is None else classes[first]!s}"
    values, truth = values[~null], truth[~null]
    if len(values) < max(MIN_ROWS, len(null) / 2):
        return None
    if classes is None:
        return _numeric_copy(values, truth, good) if values.dtype != object else None
    if not beyond_chance(np.bincount(truth)):
        return None
    leaks = values.dtype != object and ranges_are_disjoint(values, truth, len(classes))
    if not leaks and (values.dtype == object or len(np.unique(values[:50])) <= 25):
        codes, distinct = pd.factorize(values)
        if len(distinct) * MIN_DISTINCT <= len(values):
            leaks = len(np.unique(codes * len(classes) + truth)) == len(distinct)
    return "alone determines the target without error" if leaks else None


def beyond_chance(counts: Array) -> bool:
    """Return whether few of all orders of the rows have each class in one block; `counts` are the rows per class."""
    present = counts[counts > 0]
    pieces = math.lgamma(len(present) + 1) + math.fsum(math.lgamma(n + 1) for n in present.tolist())
    return len(present) > 1 and pieces - math.lgamma(int(present.sum()) + 1) < math.log(MAX_CHANCE)


def ranges_are_disjoint(values: Array, truth: Array, classes: int) -> bool:
    """Return whether the ranges of the classes' values do not overlap."""
    low, high = np.full(classes, np.inf), np.full(classes, -np.inf)
    np.minimum.at(low, truth, values)
    np.maximum.at(high, truth, values)
    present = np.flatnonzero(low <= high)
    order = present[np.argsort(low[present])]
    return bool((high[order][:-1] < low[order][1:]).all())


def _numeric_copy(values: Array, truth: Array, good: bool) -> str | None:
    """Return how a number copies a regression's target; None if it does not."""
    if min(len(np.unique(values)), len(np.unique(truth))) < MIN_DISTINCT:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        if abs(np.corrcoef(values.astype(float), truth)[0, 1]) > MIN_CORRELATION:
            return "is a linear copy of the target"
    if not good:
        return None
    rises = (np.diff(values[np.lexsort((values, truth))]) >= 0).all()
    falls = (np.diff(values[np.lexsort((-values, truth))]) <= 0).all()
    return "has exactly the order of the target" if rises or falls else None


class Duplicates(NamedTuple):
    """Rows of the holdout that are duplicates of training rows."""

    rows: int
    examined: int  # number of equal rows that were examined
    equal: int  # number of rows that equal a training row, possibly by chance


NO_DUPLICATES = Duplicates(0, 0, 0)


def duplicate_rows(train: Part, test: tuple[pd.DataFrame, Array]) -> Duplicates:
    """Return how many rows of the holdout duplicate training rows, including the target; 0 if they are few.

    If columns have few values, rows are equal by chance. For true duplicates, hardly any other row differs from the
    pair in only one column. The number of such rows, and the frequency of the pair's value in that column, give the
    number of rows expected to equal the pair by chance. So nothing is reported if a single number distinguishes the
    rows: its values do not show whether it is measured so finely that no two are equal by chance, or is a ratio of
    small numbers.
    """
    (learnt, seen), (held, truth) = train, test
    enough = max(MIN_DUPLICATES, MAX_DUPLICATE_SHARE * len(truth))

    def is_text(name: str | None) -> bool:
        return bool((truth if name is None else held[name]).dtype == object)

    # numbers are faster, and usually distinguish the rows; None is the target
    names: list[str | None] = sorted([*held.columns, None], key=is_text)
    drawn = np.random.default_rng(0).integers(1 << 62, size=len(names)).astype(np.uint64)
    factors = drawn * np.uint64(2) + np.uint64(1)

    def hashed(at: int) -> Array:
        name = names[at]
        values = np.concatenate((seen, truth) if name is None else (learnt[name].to_numpy(), held[name].to_numpy()))
        made = pd.util.hash_array(pd.factorize(values)[0] if values.dtype == object else values)
        return np.asarray(made * factors[at])

    total: Array = np.zeros(len(seen) + len(truth), np.uint64)
    equal: Array = np.arange(len(truth))
    for at, name in enumerate(names):
        total += hashed(at)
        numbers_end = at + 1 < len(names) and is_text(names[at + 1]) and not is_text(name)
        if at + 1 == len(names) or numbers_end:
            equal = np.flatnonzero(pd.Series(total[len(seen) :]).isin(total[: len(seen)]))
            if len(equal) < enough:
                return NO_DUPLICATES
    examined = len(seen) + equal[:: 1 + len(equal) // EXAMINED_PAIRS]
    expected = _expected(map(hashed, range(len(names))), total, examined)
    rows = round(len(equal) * float((expected < MAX_EXPECTED).mean()))
    return Duplicates(rows if rows >= enough else 0, len(examined), len(equal))


def _expected(hashes: Iterable[Array], total: Array, examined: Array) -> Array:
    """Return how many rows are expected to equal each examined row by chance, shape (examined,).

    Args:
        hashes: for each column the hash of each row, shape (rows,).
        total: the sum of the hashes, which identifies a row, shape (rows,).
        examined: the numbers of the examined rows.
    """
    distinct = np.flatnonzero(~pd.Series(total).duplicated())
    step = 1 + len(distinct) // COMPARED_ROWS
    distinct = distinct[::step]
    expected = np.zeros(len(examined))
    for hashed in hashes:
        differ_here = count_others(total[distinct] - hashed[distinct], total[examined] - hashed[examined]) * step
        # plus one for rows that the data does not contain
        same_value = (1 + count_others(hashed[distinct], hashed[examined])) / len(distinct)
        expected = np.maximum(expected, differ_here * same_value)
    return expected


def count_others(values: Array, examined: Array) -> Array:
    """Return how many other values equal each examined value; `values` contains the examined values too."""
    found, place = np.unique(examined, return_inverse=True)
    at = np.searchsorted(found, values).clip(max=len(found) - 1)
    return (np.bincount(at[found[at] == values], minlength=len(found))[place] - 1).clip(0)

"""What may make metrics too good to be true: a column that is the target, holdout rows that training has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlops_glue.schema import Schema

Array = np.ndarray[Any, Any]
Part = tuple[pd.DataFrame, Array]  # encoded features and target of the training rows, or of the holdout
LOOKED_AT = 2000  # rows, which show of most columns that they do not tell
ROWS, LEAST = 30, 5  # of a column, and with or without null
CHANCE = 1e-5  # of classes that lie in ranges of their own in a column that knows nothing of them
DISTINCT = 10  # values of a number that a regression's target may be a copy of; rows of each value of a category
STRAIGHT = 0.99999  # correlation of a linear copy, rounded
TWINS, BY_CHANCE = 0.02, 0.005  # share of the holdout; rows that should be equal to one
PICKED, MOST = 500, 100_000  # rows that are looked at more closely, and those that they are compared with


def leaks(schema: Schema, train: Part, test: Part, *, good: bool) -> list[str]:
    """A line for each column that tells the target by itself.

    Args:
        schema: of the model.
        train: the training rows.
        test: the holdout.
        good: is the score nearly perfect? A number that only has the order of a regression's target may be a trend.
    """
    out = []
    every = max(1, len(train[1]) // LOOKED_AT)
    few, known = _codes(train[1][::every], schema), None
    for column in schema.columns:
        for name in column.inputs:
            if _told(train[0][name].to_numpy()[::every], few, good) is None:
                continue
            known = known or _codes(np.concatenate([train[1], test[1]]), schema)
            said = _told(np.concatenate([train[0][name].to_numpy(), test[0][name].to_numpy()]), known, good)
            if said is not None:
                out.append(f"column {column.name!r} {said}: is it known before the target is? else features.exclude")
                break
    return out


def _codes(target: Array, schema: Schema) -> tuple[Array, Any]:
    """Class numbers and the classes; or the values, and None."""
    return (target, None) if schema.labels is None else pd.factorize(target)


def _told(values: Array, target: tuple[Array, Any], good: bool) -> str | None:
    """How a column tells the target; None where it does not."""
    truth, classes = target
    null = values == "" if values.dtype == object else np.isnan(values)
    if len(truth) < ROWS:
        return None
    if null.any() and LEAST <= null.sum() <= len(null) - LEAST:
        one = truth[null][0]
        if np.array_equal(truth == one, null):
            return f"is null exactly where the target is {one if classes is None else classes[one]!s}"
    values, truth = values[~null], truth[~null]
    if len(values) < max(ROWS, len(null) / 2):
        return None
    if classes is None:
        return _copied(values, truth, good) if values.dtype != object else None
    if not _no_chance(np.bincount(truth)):
        return None
    tells = values.dtype != object and _apart(values, truth, len(classes))
    if not tells and (values.dtype == object or len(np.unique(values[:50])) <= 25):
        found, distinct = pd.factorize(values)
        if len(distinct) * DISTINCT <= len(values):
            tells = len(np.unique(found * len(classes) + truth)) == len(distinct)
    return "alone tells the target without a mistake" if tells else None


def _no_chance(counts: Array) -> bool:
    """Of all orders of the rows, few have each class in one piece."""
    there = counts[counts > 0]
    pieces = math.lgamma(len(there) + 1) + sum(math.lgamma(n + 1) for n in there.tolist())
    return len(there) > 1 and pieces - math.lgamma(int(there.sum()) + 1) < math.log(CHANCE)


def _apart(values: Array, truth: Array, classes: int) -> bool:
    """Has each class a range of its own?"""
    low, high = np.full(classes, np.inf), np.full(classes, -np.inf)
    np.minimum.at(low, truth, values)
    np.maximum.at(high, truth, values)
    there = np.flatnonzero(low <= high)
    order = there[np.argsort(low[there])]
    return bool((high[order][:-1] < low[order][1:]).all())


def _copied(values: Array, truth: Array, good: bool) -> str | None:
    if min(len(np.unique(values)), len(np.unique(truth))) < DISTINCT:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        if abs(np.corrcoef(values.astype(float), truth)[0, 1]) > STRAIGHT:
            return "is a linear copy of the target"
    if not good:
        return None
    up = (np.diff(values[np.lexsort((values, truth))]) >= 0).all()
    down = (np.diff(values[np.lexsort((-values, truth))]) <= 0).all()
    return "has the order of the target without a mistake" if up or down else None


@dataclass(frozen=True)
class Twins:
    """Rows of the holdout that are copies: how many, judged by so many of those that are equal to a training row."""

    rows: int
    looked: int
    equal: int

    def __str__(self) -> str:
        return f"{'about ' if self.looked < self.equal else ''}{self.rows:,}"

    @property
    def judged(self) -> str:
        """Of how many rows the number is, where not of all."""
        return (
            f", judged by {self.looked:,} of {self.equal:,} that are equal to one" if self.looked < self.equal else ""
        )


def twins(train: Part, test: Part) -> Twins:
    """How many rows of the holdout are copies of training rows, target and all; 0 where they are few.

    Where columns have few values, rows are equal by chance. It is no chance where hardly any row differs from a pair
    in one column only: by others that do, and by how often the pair's value is there, one can say how many rows should
    be equal to it. So none is told where one number alone tells rows apart: whether that is measured so finely that no
    two are equal by chance, or is a ratio of small numbers, its values do not say. Nor where such a number differs.
    """
    (learnt, seen), (held, truth) = train, test
    least = max(LEAST, TWINS * len(truth))
    parts = [(learnt[name].to_numpy(), held[name].to_numpy()) for name in learnt.columns] + [(seen, truth)]
    parts.sort(key=lambda one: one[0].dtype == object)  # numbers are quicker, and mostly enough to tell rows apart
    odd = np.random.default_rng(0).integers(1 << 62, size=len(parts)).astype(np.uint64) * np.uint64(2) + np.uint64(1)
    hashes: list[Array] = []
    whole: Array = np.zeros(len(seen) + len(truth), np.uint64)
    again: Array = np.arange(len(truth))
    for at, (one, factor) in enumerate(zip(parts, odd, strict=True)):
        values = np.concatenate(one)
        hashes.append(pd.util.hash_array(pd.factorize(values)[0] if values.dtype == object else values) * factor)
        whole += hashes[-1]
        if at + 1 == len(parts) or (values.dtype != object and parts[at + 1][0].dtype == object):
            again = np.flatnonzero(pd.Series(whole[len(seen) :]).isin(whole[: len(seen)]))
            if len(again) < least:
                return Twins(0, 0, 0)
    distinct = np.flatnonzero(~pd.Series(whole).duplicated())
    step = 1 + len(distinct) // MOST
    distinct = distinct[::step]
    picked = len(seen) + again[:: 1 + len(again) // PICKED]
    expected = np.zeros(len(picked))
    for hashed in hashes:
        others = _count(whole[distinct] - hashed[distinct], whole[picked] - hashed[picked]) * step
        same = (1 + _count(hashed[distinct], hashed[picked])) / len(distinct)  # one more: of what was not seen yet
        expected = np.maximum(expected, others * same)
    copies = round(len(again) * float((expected < BY_CHANCE).mean()))
    return Twins(copies if copies >= least else 0, len(picked), len(again))


def _count(all_of: Array, asked: Array) -> Array:
    """How many others are equal to each that is asked for."""
    found, place = np.unique(asked, return_inverse=True)
    at = np.searchsorted(found, all_of).clip(max=len(found) - 1)
    return (np.bincount(at[found[at] == all_of], minlength=len(found))[place] - 1).clip(0)

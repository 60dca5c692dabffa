"""Explanations of predictions: the contribution of each column, and a check that the contributions add up.

The contributions are Shapley values, estimated from random orders of the columns, each also reversed (Štrumbelj and
Kononenko 2014; antithetic sampling as in Mitchell et al. 2022). They only call the packaged model, so they work for any
model, and a category is a single column, not a column per value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, tables
from mlops_glue.drift import sample_part
from mlops_glue.errors import DataError
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]
Score = Callable[[Inputs], tuple[Array, Array | None]]  # scores encoded rows, in the form that `metrics` takes
BACKGROUND = 25  # training rows, whose values replace columns that are not known yet
TOLERANCE = 1e-4  # of a probability, or of the spread of the values: rounding error of float32 sums
MAX_CELLS = 2_000_000  # maximum cells to score together


@dataclass(frozen=True)
class Explained:
    """The predictions for some rows, split into contributions.

    Attributes:
        columns: the raw columns.
        answer: the explained output, shape (rows,): the probability of the positive class, in a multiclass task of the
            predicted class, or the value.
        base: the model's mean output on the background, shape (rows,).
        contributions: contribution of each column, shape (rows, columns); with the base, they add up to the answer.
        gap: the largest difference between the sum and the answer.
        holds: whether the gap is within rounding error.
    """

    columns: list[str]
    answer: Array
    base: Array
    contributions: Array
    gap: float
    holds: bool


class Explainer:
    """Explains the predictions of a model.

    Args:
        schema: schema of the model.
        score: the model: class indices and probabilities in the order of `schema.class_order`, or values and None.
        background: encoded rows of the training data; at most `BACKGROUND` of them are used.
        seed: seed of the orders and of the background.
    """

    def __init__(self, schema: Schema, score: Score, background: Inputs, seed: int = 0) -> None:
        self._schema, self._score = schema, score
        self.columns = [column.name for column in schema.columns]
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(len(next(iter(background.values()))))[:BACKGROUND])
        self._background = {kind: matrix[rows] for kind, matrix in background.items()}
        at = {name: number for number, column in enumerate(schema.columns) for name in column.inputs}
        self._owner = {"number": [at[n] for n in schema.numeric], "text": [at[n] for n in schema.text]}
        self._known, self._order = _chains(len(self.columns), len(rows), rng)
        self._spread = 1.0 if schema.labels is not None else float(np.std(self._answers(self._background)[0])) or 1.0

    def explain(self, inputs: Inputs) -> Explained:
        """Explain the predictions for encoded rows."""
        answer, chosen = self._answers(inputs)
        parts = [self._of(part, chosen[at]) for at, part in self._pieces(inputs)]
        base, contributions = (np.concatenate(each) for each in zip(*parts, strict=True))
        gap = float(np.max(abs(base + contributions.sum(axis=1) - answer), initial=0.0))
        return Explained(self.columns, answer, base, contributions, gap, gap <= TOLERANCE * self._spread)

    def _pieces(self, inputs: Inputs) -> Iterator[tuple[slice, Inputs]]:
        """Yield pieces of the rows that fit into memory, with their positions."""
        rows = len(next(iter(inputs.values())))
        width = self._schema.cells
        several = max(1, MAX_CELLS // (len(self._known) * width))
        for start in range(0, max(rows, 1), several):  # 0 rows are one empty piece
            at = slice(start, min(start + several, rows))
            yield at, {kind: matrix[at] for kind, matrix in inputs.items()}

    def _of(self, inputs: Inputs, chosen: Array) -> tuple[Array, Array]:
        """Return base and contributions of some rows; `chosen` is the class to explain for each row."""
        rows, steps = len(chosen), len(self._known)
        mixed = {}
        for kind, matrix in inputs.items():
            known = self._known[:, self._owner[kind]]  # (steps, columns of this kind)
            background = self._background[kind][self._order["row"]]
            mixed[kind] = np.where(known[None], matrix[:, None], background[None]).reshape(
                rows * steps, matrix.shape[1]
            )
        values = self._answers(mixed, np.repeat(chosen, steps))[0].reshape(rows, steps)
        base = values[:, self._order["first"]].mean(axis=1)
        gained = values[:, self._order["after"]] - values[:, self._order["before"]]
        contributions = np.zeros((rows, len(self.columns)))
        np.add.at(contributions.T, self._order["column"], gained.T)
        return base, contributions / len(self._order["first"])

    def _answers(self, inputs: Inputs, chosen: Array | None = None) -> tuple[Array, Array]:
        """Return the output to explain for each row, float64, and its class number."""
        value, probability = self._score(inputs)
        if probability is None:
            return value.astype(np.float64), np.zeros(len(value), np.int64)
        if chosen is None:
            chosen = np.ones(len(value), np.int64) if len(self._schema.class_order) == 2 else value.astype(np.int64)
        return probability[np.arange(len(value)), chosen].astype(np.float64), chosen


def of_bundle(bundle: Bundle, folder: Path, seed: int = 0) -> Explainer:
    """Create the explainer of a packaged model, whose folder contains rows of the training data.

    Raises:
        DataError: the bundle has no such rows.
    """
    try:
        sample = sample_part(tables.read_parquet(folder / layout.SAMPLE), "train")
    except OSError as error:
        raise DataError(f"{layout.SAMPLE}: is missing from the bundle, and explanations need it") from error

    def score(inputs: Inputs) -> tuple[Array, Array | None]:
        value, probability = bundle.score(inputs)
        return (value, None) if bundle.schema.labels is None else bundle.indices(value, probability)

    columns = [column.name for column in bundle.schema.columns]
    return Explainer(bundle.schema, score, bundle.encoded(sample.select(columns), where=layout.SAMPLE), seed)


def added(columns: Sequence[str]) -> list[str]:
    """Return the columns that an explanation adds to rows: `base`, and `contribution_<column>` for each raw column.

    If a raw column has such a name, underscores are added to it.
    """
    taken = set(columns)
    names = []
    for name in ("base", *(f"contribution_{column}" for column in columns)):
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return names


def appended(scored: pa.Table, explained: Explained) -> pa.Table:
    """Add the columns of an explanation to scored rows.

    Raises:
        DataError: the rows already have a column with such a name, which is no column of the model.
    """
    import pyarrow as pa

    for name, values in zip(added(explained.columns), (explained.base, *explained.contributions.T), strict=True):
        if name in scored.column_names:
            raise DataError(f"the input already has a column {name!r}", hint="rename or remove the column")
        scored = scored.append_column(name, pa.array(values))
    return scored


def _chains(columns: int, backgrounds: int, rng: np.random.Generator) -> tuple[Array, dict[str, Array]]:
    """Return which columns are the row's own at each step, shape (steps, columns), and the order of the steps.

    For each background row, there is a random order of the columns and its reverse; each step adds one known column.

    Returns:
        The steps, and by name: `row`, the background row of each step; `first`, the steps with no known column; and
        for each gain its `column`, and the steps `before` and `after` it.
    """
    known: list[Array] = []
    steps: dict[str, list[int]] = {name: [] for name in ("row", "first", "column", "before", "after")}
    for background in range(backgrounds):
        order = rng.permutation(columns)
        for there in (order, order[::-1]):
            start = len(steps["row"])
            known.append(np.argsort(there)[None] < np.arange(columns + 1)[:, None])
            steps["row"] += [background] * (columns + 1)
            steps["first"].append(start)
            steps["column"] += there.tolist()
            steps["before"] += range(start, start + columns)
            steps["after"] += range(start + 1, start + columns + 1)
    return np.concatenate(known), {name: np.array(values) for name, values in steps.items()}

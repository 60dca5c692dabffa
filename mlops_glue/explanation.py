"""Why a model says what it says of a row: how much each column adds to the answer, and the proof that it adds up.

The contributions are Shapley values, estimated by random orders of the columns, each taken there and back (Štrumbelj
and Kononenko 2014; antithetic as in Mitchell et al. 2022). They ask the packaged model alone, so they fit any of them,
and a category is one column, not one for each of its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
Score = Callable[[Inputs], tuple[Array, Array | None]]  # of encoded rows, in the form that `metrics` takes
BACKGROUND = 25  # rows of the training data: a column that is not known yet has their values
TOLERANCE = 1e-4  # of a probability, or of the spread of the values: float32 rounds so much in a sum
MAX_CELLS = 2_000_000  # of rows that the model scores together


@dataclass(frozen=True)
class Explained:
    """The answers of a model to some rows, taken apart.

    Attributes:
        columns: the raw columns.
        answer: what is explained, shape (rows,): the probability of the positive class, of several classes that of the
            predicted one, or the value.
        base: what the model says on average of the background, shape (rows,).
        contributions: of each column, shape (rows, columns); with the base they add up to the answer.
        gap: how far from the answer the sum is, at most.
        holds: is that no more than rounding makes?
    """

    columns: list[str]
    answer: Array
    base: Array
    contributions: Array
    gap: float
    holds: bool


class Explainer:
    """Explains the answers of one model.

    Args:
        schema: of the model.
        score: the model: class indices and probabilities in the order of `schema.class_order`, or values and None.
        background: encoded rows of the training data; at most `BACKGROUND` of them are taken.
        seed: of the orders and of the background.
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
        """Take the answers to encoded rows apart."""
        answer, chosen = self._answers(inputs)
        parts = [self._of(part, chosen[at]) for at, part in self._pieces(inputs)]
        base, contributions = (np.concatenate(each) for each in zip(*parts, strict=True))
        gap = float(np.max(abs(base + contributions.sum(axis=1) - answer), initial=0.0))
        return Explained(self.columns, answer, base, contributions, gap, gap <= TOLERANCE * self._spread)

    def _pieces(self, inputs: Inputs) -> Iterator[tuple[slice, Inputs]]:
        """As many rows at a time as fit, with where they are."""
        rows = len(next(iter(inputs.values())))
        width = self._schema.cells
        several = max(1, MAX_CELLS // (len(self._known) * width))
        for start in range(0, max(rows, 1), several):  # of no rows one empty piece
            at = slice(start, min(start + several, rows))
            yield at, {kind: matrix[at] for kind, matrix in inputs.items()}

    def _of(self, inputs: Inputs, chosen: Array) -> tuple[Array, Array]:
        """Base and contributions of some rows; `chosen` is the class of each that is explained."""
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
        """What is explained of each row, float64, and the number of its class."""
        value, probability = self._score(inputs)
        if probability is None:
            return value.astype(np.float64), np.zeros(len(value), np.int64)
        if chosen is None:
            chosen = np.ones(len(value), np.int64) if len(self._schema.class_order) == 2 else value.astype(np.int64)
        return probability[np.arange(len(value)), chosen].astype(np.float64), chosen


def of_bundle(bundle: Bundle, folder: Path, seed: int = 0) -> Explainer:
    """Of a packaged model, whose folder holds rows of the training data.

    Raises:
        DataError: the bundle has no such rows.
    """
    try:
        sample = sample_part(tables.read_parquet(folder / layout.SAMPLE), "train")
    except OSError as error:
        raise DataError(f"{layout.SAMPLE}: is missing in the bundle, so there is nothing to compare with") from error

    def score(inputs: Inputs) -> tuple[Array, Array | None]:
        value, probability = bundle.score(inputs)
        return (value, None) if bundle.schema.labels is None else bundle.indices(value, probability)

    columns = [column.name for column in bundle.schema.columns]
    return Explainer(bundle.schema, score, bundle.encoded(sample.select(columns), where=layout.SAMPLE), seed)


def appended(scored: pa.Table, explained: Explained) -> pa.Table:
    """Scored rows with `base` and `contribution_<column>` for each column.

    Raises:
        DataError: a column has such a name already.
    """
    import pyarrow as pa

    columns = {"base": explained.base}
    columns |= {f"contribution_{name}": explained.contributions[:, at] for at, name in enumerate(explained.columns)}
    for name, values in columns.items():
        if name in scored.column_names:
            raise DataError(f"the input has a column {name!r} already", hint="rename it, or leave it out")
        scored = scored.append_column(name, pa.array(values))
    return scored


def _chains(columns: int, backgrounds: int, rng: np.random.Generator) -> tuple[Array, dict[str, Array]]:
    """Which columns are the row's own at each step, shape (steps, columns), and how the steps follow each other.

    For each background row a random order of the columns and its reverse: a step more is known, one column at a time.

    Returns:
        The steps, and by name: `row`, the background row of each step; `first`, the steps where nothing is known; and
        for each gain `column`, and the steps `before` and `after` it.
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

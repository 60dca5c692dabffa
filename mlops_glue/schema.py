"""What the model takes: its columns and kinds, as the training data had them. A serving worker imports this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mlops_glue.words import NULLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["number", "category", "boolean", "datetime", "text"]
TEXTUAL = ("category", "text")  # kinds that the model is given as text
TEXT_CELLS = 300  # values that a model makes of a text, about
PIECE_ROWS, TEXT_PIECE_ROWS = 1 << 18, 1 << 14  # that are predicted at a time: what is made of them takes memory too
RAW_TYPES = ("int64", "double", "string", "bool")
DATE_PARTS = ("days", "month", "weekday", "hour")
ROUNDING = 1e-6  # relative: a forest sums its trees in float32 in ONNX, and 0.7 there is just below 0.7


@dataclass(frozen=True)
class Column:
    """One input column, as the training data had it."""

    name: str
    kind: Kind  # how it is encoded
    dtype: str = ""  # Arrow's name of the raw type, so that text formats are read the same way when scoring
    nullable: bool = True  # did training have nulls?
    categories: list[str] | None = None  # the values of a category, where training had at most 1000
    minimum: float | None = None
    maximum: float | None = None
    day_first: bool | None = False  # is 01/02/2024 as text the first of February? None: training had no such dates
    base: float = 0.0  # subtracted from a number before it becomes float32, whose 24 bits hold the difference

    @property
    def inputs(self) -> list[str]:
        """The names of its encoded columns."""
        return [f"{self.name}.{part}" for part in DATE_PARTS] if self.kind == "datetime" else [self.name]


@dataclass(frozen=True)
class Decision:
    """How a class follows from the probabilities, where it is not simply the most probable one.

    `evaluate.decision_threshold` asks for it. It stands in the schema, so that all that scores decides alike.
    """

    by: str  # `given`, or what it was chosen by
    threshold: float | None = None  # of two classes: the positive one from this probability on
    costs: list[list[float]] | None = None  # by true and predicted class: the class of the least expected cost
    rows: int | None = None  # of training, each scored by a model that had not seen it: it was chosen on these

    def classes(self, probability: NDArray[Any]) -> NDArray[Any]:
        """The class of each row, shape (rows,), of probabilities of shape (rows, classes), both in `class_order`.

        What the rounding of float32 can make of one value falls on one side. Of equal costs the first class is taken.
        """
        import numpy as np

        if self.threshold is not None:
            return np.asarray(probability[:, 1] >= self.threshold * (1 - ROUNDING), np.int64)
        costs = np.array(self.costs)
        expected = probability.astype(np.float64) @ costs
        tied = expected <= expected.min(axis=1, keepdims=True) + ROUNDING * np.abs(costs).max()
        return np.asarray(tied.argmax(axis=1))


@dataclass(frozen=True)
class Schema:
    """The model's contract: its inputs in order, and what it predicts."""

    task: str  # binary, multiclass or regression
    target: str
    columns: list[Column] = field(default_factory=list)
    labels: list[Any] | None = None  # classes in the order of the probabilities, as the user wrote them
    positive: Any = None  # binary: the class that precision, recall and ranking are about; default the last label
    trained: list[Any] | None = None  # the labels that the training rows had, where not all: the model knows no other
    nulls: list[str] = field(default_factory=lambda: list(NULLS))  # words that mean null in text
    decimal: str = "."  # the decimal sign of numbers as text
    trims: bool = True  # are blanks around a category ignored?
    decision: Decision | None = None  # None: the model's own, as a rule the most probable class

    @property
    def class_order(self) -> list[Any]:
        """The classes as the metrics count them: of two, the positive one is the last."""
        return sorted(self.labels or [], key=lambda label: label == self.positive)

    def class_indices(self, values: NDArray[Any]) -> NDArray[Any]:
        """Labels as indices into `class_order`, shape (rows,); regression values unchanged."""
        import numpy as np

        if self.labels is None:
            return values
        place = {label: at for at, label in enumerate(self.class_order)}
        return np.array([place[value] for value in values.tolist()])

    @property
    def decides(self) -> str:
        """The decision in words, and how it came about; empty without one."""
        if self.decision is None:
            return ""
        what, how = "the class with the least expected cost is said", "as evaluate.decision_threshold gives it"
        if self.decision.threshold is not None:
            what = f"{self.class_order[-1]!r} is said from a probability of {self.decision.threshold:.4g} on"
        if self.decision.rows is not None:
            rows = f"{self.decision.rows:,} training rows"
            how = f"chosen by {self.decision.by} on {rows}, each predicted by a model that has not seen it"
        return f"{what}, {how}"

    def decided(self, probability: NDArray[Any], labels: Sequence[Any]) -> NDArray[Any]:
        """The label of each row, shape (rows,), by `decision`; every way to score goes through here.

        `probability` is of shape (rows, labels), its columns in the order of `labels`; the other classes have none.
        """
        import numpy as np

        assert self.decision is not None
        order = self.class_order
        every = np.zeros((len(probability), len(order)), probability.dtype)
        every[:, [order.index(label) for label in labels]] = probability
        names = np.array(order, object if isinstance(order[0], str) else None)
        return np.asarray(names[self.decision.classes(every)])

    @property
    def numeric(self) -> list[str]:
        """Encoded float32 columns, in order."""
        return [i for c in self.columns if c.kind not in TEXTUAL for i in c.inputs]

    @property
    def text(self) -> list[str]:
        """Encoded text columns, in order."""
        return [c.name for c in self.columns if c.kind in TEXTUAL]

    @property
    def free_text(self) -> list[str]:
        """Those of `text` that hold the words of free text."""
        return [c.name for c in self.columns if c.kind == "text"]

    def pieces(self, rows: int) -> list[slice]:
        """Which of so many rows are predicted at a time; of none one empty piece."""
        size = TEXT_PIECE_ROWS if self.free_text else PIECE_ROWS
        return [slice(at, at + size) for at in range(0, max(rows, 1), size)]

    @property
    def cells(self) -> int:
        """How many values a row takes in a model, about."""
        return len(self.numeric) + len(self.text) + TEXT_CELLS * len(self.free_text)

    @property
    def types(self) -> dict[str, str]:
        """Raw types by column, where a text format may not show the type (a code of digits that is text)."""
        return {c.name: c.dtype for c in self.columns if c.dtype in RAW_TYPES}

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON; without a decision it is what it was before there were any."""
        return {key: value for key, value in asdict(self).items() if key != "decision" or value is not None}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`; a model from before `nulls` existed keeps the categories that it knows."""
        decision = Decision(**value["decision"]) if value.get("decision") is not None else None
        made = cls(**{**value, "columns": [Column(**c) for c in value["columns"]], "decision": decision})
        if "nulls" in value:
            return made
        categories = {name for column in made.columns for name in column.categories or []}
        nulls = [name for name in NULLS if name not in categories]
        return replace(made, nulls=nulls, trims=all(name == name.strip() for name in categories))

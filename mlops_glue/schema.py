"""The model's schema: its input columns and their kinds in the training data. Serving workers import this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mlops_glue.words import NULLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["number", "category", "boolean", "datetime", "text"]
TEXTUAL = ("category", "text")  # kinds that are passed to the model as text
TEXT_CELLS = 300  # approximate number of values that a model derives from a text
PIECE_ROWS, TEXT_PIECE_ROWS = 1 << 18, 1 << 14  # predicted at a time, to limit the memory of intermediate values
RAW_TYPES = ("int64", "double", "string", "bool")
DATE_PARTS = ("days", "month", "weekday", "hour")
ROUNDING = 1e-6  # relative; in ONNX, a forest sums its trees in float32, so that 0.7 may be just below 0.7


@dataclass(frozen=True)
class Column:
    """An input column, as in the training data."""

    name: str
    kind: Kind  # how it is encoded
    dtype: str = ""  # Arrow's name of the raw type, so that text formats are read the same way when scoring
    nullable: bool = True  # whether training had nulls
    categories: list[str] | None = None  # the values of a category, if training had at most 1000
    minimum: float | None = None
    maximum: float | None = None
    day_first: bool | None = False  # whether 01/02/2024 in text is 1 February; None: training had no such dates
    base: float = 0.0  # subtracted before the conversion to float32, so that its 24 bits can store the difference

    @property
    def inputs(self) -> list[str]:
        """Return the names of the encoded columns."""
        return [f"{self.name}.{part}" for part in DATE_PARTS] if self.kind == "datetime" else [self.name]


@dataclass(frozen=True)
class Decision:
    """How to derive the class from the probabilities, if it is not simply the most probable class.

    `evaluate.decision_threshold` configures it. It is part of the schema, so that all scoring decides the same way.
    """

    by: str  # `given`, or the metric that it was chosen by
    threshold: float | None = None  # binary: predict the positive class from this probability on
    costs: list[list[float]] | None = (
        None  # by true and predicted class: predict the class with the lowest expected cost
    )
    rows: int | None = None  # training rows that it was chosen on, each scored by a model that was not trained on it

    def classes(self, probability: NDArray[Any]) -> NDArray[Any]:
        """Return the class of each row, shape (rows,), for probabilities of shape (rows, classes), in `class_order`.

        A tolerance absorbs the rounding of float32. If costs are equal, the first class wins.
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
    """The model's contract: its inputs in order, and its target."""

    task: str  # binary, multiclass or regression
    target: str
    columns: list[Column] = field(default_factory=list)
    labels: list[Any] | None = None  # classes in the order of the probabilities, as the user wrote them
    positive: Any = None  # binary: the positive class of precision, recall and ranking; default: the last label
    trained: list[Any] | None = None  # the labels in the training rows, if not all: the model knows only these
    nulls: list[str] = field(default_factory=lambda: list(NULLS))  # words that mean null in text
    decimal: str = "."  # the decimal sign of numbers as text
    trims: bool = True  # whether blanks around a category are ignored
    decision: Decision | None = None  # None: the model's own, usually the most probable class

    @property
    def answers(self) -> list[str]:
        """Return the columns that scoring adds to rows; a model without probabilities adds only the first."""
        return ["prediction", *(f"probability_{label}" for label in self.labels or [])]

    @property
    def class_order(self) -> list[Any]:
        """Return the classes in the order of the metrics: in a binary task, the positive class is last."""
        return sorted(self.labels or [], key=lambda label: label == self.positive)

    def class_indices(self, values: NDArray[Any]) -> NDArray[Any]:
        """Convert labels to indices into `class_order`, shape (rows,); regression values stay unchanged."""
        import numpy as np

        if self.labels is None:
            return values
        place = {label: at for at, label in enumerate(self.class_order)}
        return np.array([place[value] for value in values.tolist()])

    @property
    def decides(self) -> str:
        """Describe the decision and its origin; empty without a decision."""
        if self.decision is None:
            return ""
        what, how = "the class with the lowest expected cost is predicted", "as set by evaluate.decision_threshold"
        if self.decision.threshold is not None:
            what = f"{self.class_order[-1]!r} is predicted at a probability of {self.decision.threshold:.4g} or more"
        if self.decision.rows is not None:
            rows = f"{self.decision.rows:,} training rows"
            how = f"chosen by {self.decision.by} on {rows}, each predicted by a model that was not trained on it"
        return f"{what}, {how}"

    def decided(self, probability: NDArray[Any], labels: Sequence[Any]) -> NDArray[Any]:
        """Return the label of each row, shape (rows,), by `decision`; all scoring uses this method.

        `probability` has shape (rows, labels), with columns in the order of `labels`; other classes get 0.
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
        """Return the names of the encoded float32 columns, in order."""
        return [i for c in self.columns if c.kind not in TEXTUAL for i in c.inputs]

    @property
    def text(self) -> list[str]:
        """Return the names of the encoded text columns, in order."""
        return [c.name for c in self.columns if c.kind in TEXTUAL]

    @property
    def free_text(self) -> list[str]:
        """Return the columns of `text` that contain the words of free text."""
        return [c.name for c in self.columns if c.kind == "text"]

    def pieces(self, rows: int) -> list[slice]:
        """Split `rows` rows into the pieces that are predicted at a time; 0 rows are one empty piece."""
        size = TEXT_PIECE_ROWS if self.free_text else PIECE_ROWS
        return [slice(at, at + size) for at in range(0, max(rows, 1), size)]

    @property
    def cells(self) -> int:
        """Return the approximate number of values of a row in a model."""
        return len(self.numeric) + len(self.text) + TEXT_CELLS * len(self.free_text)

    @property
    def types(self) -> dict[str, str]:
        """Return raw types by column, for text formats that do not show the type (a code of digits that is text)."""
        return {c.name: c.dtype for c in self.columns if c.dtype in RAW_TYPES}

    def to_dict(self) -> dict[str, Any]:
        """Convert to built-ins, for JSON; without a decision, the key is left out, as in older versions."""
        return {key: value for key, value in asdict(self).items() if key != "decision" or value is not None}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Schema:
        """Invert `to_dict`; a model from before `nulls` existed keeps its categories."""
        decision = Decision(**value["decision"]) if value.get("decision") is not None else None
        made = cls(**{**value, "columns": [Column(**c) for c in value["columns"]], "decision": decision})
        if "nulls" in value:
            return made
        categories = {name for column in made.columns for name in column.categories or []}
        nulls = [name for name in NULLS if name not in categories]
        return replace(made, nulls=nulls, trims=all(name == name.strip() for name in categories))

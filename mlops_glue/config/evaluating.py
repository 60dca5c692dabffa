"""`evaluate`: metrics of the holdout and their limits, the cost of errors, and the decision threshold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, WithJsonSchema, model_validator

from mlops_glue import metrics
from mlops_glue.config.fields import FUNCTION, Section, Share

FIXED = sorted({name for of in (metrics.METRICS, metrics.MORE) for task in of.values() for name in task})
NUMBERED = sorted({family.example for families in metrics.FAMILIES.values() for family in families})
NAMES: Any = {"anyOf": [{"enum": FIXED}, {"type": "string", "examples": [*NUMBERED, "cost"]}]}  # for editors
MetricName = Annotated[str, WithJsonSchema(NAMES)]
Label = str | int | bool


ByLabel = dict[Label, dict[Label, float]]


def _is_section(value: Any) -> str:
    return "section" if isinstance(value, dict | BaseModel) else "plain"


def _is_by_label(value: Any) -> str:
    values = list(value.values()) if isinstance(value, dict) else []
    return "labels" if values and all(isinstance(one, dict) for one in values) else "section"


NAMED, PRICED = Discriminator(_is_section), Discriminator(_is_by_label)  # report errors of one form only


class Threshold(Section):
    """A limit that a metric must meet."""

    min: float | None = Field(default=None, description="lowest acceptable value")
    max: float | None = Field(default=None, description="highest acceptable value")

    @model_validator(mode="after")
    def _one_limit(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("give min or max: a threshold without either checks nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}: no value meets both")
        return self


class OwnMetric(Section):
    """A custom metric: a function of the truth and the prediction, both of shape (rows,), that returns a number.

    Classes are passed as the table's labels.
    """

    function: Annotated[str, Field(pattern=FUNCTION)] = Field(
        description="module:function: (truth, prediction) -> number"
    )
    higher_is_better: bool = Field(description="whether higher values are better")
    needs: Literal["prediction", "probability"] = Field(
        default="prediction",
        description="probability: pass the positive class's probability, or (rows, classes) in the order of the labels",
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$")] | None = Field(
        default=None, description="name of the metric; default: the function's name"
    )

    @property
    def called(self) -> str:
        """Return the name of the metric."""
        return self.name or self.function.rpartition(":")[2]


class Cost(Section):
    """Cost of a row in a binary task; a gain is a cost below 0."""

    false_positive: float = Field(description="cost of a negative row that is predicted as positive")
    false_negative: float = Field(description="cost of a positive row that is predicted as negative")
    true_positive: float = Field(default=0.0, description="cost of a positive row that is predicted correctly")
    true_negative: float = Field(default=0.0, description="cost of a negative row that is predicted correctly")

    @model_validator(mode="after")
    def _not_all_zero(self) -> Cost:
        if not any((self.false_positive, self.false_negative, self.true_positive, self.true_negative)):
            raise ValueError("every cost is 0: all decisions would cost the same")
        return self


class ChosenThreshold(Section):
    """How the threshold is chosen, on cross-validated probabilities of the training rows (`tune.folds`)."""

    by: str = Field(
        description="metric to optimize: f1, f2, matthews_corrcoef, cost or your own; recall, with min_precision; "
        "precision, with min_recall. Multiclass tasks: only `cost`, for the class with the lowest expected cost",
        json_schema_extra=NAMES,
    )
    min_precision: Share | None = Field(
        default=None, description="minimum precision; thresholds below it are not considered"
    )
    min_recall: Share | None = Field(default=None, description="minimum recall; thresholds below it are not considered")

    @model_validator(mode="after")
    def _not_trivial(self) -> ChosenThreshold:
        for by, least in (("recall", "min_precision"), ("precision", "min_recall")):
            if self.by == by and getattr(self, least) is None:
                raise ValueError(f"{by} alone would be optimized trivially: also give {least}")
        return self

    @property
    def words(self) -> str:
        """Describe the choice in one line."""
        limits = {"precision": self.min_precision, "recall": self.min_recall}
        least = [f"a {name} of at least {limit:g}" for name, limit in limits.items() if limit is not None]
        return f"{self.by} at {' and '.join(least)}" if least else self.by


class Evaluate(Section):
    """Metrics of the holdout, and their limits."""

    metrics: list[Annotated[Annotated[MetricName, Tag("plain")] | Annotated[OwnMetric, Tag("section")], NAMED]] = Field(
        default=[],
        description="scikit-learn's names, with a number in some: f2, precision_at_100, mean_pinball_loss_0.9; "
        'or {function: "my_metrics:profit", higher_is_better: true}',
    )
    thresholds: dict[str, Threshold] = Field(
        default={},
        description="limits that a model must meet, by metric",
        json_schema_extra={"propertyNames": NAMES},
    )
    slices: list[str] = Field(default=[], description="columns to report the metrics by")
    cost: Annotated[Annotated[Cost, Tag("section")] | Annotated[ByLabel, Tag("labels")], PRICED] | None = Field(
        default=None,
        description="cost of errors: {false_positive: 1, false_negative: 10}, or by true and predicted label: "
        "{cat: {dog: 1, bird: 5}, …}; the metric `cost` is the mean cost per row",
    )
    decision_threshold: (
        Annotated[Annotated[Share, Tag("plain")] | Annotated[ChosenThreshold, Tag("section")], NAMED] | None
    ) = Field(
        default=None,
        description="binary tasks: the probability from which the model predicts the positive class "
        "(data.labels.positive); or how to choose it: {by: f2}, {by: cost}, {by: recall, min_precision: 0.9}; default: "
        "the model's own threshold, usually 0.5",
    )

    @property
    def own(self) -> dict[str, OwnMetric]:
        """Return the custom metrics by name."""
        return {metric.called: metric for metric in self.metrics if isinstance(metric, OwnMetric)}

    def measured(self, default: list[str]) -> list[str]:
        """Return the names of the metrics, without those of the limits; `default` if none are configured."""
        named = [metric if isinstance(metric, str) else metric.called for metric in self.metrics] or default
        return list(dict.fromkeys([*named, *(["cost"] if self.cost is not None else [])]))

    @property
    def chosen(self) -> ChosenThreshold | None:
        """Return how the threshold is chosen; None if it is given."""
        return self.decision_threshold if isinstance(self.decision_threshold, ChosenThreshold) else None

    @property
    def imports(self) -> list[str | None]:
        """Return the import paths of the custom metrics."""
        return [metric.function for metric in self.own.values()]

"""`evaluate`: what is measured on the holdout, what a mistake costs, and from which probability on a class is said."""

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


NAMED, PRICED = Discriminator(_is_section), Discriminator(_is_by_label)  # only what is wrong with one form is told


class Threshold(Section):
    """A limit that a metric must meet."""

    min: float | None = Field(default=None, description="the least that is good enough")
    max: float | None = Field(default=None, description="the most that is good enough")

    @model_validator(mode="after")
    def _one_limit(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("give min or max: a threshold without a limit checks nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}: no value meets both")
        return self


class OwnMetric(Section):
    """A metric of the project's own: a function of the truth and the prediction, both of shape (rows,), to a number.

    Classes come as the labels that the table has.
    """

    function: Annotated[str, Field(pattern=FUNCTION)] = Field(
        description="module:function: (truth, prediction) -> number"
    )
    higher_is_better: bool = Field(description="which way is better")
    needs: Literal["prediction", "probability"] = Field(
        default="prediction",
        description="probability: it gets that of the positive class, or (rows, classes) in the order of the labels",
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$")] | None = Field(
        default=None, description="what it is called; default the function's name"
    )

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.function.rpartition(":")[2]


class Cost(Section):
    """What a row costs, of two classes; what earns something has a cost below 0."""

    false_positive: float = Field(description="the positive class is said, and it is the other one")
    false_negative: float = Field(description="the other class is said, and it is the positive one")
    true_positive: float = Field(default=0.0, description="the positive class is said, and is right")
    true_negative: float = Field(default=0.0, description="the other class is said, and is right")

    @model_validator(mode="after")
    def _tells_apart(self) -> Cost:
        if not any((self.false_positive, self.false_negative, self.true_positive, self.true_negative)):
            raise ValueError("every cost is 0, so that no decision is better than another")
        return self


class ChosenThreshold(Section):
    """How the threshold is chosen, on cross-validated probabilities of the training rows (`tune.folds`)."""

    by: str = Field(
        description="the metric that the labels make best: f1, f2, matthews_corrcoef, cost, one of your own; recall, "
        "with min_precision; precision, with min_recall. Of several classes `cost` alone: the least expected one",
        json_schema_extra=NAMES,
    )
    min_precision: Share | None = Field(default=None, description="a threshold with less is none")
    min_recall: Share | None = Field(default=None, description="a threshold with less is none")

    @model_validator(mode="after")
    def _not_trivial(self) -> ChosenThreshold:
        for by, least in (("recall", "min_precision"), ("precision", "min_recall")):
            if self.by == by and getattr(self, least) is None:
                raise ValueError(f"{by} alone is no choice: give {least} too")
        return self

    @property
    def words(self) -> str:
        """The choice in one line."""
        limits = {"precision": self.min_precision, "recall": self.min_recall}
        least = [f"a {name} of at least {limit:g}" for name, limit in limits.items() if limit is not None]
        return f"{self.by} at {' and '.join(least)}" if least else self.by


class Evaluate(Section):
    """The metrics of the holdout, and their limits."""

    metrics: list[Annotated[Annotated[MetricName, Tag("plain")] | Annotated[OwnMetric, Tag("section")], NAMED]] = Field(
        default=[],
        description="scikit-learn's names, with a number in some: f2, precision_at_100, mean_pinball_loss_0.9; "
        'or {function: "my_metrics:profit", higher_is_better: true}',
    )
    thresholds: dict[str, Threshold] = Field(
        default={},
        description="by metric: the limit that a model must meet",
        json_schema_extra={"propertyNames": NAMES},
    )
    slices: list[str] = Field(default=[], description="columns to report the metrics by")
    cost: Annotated[Annotated[Cost, Tag("section")] | Annotated[ByLabel, Tag("labels")], PRICED] | None = Field(
        default=None,
        description="what a mistake costs: {false_positive: 1, false_negative: 10}, or by true and predicted label: "
        "{cat: {dog: 1, bird: 5}, …}; the metric `cost` is the mean of a row",
    )
    decision_threshold: (
        Annotated[Annotated[Share, Tag("plain")] | Annotated[ChosenThreshold, Tag("section")], NAMED] | None
    ) = Field(
        default=None,
        description="two classes: the positive one (data.labels.positive) is said from this probability on; or how it "
        "is chosen: {by: f2}, {by: cost}, {by: recall, min_precision: 0.9}; default: the model's own choice, as a "
        "rule 0.5",
    )

    @property
    def own(self) -> dict[str, OwnMetric]:
        """The project's own metrics, by name."""
        return {metric.called: metric for metric in self.metrics if isinstance(metric, OwnMetric)}

    def measured(self, default: list[str]) -> list[str]:
        """The names of what is measured, the limits apart; `default` where none is named."""
        named = [metric if isinstance(metric, str) else metric.called for metric in self.metrics] or default
        return list(dict.fromkeys([*named, *(["cost"] if self.cost is not None else [])]))

    @property
    def chosen(self) -> ChosenThreshold | None:
        """How the threshold is chosen, where it is not given."""
        return self.decision_threshold if isinstance(self.decision_threshold, ChosenThreshold) else None

    @property
    def imports(self) -> list[str | None]:
        """The import paths of the project's own metrics."""
        return [metric.function for metric in self.own.values()]

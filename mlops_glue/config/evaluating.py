"""`evaluate`: what is measured on the holdout, what a mistake costs, and from which probability on a class is said."""

from __future__ import annotations

from pydantic import Field, model_validator

from mlops_glue.config.fields import Section, Share


class Threshold(Section):
    """A limit that a metric must meet."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("give min or max: a threshold without a limit checks nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}: no value meets both")
        return self


class Evaluate(Section):
    """The metrics of the holdout, and their limits."""

    metrics: list[str] = []
    thresholds: dict[str, Threshold] = {}
    slices: list[str] = Field(default=[], description="columns to report the metrics by")
    decision_threshold: Share | None = Field(
        default=None,
        description="two classes: the positive one (data.labels.positive) is said from this probability on; "
        "default: the model's own choice, as a rule 0.5",
    )

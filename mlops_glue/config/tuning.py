"""`tune`: how parameters of the estimator are searched for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from mlops_glue.config.fields import Section, Span

Scalar = bool | int | float | str | None


class Range(Section):
    """The values that a parameter may have: numbers from one to another, whole where both are, or one of several."""

    low: int | float | None = Field(default=None, description="the smallest value")
    high: int | float | None = Field(default=None, description="the largest value")
    log: bool | None = Field(
        default=None, description="search by ratio; default where low is above 0 and high ten times it"
    )
    choices: Annotated[list[Scalar], Field(min_length=1)] | None = Field(
        default=None, description="the values to choose from, instead of low and high"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        if self.choices is None and (self.low is None or self.high is None):
            raise ValueError("give low and high, or choices")
        if self.choices is not None and (self.low, self.high, self.log) != (None, None, None):
            raise ValueError("choices stand alone, without low, high and log")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low is not None and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}")
        return self


def _in_long_form(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 2:
            raise ValueError("should be [low, high], {low, high, log} or {choices: [...]}")
        return {"low": value[0], "high": value[1]}
    return value


class Tune(Section):
    """The search of `glue tune`, which cross-validates on the training rows alone."""

    trials: PositiveInt = Field(default=50, description="how many sets of parameters are tried")
    timeout: Span | None = Field(default=None, description="start no trial after so long: 90s, 15m, 2h")
    folds: Annotated[int, Field(ge=2, le=20)] = Field(default=5, description="of the cross-validation")
    space: dict[str, Annotated[Range, BeforeValidator(_in_long_form, json_schema_input_type=list[float] | Range)]] = (
        Field(
            default={},
            description="by parameter of train.params: [low, high], {low, high, log: true}, or {choices: [...]}; "
            "default: that of the estimator's class, where glue knows it",
        )
    )

"""`tune`: the search for parameters of the estimator."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from mlops_glue.config.fields import Section, Span


def _finite(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | None) or not math.isfinite(value or 0):
        raise ValueError("should be a finite number")
    return value


def _single(value: Any) -> Any:
    if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("should be a text, a finite number, true, false or null")
    return value


Number = Annotated[int | float | None, BeforeValidator(_finite)]
Scalar = Annotated[bool | int | float | str | None, BeforeValidator(_single)]


class Range(Section):
    """Values to search: numbers from `low` to `high` (integers if both are), or a list of choices."""

    low: Number = Field(default=None, description="smallest value")
    high: Number = Field(default=None, description="largest value")
    log: bool | None = Field(
        default=None,
        description="search on a log scale; default: true if low is above 0 and high is at least ten times low",
    )
    choices: Annotated[list[Scalar], Field(min_length=1)] | None = Field(
        default=None, description="values to choose from, instead of low and high"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        if self.choices is None and (self.low is None or self.high is None):
            raise ValueError("give low and high, or choices")
        if self.choices is not None and (self.low, self.high, self.log) != (None, None, None):
            raise ValueError("choices cannot be combined with low, high or log")
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
    """The search of `glue tune`, which cross-validates on the training rows only."""

    trials: PositiveInt = Field(default=50, description="number of parameter sets to try")
    timeout: Span | None = Field(default=None, description="start no trials after this time: 90s, 15m, 2h")
    folds: Annotated[int, Field(ge=2, le=20)] = Field(default=5, description="number of folds of the cross-validation")
    space: dict[str, Annotated[Range, BeforeValidator(_in_long_form, json_schema_input_type=list[float] | Range)]] = (
        Field(
            default={},
            description="values by parameter of train.params: [low, high], {low, high, log: true} or {choices: [...]}; "
            "default: glue's own space for the estimator's class, if it has one",
        )
    )

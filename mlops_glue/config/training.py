"""`train`: the estimator, and what its `fit` is given."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mlops_glue.config.fields import Section


class Train(Section):
    """The estimator."""

    estimator: str | None = Field(default=None, description="import path of a class, or module:function of your own")
    params: dict[str, Any] = {}
    preprocess: bool = Field(True, description="false: the estimator takes the columns as they are")
    weight: str | None = Field(
        default=None,
        description="column of the labels' table with the weight of each row in the fit (numbers, not below 0); "
        "it is no feature, and metrics are not weighted",
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0  # NumPy takes no other

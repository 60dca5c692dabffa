"""`train`: the estimator, and the input of its `fit`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from mlops_glue.config.fields import OWN_ONNX, Section, Share
from mlops_glue.config.names import ESTIMATORS


class EarlyStopping(Section):
    """Stop boosting when predictions of rows that it is not fitted on no longer improve."""

    rounds: PositiveInt = Field(
        default=50, description="stop after this many rounds without an improvement, and keep the best round"
    )
    share: Share = Field(
        default=0.1,
        description="share of the training rows to measure improvement on; selected like the holdout (split.by)",
    )


class Train(Section):
    """The estimator."""

    estimator: str | None = Field(
        default=None,
        description="import path of a class, or module:function of your own",
        examples=ESTIMATORS,
    )
    onnx: Annotated[str, Field(pattern=OWN_ONNX)] | None = Field(
        default=None,
        description="module:function of your own that returns an ONNX model of any framework, instead of an estimator; "
        "or the file that your own stage builds from artifacts/split/train.parquet: .onnx, .keras, or the folder/ of "
        "a SavedModel",
    )
    params: dict[str, Any] = Field(default={}, description="parameters of the estimator, under its own names")
    preprocess: bool = Field(True, description="false: pass the columns to the estimator unchanged")
    categories: Literal["encoded", "native"] = Field(
        default="encoded",
        description="native: the estimator's own support for categories (HistGradientBoosting, XGBoost, LightGBM, "
        "CatBoost); encoded: one column per value, or a number if there are many values",
    )
    words: PositiveInt | None = Field(
        default=None,
        description="number of words of each features.text column that become columns; default: up to 300, fewer with "
        "few or very many rows",
    )
    target: Literal["as_is", "log", "auto"] = Field(
        default="as_is",
        description="regression only. log: fit on log1p of the target; predictions are still on the original scale. "
        "auto: log, if cross-validation of the training rows (tune.folds) shows that it improves promote.metric",
    )
    weight: str | None = Field(
        default=None,
        description="column of the labels' table with the weight of each row in the fit (numbers, not below 0); "
        "it is not a feature, and metrics are not weighted",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="for XGBoost, LightGBM and CatBoost; configure scikit-learn's boosting in params"
    )
    rows: PositiveInt | None = Field(
        default=None,
        description="maximum number of training rows, sampled at random; the holdout keeps all of its rows",
    )
    stream: bool = Field(
        default=False,
        description="train XGBoost on all training rows in pieces, without the full matrix in memory",
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = Field(  # the range that NumPy accepts
        default=0, description="seed of the split and of every stage's random numbers"
    )

    @property
    def onnx_file(self) -> str | None:
        """Return the file that `onnx` names, or None if it names a function."""
        return None if self.onnx is None or ":" in self.onnx else self.onnx.rstrip("/")

    @property
    def named(self) -> str | None:
        """Return the estimator or ONNX source that the user named; None for glue's default estimator."""
        return self.onnx or self.estimator

    @property
    def code(self) -> str | None:
        """Return the import path of the code to run, if any."""
        return self.estimator if self.onnx_file is not None else self.named

    @model_validator(mode="after")
    def _prepared(self) -> Train:
        if self.categories == "native" and not self.preprocess:
            raise ValueError("categories: native needs preprocessing, but preprocess is false")
        return self

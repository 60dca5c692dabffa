"""`train`: the estimator, and what its `fit` is given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from mlops_glue.config.fields import OWN_ONNX, Section, Share
from mlops_glue.config.names import ESTIMATORS


class EarlyStopping(Section):
    """Boosting ends where rows that it is not fitted on are no longer predicted better."""

    rounds: PositiveInt = Field(default=50, description="that many rounds without a gain, and the best one is taken")
    share: Share = Field(
        default=0.1,
        description="of the training rows, by which it is seen; taken as the holdout is (split.by), never from it",
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
        "or what a stage of your own makes of artifacts/split/train.parquet: .onnx, .keras, or the folder/ of "
        "a SavedModel",
    )
    params: dict[str, Any] = Field(default={}, description="of the estimator, by their own names")
    preprocess: bool = Field(True, description="false: the estimator takes the columns as they are")
    categories: Literal["encoded", "native"] = Field(
        default="encoded",
        description="native: as the estimator's own, of HistGradientBoosting, XGBoost, LightGBM and CatBoost; "
        "encoded: a column for each value, or a number where there are many",
    )
    words: PositiveInt | None = Field(
        default=None,
        description="of each column of features.text, so many words get a column; default up to 300, fewer where rows "
        "are few or very many",
    )
    target: Literal["as_is", "log", "auto"] = Field(
        default="as_is",
        description="of a regression. log: fitted on log1p of the target; predictions are of the target itself. auto: "
        "that, where cross-validation of the training rows (tune.folds) shows that promote.metric becomes better",
    )
    weight: str | None = Field(
        default=None,
        description="column of the labels' table with the weight of each row in the fit (numbers, not below 0); "
        "it is no feature, and metrics are not weighted",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="of XGBoost, LightGBM and CatBoost; scikit-learn's boosting has it in its params"
    )
    rows: PositiveInt | None = Field(
        default=None,
        description="train on at most so many of the training rows, drawn by chance; the holdout keeps all of its rows",
    )
    stream: bool = Field(
        default=False,
        description="XGBoost learns from all training rows, in pieces: their matrix is never in memory",
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = Field(  # NumPy takes no other
        default=0, description="of the split and of every stage's random numbers"
    )

    @property
    def onnx_file(self) -> str | None:
        """The file that `onnx` names, if it names one."""
        return None if self.onnx is None or ":" in self.onnx else self.onnx.rstrip("/")

    @property
    def named(self) -> str | None:
        """What the model is made by, as the user has named it; None: glue's default estimator."""
        return self.onnx or self.estimator

    @property
    def code(self) -> str | None:
        """The import path that is run, if any."""
        return self.estimator if self.onnx_file is not None else self.named

    @model_validator(mode="after")
    def _prepared(self) -> Train:
        if self.categories == "native" and not self.preprocess:
            raise ValueError("categories: native is a form of preprocessing, and preprocess is false")
        return self

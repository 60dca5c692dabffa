"""From which probability on the positive class is said: as `evaluate.decision_threshold` gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, StageError
from mlops_glue.pipeline.train import kind_of
from mlops_glue.schema import Decision, Schema

WHERE = f"{layout.CONFIG} evaluate.decision_threshold"


def with_decision(config: Config, schema: Schema, model: Any) -> Schema:
    """The schema with the decision that `glue.yaml` asks for, if any.

    Raises:
        ConfigError: the task has no threshold.
        StageError: the model gives no probabilities.
    """
    asked = config.evaluate.decision_threshold
    if asked is None:
        return schema
    if schema.task != "binary":
        problem = f"{WHERE}: {schema.target!r} is the target of a {schema.task} task; two classes have a threshold"
        raise ConfigError([problem])
    if not hasattr(model, "predict_proba"):
        raise StageError(
            f"{kind_of(model)} gives no probabilities, and evaluate.decision_threshold decides by them",
            hint="train.estimator: one with predict_proba; or remove evaluate.decision_threshold",
        )
    return replace(schema, decision=Decision("given", asked))

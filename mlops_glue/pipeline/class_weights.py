"""Weights of the classes, which are a parameter of the estimator: by label, whatever the estimator is fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.early_stopping import library
from mlops_glue.schema import Schema
from mlops_glue.suggest import did_you_mean

Estimator = Any  # of scikit-learn, which has no types
PARAMS = ("class_weight", "class_weights")  # of scikit-learn and LightGBM; of CatBoost
UNKNOWN = {  # what a library takes without a word, and does not know
    "xgboost": (*PARAMS, "auto_class_weights", "is_unbalance"),
    "lightgbm": ("class_weights", "auto_class_weights"),
}


def check(config: Config, schema: Schema, estimator: Estimator) -> None:
    """Raise where an estimator would ignore weights of classes, or one is of a class that there is not.

    Raises:
        ConfigError: says what it takes instead, or which classes there are.
    """
    for param in PARAMS:
        given, labels = config.train.params.get(param), schema.labels or []
        keys = list(given) if isinstance(given, Mapping) else []
        unknown = [key for key in keys if key not in labels]
        if unknown and not set(keys) <= set(range(len(labels))):  # indices are some estimators' own form
            problem = f"{layout.CONFIG} train.params.{param}: no class {unknown[0]!r}"
            raise ConfigError([f"{problem} ({did_you_mean(str(unknown[0]), [str(label) for label in labels])})"])
    of = library(estimator)
    ignored = [param for param in UNKNOWN.get(of or "", ()) if param in config.train.params]
    if not ignored:
        return
    if of == "lightgbm":
        hint = "class_weight: balanced, or {LABEL: WEIGHT}"
    elif schema.task == "binary":
        hint = (
            "scale_pos_weight: how often the class that sorts first is there for each row of the other; or train.weight"
        )
    else:
        hint = "train: {weight: COLUMN}, a column of the labels' table with the weight of each row"
    problem = f"{layout.CONFIG} train.params.{ignored[0]}: {type(estimator).__name__} does not know it"
    raise ConfigError([problem], hint=hint)


def by_index(estimator: Estimator, labels: list[Any]) -> None:
    """Let weights that an unfitted estimator, or one inside it, has by label be by the label's index in `labels`."""
    index = {label: at for at, label in enumerate(labels)}
    for name, given in estimator.get_params(deep=True).items():
        if name.rpartition("__")[2] in PARAMS and isinstance(given, Mapping) and index.keys() >= given.keys():
            estimator.set_params(**{name: {index[label]: weight for label, weight in given.items()}})

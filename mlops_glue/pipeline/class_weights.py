"""Class weights, a parameter of the estimator: given by label, even if the estimator is fitted on class indices."""

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
PARAMS = ("class_weight", "class_weights")  # in scikit-learn and LightGBM; in CatBoost
UNKNOWN = {  # parameters that a library accepts silently, but ignores
    "xgboost": (*PARAMS, "auto_class_weights", "is_unbalance"),
    "lightgbm": ("class_weights", "auto_class_weights"),
}


def check(config: Config, schema: Schema, estimator: Estimator) -> None:
    """Check that the estimator does not ignore class weights, and that each weight is for an existing class.

    Raises:
        ConfigError: with what the estimator takes instead, or with the classes.
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
        hint = "scale_pos_weight: the rows of the class that sorts first divided by the other's; or train.weight"
    else:
        hint = "train: {weight: COLUMN}, a column of the labels' table with the weight of each row"
    problem = f"{layout.CONFIG} train.params.{ignored[0]}: {type(estimator).__name__} ignores it"
    raise ConfigError([problem], hint=hint)


def by_index(estimator: Estimator, labels: list[Any]) -> None:
    """Replace the labels of class weights, in an unfitted estimator and its parts, by their indices in `labels`."""
    index = {label: at for at, label in enumerate(labels)}
    for name, given in estimator.get_params(deep=True).items():
        if name.rpartition("__")[2] in PARAMS and isinstance(given, Mapping) and index.keys() >= given.keys():
            estimator.set_params(**{name: {index[label]: weight for label, weight in given.items()}})

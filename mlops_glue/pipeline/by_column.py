"""Monotone constraints by the name of a column: the estimator's columns are those of the preprocessing, without names.

The preprocessing puts the numbers first, in their order and each as one column, so a number keeps its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.schema import Schema
from mlops_glue.suggest import did_you_mean

Estimator = Any  # of scikit-learn, which has no types
PARAMS = ("monotonic_cst", "monotone_constraints")  # of scikit-learn; of XGBoost, LightGBM and CatBoost
OF_TEXT = ("xgboost.", "catboost.")  # a CatBoost that was given a list cannot be cloned
FIRST = "number"  # what the part of the preprocessing is called that the numbers go through


def constraints(model: Estimator) -> dict[str, Any]:
    """The parameters of an estimator behind glue's preprocessing, or of one inside it, that constrain columns."""
    if not _is_prepared(model):
        return {}
    params = model.get_params(deep=True).items()
    # text is XGBoost's and CatBoost's own form, which may be shorter than the columns are many
    return {name: value for name, value in params if _constrains(name) and not isinstance(value, str | None)}


def place(model: Estimator, columns: list[str], width: int) -> None:
    """Constraints of the columns of features as those of the `width` columns that the preprocessing makes.

    A list may be as long as the numbers are many, or be of other rows, of which fewer or more categories were known.
    """
    count = len(model.steps[0][1].transformers[0][2])
    params = model.get_params(deep=True)
    for name, given in constraints(model).items():
        if isinstance(given, Mapping):
            signs = [int(given.get(column, 0)) for column in columns[:count]]
        elif len(given) >= count and not any(given[count:]):
            signs = [int(sign) for sign in given[:count]]
        else:
            continue
        owner = params[name.rpartition("__")[0]]
        if any(base.__module__.startswith(OF_TEXT) for base in type(owner).__mro__):
            model.set_params(**{name: f"({','.join(map(str, signs))})"})
        else:
            model.set_params(**{name: signs + [0] * (width - count)})


def check(config: Config, schema: Schema, model: Estimator) -> None:
    """Raise where a constraint is of a column that has no order, or that there is not.

    Raises:
        ConfigError: names the column.
    """
    problems = []
    for name, given in constraints(model).items():
        param = name.rpartition("__")[2]
        where = f"{layout.CONFIG} train.{f'params.{param}' if param in config.train.params else 'estimator'}"
        for column, sign in given.items() if isinstance(given, Mapping) else ():
            if column in schema.text:
                problems.append(f"{where}: {column!r} is a category, and only a number rises or falls")
            elif column not in schema.numeric:
                known = did_you_mean(str(column), schema.numeric)
                problems.append(f"{where}: no feature {column!r} ({known})")
            elif sign not in (-1, 0, 1):
                problems.append(f"{where}: of {column!r} it is {sign!r}, and should be 1 (rises), -1 (falls) or 0")
    if problems:
        raise ConfigError(problems)


def _constrains(name: str) -> bool:
    return name.rpartition("__")[2] in PARAMS


def _is_prepared(model: Estimator) -> bool:
    """Does glue's own preprocessing come first, and does it take numbers?"""
    if [name for name, _ in getattr(model, "steps", [])] != ["prepare", "estimator"]:
        return False
    parts = getattr(model.steps[0][1], "transformers", [])
    return bool(parts) and parts[0][0] == FIRST and parts[0][2] == list(range(len(parts[0][2])))

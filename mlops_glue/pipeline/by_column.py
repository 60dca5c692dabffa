"""Monotonic constraints by column name: the estimator itself sees preprocessed columns without names.

The preprocessing puts the numbers first, in their order and each as one column, so a number keeps its position.
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
PARAMS = ("monotonic_cst", "monotone_constraints")  # in scikit-learn; in XGBoost, LightGBM and CatBoost
OF_TEXT = ("xgboost.", "catboost.")  # they take the constraints as text; CatBoost with a list cannot be cloned
FIRST = "number"  # the name of the preprocessing part for numbers


def constraints(model: Estimator) -> dict[str, Any]:
    """Return the parameters that constrain columns, of an estimator behind glue's preprocessing or a part of it."""
    if not _is_prepared(model):
        return {}
    params = model.get_params(deep=True).items()
    # text is XGBoost's and CatBoost's own form, which may have fewer entries than there are columns
    return {name: value for name, value in params if _constrains(name) and not isinstance(value, str | None)}


def place(model: Estimator, columns: list[str], width: int) -> None:
    """Translate constraints on the feature columns to the `width` columns that the preprocessing returns.

    A list may have one entry for each number, or come from other rows, with fewer or more known categories.
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
    """Check that each constraint is on a column that exists and has an order.

    Raises:
        ConfigError: with the name of the column.
    """
    problems = []
    for name, given in constraints(model).items():
        param = name.rpartition("__")[2]
        where = f"{layout.CONFIG} train.{f'params.{param}' if param in config.train.params else 'estimator'}"
        for column, sign in given.items() if isinstance(given, Mapping) else ():
            if column in schema.text:
                problems.append(f"{where}: {column!r} is a category, and only a number can rise or fall")
            elif column not in schema.numeric:
                known = did_you_mean(str(column), schema.numeric)
                problems.append(f"{where}: no feature {column!r} ({known})")
            elif sign not in (-1, 0, 1):
                problems.append(f"{where}: {column!r} must be 1 (rises), -1 (falls) or 0, not {sign!r}")
    if problems:
        raise ConfigError(problems)


def _constrains(name: str) -> bool:
    return name.rpartition("__")[2] in PARAMS


def _is_prepared(model: Estimator) -> bool:
    """Return whether glue's own preprocessing comes first, and has numbers."""
    if [name for name, _ in getattr(model, "steps", [])] != ["prepare", "estimator"]:
        return False
    parts = getattr(model.steps[0][1], "transformers", [])
    return bool(parts) and parts[0][0] == FIRST and parts[0][2] == list(range(len(parts[0][2])))

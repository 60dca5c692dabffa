"""Warn of parameters that a boosting library accepts but does not know: a misspelt parameter has no effect.

scikit-learn and CatBoost refuse them. LightGBM ignores them without a visible warning; XGBoost warns in its own format.
"""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from mlops_glue.adapters import lightgbm
from mlops_glue.pipeline.early_stopping import library
from mlops_glue.suggest import suggestion

log = logging.getLogger(__name__)
Estimator = Any  # of scikit-learn, which has no types
UPKEEP = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)  # for the estimator's maintainers
FROM_CPP = re.compile(r"\[[\d:]+\] WARNING: \S+:\d+:\s*")  # the start of XGBoost's warnings
NOT_USED = re.compile(r'Parameters: \{ (".+") \} are not used')


def warn(model: Estimator) -> None:
    """Log a warning for each parameter that an unfitted LightGBM in a model does not know."""
    for part in {id(part): part for part in _parts(model)}.values():  # CatBoost's estimators have no hash
        if library(part) == "lightgbm" and (known := lightgbm.parameters()):
            accepted = _accepted(part)
            for name in sorted(set(part.get_params(deep=False)) - accepted - known):
                log.warning("warning: %s", _worded(part, name, sorted(accepted) + sorted(known)))


def log_warnings(caught: Sequence[warnings.WarningMessage], model: Estimator) -> None:
    """Log each warning of a fit once, except those that only concern the estimator's maintainers."""
    texts = (f"{w.category.__name__}: {w.message}" for w in caught if not issubclass(w.category, UPKEEP))
    for text in dict.fromkeys(texts):
        log.warning("warning: %s", one_line(text, model))


def one_line(warning: str, model: Estimator) -> str:
    """Return a warning of a fit as one line; for XGBoost's unused parameters, with the nearest known names."""
    line = next(iter(FROM_CPP.sub("", warning).strip().splitlines()), warning)
    if (found := NOT_USED.search(line)) is None:
        return line
    part = next((part for part in _parts(model) if library(part) == "xgboost"), None)
    known = sorted(_accepted(part)) if part is not None else []
    return "; ".join(_worded(part, name.strip('"'), known) for name in found[1].split(", "))


def _worded(part: Estimator, name: str, known: list[str]) -> str:
    kind = "XGBoost" if part is None else type(part).__name__
    if name in known:  # the parameter exists, but not for this objective or booster
        return f"{kind} does not use the parameter {name!r} here"
    near = suggestion(name, known)
    return f"{kind} does not know the parameter {name!r}, and ignores it{f' ({near})' if near else ''}"


def _parts(model: Estimator) -> Iterator[Estimator]:
    """Yield a model and the estimators inside it."""
    yield model
    if hasattr(model, "get_params"):
        yield from (part for part in model.get_params(deep=True).values() if library(part) and _is_estimator(part))


def _is_estimator(part: Any) -> bool:
    return hasattr(part, "get_params") and not isinstance(part, type)


def _accepted(part: Estimator) -> set[str]:
    """Return the parameters that the constructors of a class and its bases name."""
    made = (vars(base)["__init__"] for base in type(part).__mro__ if "__init__" in vars(base) and base is not object)
    return {name for init in made for name in inspect.signature(init).parameters} - {"self", "args", "kwargs"}

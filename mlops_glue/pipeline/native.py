"""Categories as an estimator's own: it is told which of its columns are, in place of a column for each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_glue import layout
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.early_stopping import library
from mlops_glue.pipeline.fitting import is_search

Estimator = Any  # of scikit-learn, which has no types
PART = "native"  # what the part of the preprocessing is called that its own categories go through


@dataclass(frozen=True)
class Form:
    """The form in which an estimator takes its own categories.

    Attributes:
        most: values that one may have; those with more are encoded.
        as_text: as they are, not as numbers.
    """

    most: float = float("inf")
    as_text: bool = False


def form_of(estimator: Estimator) -> Form:
    """The form that an unfitted estimator takes, or the one that a search is for.

    Raises:
        ConfigError: it takes none.
    """
    inner = _inner(estimator)
    if (of := library(inner)) is not None:
        return Form(as_text=of == "catboost")
    if _is_of_scikit_learn(inner):
        return Form(most=inner.max_bins)
    where = f"{layout.CONFIG} train.categories: {type(inner).__name__}"
    if hasattr(inner, "steps"):
        problem = f"{where} has preprocessing of its own"
    else:
        problem = f"{where} cannot be told which of its columns are categories"
    raise ConfigError([problem], hint="HistGradientBoosting, XGBoost, LightGBM and CatBoost can; or leave it out")


def tell(estimator: Estimator, prepare: Estimator) -> None:
    """Tell an unfitted estimator which of the columns that the preprocessing makes are categories."""
    inner, parts = _inner(estimator), {name: columns for name, _, columns in prepare.transformers}
    before, count = len(parts.get("number", [])), len(parts.get(PART, []))
    places = list(range(before, before + count))
    if not places:
        return
    of = library(inner)
    if of == "xgboost":  # all of its categories are its own: none has too many values
        words = [word for _, how, _ in prepare.transformers for word in getattr(how, "vocabulary", None) or ()]
        inner.set_params(enable_categorical=True, feature_types=["q"] * before + ["c"] * count + ["q"] * len(words))
    elif of == "lightgbm":  # by another name LightGBM (4.7) warns of it, and obeys
        inner.set_params(categorical_column=places)
    else:
        inner.set_params(**{"cat_features" if of == "catboost" else "categorical_features": places})


def _inner(estimator: Estimator) -> Estimator:
    while is_search(estimator):
        estimator = estimator.estimator
    return estimator


def _is_of_scikit_learn(estimator: Estimator) -> bool:
    names = {base.__name__ for base in type(estimator).__mro__}
    return bool(names & {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})

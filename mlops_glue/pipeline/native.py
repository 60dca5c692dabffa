"""Native categories: the estimator is told which columns are categories, so that they are not one-hot encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_glue import layout
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.early_stopping import library
from mlops_glue.pipeline.fitting import is_search

Estimator = Any  # of scikit-learn, which has no types
PART = "native"  # the name of the preprocessing part for native categories


@dataclass(frozen=True)
class Form:
    """The form in which an estimator takes native categories.

    Attributes:
        most: largest number of values of a category; a category with more is encoded.
        as_text: whether it takes the texts, not numbers.
    """

    most: float = float("inf")
    as_text: bool = False


def form_of(estimator: Estimator) -> Form:
    """Return the form that an unfitted estimator, or the estimator of a search, takes.

    Raises:
        ConfigError: it takes no native categories.
    """
    inner = _inner(estimator)
    if (of := library(inner)) is not None:
        return Form(as_text=of == "catboost")
    if _is_of_scikit_learn(inner):
        return Form(most=inner.max_bins)
    where = f"{layout.CONFIG} train.categories: {type(inner).__name__}"
    if hasattr(inner, "steps"):
        problem = f"{where} has its own preprocessing"
    else:
        problem = f"{where} has no native categories"
    hint = "use HistGradientBoosting, XGBoost, LightGBM or CatBoost; or leave out train.categories"
    raise ConfigError([problem], hint=hint)


def tell(estimator: Estimator, prepare: Estimator) -> None:
    """Tell an unfitted estimator which of the preprocessed columns are categories."""
    inner, parts = _inner(estimator), {name: columns for name, _, columns in prepare.transformers}
    before, count = len(parts.get("number", [])), len(parts.get(PART, []))
    places = list(range(before, before + count))
    if not places:
        return
    of = library(inner)
    if of == "xgboost":  # all categories are native: none has too many values
        words = [word for _, how, _ in prepare.transformers for word in getattr(how, "vocabulary", None) or ()]
        inner.set_params(enable_categorical=True, feature_types=["q"] * before + ["c"] * count + ["q"] * len(words))
    elif of == "lightgbm":  # with any other name LightGBM (4.7) obeys but warns
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

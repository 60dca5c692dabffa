"""The kind of an estimator's class, by its import path; and what glue requires of an estimator's class."""

from __future__ import annotations

import importlib
from typing import Any

from mlops_glue import layout
from mlops_glue.errors import ConfigError, StageError, brief

Estimator = Any  # of scikit-learn, which has no types


def kind_of_class(path: str) -> str | None:
    """Return `classifier` or `regressor` by the class, or by its name if it is not installed; None if neither."""
    from sklearn.base import ClassifierMixin, RegressorMixin

    module, _, name = path.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return next((kind for kind in ("classifier", "regressor") if name.lower().endswith(kind)), None)
    kinds = {"classifier": ClassifierMixin, "regressor": RegressorMixin}
    of = [kind for kind, base in kinds.items() if isinstance(made, type) and issubclass(made, base)]
    return of[0] if len(of) == 1 else getattr(made, "_estimator_type", None)  # CatBoost's classes have no such base


def unfit_kind(path: str, task: str | None) -> str | None:
    """Return the kind of an estimator's class if it does not fit the task, else None."""
    kind = kind_of_class(path)
    return kind if task is not None and kind is not None and (kind == "regressor") != (task == "regression") else None


def check_base(estimator: Estimator) -> None:
    """Check that the estimator is a `BaseEstimator`, which a pipeline requires of its last step.

    Raises:
        ConfigError: it is not, or its parameters cannot be read.
    """
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    kind = type(last).__name__
    if not hasattr(last, "__sklearn_tags__"):
        problem = f"{kind} is not a BaseEstimator of scikit-learn, which the last step of a pipeline must be"
        raise ConfigError(
            [f"{layout.CONFIG} train.estimator: {problem}"],
            hint=f"class {kind}(ClassifierMixin, BaseEstimator), or RegressorMixin; or train: {{preprocess: false}}",
        )
    try:
        last.get_params()
    except (AttributeError, RuntimeError) as error:
        raise ConfigError(
            [f"{layout.CONFIG} train.estimator: the parameters of {kind} cannot be read: {brief(error)}"],
            hint="def __init__(self, depth=3): self.depth = depth; name each parameter, and store it under its name",
        ) from error


def check_classes(model: Estimator, known: Any) -> None:
    """Check that a fitted classifier has its labels sorted, as scikit-learn and everything that wraps it assume.

    Raises:
        StageError: they are in another order.
    """
    learnt = list(getattr(model, "classes_", known))
    if learnt != list(known) and sorted(map(str, learnt)) == sorted(map(str, known)) and set(learnt) == set(known):
        name = type(model.steps[-1][1] if hasattr(model, "steps") else model).__name__
        raise StageError(
            f"{name}: classes_ is {learnt}, which is not sorted",
            hint="let fit set self.classes_ = np.unique(y), and return the probabilities in this order",
        )

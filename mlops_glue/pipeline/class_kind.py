"""The kind of an estimator's class, by its import path."""

from __future__ import annotations

import importlib


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

"""The parameters of known estimators that are worth a search, and their ranges."""

from __future__ import annotations

from typing import Any

Space = dict[str, dict[str, Any]]  # by parameter: {low, high, log}, or {choices}


def _from(low: float, high: float, *, log: bool = True) -> dict[str, Any]:
    return {"low": low, "high": high, "log": log}


STEP, LEAF, PENALTY, SHARE = _from(0.01, 0.3), _from(2, 60), _from(1e-3, 30.0), _from(0.3, 1.0, log=False)
ROUNDS = _from(50, 500)
FOREST = {"max_features": _from(0.1, 1.0, log=False), "min_samples_leaf": _from(1, 30), "n_estimators": _from(100, 400)}
BOOSTING = {
    **{"learning_rate": STEP, "max_iter": ROUNDS, "max_leaf_nodes": _from(4, 64), "min_samples_leaf": LEAF},
    **{"l2_regularization": PENALTY, "max_features": SHARE},
}
# By the class's name without Classifier or Regressor. Learning rate, rounds and tree size matter most; then
# regularization. The ranges are close to those in the libraries' own tuning guides.
KNOWN: dict[str, Space] = {
    "HistGradientBoosting": BOOSTING,
    "GradientBoosting": {
        **{"learning_rate": STEP, "n_estimators": ROUNDS, "max_depth": _from(2, 6, log=False)},
        **{"min_samples_leaf": LEAF, "subsample": _from(0.5, 1.0, log=False), "max_features": SHARE},
    },
    "RandomForest": FOREST,
    "ExtraTrees": FOREST,
    "XGB": {
        **{"learning_rate": STEP, "n_estimators": ROUNDS, "max_depth": _from(2, 9, log=False), "reg_lambda": PENALTY},
        **{"min_child_weight": _from(1.0, 30.0), "subsample": _from(0.5, 1.0, log=False), "colsample_bytree": SHARE},
    },
    "LGBM": {
        **{"learning_rate": STEP, "n_estimators": ROUNDS, "num_leaves": _from(4, 64), "min_child_samples": LEAF},
        **{"reg_lambda": PENALTY, "colsample_bytree": SHARE, "subsample": _from(0.5, 1.0, log=False)},
        "subsample_freq": {"choices": [1]},  # without it, subsample has no effect
    },
    "CatBoost": {
        **{"learning_rate": STEP, "iterations": ROUNDS, "depth": _from(3, 8, log=False)},
        **{"l2_leaf_reg": _from(1.0, 30.0), "random_strength": _from(0.1, 10.0)},
    },
    "LogisticRegression": {"C": _from(1e-3, 100.0)},
    "Ridge": {"alpha": _from(1e-3, 1e3)},
    "Lasso": {"alpha": _from(1e-4, 10.0)},
    "ElasticNet": {"alpha": _from(1e-4, 10.0), "l1_ratio": _from(0.05, 0.95, log=False)},
    "SVC": {"C": _from(1e-2, 100.0), "gamma": _from(1e-4, 1.0)},
    "SVR": {"C": _from(1e-2, 100.0), "gamma": _from(1e-4, 1.0), "epsilon": _from(1e-3, 1.0)},
    "KNeighbors": {"n_neighbors": _from(1, 60), "weights": {"choices": ["uniform", "distance"]}},
    "DecisionTree": {"max_depth": _from(2, 20), "min_samples_leaf": _from(1, 60)},
    "MLP": {"alpha": _from(1e-5, 1.0), "learning_rate_init": _from(1e-4, 1e-2)},
}


def of_class(path: str) -> Space | None:
    """Return the search space of an estimator by its import path; None if none is known."""
    return KNOWN.get(_name(path))


def _name(path: str) -> str:
    return path.rpartition(".")[2].removesuffix("Classifier").removesuffix("Regressor")

"""Check whether an estimator is deterministic: if it may not be, compare two fits of a sample.

Only an observed difference is written, never that the check was skipped: otherwise the result would depend on the
speed of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import tables
from mlops_glue.pipeline.execute import set_seeds
from mlops_glue.pipeline.older_rows import Array, Estimator

if TYPE_CHECKING:
    import pandas as pd

Fit = Callable[["pd.DataFrame", Array], Estimator]
ROWS = 1_000  # of the sample
TOLERANCE = 1e-6  # of a probability, or relative to a value: float32 is not more precise
LONGEST_FIT_S, LONGEST_S = 60.0, 5.0  # of a fit that is repeated on a sample, and of the repetition
SEEDED = ("sklearn.",)  # deterministic if they have a seed


def is_in_doubt(model: Estimator) -> bool:
    """Return whether two fits may differ: not if every part is scikit-learn's and draws in this process with a seed.

    A part without `random_state` uses NumPy's global state, which the stage has seeded; other processes have not.
    """
    if not hasattr(model, "get_params"):
        return True
    params = model.get_params(deep=True)
    named = [(name.rpartition("__")[2], value) for name, value in params.items()]
    if ("random_state", None) in named and any(name == "n_jobs" and value not in (None, 1) for name, value in named):
        return True
    parts = [part for value in params.values() for part in (value if isinstance(value, list | tuple) else [value])]
    return any(_is_foreign(part) for part in (model, *parts))


def params(model: Estimator) -> str:
    """Return a model's parameters as text: the project's function may build a different model each time."""
    return str(sorted(model.get_params(deep=True).items())) if hasattr(model, "get_params") else ""


def _is_foreign(part: Any) -> bool:
    """Return whether a part is an estimator from outside scikit-learn; functions, such as scores, rarely draw."""
    kind = part if isinstance(part, type) else type(part)
    return hasattr(part, "fit") and not f"{kind.__module__}.".startswith(SEEDED)


def difference(fit: Fit, features: pd.DataFrame, target: Array, seed: int, fit_s: float) -> float | None:
    """Fit twice on at most `ROWS` of the rows, and compare the two models' predictions.

    Args:
        fit: returns a new fitted model.
        features: of all rows.
        target: of all rows, shape (rows,).
        seed: of the stage; it is set before each fit, as before the first fit.
        fit_s: seconds that the fit on all rows took.

    Returns:
        The largest difference of a probability, or relative to a value; 1 if a label differs. None: no difference was
        seen, the fits would take too long, or the sample is too small.
    """
    at = tables.evenly_spaced(len(target), ROWS)
    if fit_s > LONGEST_FIT_S or 2 * fit_s * len(at) / len(target) > LONGEST_S:
        return None
    features, target, predicted = features.iloc[at], target[at], []
    for _ in range(2):
        set_seeds(seed)
        started = time.perf_counter()
        try:
            predicted.append(_predicted(fit(features, target), features))
        except Exception:  # the model itself was fitted, but a class may be too rare in the sample
            return None
        if time.perf_counter() - started > LONGEST_S:
            break  # its time does not depend on the rows: a search with a time budget
    return _largest(*predicted) or None if len(predicted) == 2 else None


def described(differs: float) -> str:
    """Return a sentence on what a difference means."""
    best = "predictions" if differs <= TOLERANCE else "metrics"
    found = f"two fits of the same rows differ by up to {differs:g} in a prediction"
    return f"estimator is not deterministic: {found}, so the best level glue reproduce can reach is {best}"


def _predicted(model: Estimator, features: pd.DataFrame) -> Array:
    return np.asarray(model.predict_proba(features) if hasattr(model, "predict_proba") else model.predict(features))


def _largest(one: Array, other: Array) -> float:
    """Return the largest difference, rounded to two digits."""
    if one.shape != other.shape or one.dtype.kind != "f" or other.dtype.kind != "f":
        return float(not np.array_equal(one, other))
    apart = np.abs(one - other) / np.maximum(1.0, np.abs(one))
    if (np.isnan(one) != np.isnan(other)).any():
        return 1.0
    return float(f"{np.nanmax(apart, initial=0.0):.2g}")

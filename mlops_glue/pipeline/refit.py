"""Does an estimator learn the same from the same rows? Two fits of a sample are compared, where it may not.

Only what was seen is written, and never that nobody looked: else a slow machine would make another result.
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
TOLERANCE = 1e-6  # of a probability, or of a value's share: float32 has no more
LONGEST_FIT_S, LONGEST_S = 60.0, 5.0  # of a fit that is tried again on a sample, and of what that may take
SEEDED = ("sklearn.",)  # deterministic where they have a seed


def is_in_doubt(model: Estimator) -> bool:
    """May two fits differ? Not where every part is scikit-learn's, and draws in this process, which has a seed.

    Without a `random_state` of its own a part draws from NumPy's seed of the stage; other processes do not have that.
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
    """Its parameters as text: a function of the project's may build another model each time."""
    return str(sorted(model.get_params(deep=True).items())) if hasattr(model, "get_params") else ""


def _is_foreign(part: Any) -> bool:
    """Is it an estimator of somebody else's? A function, such as a score, hardly ever draws."""
    kind = part if isinstance(part, type) else type(part)
    return hasattr(part, "fit") and not f"{kind.__module__}.".startswith(SEEDED)


def difference(fit: Fit, features: pd.DataFrame, target: Array, seed: int, fit_s: float) -> float | None:
    """Fit twice on at most `ROWS` of the rows, and compare what the two predict of them.

    Args:
        fit: a new model, fitted.
        features: of all rows.
        target: of all rows, shape (rows,).
        seed: of the stage; it is set before each fit, as it was before the first.
        fit_s: seconds that the fit of all rows took.

    Returns:
        The largest difference of a probability, or of a value's share; 1 where a label differs. None: none was seen,
        or the fits would take long, or the sample is too small to be learned from.
    """
    at = tables.evenly_spaced(len(target), ROWS)
    if fit_s > LONGEST_FIT_S or 2 * fit_s * len(at) / len(target) > LONGEST_S:
        return None
    features, target, said = features.iloc[at], target[at], []
    for _ in range(2):
        set_seeds(seed)
        started = time.perf_counter()
        try:
            said.append(_said(fit(features, target), features))
        except Exception:  # the model itself is fitted: a class may be too rare in the sample
            return None
        if time.perf_counter() - started > LONGEST_S:
            break  # it takes its time whatever the rows: a search with a budget
    return _largest(*said) or None if len(said) == 2 else None


def described(differs: float) -> str:
    """What such a difference means, in a sentence."""
    best = "predictions" if differs <= TOLERANCE else "metrics"
    found = f"two fits of the same rows differ by up to {differs:g} in a prediction"
    return (
        f"estimator is not deterministic: {found}, so {best} is the best level that can be expected of glue reproduce"
    )


def _said(model: Estimator, features: pd.DataFrame) -> Array:
    return np.asarray(model.predict_proba(features) if hasattr(model, "predict_proba") else model.predict(features))


def _largest(one: Array, other: Array) -> float:
    """With two digits."""
    if one.shape != other.shape or one.dtype.kind != "f" or other.dtype.kind != "f":
        return float(not np.array_equal(one, other))
    apart = np.abs(one - other) / np.maximum(1.0, np.abs(one))
    if (np.isnan(one) != np.isnan(other)).any():
        return 1.0
    return float(f"{np.nanmax(apart, initial=0.0):.2g}")

"""Run the parallel parts of a fit on a cluster: the trees of scikit-learn's forests, the candidates of its searches."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mlops_glue import engine
from mlops_glue.config import Config

if TYPE_CHECKING:
    from mlops_glue.pipeline.older_rows import Estimator


def spread(config: Config, model: Estimator) -> AbstractContextManager[object]:
    """Run parallel parts in the block on the cluster of `compute`, if there is one and the model has such parts."""
    return engine.scikit_learn(config) if has_parallel_parts(model) else contextlib.nullcontext()


def has_parallel_parts(model: Estimator) -> bool:
    """Return whether the last step, or a part of it, has scikit-learn's `n_jobs` with a value other than 1.

    In boosters of other libraries the name means threads on one machine.
    """
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    parts = [last, *last.get_params().values()] if hasattr(last, "get_params") else [last]
    return any(
        type(part).__module__.startswith("sklearn.") and getattr(part, "n_jobs", 1) != 1
        for part in parts
        if not isinstance(part, type)
    )

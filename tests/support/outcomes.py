"""What a model may have answered: truth, labels and probabilities at random."""

from __future__ import annotations

from typing import Any

import numpy as np


def outcomes(task: str, rows: int, seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    if task == "regression":
        return rng.normal(size=rows), rng.normal(size=rows), None
    classes = 2 if task == "binary" else 3
    probability = rng.dirichlet(np.ones(classes), rows)
    return rng.integers(0, classes, rows), probability.argmax(1), probability

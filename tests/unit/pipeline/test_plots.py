"""Several models in one picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlops_glue.pipeline import plots
from mlops_glue.schema import Schema

LABELS: dict[str, list[Any]] = {"binary": ["no", "yes"], "multiclass": ["a", "b", "c"]}


def outcome(task: str, seed: int) -> tuple[Any, Any, Any]:
    rng, truth = np.random.default_rng(seed), np.arange(60) % len(LABELS.get(task, "ab"))
    if task == "regression":
        return truth.astype(float), truth + rng.normal(size=60), None
    probability = rng.dirichlet(np.ones(len(LABELS[task])), 60)
    return truth, probability.argmax(axis=1), probability


@pytest.mark.parametrize(
    "task, title",
    [("binary", "ROC of yes"), ("multiclass", "ROC, the classes pooled"), ("regression", "Rows within an error")],
)
def test_models_have_one_curve_each(task: str, title: str) -> None:
    schema = Schema(task, "y", [], LABELS.get(task))
    drawn = plots.of_models(schema, {"v1": outcome(task, 1), "v2": outcome(task, 2)})
    assert drawn is not None and title in drawn and ">v1<" in drawn and ">v2<" in drawn


def test_hard_labels_and_one_class_have_no_curve() -> None:
    schema = Schema("binary", "y", [], LABELS["binary"])
    truth, label, probability = outcome("binary", 1)
    assert plots.of_models(schema, {"v1": (truth, label, np.eye(2)[label])}) is None
    assert plots.of_models(schema, {"v1": (np.zeros(60, int), label, probability)}) is None
    assert plots.of_models(schema, {}) is None

"""What evaluate says beside the metrics, held against scikit-learn: importances, slices, classes that nobody saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss

from mlops_glue import metrics
from mlops_glue.config import Config
from mlops_glue.pipeline.evaluate import _importances, by_value, outcome
from mlops_glue.schema import Schema

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({name: RNG.normal(size=400) for name in "abc"})
SCORE = 2 * FRAME["a"] - FRAME["b"] + RNG.normal(size=400)
CONFIG = Config.model_validate(
    {
        "glue": 1,
        "project": "p",
        "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
        "train": {"seed": 3},
    }
)


@pytest.mark.parametrize(
    ("task", "name", "scoring"),
    [
        ("binary", "log_loss", "neg_log_loss"),
        ("binary", "roc_auc", "roc_auc"),
        ("regression", "rmse", "neg_root_mean_squared_error"),
        ("regression", "r2", "r2"),
    ],
)
def test_importances_are_scikit_learns_of_losses_as_of_scores(task: Any, name: str, scoring: str) -> None:
    classes = [0, 1] if task == "binary" else None
    truth: Any = (SCORE > 0).astype(int).to_numpy() if classes else SCORE.to_numpy()
    model = (LogisticRegression() if classes else Ridge()).fit(FRAME, truth)
    found = _importances(CONFIG, Schema(task, "y", [], classes), model, FRAME, truth, name)
    wanted = permutation_importance(model, FRAME, truth, scoring=scoring, n_repeats=3, random_state=3)
    assert found is not None and [one["column"] for one in found] == ["a", "b", "c"]
    assert [one["mean"] for one in found] == pytest.approx(wanted.importances_mean.tolist())
    assert [one["std"] for one in found] == pytest.approx(wanted.importances_std.tolist())
    assert {one["rows"] for one in found} == {400}


def test_slices_are_of_the_most_frequent_values_by_hand() -> None:
    counts = RNG.permutation(np.arange(1, 81))  # of eighty values, each with another number of rows
    values = np.repeat([f"v{at:02}" for at in range(80)], counts)
    truth = RNG.integers(0, 2, len(values))
    share = RNG.uniform(0.01, 0.99, len(values))
    label, probability = (share > 0.5).astype(int), np.column_stack([1 - share, share])
    names = {name: metrics.table("binary", 2)[name] for name in ("accuracy", "log_loss")}
    found = by_value(values, names, truth, label, probability)
    assert [one["value"] for one in found] == sorted(f"v{at:02}" for at in np.flatnonzero(counts > 30))
    assert len(found) == 50 and {one["values"] for one in found} == {80}
    for one in found:
        at = values == one["value"]
        assert one["rows"] == at.sum()
        assert one["metrics"]["accuracy"] == accuracy_score(truth[at], label[at])
        assert one["metrics"]["log_loss"] == pytest.approx(log_loss(truth[at], share[at], labels=[0, 1]))


def test_a_class_of_the_holdout_alone_has_no_probability() -> None:
    """The columns of a model go by its classes, not by their place among those of the schema."""
    learnt = np.where(FRAME["a"] > 0, "c", "a")
    model = LogisticRegression().fit(FRAME, learnt)
    label, probability = outcome(model, Schema("multiclass", "y", [], ["a", "b", "c"]), FRAME)
    wanted = model.predict_proba(FRAME)
    assert np.array_equal(probability, np.column_stack([wanted[:, 0], np.zeros(400), wanted[:, 1]]))
    assert set(label) == {0, 2}

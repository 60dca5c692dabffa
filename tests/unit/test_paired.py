"""Two models on the same rows, slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlops_glue import paired
from mlops_glue.metrics import METRICS

AUC = METRICS["binary"]["roc_auc"]


def outcome(truth: Any, score: Any) -> paired.Outcome:
    share = 1 / (1 + np.exp(-score))
    return truth, (share > 0.5).astype(int), np.column_stack([1 - share, share])


def test_a_slice_that_falls_is_found_and_few_rows_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    slices = np.repeat(["bad", "few", "good", "one class", ""], [400, 49, 400, 100, 60])
    truth = rng.integers(0, 2, len(slices))
    truth[slices == "one class"] = 1
    score = 2 * truth + rng.normal(size=len(slices))
    worse = np.where(slices == "bad", rng.normal(size=len(slices)), score + 0.1 * rng.normal(size=len(slices)))
    found = paired.by_slice("binary", AUC, {"c": slices}, outcome(truth, worse), outcome(truth, score), 0)
    assert [(one["value"], one["rows"]) for one in found] == [(None, 60), ("bad", 400), ("good", 400)]
    assert [one["value"] for one in found if one["high"] < -0.01] == ["bad"]
    good = slices == "good"
    one, other = (outcome(truth[good], made[good]) for made in (worse, score))
    alone = paired.by_slice("binary", AUC, {"c": slices[good]}, one, other, 0)
    assert alone[0]["high"] - alone[0]["low"] < found[2]["high"] - found[2]["low"]  # it is one of one, not of three


@pytest.mark.parametrize(
    ("name", "noticeable", "small"), [("roc_auc", 0.03, True), ("roc_auc", 0.02, False), ("log_loss", 0.3, False)]
)
def test_a_holdout_is_too_small_where_it_would_miss_a_loss_that_matters(
    name: str, noticeable: float, small: bool
) -> None:
    assert paired.is_too_small("binary", METRICS["binary"][name], noticeable) is small
    assert not paired.is_too_small("regression", METRICS["regression"]["r2"], 0.5)

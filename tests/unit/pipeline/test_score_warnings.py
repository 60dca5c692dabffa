"""What to distrust in a score is a line; a score that deserves trust has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlops_glue.pipeline.score_warnings import first_metric, missing_classes, other_losses
from mlops_glue.schema import Schema


def test_a_loss_that_decides_nothing_and_is_worse_than_the_trivial_one_is_told() -> None:
    scores = {"log_loss": {"value": 4.38, "trivial": 0.52}, "brier": {"value": 0.2, "trivial": 0.2}}
    (line,) = other_losses({**scores, "mae": {"value": float("nan"), "trivial": 1.0}})
    assert line == "log_loss 4.3800 is worse than the trivial predictor's 0.5200, but decides nothing here"


def test_a_score_that_is_no_better_than_chance_or_too_good_by_one_column() -> None:
    def told(value: float, means: list[float], name: str = "r2", warnings: tuple[str, ...] = ()) -> list[str]:
        found = [{"column": f"c{at}", "mean": mean, "rows": 9} for at, mean in enumerate(means)]
        scores = {name: {"value": value, "trivial": 0.5 if name == "log_loss" else 0.0}}
        report = {"rows": 9, "metrics": scores, "importances": found or None, "warnings": list(warnings)}
        return list(first_metric(name, report, higher_is_better=name != "log_loss"))

    assert told(0.0, [0.1]) == ["r2 0.0000 is no better than the trivial predictor's 0.0000"]
    assert told(0.6, [0.1], "log_loss") == ["log_loss 0.6000 is no better than the trivial predictor's 0.5000"]
    (line,) = told(0.9999, [1.8, 0.1, -0.2])
    assert line.startswith("r2 0.9999 is nearly perfect, almost entirely due to column 'c0': is it known before")
    for nothing in (
        told(0.9999, [1.0, 0.5]),
        told(0.9999, [0.0, 0.0]),
        told(0.9999, []),
        told(0.99, [1.0]),
        told(0.0001, [1.0], "log_loss"),
        told(0.9999, [1.0], warnings=("column 'c0' is a linear copy of the target",)),
        told(float("nan"), [1.0]),
    ):
        assert nothing == []


@pytest.mark.parametrize(
    "value, means, rows, warned, said",
    [
        (0.999, [0.9, 0.1], 9, [], True),
        (0.99899, [0.9, 0.1], 9, [], False),
        (0.999, [0.89, 0.11], 9, [], False),
        (0.999, [0.9, 0.1, -5.0], 9, [], True),
        (1.0, [0.0, 0.0], 9, [], False),
        (1.0, [-0.1], 9, [], False),
        (1.0, [1.0], 9, ["another"], False),
    ],
)
def test_a_score_is_too_good_by_one_column_alone(
    value: float, means: list[float], rows: int, warned: list[str], said: bool
) -> None:
    found = [{"column": f"c{at}", "mean": mean, "rows": 1000} for at, mean in enumerate(means)]
    scores = {"f1": {"value": 0.0, "trivial": 1.0}, "r2": {"value": value, "trivial": 0.0}}
    report = {"rows": 1000, "metrics": scores, "importances": found, "warnings": warned}
    wanted = f"r2 {value:.4f} is nearly perfect, almost entirely due to column 'c0'"
    asked = ": is it known before the target? if not, features.exclude"
    assert list(first_metric("r2", report, higher_is_better=True)) == ([wanted + asked] if said else [])
    report["rows"] = 5000
    few = " (by 1,000 of the 5,000 rows of the holdout)"
    assert list(first_metric("r2", report, higher_is_better=True)) == ([wanted + few + asked] if said else [])
    assert list(first_metric("r2", report | {"importances": None}, higher_is_better=True)) == []


@pytest.mark.parametrize(
    ("labels", "learnt", "truth", "undefined", "said"),
    [
        (
            ["a", "b", "c"],
            ["a", "b"],
            [0, 1, 2, 2],
            False,
            ["never predicts y 'c': no training row has it, but 2 of the 4 "],
        ),
        (
            [1, 2, 3, 4, 5, 6],
            [2],
            [0, 1, 2, 4, 5],
            False,
            ["never predicts y 1, 3, 5 and 1 more: no training row has it"],
        ),
        ([False, True], [True, False], [1, 1], True, ["auc is undefined: the holdout has no row in which y is False"]),
        (["a", "b", "c"], ["a", "c"], [1, 2], True, ["never predicts y 'b'", "auc is undefined"]),
        (["a", "b"], ["a", "b"], [0, 0], False, []),
        (None, [0.5, 1.5], [2.5], True, []),
    ],
)
def test_classes_that_training_or_the_holdout_lacks_are_told(
    labels: Any, learnt: list[Any], truth: list[Any], undefined: bool, said: list[str]
) -> None:
    schema = Schema("regression" if labels is None else "multiclass", "y", [], labels)
    scores = {"auc": {"value": np.nan if undefined else 0.5}, "accuracy": {"value": 1.0}}
    told = list(missing_classes(schema, np.array(truth), set(np.array(learnt).tolist()), scores))
    assert len(told) == len(said) and all(one in line for one, line in zip(said, told, strict=True))

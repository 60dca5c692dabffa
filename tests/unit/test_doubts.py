"""What makes metrics too good to be true is told, and what only looks like it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from mlops_glue.errors import StageError
from mlops_glue.pipeline import doubts
from mlops_glue.pipeline.doubts import _told
from mlops_glue.pipeline.evaluate import _of_score, outcome
from mlops_glue.schema import Column, Schema

RNG = np.random.default_rng(0)
N = 400
X = RNG.normal(size=N).astype(np.float32)
YES = RNG.random(N) < 0.3
Y = np.where(YES, "yes", "no").astype(object)
NUMBER = RNG.normal(size=N).round(2) * 1000


def parts(frame: pd.DataFrame, target: Any, held: int = N // 5) -> tuple[doubts.Part, doubts.Part]:
    return (frame[held:], target[held:]), (frame[:held], target[:held])


def told(column: Any, target: Any, labels: Any = ("no", "yes"), *, good: bool = True) -> list[str]:
    schema = Schema("", "y", [Column("x", "number"), Column("z", "number")], labels)
    return doubts.leaks(schema, *parts(pd.DataFrame({"x": X, "z": column}), target), good=good)


@pytest.mark.parametrize(
    ("column", "target", "labels", "said"),
    [
        (np.where(YES, "churned", "active").astype(object), Y, ["no", "yes"], "alone tells"),
        (np.where(YES, 3, 1).astype(np.float32), Y, ["no", "yes"], "alone tells"),
        (np.where(YES, X**2 + 1, -(X**2)).astype(np.float32), Y, ["no", "yes"], "alone tells"),
        (np.where(YES, X, np.nan).astype(np.float32), Y, ["no", "yes"], "is null exactly where the target is no"),
        (np.where(YES, "", "a").astype(object), Y, ["no", "yes"], "is null exactly where the target is yes"),
        (np.where(np.arange(N) % 9, np.where(YES, 3, 1), np.nan).astype(np.float32), Y, ["no", "yes"], "alone tells"),
        ((2.54 * NUMBER + 7).astype(np.float32), NUMBER, None, "is a linear copy"),
        ((2.54 * NUMBER).round(-1).astype(np.float32), NUMBER, None, "is a linear copy"),
        (np.exp(-NUMBER / 1000).astype(np.float32), NUMBER, None, "has the order"),
        (np.where(NUMBER > 0, X, np.nan).astype(np.float32), NUMBER.clip(0), None, "is null exactly where"),
    ],
)
def test_a_column_that_is_the_target_is_told(column: Any, target: Any, labels: Any, said: str) -> None:
    found = told(column, target, labels)
    assert len(found) == 1 and found[0].startswith(f"column 'z' {said}")


@pytest.mark.parametrize(
    ("column", "target", "labels"),
    [
        (np.where(YES ^ (np.arange(N) == 7), 3, 1).astype(np.float32), Y, ["no", "yes"]),  # one mistake
        (np.where(np.arange(N) % 9, X, np.nan).astype(np.float32), Y, ["no", "yes"]),
        (X + np.float32(1), np.array([f"c{i}" for i in range(N)], object), [f"c{i}" for i in range(N)]),  # all differ
        (np.array([f"c{i % 150}" for i in range(N)], object), Y, ["no", "yes"]),
        ((NUMBER + 50 * X).astype(np.float32), NUMBER, None),
        ((NUMBER > 0).astype(np.float32), NUMBER, None),
    ],
)
def test_what_only_looks_like_it_is_not(column: Any, target: Any, labels: Any) -> None:
    assert told(column, target, labels) == []


@pytest.mark.parametrize(("known", "told_of"), [(N // 2, True), (N // 2 - 1, False)])
def test_a_column_that_mostly_is_null_says_nothing_of_the_target(known: int, told_of: bool) -> None:
    """Of half of the rows on it is judged by the values that are there. Both classes are among the others."""
    column = np.where(np.arange(N) < known, np.where(YES, 3, 1), np.nan).astype(np.float32)
    assert _told(column, (YES.astype(int), ["no", "yes"]), True) == (
        "alone tells the target without a mistake" if told_of else None
    )


def test_the_order_of_the_target_may_be_a_trend() -> None:
    assert told(np.exp(-NUMBER / 1000).astype(np.float32), NUMBER, None, good=False) == []


def frame(rows: int, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": RNG.normal(size=rows).astype(np.float32), "b": RNG.normal(size=rows), **more})


def test_rows_that_are_there_twice_are_told_as_far_as_they_are_no_chance() -> None:
    one = frame(200, c=RNG.choice(["u", "v"], 200).astype(object))
    y = RNG.choice(["no", "yes"], 200).astype(object)
    at = np.repeat(np.arange(200), 3)[RNG.permutation(600)]
    copies = doubts.twins(*parts(one.iloc[at], y[at], 120))
    assert copies.rows > 100 and copies.looked == copies.equal and str(copies).isdigit() and not copies.judged
    assert doubts.twins(*parts(one, y, 40)).rows == 0
    some = np.concatenate([np.arange(200), np.arange(1)])  # less than 2 %
    assert doubts.twins(*parts(one.iloc[some[::-1]], y[some[::-1]], 60)).rows == 0
    codes = pd.DataFrame({name: RNG.integers(0, 4, 600).astype(np.float32) for name in "abcde"})
    assert doubts.twins(*parts(codes, codes["a"].to_numpy() > 1, 120)).rows == 0
    rounded = pd.DataFrame({"a": RNG.normal(size=600).round(2).astype(np.float32)})
    assert doubts.twins(*parts(rounded, rounded["a"].to_numpy() > 1, 120)).rows == 0


def test_what_predicts_no_class_is_told() -> None:
    model = DummyRegressor().fit(np.zeros((4, 1)), [0, 0, 0, 1])
    with pytest.raises(StageError, match=r"DummyRegressor predicts 0\.25, which is none of the target's classes"):
        outcome(model, Schema("binary", "y", [], [0, 1]), np.zeros((2, 1)))


def test_a_score_that_is_no_better_than_chance_or_too_good_by_one_column() -> None:
    def told(value: float, means: list[float], name: str = "r2", warnings: tuple[str, ...] = ()) -> list[str]:
        found = [{"column": f"c{at}", "mean": mean, "rows": 9} for at, mean in enumerate(means)]
        scores = {name: {"value": value, "trivial": 0.5 if name == "log_loss" else 0.0}}
        report = {"rows": 9, "metrics": scores, "importances": found or None, "warnings": list(warnings)}
        return _of_score(name, report, higher_is_better=name != "log_loss")

    assert told(0.0, [0.1]) == ["r2 0.0000 is no better than the trivial predictor's 0.0000"]
    assert told(0.6, [0.1], "log_loss") == ["log_loss 0.6000 is no better than the trivial predictor's 0.5000"]
    (line,) = told(0.9999, [1.8, 0.1, -0.2])
    assert line.startswith("r2 0.9999 is nearly perfect, and column 'c0' makes nearly all of it: is it known before")
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

"""Older rows are left out of a retraining where they do harm, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from mlops_glue.pipeline import older

BEFORE, AFTER = np.array([2.0, 1.0, 0.0]), np.array([-2.0, 0.0, 1.0])


def rows(count: int, seed: int, weights: Any, *, classes: bool = True) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    value = x @ weights + rng.normal(size=count)
    return pd.DataFrame(x), np.where(value > 0, "yes", "no") if classes else value


def begin(model: Any, parts: list[Any], **how: Any) -> tuple[int, dict[str, float]]:
    made = [rows(count, at, weights, **how) for at, (count, weights) in enumerate(parts)]
    batch = np.repeat(np.arange(len(parts)), [count for count, _ in parts])
    target = np.concatenate([y for _, y in made])
    return older.begin(model, pd.concat([x for x, _ in made]), target, batch, lambda m, x, y: m.fit(x, y), seed=0)


@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC()], ids=["probabilities", "labels alone"])
@pytest.mark.parametrize(
    ("parts", "first"),
    [
        ([(2000, BEFORE), (200, BEFORE)], 0),
        ([(2000, BEFORE), (200, AFTER)], 1),
        ([(2000, BEFORE), (300, AFTER), (200, AFTER)], 1),
        ([(2000, BEFORE), (300, BEFORE), (200, AFTER)], 2),
        ([(100, AFTER), (2000, BEFORE), (200, AFTER)], 2),
        ([(300, BEFORE), (1000, AFTER), (300, AFTER), (300, AFTER), (300, AFTER), (100, AFTER)], 3),  # LATEST back
    ],
)
def test_classes(model: Any, parts: list[Any], first: int) -> None:
    found, losses = begin(model, parts)
    if len(parts) == 6:
        assert found in (0, 3) and set(losses) == {"0", "3", "4", "5"}
    else:
        assert found == first, losses


@pytest.mark.parametrize(("weights", "first"), [(BEFORE, 0), (AFTER, 1)])
def test_values(weights: Any, first: int) -> None:
    model = HistGradientBoostingRegressor(random_state=0, max_iter=30)
    assert begin(model, [(2000, BEFORE), (400, weights)], classes=False)[0] == first


def test_what_cannot_be_learned_from_alone_needs_the_older_ones() -> None:
    x, y = rows(1000, 0, BEFORE)
    y[-60:] = "yes"  # one class
    batch = np.repeat([0, 1], [940, 60])
    found, losses = older.begin(LogisticRegression(), x, y, batch, lambda m, x, y: m.fit(x, y), seed=0)
    assert found == 0 and set(losses) == {"0"}


def test_an_error_with_all_rows_is_one() -> None:
    x, y = rows(300, 0, BEFORE)

    def fit(*_: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        older.begin(LogisticRegression(), x, y, np.repeat([0, 1], [200, 100]), fit, seed=0)


def test_a_class_that_was_not_learned_costs_much_and_not_everything() -> None:
    x, y = rows(100, 0, BEFORE)
    y[:3] = "perhaps"
    model = LogisticRegression().fit(x[3:], y[3:])
    lost = older.loss(model, x, y)
    assert np.isfinite(lost).all() and (lost[:3] == -np.log(older.LEAST)).all() and (lost[3:] < lost[0]).all()


def test_many_rows_are_told_by_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(older, "MOST_ROWS", 2199)
    fits: list[int] = []

    def fit(model: Any, x: Any, y: Any) -> Any:
        fits.append(len(x))
        return model.fit(x, y)

    (x, y), (more, after) = rows(2000, 0, BEFORE), rows(200, 1, AFTER)
    batch = np.repeat([0, 1], [2000, 200])
    found, _ = older.begin(LogisticRegression(), pd.concat([x, more]), np.concatenate([y, after]), batch, fit, seed=0)
    assert (found, fits) == (1, [2133, 133])

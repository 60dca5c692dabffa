"""Older rows are left out of a retraining where they do harm, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from mlops_glue.pipeline import older_rows

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
    return older_rows.first_batch(
        model, pd.concat([x for x, _ in made]), target, batch, lambda m, x, y: m.fit(x, y), seed=0
    )


@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC()], ids=["probabilities", "labels alone"])
@pytest.mark.parametrize(
    ("parts", "first"),
    [
        ([(2000, BEFORE), (200, BEFORE)], 0),
        ([(2000, BEFORE), (200, AFTER)], 1),
        ([(2000, BEFORE), (300, AFTER), (200, AFTER)], 1),
        ([(2000, BEFORE), (300, BEFORE), (200, AFTER)], 2),
        ([(100, AFTER), (2000, BEFORE), (200, AFTER)], 2),
        ([(300, BEFORE), (1000, AFTER), (300, AFTER), (300, AFTER), (300, AFTER), (100, AFTER)], 3),  # MAX_BATCHES back
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
    found, losses = older_rows.first_batch(LogisticRegression(), x, y, batch, lambda m, x, y: m.fit(x, y), seed=0)
    assert found == 0 and set(losses) == {"0"}


def test_an_error_with_all_rows_is_one() -> None:
    x, y = rows(300, 0, BEFORE)

    def fit(*_: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        older_rows.first_batch(LogisticRegression(), x, y, np.repeat([0, 1], [200, 100]), fit, seed=0)


def test_a_class_that_was_not_learned_costs_much_and_not_everything() -> None:
    x, y = rows(100, 0, BEFORE)
    y[:3] = "perhaps"
    model = LogisticRegression().fit(x[3:], y[3:])
    lost = older_rows.loss(model, x, y)
    assert (
        np.isfinite(lost).all()
        and (lost[:3] == -np.log(older_rows.MIN_PROBABILITY)).all()
        and (lost[3:] < lost[0]).all()
    )


def test_many_rows_are_told_by_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(older_rows, "MAX_ROWS", 2199)
    fits: list[int] = []

    def fit(model: Any, x: Any, y: Any) -> Any:
        fits.append(len(x))
        return model.fit(x, y)

    (x, y), (more, after) = rows(2000, 0, BEFORE), rows(200, 1, AFTER)
    batch = np.repeat([0, 1], [2000, 200])
    found, _ = older_rows.first_batch(
        LogisticRegression(), pd.concat([x, more]), np.concatenate([y, after]), batch, fit, seed=0
    )
    assert (found, fits) == (1, [2133, 133])


class Told:
    """A model whose error on the rows of a batch is known: by how old the rows that it learned from are."""

    def __init__(self, error: Any) -> None:
        self.error, self.oldest = error, -1

    def fit(self, x: pd.DataFrame, y: Any) -> Told:
        self.oldest = int(x["batch"].min())
        return self

    def predict(self, x: pd.DataFrame) -> Any:
        return np.asarray([self.error(self.oldest, place) for place in x["place"]])


def chosen(error: Any, batches: int = 2, fresh: int = 60, **how: Any) -> tuple[int, dict[str, float], list[Any]]:
    """What is learned from where the target is 0 everywhere, and so the loss is the square of what is said."""
    batch = np.repeat(np.arange(batches), [40] * (batches - 1) + [fresh])
    x = pd.DataFrame({"batch": batch, "place": np.arange(len(batch))})
    asked: list[Any] = []

    def fit(model: Any, x: pd.DataFrame, y: Any) -> Any:
        asked.append((int(x["batch"].min()), set(x["place"])))
        assert len(x) == len(y)
        return model.fit(x, y)

    first, losses = older_rows.first_batch(Told(error), x, np.zeros(len(batch)), batch, fit, how.get("seed", 0))
    return first, losses, asked


def test_each_part_of_the_latest_batch_is_predicted_by_what_did_not_learn_it() -> None:
    _, losses, asked = chosen(lambda oldest, place: 2.0 if oldest == 0 else 1.0)
    assert losses == {"0": 4.0, "1": 1.0}
    fresh = set(range(40, 100))
    for first in (0, 1):
        held = [fresh - learned for oldest, learned in asked if oldest == first]
        assert [len(part) for part in held] == [20, 20, 20] and set.union(*held) == fresh
        assert all(set(range(40)) <= learned if first == 0 else learned <= fresh for o, learned in asked if o == first)
    assert sorted(held[0]) == sorted(
        40 + at for at, one in enumerate(np.random.default_rng(0).permutation(60) % 3) if one == 0
    )
    *_, other = chosen(lambda oldest, place: 2.0 if oldest == 0 else 1.0, seed=1)
    assert other != asked


def test_where_older_rows_do_good_one_part_tells() -> None:
    first, losses, asked = chosen(lambda oldest, place: 1.0 if oldest == 0 else 1.5)
    assert (first, losses) == (0, {"0": 1.0, "1": 2.25}) and [oldest for oldest, _ in asked] == [0, 1]
    first, losses, asked = chosen(lambda *_: 1.0)  # none is better
    assert first == 0 and len(asked) == 2


@pytest.mark.parametrize(("worse", "first"), [(0.0, 0), (0.9, 0), (1.1, 1)])
def test_older_rows_are_kept_while_the_loss_is_within_a_standard_error_of_the_least(worse: float, first: int) -> None:
    """Of sixty rows whose losses differ by -1 and 1 in turn, the standard error is one by the root of sixty."""
    shift = worse / np.sqrt(60)
    sign = {40 + at: 1 if rank % 2 else -1 for rank, at in enumerate(range(60))}

    def error(oldest: int, place: int) -> float:
        return float(np.sqrt(10.0 + shift + sign[place] + 1e-9)) if oldest == 0 else float(np.sqrt(10.0))

    found, losses, _ = chosen(error)
    if worse:
        assert losses["0"] == pytest.approx(10 + shift, abs=1e-6) or found == 0
    assert found == first


def test_of_many_retrainings_the_earliest_that_is_no_worse_is_taken() -> None:
    """All rows, or from one of the latest three on."""
    first, losses, _ = chosen(lambda oldest, place: {0: 3.0, 2: 2.0, 3: 1.0}.get(oldest, 1.0), batches=5)
    assert (first, losses) == (3, {"0": 9.0, "2": 4.0, "3": 1.0, "4": 1.0})
    assert chosen(lambda oldest, place: 2.0 if oldest < 4 else 1.0, batches=5)[0] == 4
    assert set(chosen(lambda *_: 1.0, batches=3)[1]) == {"0", "1", "2"}
    assert set(chosen(lambda *_: 1.0, batches=4)[1]) == {"0", "1", "2", "3"}


def test_a_start_that_one_part_cannot_be_learned_with_is_none() -> None:
    """It is out, also where it fails on a later part alone, and the others are judged without it."""
    failed: list[int] = []

    def error(oldest: int, place: int) -> float:
        if oldest == 2:
            failed.append(place)
            if len({*failed}) > 25:
                raise ValueError("one class")
        return {0: 3.0, 1: 2.0, 2: 0.5}[oldest]

    first, losses, _ = chosen(error, batches=3)
    assert (first, losses) == (1, {"0": 9.0, "1": 4.0})


@pytest.mark.parametrize(("most", "parts"), [(100, 3), (99, 1)])
def test_how_many_rows_are_told_by_all_parts(most: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(older_rows, "MAX_ROWS", most)
    first, losses, asked = chosen(lambda oldest, place: 2.0 if oldest == 0 else 1.0)
    assert (first, losses, len(asked)) == (1, {"0": 4.0, "1": 1.0}, 2 * parts)


def test_the_model_that_is_given_stays_unfitted() -> None:
    x, y = rows(300, 0, BEFORE)
    model = LogisticRegression()
    older_rows.first_batch(model, x, y, np.repeat([0, 1], [200, 100]), lambda m, x, y: m.fit(x, y), seed=0)
    assert not hasattr(model, "coef_")


class Says:
    def __init__(self, said: Any, classes: Any = None, shares: Any = None) -> None:
        self.said = np.array(said)
        if classes is not None:
            self.classes_ = np.array(classes)
        if shares is not None:
            self.predict_proba = lambda rows: np.array(shares)

    def predict(self, rows: Any) -> Any:
        return self.said


def test_the_loss_of_each_row_by_hand() -> None:
    assert older_rows.loss(Says([1, 5]), None, np.array([4, 3])).tolist() == [9.0, 4.0]
    certain = Says(["a", "b"], ["a", "b"])
    lost = older_rows.loss(certain, None, np.array(["b", "b"]))
    assert lost.tolist() == [1.0, 0.0] and lost.dtype == np.float64
    likely = Says(["b"] * 4, ["b", "a"], [[0.8, 0.2], [0.8, 0.2], [1.0, 0.0], [0.5, 0.5 + 1e-9]])
    lost = older_rows.loss(likely, None, np.array(["b", "a", "a", "b"]))
    assert lost == pytest.approx(-np.log([0.8, 0.2, 1e-6, 0.5]))
    over = Says(["a"], ["a"], [[1.0 + 1e-7]])
    assert older_rows.loss(over, None, np.array(["a"])).tolist() == [0.0]  # rounding gains nothing

"""Which rows are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from mlops_glue import files, layout
from mlops_glue.errors import DataError
from mlops_glue.pipeline.split import batches, folds, fresh_holdout, late, late_entities, split
from tests.support.splits import project, rows_of


def days(rows: int) -> Any:
    return np.datetime64("2026-01-01", "us") + np.arange(rows) * np.timedelta64(1, "D")


def test_of_ten_days_a_fifth_are_the_last_two(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(10)
    split(project(tmp_path, 10, when=days(10)[order], by="time"), tmp_path)
    assert sorted(order[rows_of(tmp_path, layout.TEST)]) == [8, 9]
    assert len(rows_of(tmp_path, layout.TRAIN)) == 8 and not (tmp_path / layout.FRESH).exists()


def test_rows_of_one_moment_stay_together() -> None:
    assert late(np.array([1, 2, 3, 3, 3]), 1).tolist() == [False, False, True, True, True]
    assert late(np.array([1, 1, 1, 2]), 2).tolist() == [False, False, False, True]  # all would be late
    assert late(np.array([1, 1]), 1).tolist() == [False, False]


def test_no_entity_is_on_both_sides(tmp_path: Path) -> None:
    whom = [f"e{n % 17}" for n in range(200)]
    split(project(tmp_path, 200, whom=whom, by="entity"), tmp_path)
    sides = [{whom[row] for row in rows_of(tmp_path, path)} for path in (layout.TRAIN, layout.TEST)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_a_batch_is_what_is_after_its_bound() -> None:
    def rows(*numbers: int, **when: Any) -> pa.Table:
        return pa.table({layout.ROW: np.array(numbers), **when})

    assert batches([3], rows(0, 2, 3, 4)).tolist() == [0, 0, 1, 1]
    assert batches([3, 4], rows(4, 3, 2)).tolist() == [2, 1, 0]
    timed = rows(*range(4), **{layout.TIMESTAMP_COLUMN: days(4)})
    assert batches(["2026-01-02"], timed).tolist() == [0, 0, 1, 1]
    assert batches(["2026-01-02", 3], timed).tolist() == [0, 0, 1, 2]
    assert batches([], rows(0, 1)).tolist() == [0, 0]
    with pytest.raises(DataError, match="no labelled row is after 5") as caught:
        batches([2, 5], rows(*range(5)))
    assert "remove 5 from glue.yaml split.fresh_after" in str(caught.value.hint)
    with pytest.raises(DataError, match="2026-01-02 is a time, and the labels' table has no timestamp"):
        batches(["2026-01-02"], rows(*range(5)))


@pytest.mark.parametrize(
    "rows, size, many",
    [(100, 0.2, 50), (101, 0.9, 50), (250, 0.2, 50), (255, 0.2, 51), (640, 0.2, 128), (640, 0.9, 320)],
)
def test_fresh_rows_are_held_out_by_their_share_or_enough_to_judge_by(rows: int, size: float, many: int) -> None:
    assert fresh_holdout(rows, size) == many


def test_too_few_fresh_rows_decide_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="99 fresh rows are too few to train on some of them and evaluate on the others"
    ):
        fresh_holdout(99, 0.2)
    with pytest.raises(DataError, match="99 fresh rows are too few"):
        split(project(tmp_path, 299, fresh_after=[200]), tmp_path)


def test_fresh_entities_go_where_they_are() -> None:
    whom = np.array(["a", "b", "c", "d", "d", None], object)
    assert late_entities(whom, 1, {"a"}, {"b"}).tolist() == [False, True, False, False, False, False]
    assert late_entities(whom, 2, {"a"}, {"b"}).tolist() == [False, True, False, False, False, True]
    assert late_entities(whom, 3, {"a"}, {"b"}).tolist() == [False, True, False, True, True, True]
    assert late_entities(whom, 9, {"a"}, {"b"}).tolist() == [False, True, True, True, True, True]
    assert late_entities(whom, 1, set(), set()).tolist() == [False, False, False, False, False, True]


def test_no_fresh_row_trained_on_is_an_error(tmp_path: Path) -> None:
    """All fresh rows are of one new entity, which is held out."""
    whom = [f"e{n % 20}" for n in range(200)] + ["new"] * 150
    with pytest.raises(DataError, match="none of the 150 fresh rows would be trained on"):
        split(project(tmp_path, 350, whom=whom, by="entity", fresh_after=[200]), tmp_path)
    assert not (tmp_path / layout.TRAIN).exists()


def test_one_class_to_learn_is_refused_and_few_rows_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match="the training rows have only one class: 0"):
        split(project(tmp_path, 10, when=days(10), y=[0] * 8 + [1] * 2, by="time"), tmp_path)
    with pytest.raises(DataError, match="the holdout has 1 of 10 rows: too few to evaluate a model"):
        split(project(tmp_path, 10, when=days(10), by="time", test_size=0.1), tmp_path)
    split(project(tmp_path, 95, when=days(95), by="time"), tmp_path)
    assert "the holdout has 19 of 95 rows" in caplog.text
    caplog.clear()
    split(project(tmp_path, 100, when=days(100), by="time"), tmp_path)
    assert not caplog.text


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("seed", [0, 7])
def test_random_rows_are_scikit_learns_by_the_seed_and_for_classes_stratified(
    tmp_path: Path, task: str, seed: int
) -> None:
    y = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    split(project(tmp_path, 100, y=y, task=task, seed=seed, test_size=0.3), tmp_path)
    strata = None if task == "regression" else y
    train, test = train_test_split(np.arange(100), test_size=0.3, random_state=seed, stratify=strata)
    assert rows_of(tmp_path, layout.TEST) == sorted(test) and rows_of(tmp_path, layout.TRAIN) == sorted(train)
    if task != "regression":
        assert np.bincount(y[test]).tolist() == [18, 9, 3]


@pytest.mark.parametrize(
    "y, stratified",
    [
        (np.repeat(np.arange(20), 5), True),  # as many classes as rows that are held out
        (np.r_[np.repeat(np.arange(19), 5), [19] * 3, [20] * 2], False),  # one more
        (np.r_[np.repeat([0, 1], 49), [2] * 2], True),
        (np.r_[np.repeat([0, 1], [50, 49]), [2]], False),  # a class with one row cannot be on both sides
    ],
)
def test_classes_that_cannot_be_on_both_sides_are_split_at_random(tmp_path: Path, y: Any, stratified: bool) -> None:
    split(project(tmp_path, 100, y=y, task="multiclass"), tmp_path)
    _, test = train_test_split(np.arange(100), test_size=0.2, random_state=0, stratify=y if stratified else None)
    assert rows_of(tmp_path, layout.TEST) == sorted(test)


@pytest.mark.parametrize("seed", [0, 7])
def test_entities_are_scikit_learns_groups_by_the_seed(tmp_path: Path, seed: int) -> None:
    whom = np.array([f"e{n % 23}" for n in range(200)], object)
    split(project(tmp_path, 200, whom=whom, by="entity", seed=seed, test_size=0.4), tmp_path)
    groups = GroupShuffleSplit(1, test_size=0.4, random_state=seed)
    (train, test), *_ = groups.split(np.arange(200), groups=whom)
    assert rows_of(tmp_path, layout.TEST) == sorted(test) and rows_of(tmp_path, layout.TRAIN) == sorted(train)


@pytest.mark.parametrize(
    "rows, size, held", [(10, 0.25, 3), (10, 0.5, 5), (11, 0.5, 6), (3, 0.5, 2), (1000, 0.001, 2), (40, 0.95, 38)]
)
def test_by_time_whole_rows_are_trained_on(tmp_path: Path, rows: int, size: float, held: int) -> None:
    """A part of a row is held out; one row is held out at least."""
    config = project(tmp_path, rows, when=days(rows), by="time", test_size=size, task="regression", y=np.ones(rows))
    if size == 0.001:
        with pytest.raises(DataError, match="the holdout has 1 of 1,000 rows"):
            split(config, tmp_path)
        return
    split(config, tmp_path)
    assert rows_of(tmp_path, layout.TEST) == list(range(rows - held, rows))
    assert rows_of(tmp_path, layout.TRAIN) == list(range(rows - held))


def test_a_split_with_nothing_on_a_side_is_refused(tmp_path: Path) -> None:
    """All rows are of one moment; or there is one row."""
    when = np.repeat(days(1), 30)
    with pytest.raises(DataError, match=r"^split: 30 rows give an empty training set or holdout$"):
        split(project(tmp_path, 30, when=when, by="time"), tmp_path)
    with pytest.raises(DataError, match=r"^split: 1 rows give an empty training set or holdout$"):
        split(project(tmp_path, 1, when=days(1), by="time"), tmp_path)
    assert not (tmp_path / layout.TEST).exists()


def test_what_a_small_holdout_is_told_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError) as refused:
        split(project(tmp_path, 10, when=days(10), by="time", test_size=0.1), tmp_path)
    assert refused.value.message == "split: the holdout has 1 of 10 rows: too few to evaluate a model"
    assert refused.value.hint == "glue run --set split.test_size=0.2"
    split(project(tmp_path, 10, when=days(10), by="time", test_size=0.2), tmp_path)
    caplog.clear()
    with pytest.raises(DataError, match="too few to evaluate a model") as refused:
        split(project(tmp_path, 3, when=days(3), by="time", test_size=0.2), tmp_path)
    assert refused.value.hint == "add rows"
    split(project(tmp_path, 1002, when=days(1002), by="time", test_size=0.0015), tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        "warning: the holdout has 2 of 1,002 rows: metrics on so few rows are mostly chance; "
        "split: {test_size: 0.0015} in glue.yaml is its share"
    ]


def test_one_value_is_enough_for_a_regression_and_one_class_is_not(tmp_path: Path) -> None:
    one = ["yes"] * 7 + ["no"] * 3
    with pytest.raises(DataError) as refused:
        split(project(tmp_path, 10, when=days(10), y=one, by="time", test_size=0.4), tmp_path)
    assert refused.value.message == "split: the training rows have only one class: 'yes'"
    split(project(tmp_path, 10, when=days(10), y=np.ones(10), by="time", task="regression"), tmp_path)
    assert rows_of(tmp_path, layout.TEST) == [8, 9]


@pytest.mark.parametrize("by", ["time", "random"])
def test_each_batch_has_its_latest_rows_held_out_and_the_last_is_measured_on(tmp_path: Path, by: str) -> None:
    """By time the latest; without one the last ones of the table. Those of an older retraining may be gone."""
    rows = 750
    order = np.random.default_rng(0).permutation(rows) if by == "time" else np.arange(rows)
    bounds = [days(rows)[at].item().isoformat() for at in (299, 299, 499)] if by == "time" else [300, 300, 500]
    config = project(tmp_path, rows, when=days(rows)[order], by=by, test_size=0.3, fresh_after=bounds)
    split(config, tmp_path)
    held = {int(order[row]) for row in rows_of(tmp_path, layout.TEST)}
    trained = {int(order[row]) for row in rows_of(tmp_path, layout.TRAIN)}
    assert held == set(range(675, 750)) and not trained & {*range(440, 500), *range(675, 750)}
    assert {*range(300, 440), *range(500, 675)} <= trained and len(trained & set(range(300))) == 210
    if by == "time":
        assert trained >= set(range(210))
    assert files.read_json(tmp_path / layout.FRESH) == {"rows": 250, "trained": 175, "held_out": 75}


def test_all_rows_may_be_fresh(tmp_path: Path) -> None:
    when = days(400)
    split(project(tmp_path, 400, when=when, by="time", fresh_after=["2025-12-31"]), tmp_path)
    assert rows_of(tmp_path, layout.TEST) == list(range(320, 400))


def test_an_entity_stays_on_its_side_in_all_batches(tmp_path: Path) -> None:
    """Also one that came with the batch of before; the latest new ones are held out."""
    whom = [f"a{n % 20}" for n in range(200)] + [f"b{n % 10}" for n in range(200)] + [f"b{n % 10}" for n in range(100)]
    whom += [f"a{n % 20}" for n in range(40)] + [f"c{n // 4}" for n in range(200)]
    config = project(tmp_path, len(whom), whom=whom, by="entity", fresh_after=[200, 400], test_size=0.2)
    split(config, tmp_path)
    held = {whom[row] for row in rows_of(tmp_path, layout.TEST)}
    trained = {whom[row] for row in rows_of(tmp_path, layout.TRAIN)}
    assert not held & trained and len(rows_of(tmp_path, layout.TEST)) >= 68
    (_, first), *_ = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(np.arange(200), groups=whom[:200])
    assert {one for one in held if one[0] == "a"} == {whom[at] for at in first}
    assert {one for one in held if one[0] == "b"} == {"b9", "b8", "b7"}  # 60 rows, for 50
    assert {one for one in held if one[0] == "c"} == {f"c{n}" for n in range(42, 50)}  # 32 rows, beside 38 of a and b
    counts = files.read_json(tmp_path / layout.FRESH)
    assert counts["rows"] == 340 == counts["trained"] + counts["held_out"]
    assert min(rows_of(tmp_path, layout.TEST)) >= 400 and counts["held_out"] == len(rows_of(tmp_path, layout.TEST))


def test_what_fresh_rows_are_too_few_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        fresh_holdout(99, 0.2)
    assert refused.value.hint == "at least 100 are needed, of which 50 are held out"
    with pytest.raises(DataError, match=r"split: 0 fresh rows"):
        fresh_holdout(0, 0.2)


def test_folds_are_taken_as_the_holdout_is(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(40)
    whom = [f"e{n % 7}" for n in range(40)]
    table = pa.table({layout.TIMESTAMP_COLUMN: days(40)[order], layout.ENTITY_COLUMN: whom})
    target = np.array(["rare"] * 5 + ["often"] * 35)

    def folded(by: str, count: int = 5) -> Any:
        return folds(project(tmp_path, 40, when=days(40), whom=whom, by=by), table, target, count, 0, classes=True)

    for before, after in folded("time"):
        assert order[before].max() < order[after].min()
    for before, after in folded("entity", 7):
        assert {whom[at] for at in after}.isdisjoint(whom[at] for at in before)
    held = [after for _, after in folded("random")]
    assert all((target[after] == "rare").sum() == 1 for after in held)
    assert sorted(np.concatenate(held)) == list(range(40))
    for by, what in {"random": "40 rows", "entity": "7 entities", "time": "39 rows"}.items():
        with pytest.raises(DataError, match=f"{what} for training are too few for 41 folds"):
            folded(by, 41)

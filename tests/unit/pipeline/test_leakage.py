"""What makes metrics too good to be true is told, and what only looks like it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_glue.pipeline import leakage
from mlops_glue.pipeline.leakage import beyond_chance, count_others, explain_leak, ranges_are_disjoint
from mlops_glue.schema import Column, Schema

RNG = np.random.default_rng(0)
N = 400
X = RNG.normal(size=N).astype(np.float32)
YES = RNG.random(N) < 0.3
Y = np.where(YES, "yes", "no").astype(object)
NUMBER = RNG.normal(size=N).round(2) * 1000


def parts(frame: pd.DataFrame, target: Any, held: int = N // 5) -> tuple[leakage.Part, leakage.Part]:
    return (frame[held:], target[held:]), (frame[:held], target[:held])


def told(column: Any, target: Any, labels: Any = ("no", "yes"), *, good: bool = True) -> list[str]:
    schema = Schema("", "y", [Column("x", "number"), Column("z", "number")], labels)
    return leakage.target_leakage(schema, *parts(pd.DataFrame({"x": X, "z": column}), target), good=good)


@pytest.mark.parametrize(
    ("column", "target", "labels", "said"),
    [
        (np.where(YES, "churned", "active").astype(object), Y, ["no", "yes"], "alone determines"),
        (np.where(YES, 3, 1).astype(np.float32), Y, ["no", "yes"], "alone determines"),
        (np.where(YES, X**2 + 1, -(X**2)).astype(np.float32), Y, ["no", "yes"], "alone determines"),
        (np.where(YES, X, np.nan).astype(np.float32), Y, ["no", "yes"], "is null exactly where the target is no"),
        (np.where(YES, "", "a").astype(object), Y, ["no", "yes"], "is null exactly where the target is yes"),
        (
            np.where(np.arange(N) % 9, np.where(YES, 3, 1), np.nan).astype(np.float32),
            Y,
            ["no", "yes"],
            "alone determines",
        ),
        ((2.54 * NUMBER + 7).astype(np.float32), NUMBER, None, "is a linear copy"),
        ((2.54 * NUMBER).round(-1).astype(np.float32), NUMBER, None, "is a linear copy"),
        (np.exp(-NUMBER / 1000).astype(np.float32), NUMBER, None, "has exactly the order"),
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
    assert explain_leak(column, (YES.astype(int), ["no", "yes"]), True) == (
        "alone determines the target without error" if told_of else None
    )


def test_the_order_of_the_target_may_be_a_trend() -> None:
    assert told(np.exp(-NUMBER / 1000).astype(np.float32), NUMBER, None, good=False) == []


def frame(rows: int, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": RNG.normal(size=rows).astype(np.float32), "b": RNG.normal(size=rows), **more})


def test_rows_that_are_there_twice_are_told_as_far_as_they_are_no_chance() -> None:
    one = frame(200, c=RNG.choice(["u", "v"], 200).astype(object))
    y = RNG.choice(["no", "yes"], 200).astype(object)
    at = np.repeat(np.arange(200), 3)[RNG.permutation(600)]
    copies = leakage.duplicate_rows(*parts(one.iloc[at], y[at], 120))
    assert copies.rows > 100 and copies.examined == copies.equal
    assert leakage.duplicate_rows(*parts(one, y, 40)).rows == 0
    some = np.concatenate([np.arange(200), np.arange(1)])  # less than 2 %
    assert leakage.duplicate_rows(*parts(one.iloc[some[::-1]], y[some[::-1]], 60)).rows == 0
    codes = pd.DataFrame({name: RNG.integers(0, 4, 600).astype(np.float32) for name in "abcde"})
    assert leakage.duplicate_rows(*parts(codes, codes["a"].to_numpy() > 1, 120)).rows == 0
    rounded = pd.DataFrame({"a": RNG.normal(size=600).round(2).astype(np.float32)})
    assert leakage.duplicate_rows(*parts(rounded, rounded["a"].to_numpy() > 1, 120)).rows == 0


def of(column: Any, truth: Any, classes: Any = ("no", "yes"), *, good: bool = True) -> str | None:
    return explain_leak(column, (np.asarray(truth), classes), good)


def numbers(values: Any) -> Any:
    return np.asarray(values, np.float32)


HALF = np.arange(40) % 2  # two classes in turn


@pytest.mark.parametrize(("rows", "told_of"), [(30, True), (29, False)])
def test_of_few_rows_nothing_is_said(rows: int, told_of: bool) -> None:
    assert (of(numbers(HALF[:rows] * 3), HALF[:rows]) is not None) is told_of
    null = np.where(HALF[:rows], 1, np.nan).astype(np.float32)
    assert (of(null, HALF[:rows]) is not None) is told_of


@pytest.mark.parametrize(("nulls", "told_of"), [(4, False), (5, True), (75, True), (76, False)])
def test_null_tells_where_some_are_and_some_are_not(nulls: int, told_of: bool) -> None:
    """At least five of each; the class that null is of is named, also where it is a number."""
    truth = (np.arange(80) < nulls).astype(int)
    column = np.where(truth == 1, np.nan, RNG.normal(size=80)).astype(np.float32)
    said = "is null exactly where the target is"
    wanted = {"yes": f"{said} yes", 7: f"{said} 7"} if told_of else {"yes": None, 7: None}
    for name, line in wanted.items():
        assert of(column, truth, ["no", name]) == line
    words = np.where(truth == 1, "", "w").astype(object)
    if told_of:
        assert of(words, truth * 0.5, None) == f"{said} 0.5"
    off = truth.copy()
    off[79] ^= 1  # one row of that class is known
    assert of(column, off) is None


def test_null_where_the_target_is_one_of_three_classes_is_told() -> None:
    truth = np.arange(90) % 3
    column = np.where(truth == 2, np.nan, RNG.normal(size=90)).astype(np.float32)
    assert of(column, truth, ["a", "b", "c"]) == "is null exactly where the target is c"
    assert of(np.where(truth > 0, np.nan, 1).astype(np.float32), truth, ["a", "b", "c"]) is None


@pytest.mark.parametrize(
    ("counts", "no_chance"),
    [
        ([10, 10], False),  # 2 in 184,756 orders, one in 92,378
        ([11, 10], True),
        ([10, 0, 10], False),
        ([11, 0, 10], True),
        ([20, 0], False),
        ([0, 30], False),
        ([199_998, 1], False),  # 2 of 199,999
        ([200_001, 1], True),
        ([6, 6, 6], True),
        ([3, 3, 3], False),
        ([4, 4, 4], False),  # 6 in 34,650
        ([5, 5, 5], True),  # 6 in 756,756
        ([], False),
    ],
)
def test_when_classes_in_one_piece_each_are_no_chance(counts: list[int], no_chance: bool) -> None:
    assert beyond_chance(np.array(counts, int)) is no_chance


@pytest.mark.parametrize(
    ("values", "truth", "apart"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], True),
        ([3, 4, 1, 2], [0, 0, 1, 1], True),
        ([1, 2, 2, 4], [0, 0, 1, 1], False),  # they touch
        ([1, 3, 2, 4], [0, 0, 1, 1], False),
        ([5, 6, 1, 2], [0, 0, 2, 2], True),  # the class between has no rows
        ([1, 9, 2, 3], [0, 0, 2, 2], False),
        ([1, 2, 5, 6, 3, 4], [0, 0, 1, 1, 2, 2], True),
        ([1, 2, 5, 6, 3, 5.5], [0, 0, 1, 1, 2, 2], False),
        ([7, 7], [1, 1], True),
    ],
)
def test_when_each_class_has_a_range_of_its_own(values: list[float], truth: list[int], apart: bool) -> None:
    assert ranges_are_disjoint(numbers(values), np.array(truth), 3) is apart


@pytest.mark.parametrize(("distinct", "told_of"), [(40, True), (41, False)])
def test_categories_tell_where_each_has_ten_rows_on_average(distinct: int, told_of: bool) -> None:
    codes = np.arange(N) % distinct
    assert (of(np.array([f"c{c}" for c in codes], object), codes % 2) is not None) is told_of
    one_off = (codes % 2).copy()
    one_off[-1] ^= 1
    assert of(np.array([f"c{c}" for c in codes], object), one_off) is None


@pytest.mark.parametrize(("distinct", "told_of"), [(25, True), (26, False)])
def test_a_number_of_few_values_is_looked_at_as_a_category(distinct: int, told_of: bool) -> None:
    codes = np.arange(520) % distinct  # classes in turn: no class has a range of its own
    assert (of(numbers(codes), codes % 2) is not None) is told_of


def test_a_class_that_is_hardly_there_tells_nothing() -> None:
    truth = (np.arange(N) == 7).astype(int)
    assert of(numbers(np.where(truth, 5, X)), truth) is None
    assert of(np.where(truth, "u", "v").astype(object), truth) is None


@pytest.mark.parametrize(("distinct", "told_of"), [(10, True), (9, False)])
def test_a_copy_of_few_values_is_no_wonder(distinct: int, told_of: bool) -> None:
    few, many = np.arange(90.0) % distinct, np.arange(90.0)
    wanted = "is a linear copy of the target" if told_of else None
    assert of(numbers(few * 2 - 1), few, None) == of(numbers(-few), few, None) == wanted
    mixed = np.append(np.arange(distinct), np.full(90 - distinct, distinct - 1.0))
    assert (of(numbers(many), mixed, None) is not None) == told_of
    assert (of(numbers(mixed), many, None) is not None) == told_of


def test_what_is_straight_and_what_only_rises() -> None:
    truth = np.arange(1000.0)
    noise = np.where(np.arange(1000) % 2, 1, -1) * 1.0
    assert of(truth + noise, truth, None) == "is a linear copy of the target"  # correlation 0.999994
    assert of(truth + 2 * noise, truth, None) is None  # 0.99998, and in no order
    rises, falls = truth**3, 1 / (1 + truth)
    order = "has exactly the order of the target"
    for column in (rises, falls, np.floor(rises / 1e6), np.maximum(rises, 1e6)):
        assert of(column, truth, None) == order and of(column, truth, None, good=False) is None
    one_off = rises.copy()
    one_off[500] = 0
    assert of(one_off, truth, None) is None and of(-one_off, truth, None) is None
    for column in (rises / 1e9, falls):
        nearly = column.copy()
        nearly[500] = column[400]
        assert of(nearly, truth, None) is None and of(-nearly, truth, None) is None
    ties = np.repeat(np.arange(100.0), 10)  # of equal targets the column may be in any order
    within = ties**3 + np.tile([0.5, 0.1] * 5, 100)
    assert of(within, ties, None) == of(-within, ties, None) == order
    shuffled = RNG.permutation(1000)
    assert of(rises[shuffled], truth[shuffled], None) == order
    assert of(np.array([f"{n:04}" for n in range(1000)], object), truth, None) is None  # text has no order


def test_a_column_that_tells_in_the_rows_that_are_looked_at_first_is_held_against_all() -> None:
    """Of 4,000 rows every second is looked at; then all, those of the holdout too."""
    truth = np.where(np.arange(4000) // 2 % 2, "yes", "no").astype(object)
    half = np.where(np.arange(4000) % 2, 0, truth == "yes").astype(np.float32)
    held = (pd.DataFrame({"x": numbers([1, 0]), "z": numbers([1, 0])}), np.array(["yes", "no"], object))
    schema = Schema("binary", "y", [Column("x", "number"), Column("z", "number")], ["no", "yes"])
    full = (truth == "yes").astype(np.float32)
    frame = pd.DataFrame({"x": half, "z": full})
    (line,) = leakage.target_leakage(schema, (frame, truth), held, good=True)
    assert line == (
        "column 'z' alone determines the target without error: is it known before the target? if not, features.exclude"
    )
    other = (held[0], held[1][::-1])  # in the holdout it tells nothing
    assert leakage.target_leakage(schema, (frame, truth), other, good=True) == []
    assert leakage.target_leakage(schema, (frame.assign(x=full, z=half), truth), held, good=True)[0].startswith(
        "column 'x' alone"
    )
    late = np.where(np.arange(4000) % 2, truth == "yes", 0).astype(np.float32)
    assert len(leakage.target_leakage(schema, (frame.assign(x=late), truth), held, good=True)) == 1


def test_a_date_that_tells_by_several_parts_is_told_once() -> None:
    schema = Schema("binary", "y", [Column("d", "datetime"), Column("x", "number")], ["no", "yes"])
    part = np.where(YES, 3, 1).astype(np.float32)
    frame = pd.DataFrame({"d.days": X, "d.month": part, "d.weekday": X, "d.hour": part, "x": X})
    (line,) = leakage.target_leakage(schema, *parts(frame, Y), good=True)
    assert line.startswith("column 'd' alone determines")


def copied(rows: int, copies: int, seed: int = 0, **columns: Any) -> leakage.Duplicates:
    """Of so many rows of the holdout some are copies of training rows."""
    rng = np.random.default_rng(seed)
    count = 2 * rows
    frame = pd.DataFrame(
        {"a": rng.normal(size=count), "b": rng.normal(size=count), "t": rng.choice(list("uvw"), count).astype(object)}
        | columns
    )
    target = rng.choice(["no", "yes"], count).astype(object)
    train = (frame[:rows].reset_index(drop=True), target[:rows])
    held = frame[rows:].reset_index(drop=True)
    held.iloc[:copies] = train[0].iloc[rows - copies :]
    truth = target[rows:].copy()
    truth[:copies] = train[1][rows - copies :]
    return leakage.duplicate_rows(train, (held, truth))


@pytest.mark.parametrize(
    ("rows", "copies", "told_of"),
    [(1000, 20, 20), (1000, 19, 0), (100, 5, 5), (100, 4, 0), (300, 6, 6), (300, 5, 0), (400, 400, 400)],
)
def test_copies_are_counted_from_two_in_a_hundred_and_five_on(rows: int, copies: int, told_of: int) -> None:
    found = copied(rows, copies)
    assert found.rows == told_of
    assert found == (leakage.Duplicates(copies, copies, copies) if told_of else leakage.Duplicates(0, 0, 0))


def test_of_many_copies_some_are_looked_at() -> None:
    found = copied(1200, 1100)
    assert (found.rows, found.examined, found.equal) == (1100, 367, 1100)  # every third
    assert copied(600, 499) == (499, 499, 499)


def test_another_target_or_one_other_value_is_no_copy() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"a": rng.normal(size=200), "b": rng.normal(size=200), "t": rng.choice(list("uvw"), 200).astype(object)}
    )
    yes = rng.choice(["no", "yes"], 200).astype(object)
    assert leakage.duplicate_rows((frame, yes), (frame, yes)).rows == 200
    assert leakage.duplicate_rows((frame, yes), (frame[::-1], yes[::-1])).rows == 200
    assert leakage.duplicate_rows((frame, yes), (frame, np.where(yes == "no", "yes", "no").astype(object))).rows == 0
    assert leakage.duplicate_rows((frame, yes), (frame.assign(t="x"), yes)).rows == 0
    assert leakage.duplicate_rows((frame, yes), (frame.assign(a=frame["a"] + 1e-9), yes)).rows == 0
    values = rng.normal(size=200)
    assert leakage.duplicate_rows((frame, values), (frame, values)).rows == 200  # of a number too
    assert leakage.duplicate_rows((frame, values), (frame, values + 1)).rows == 0


def test_rows_that_are_equal_by_chance_are_none_and_copies_among_them_are() -> None:
    """Of columns with few values a row has others that differ in one column only."""
    rng = np.random.default_rng(4)
    codes = pd.DataFrame({name: rng.integers(0, 3, 900).astype(np.float32) for name in "abcd"})
    target = rng.integers(0, 2, 900)
    assert leakage.duplicate_rows((codes[:600], target[:600]), (codes[600:], target[600:])).rows == 0
    wide = pd.DataFrame({f"c{n}": rng.integers(0, 3, 900).astype(np.float32) for n in range(20)})
    held = pd.concat([wide[600:860], wide[:40]])
    found = leakage.duplicate_rows((wide[:600], target[:600]), (held, np.r_[target[600:860], target[:40]]))
    assert found == leakage.Duplicates(40, 40, 40)


def test_how_many_others_are_equal_to_each_that_is_asked_for() -> None:
    of_all = np.array([5, 3, 5, 9, 1, 5, 3], np.uint64)
    assert count_others(of_all, np.array([3, 5, 9, 3, 7, 10, 0], np.uint64)).tolist() == [1, 2, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("numbers", "told_of"), [(1, 0), (2, 40)])
def test_copies_are_told_where_more_than_one_number_tells_rows_apart(numbers: int, told_of: int) -> None:
    """Of one number alone copies and chance look the same: ratios of small numbers are equal in as many rows."""
    rng = np.random.default_rng(5)
    kinds = {"c": rng.integers(0, 2, 1000).astype(np.float32), "t": rng.choice(["u", "v", "w"], 1000).astype(object)}
    frame = pd.DataFrame(kinds | {f"x{at}": rng.normal(size=1000).astype(np.float32) for at in range(numbers)})
    target = rng.integers(0, 2, 1000)
    held = pd.concat([frame[800:960], frame[:40]])
    truth = np.r_[target[800:960], target[:40]]
    assert leakage.duplicate_rows((frame[:800], target[:800]), (held, truth)) == leakage.Duplicates(told_of, 40, 40)
    noise = [rng.random(rows).astype(np.float32) for rows in (800, 200)]  # a column of its own value in each row
    unlike = leakage.duplicate_rows((frame[:800].assign(n=noise[0]), target[:800]), (held.assign(n=noise[1]), truth))
    assert unlike == leakage.Duplicates(0, 0, 0)

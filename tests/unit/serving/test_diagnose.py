"""`{"features": [[…], …]}`: rows without names are the same rows, answered as a plain FastAPI server answers them."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import msgspec
import numpy as np
import pytest

from mlops_glue.schema import Column, Schema
from mlops_glue.serving.diagnose import Diagnosis
from mlops_glue.serving.fields import Invalid
from mlops_glue.serving.model import Answers
from mlops_glue.serving.slots import ModelSlots
from tests.support.contracts import COLUMNS, contract, told, views_of

NAMES = [column.name for column in COLUMNS]
HUGE_OR_NULL = "is NaN, infinite or too large; send null for an unknown value"
GOOD = [None, None, 3, None, None, None, None, None, None, None]
VALUES: dict[str, list[Any]] = {
    "a b": [None, 0.1, -1e300, 7, 2**53 + 1],
    "when": [None, "2024-02-29", "1969-07-20T20:17:40Z"],
    "count": [0, 3, 9.5],
    "ok": [None, True, False],
    "yes": [None, "yes", "No"],
    "bit": [None, 0, 1],
    "größe": [None, "s", "", "a: b", 'say "x"', "never"],
    "code": [None, 1, 12],
    "ratio": [None, 1.0, 0.25, 1e-7],
    "flag": [None, True],
}


def body(rows: Any) -> bytes:
    return json.dumps({"features": rows}, ensure_ascii=False).encode()


@pytest.mark.parametrize("seed", range(40))
def test_a_row_is_the_same_with_names_and_without(seed: int) -> None:
    r = random.Random(seed)
    rows = [[r.choice(VALUES[name]) for name in NAMES] for _ in range(r.randint(1, 5))]
    made = contract()
    named = made.decode(json.dumps({"rows": [dict(zip(NAMES, row, strict=True)) for row in rows]}).encode())
    order = r.sample(NAMES, len(NAMES))  # another version's
    shuffled = [[row[NAMES.index(name)] for name in order] for row in rows]
    for found in (made.decode(body(rows)), made.decode(body(shuffled), order)):
        assert repr(found.values) == repr(named.values) and not found.bare
    alone = made.decode(body(rows[0]))
    assert repr(alone.values) == repr(named.values[:1]) and alone.order == NAMES


ORDER = "in this order: " + ", ".join(NAMES)


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (body([]), [(None, "features", "must have at least one row")]),
        (body({}), [(None, "features", "must be an array of rows, not an object")]),
        (body("x"), [(None, "features", "must be an array of rows, not a string")]),
        (body([[]]), [(0, None, f"must have 10 values, not 0, {ORDER}")]),
        (body([1, 2]), [(0, None, f"must have 10 values, not 2, {ORDER}")]),
        (body([GOOD, 7]), [(1, None, "a row is an array, not a number")]),
        (body([GOOD, [1], ["x", *GOOD[1:]]]), [(1, None, f"must have 10 values, not 1, {ORDER}"), (2, "a b", "must")]),
        (body([[*GOOD[:2], None, *GOOD[3:]]]), [(0, "count", "must not be null")]),
        (body([None, "soon", *GOOD[2:]]), [(0, "when", "must be a date or time in ISO 8601")]),
        (body([GOOD] * 6), [(None, "features", "has 6 rows; the limit is 5")]),
        (b'{"features": [[1]], "features": [[2]]}', [(None, "features", "appears twice"), (0, None, "must have 10")]),
        (b'{"features": [[1]], "more": 1}', [(None, "more", "unknown field"), (0, None, "must have 10")]),
        (
            body([float("nan"), *GOOD[1:]]),
            [(0, "a b", HUGE_OR_NULL)],
        ),
        (body([1 << 2000, *GOOD[1:]]), [(0, "a b", HUGE_OR_NULL)]),
        (body([None, None, {"a": 1, "a ": 2}, *GOOD[3:]]), [(0, "count", "must be a number, not an object")]),
    ],
)
def test_what_is_wrong_is_named(sent: bytes, wanted: list[Any]) -> None:
    found = told(contract(), sent)
    assert [(row, field) for row, field, _ in found] == [(row, field) for row, field, _ in wanted]
    for (_, _, problem), (_, _, said) in zip(found, wanted, strict=True):
        assert problem.startswith(said)


def test_many_names_are_cut() -> None:
    made = contract([Column(f"{'ü' * 70}{n}", "number", "double") for n in range(300)])
    ((_, _, problem),) = told(made, body([1]))
    assert problem.startswith("must have 300 values, not 1") and "(GET /model has all)" in problem
    assert len(problem.encode()) < 3000  # so that the answer holds it


def test_where_features_are_looked_up_rows_need_their_names() -> None:
    made = contract([Column("n", "number", "int64")], features=views_of("n"))
    ((row, field, problem),) = told(made, body([[30]]))
    assert (row, field) == (None, "features")
    names = made.features.asked_by if made.features else []
    assert names and problem.startswith('needs names, because features are looked up: send {"rows": [{')
    assert all(f'"{name}": …' in problem for name in names)


def test_a_column_that_is_called_so() -> None:
    made = contract([Column("features", "number", "double", nullable=False)])
    assert made.decode(b'{"features": 2}').bare
    assert made.decode(b'{"features": [2]}').values == made.decode(b'{"features": [[2]]}').values == [(2.0,)]
    assert told(made, b'{"features": "x"}') == [(0, "features", "must be a number, not a string")]


def test_names_that_msgspec_does_not_take() -> None:
    made = contract([Column('say "x"', "number", "double"), Column("t", "category", "string")])
    assert made.decode(body([[1, "a"]])).values == [(1.0, "a")]


def test_rows_with_names_are_read_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other form costs them nothing: none of its code is called."""
    monkeypatch.setattr(Diagnosis, "decode", None)
    rows = [dict(zip(NAMES, GOOD, strict=True))] * 3
    assert len(contract().decode(json.dumps({"rows": rows}).encode()).values) == 3


@pytest.mark.parametrize(("place", "told"), [("champion", True), ("canary", False)])
def test_another_order_is_told_when_a_version_is_taken_over(place: str, told: bool) -> None:
    def served(*names: str) -> Any:
        model = SimpleNamespace(contract=contract([Column(name, "number", "double") for name in names]))
        return Mock(model=model, version=SimpleNamespace(version=2))

    notes: list[dict[str, Any]] = []
    slots = ModelSlots.__new__(ModelSlots)
    slots._counters, slots._log = Mock(), Mock()
    slots._log.note = lambda **about: notes.append(about)  # type: ignore[method-assign, assignment]
    loaded = served("b", "a")
    slots._report_swap(place, loaded, served("b", "a"))
    assert [list(one) for one in notes] == [["taken_over", "version"]]
    slots._report_swap(place, loaded, served("a", "b"))
    assert (notes[-1].get("order") == ["b", "a"]) == told


SHARES = [[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]


@pytest.mark.parametrize(
    ("labels", "positive", "said", "shares", "wanted"),
    [
        ([0, 1], None, [1], [[0.25, 0.75]], {"prediction": 1, "probability": 0.75}),
        ([0, 1], None, [0, 1], [[0.75, 0.25], [0.5, 0.5]], {"prediction": [0, 1], "probability": [0.25, 0.5]}),
        ([False, True], None, [False], [[0.75, 0.25]], {"prediction": False, "probability": 0.25}),
        (["bad", "good"], "bad", ["good"], [[0.25, 0.75]], {"prediction": "good", "probability": 0.25}),
        (["a", "b", "c"], None, ["b", "a"], SHARES, {"prediction": ["b", "a"], "probability": [0.5, 0.6]}),
        (["a", "b", "c"], None, [None], [[np.nan] * 3], {"prediction": None, "probability": None}),
        (["a", "b"], None, ["b"], None, {"prediction": "b"}),  # a classifier that knows no probabilities
        (None, None, [2.5], None, {"prediction": 2.5}),
    ],
)
def test_the_answer_of_a_plain_server(labels: Any, positive: Any, said: Any, shares: Any, wanted: Any) -> None:
    answers = Answers(Schema("binary", "y", COLUMNS, labels, positive))
    assert msgspec.json.decode(msgspec.json.encode(answers.plain(said, shares))) == wanted


def test_of_the_problems_of_a_thousand_rows_the_first_are_told() -> None:
    with pytest.raises(Invalid) as refused:
        contract(max_rows=5000).decode(body([[1]] * 3000))
    assert len(refused.value.problems) == 1000

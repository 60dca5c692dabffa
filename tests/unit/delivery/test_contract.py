"""Which change of a model breaks those who call it."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_glue.delivery.contract import broken
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.schema import Column, Schema

X = Column("x", "number", "double")
TOWN = Column("town", "category", "string", categories=["Aa", "Be"])


def model(*columns: Column, **more: Any) -> Schema:
    return Schema(**{"task": "binary", "target": "y", "labels": ["no", "yes"], "columns": [*columns]} | more)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (model(X, TOWN), []),
        (model(X), ["town is no longer accepted"]),  # a server refuses a field that it does not know
        (model(X, TOWN, Column("new", "number")), []),  # nobody need send it
        (model(X, TOWN, Column("new", "number", nullable=False)), ["new is new and required"]),
        (model(Column("x", "number", "double", nullable=False), TOWN), ["x is now required"]),
        (model(Column("x", "number", "int64"), TOWN), []),
        (model(Column("x", "category", "int64"), TOWN), ["x number -> category as number"]),
        (model(X, Column("town", "category", "string", categories=["Ce"])), []),  # categories are data
        (model(X, Column("town", "category", "int64")), ["town category as text -> category as number"]),
        (model(X, TOWN, labels=["no", "yes", "?"]), ["labels ['no', 'yes'] -> ['no', 'yes', '?']"]),
        (model(X, TOWN, task="regression", labels=None), ["task binary -> regression", "labels ['no', 'yes'] -> None"]),
        (model(X, TOWN, target="z"), ["target y -> z"]),
    ],
)
def test_what_breaks_a_caller(after: Schema, said: list[str]) -> None:
    assert broken(model(X, TOWN), after) == said


def test_a_null_that_is_taken_and_the_order_of_dates() -> None:
    strict = model(Column("x", "number", nullable=False))
    assert broken(strict, model(X)) == []
    dates = [model(Column("d", "datetime", "string", day_first=first)) for first in (False, True)]
    assert broken(*dates) == ["d datetime -> datetime, day first"]


def test_what_is_looked_up_need_not_be_sent_and_its_key_must() -> None:
    view = FeatureView("v", {"id": "id"}, {"x": "number"}, 0.0, "", of="v")
    listed = FeatureList(["v:x"], [view], {"x": "v:x"})
    strict = Column("x", "number", nullable=False)
    assert broken(model(strict), model(strict), None, listed) == ["id is new and required"]
    assert broken(model(strict), model(strict), listed, None) == ["id is no longer accepted", "x is now required"]
    assert broken(model(strict), model(strict), listed, listed) == []

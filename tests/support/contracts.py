"""A serving contract with a column of each kind."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_glue.config import Serve
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.schema import Column, Schema
from mlops_glue.serving.contract import Contract
from mlops_glue.serving.fields import Invalid

COLUMNS = [
    Column("a b", "number", "double"),
    Column("when", "datetime", "timestamp[us]"),
    Column("count", "number", "int64", nullable=False, minimum=0, maximum=9),
    Column("ok", "boolean", "bool"),
    Column("yes", "boolean", "string"),
    Column("bit", "boolean", "int64"),
    Column("größe", "category", "string", categories=["s", "m"]),
    Column("code", "category", "int64", categories=["1", "2"]),
    Column("ratio", "category", "double"),
    Column("flag", "category", "bool"),
]


def contract(columns: list[Column] = COLUMNS, **other: Any) -> Contract:
    schema = Schema("binary", "y", columns, [0, 1])
    return Contract(schema, other.pop("features", None), Serve(**({"max_rows": 5} | other)))


def told(made: Contract, body: Any) -> list[tuple[Any, Any, str]]:
    """The problems of a body, or of rows that are Python values already."""
    with pytest.raises(Invalid) as refused:
        if isinstance(body, bytes):
            made.matrices(made.decode(body))
        else:
            made.from_dicts(body)
    assert refused.value.problems[0]["problem"] in str(refused.value)
    return [(p["row"], p["field"], p["problem"]) for p in refused.value.problems]


def views_of(*features: str) -> FeatureList:
    views = [
        FeatureView("v", {"a": "who", "b": "shop"}, {"n": "number"}, 0.0, "d", of="v"),
        FeatureView("w", {"c": "other"}, {"m": "number"}, 0.0, "d", of="w"),
        FeatureView("d", {}, {"k": "number"}, 0.0, "d", of="d", on_demand=True),
    ]
    columns = {"n": "v:n", "m": "w:m", "k": "d:k"}
    types = {"who": "int64", "shop": "string", "other": "double"}
    return FeatureList(
        [], views, {f: columns[f] for f in features}, ["amount"], types=types, request_types={"amount": "bool"}
    )

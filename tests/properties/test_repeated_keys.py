"""A key that appears twice in one object is refused by name, wherever and however it is written; nothing else is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from mlops_glue.config import Serve
from mlops_glue.schema import Column, Schema
from mlops_glue.serving.contract import Contract
from mlops_glue.serving.fields import Invalid

COLUMNS = [
    Column("age", "number", "double"),
    Column("rows", "number", "int64"),  # called like the list
    Column("größe", "number", "double"),
    Column("plan:a", "category", "string"),
    Column("when", "datetime", "timestamp[us]"),
]


def made(nullable: bool) -> Contract:
    columns = [Column(**{**vars(one), "nullable": nullable}) for one in COLUMNS]
    return Contract(Schema("binary", "y", columns, ["a", "b"]), None, Serve(max_rows=50))


def text(rng: random.Random, value: Any) -> str:
    return json.dumps(value, ensure_ascii=rng.random() < 0.3)


def one_object(rng: random.Random, pairs: list[tuple[str, Any]]) -> str:
    space = rng.choice(["", " ", "\n  "])
    return "{" + space + f",{space}".join(f"{text(rng, k)}{space}:{text(rng, v)}" for k, v in pairs) + space + "}"


def values(rng: random.Random, name: str, nullable: bool) -> Any:
    if nullable and rng.random() < 0.3:
        return None
    if name == "plan:a":
        return rng.choice(["basic", "a:b", "age", "rows", '"age":', "\\", "größe", ":", "x"])
    return "2026-11-25T10:00:00" if name == "when" else rng.choice([0, 1.5, -3, 1e300 if name == "age" else 2])


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_repeated_keys(seed: int, nullable: bool) -> None:
    rng, contract = random.Random(seed), made(nullable)
    bare, twice, parts = rng.random() < 0.5, set(), []
    wanted = []
    for at in range(1 if bare else rng.randint(1, 4)):
        names = [one.name for one in COLUMNS if not nullable or rng.random() < 0.8]
        pairs = [(name, values(rng, name, nullable)) for name in names]
        if names and rng.random() < 0.25:
            name = rng.choice(names)
            again = dict(pairs)[name] if rng.random() < 0.5 else values(rng, name, nullable)
            pairs.insert(rng.randint(0, len(pairs)), (name, again))
            twice.add((at, name))
        rng.shuffle(pairs)
        wanted.append(dict(pairs))
        parts.append(one_object(rng, pairs))
    body = parts[0] if bare else f'{{"rows":[{", ".join(parts)}]}}'
    if not bare and rng.random() < 0.1:
        body = f'{{"rows": [{parts[0]}], {body[1:]}'
        twice.add((None, "rows"))
    if bare and not wanted[0] and not nullable:
        return
    try:
        rows = contract.decode(body.encode()).values
    except Invalid as error:
        assert {(one["row"], one["field"]) for one in error.problems} == twice and twice, body
        assert {one["problem"] for one in error.problems} == {"appears twice in one object"}
    else:
        assert not twice, body
        assert [dict(zip([f.name for f in contract.fields], row, strict=True)) for row in rows] == [
            {field.name: one.get(field.name) for field in contract.fields} for one in wanted
        ]

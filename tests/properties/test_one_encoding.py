"""One encoding: the same rows mean the same to the model, from whatever file or request they come, or are refused.

Random tables are ingested and encoded by the stages themselves; the rows that are scored later go through every reader
of `READERS`. A reader is a name and a function: another one is one more entry.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_glue.config import Serve
from mlops_glue.errors import DataError
from mlops_glue.serving.contract import Contract
from mlops_glue.serving.fields import Invalid
from tests.support.encodings import (
    FORMS,
    Encoded,
    Row,
    Trained,
    as_date,
    as_json,
    row_of,
    said,
    trained_on,
    write_csv,
    write_jsonl,
    write_parquet,
)


def by_csv(delimiter: str, sign: str) -> Callable[[Trained, list[Row], random.Random], Encoded]:
    def read(trained: Trained, rows: list[Row], r: random.Random) -> Encoded:
        path = trained.folder / "rows.csv"
        write_csv(path, rows, trained.how, delimiter, sign, r)
        return trained.of_file(path)

    return read


def by_jsonl(trained: Trained, rows: list[Row], r: random.Random) -> Encoded:
    write_jsonl(trained.folder / "rows.jsonl", rows, trained.how, r)
    return trained.of_file(trained.folder / "rows.jsonl")


def by_parquet(trained: Trained, rows: list[Row], r: random.Random) -> Encoded:
    write_parquet(trained.folder / "rows.parquet", rows, trained.how, r)
    return trained.of_file(trained.folder / "rows.parquet")


def by_post(trained: Trained, rows: list[Row], r: random.Random) -> Encoded:
    names = {c.name for c in trained.schema.columns}
    asked = [said(as_json(row, trained.how), trained.how, r) for row in rows]
    body = json.dumps({"rows": [{n: v for n, v in row.items() if n in names} for row in asked]}).encode()
    contract = Contract(trained.schema, None, Serve(max_rows=10_000))
    return contract.matrices(contract.decode(body))


READERS: dict[str, Callable[[Trained, list[Row], random.Random], Encoded]] = {
    "jsonl": by_jsonl,
    "parquet": by_parquet,
    "post": by_post,
    **{f"csv {delimiter!r} {sign!r}": by_csv(delimiter, sign) for delimiter, sign in FORMS},
}


def outcome(read: Callable[..., Encoded], *what: Any) -> Encoded | None:
    try:
        return read(*what)
    except (DataError, Invalid):
        return None


def same(one: Encoded | None, other: Encoded | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(one[n], other[n], equal_nan=n == "number") for n in {*one, *other})


@pytest.mark.parametrize("seed", range(40))
def test_the_same_rows_are_the_same_from_everywhere(tmp_path: Path, seed: int) -> None:
    trained = trained_on(tmp_path, seed)
    r = random.Random(seed + 1000)
    rows = [row_of(r, trained.how) for _ in range(25)]
    found = {name: outcome(read, trained, rows, r) for name, read in READERS.items()}
    wanted = found["post"]
    assert wanted is not None
    for name, got in found.items():
        if name.startswith("csv") and name[-2] != trained.sign:
            assert got is None or same(got, wanted), name  # another sign than training's is refused, never misread
        else:
            assert same(got, wanted), (name, trained.how)


WRONG: dict[str, Any] = {
    "half": ["oops", "1.2.3", "12%"],
    "count": ["many", "0x10", "1_000"],
    "ok": ["perhaps", "2", "yess"],
    "at": [(2023, 2, 30, 0, 0), (2023, 13, 1, 0, 0), (2023, 0, 7, 0, 0)],
}


@pytest.mark.parametrize("seed", range(20))
def test_what_one_refuses_all_refuse(tmp_path: Path, seed: int) -> None:
    trained = trained_on(tmp_path, seed)
    r = random.Random(seed + 2000)
    readers = {name: READERS[name] for name in ("post", "jsonl", f"csv ';' {trained.sign!r}")}
    for name, values in WRONG.items():
        value = r.choice(values)
        if name == "at":
            value = {"name": "30 Foo 2024"}.get(trained.how["date"]) or as_date(value, trained.how["date"])
        rows = [row_of(r, trained.how) for _ in range(3)]
        rows[1][name] = value
        assert {n: outcome(read, trained, rows, r) for n, read in readers.items()} == dict.fromkeys(readers), (
            name,
            value,
        )

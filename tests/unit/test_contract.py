"""A request is decoded as training encoded its rows, and whatever is wrong with it is told by row and field."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.records import FeatureList, View
from mlops_glue.schema import Column, Schema, as_text, encode, matrices
from mlops_glue.serving.contract import Contract, Invalid, Malformed

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
SCHEMA = Schema("binary", "y", COLUMNS, [0, 1])
GOOD: dict[str, Any] = {"count": 3}


def contract(columns: list[Column] = COLUMNS, **other: Any) -> Contract:
    schema = Schema("binary", "y", columns, [0, 1])
    return Contract(schema, other.pop("features", None), **({"unseen": True, "max_rows": 5} | other))


def sent(row: dict[str, Any], made: Contract | None = None) -> list[tuple[Any, Any, str]]:
    """The problems of one bare row."""
    made = made or contract()
    with pytest.raises(Invalid) as refused:
        made.matrices(made.decode(json.dumps(row).encode()))
    return [(p["row"], p["field"], p["problem"]) for p in refused.value.problems]


def test_rows_are_encoded_as_in_training() -> None:
    r = random.Random(1)
    words = ["yes", "No", "TRUE", "f", None]
    rows = [
        {
            "a b": r.choice([None, 0.1, -1e300, 7, 1e30, r.random()]),
            "when": r.choice(
                [None, "2024-02-29", "2024-12-31T23:59:59.5", "1969-07-20T20:17:40Z", "2024-05-05T01:00:00+02:00"]
            ),
            "count": r.choice([0, 3, 2**53 + 1]),
            "ok": r.choice([None, True, False]),
            "yes": r.choice(words),
            "bit": r.choice([None, 0, 1]),
            "größe": r.choice([None, "s", "", "never"]),
            "code": r.choice([None, 1, 12, -3]),
            "ratio": r.choice([None, 1.0, 0.25, 1e-7, 123456.0, 0.1 + 0.2]),
            "flag": r.choice([None, True, False]),
        }
        for _ in range(300)
    ]
    made = contract(max_rows=1000)
    got = made.matrices(made.decode(json.dumps({"rows": rows}).encode()))
    types = {"a b": pa.float64(), "ok": pa.bool_(), "flag": pa.bool_(), "ratio": pa.float64(), "code": pa.int64()}
    table = pa.table({c.name: pa.array([row[c.name] for row in rows], types.get(c.name)) for c in COLUMNS})
    wanted = matrices(encode(table, SCHEMA), SCHEMA)
    np.testing.assert_array_equal(got["number"], wanted["number"])
    np.testing.assert_array_equal(got["text"], wanted["text"])


def test_floats_are_written_as_arrow_writes_them() -> None:
    r = random.Random(2)
    floats = [r.uniform(-1, 1) * 10.0 ** r.randint(-25, 25) for _ in range(2000)] + [10.0**e for e in range(-12, 18)]
    floats += [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]
    made = contract([Column("c", "category", "double")], max_rows=5000)
    got = made.matrices(made.decode(json.dumps({"rows": [{"c": one} for one in floats]}).encode()))
    assert got["text"][:, 0].tolist() == as_text(pa.chunked_array([floats])).to_pylist()


def test_a_plain_table_takes_the_quick_way() -> None:
    columns = [Column("x", "number", "double"), Column("t", "category", "string"), Column("b", "boolean", "bool")]
    made = contract(columns)
    got = made.matrices(made.decode(b'{"rows": [{"x": 1, "b": true}, {"t": "q"}]}'))
    np.testing.assert_array_equal(got["number"], np.array([[1, 1], [np.nan, np.nan]], np.float32))
    assert got["text"].tolist() == [[""], ["q"]]


def test_every_form_of_a_request() -> None:
    made = contract()
    assert made.decode(b'{"count": 3}').bare
    assert made.decode(b' {"rows": [{"count": 3}]}') == made.decode(b'{"rows":[{"count":3.0}]}')
    named_rows = contract([Column("rows", "number", "double")])
    assert named_rows.decode(b'{"rows": 3}').values == [(3.0,)]
    assert named_rows.decode(b'{"rows": [{"rows": 3}]}').values == [(3.0,)]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({}, [(0, "count", "is required")]),
        ({"count": None}, [(0, "count", "must not be null")]),
        ({"count": "3"}, [(0, "count", "must be a number, not a string")]),
        ({"count": True}, [(0, "count", "must be a number, not a boolean")]),
        ({"count": [1]}, [(0, "count", "must be a number, not an array")]),
        ({"count": {}}, [(0, "count", "must be a number, not an object")]),
        ({"count": float("nan")}, [(0, "count", "is NaN, infinite or too large")]),
        ({"count": float("inf")}, [(0, "count", "is NaN, infinite or too large")]),
        ({"count": 10**400}, [(0, "count", "is NaN, infinite or too large")]),
        ({**GOOD, "a b": float("nan")}, [(0, "a b", "is NaN, infinite or too large; what is unknown is null")]),
        ({**GOOD, "cuont": 1}, [(0, "cuont", "unknown field (did you mean 'count'?)")]),
        ({**GOOD, "y": 1}, [(0, "y", "unknown field (is the target)")]),
        ({**GOOD, "ok": "true"}, [(0, "ok", "must be a boolean, not a string")]),
        ({**GOOD, "yes": "maybe"}, [(0, "yes", "must be true or false")]),
        ({**GOOD, "bit": 2}, [(0, "bit", "must be true or false")]),
        ({**GOOD, "when": "soon"}, [(0, "when", "must be a date or time in ISO 8601")]),
        ({**GOOD, "when": "2023-02-29"}, [(0, "when", "must be a date or time in ISO 8601")]),
        ({**GOOD, "when": 7}, [(0, "when", "must be a string, not a number")]),
        ({**GOOD, "größe": 7}, [(0, "größe", "must be a string, not a number")]),
        ({**GOOD, "code": 1 << 64}, [(0, "code", "must be a whole number of 64 bits")]),
        ({**GOOD, "code": -(10**30)}, [(0, "code", "must be a whole number of 64 bits")]),
        ({**GOOD, "ratio": 10**30}, [(0, "ratio", "must be a whole number of 64 bits")]),
        ({**GOOD, "größe": "\ud800"}, [(0, "größe", "is no text: it has half a surrogate pair")]),
    ],
)
def test_what_is_wrong_is_told(row: dict[str, Any], wanted: list[Any]) -> None:
    assert sent(row) == wanted


def test_every_problem_of_every_row_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        contract().decode(b'{"rows": [{"count": 1}, {"ok": 1, "x": 2}, 7, {"count": "3", "when": "?"}], "more": 1}')
    told = {(p["row"], p["field"]) for p in refused.value.problems}
    assert told == {(None, "more"), (1, "ok"), (1, "x"), (1, "count"), (2, None), (3, "count")}


def test_categories_that_training_did_not_have() -> None:
    strict = contract(unseen=False)
    said = "is not one of the 2 categories of the training data"
    assert sent({**GOOD, "größe": "XL", "code": 3}, strict) == [(0, "größe", said), (0, "code", said)]
    assert strict.decode(json.dumps({**GOOD, "größe": "s", "code": 1.0}).encode()).bare


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"count": 1}}',
        b'{"count": 01}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{'count': 1}",
        b'{"count": +1}',
        b"[" * 100_000,
        b'{"a b":' * 100_000,
        b'{"count": 1,}',
        b'{"gr\xc3"',
        b'{"count": "\n"}',
        "{}".encode("utf-16"),
        b"\x00",
    ],
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(Malformed):
        contract().decode(body)


@pytest.mark.parametrize("body", [b"null", b"3", b'"x"', b"[]", b'[{"count": 1}]', b'{"rows": []}', b'{"rows": [[]]}'])
def test_json_that_is_no_request(body: bytes) -> None:
    with pytest.raises(Invalid):
        contract().decode(body)


def test_rows_are_limited() -> None:
    assert len(contract().decode(json.dumps({"rows": [GOOD] * 5}).encode()).values) == 5
    with pytest.raises(Invalid) as refused:
        contract().decode(json.dumps({"rows": [GOOD] * 6}).encode())
    assert refused.value.problems == [{"row": None, "field": "rows", "problem": "has 6 rows; the limit is 5"}]


def test_features_are_given_or_looked_up() -> None:
    views = [
        View("v", {"customer": "customer_id"}, {"age": "number"}, 0.0, "d", of="v"),
        View("w", {"shop": "shop"}, {"size": "category"}, 0.0, "d", of="w"),
    ]
    listed = FeatureList(
        ["v:age", "w:size"],
        views,
        {"age": "v:age", "size": "w:size"},
        [],
        None,
        {"customer_id": "int64", "shop": "string"},
    )
    columns = [
        Column("amount", "number", "double", nullable=False),
        Column("age", "number", "int64"),
        Column("size", "category", "string"),
    ]
    made = contract(columns, features=listed)
    rows = made.decode(
        b'{"rows": [{"amount": 1, "age": 30, "size": null}, {"amount": 2, "customer_id": 7, "shop": "x", "age": 5},'
        b' {"amount": 3, "customer_id": null, "shop": "z"}]}'
    )
    assert made.missing(rows) == [1, 2]
    assert made.keys(rows, [1, 2]) == [(7, "x"), (None, "z")]
    made.fill(rows, [1, 2], [[99, "big"], [None, None]])
    got = made.matrices(rows)
    np.testing.assert_array_equal(got["number"], np.array([[1, 30], [2, 5], [3, np.nan]], np.float32))
    assert got["text"].tolist() == [[""], ["big"], [""]]
    assert sent({"amount": 1, "shop": "x"}, made) == [
        (0, "customer_id", "is required to look up age, which is not given")
    ]
    assert sent({"amount": 1, "shop": "x", "customer_id": "7"}, made)[0][1:] == (
        "customer_id",
        "must be an integer, not a string",
    )


def test_names_that_msgspec_does_not_take() -> None:
    made = contract([Column('say "x"', "number", "double", nullable=False), Column("a\\b\n", "category", "string")])
    row = {'say "x"': 2, "a\\b\n": "s"}
    for body in (row, {"rows": [row]}):
        got = made.matrices(made.decode(json.dumps(body).encode()))
        assert (got["number"].tolist(), got["text"].tolist()) == ([[2.0]], [["s"]])
    assert sent({'say "x"': "2"}, made) == [(0, 'say "x"', "must be a number, not a string")]
    with pytest.raises(Malformed):
        made.decode(b"{")


@pytest.mark.parametrize(("key", "right"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)])
def test_a_key_has_64_bits(key: int, right: bool) -> None:
    view = View("v", {"who": "who"}, {"n": "number"}, 0, "")
    features = FeatureList(["v:n"], [view], {"n": "v:n"}, types={"who": "int64"})
    made = contract([Column("n", "number", "double")], features=features)
    body = json.dumps({"who": key}).encode()
    if right:
        assert made.decode(body).values[0][made.place["who"]] == key
    else:
        assert sent({"who": key}, made) == [(0, "who", "must be a whole number of 64 bits")]


@pytest.mark.parametrize(("kind", "right", "wrong"), [("double", 1.5, "1.5"), ("int64", 2, 2.5), ("string", "2", 2)])
def test_what_is_known_at_request_time_is_of_training_s_type(kind: str, right: Any, wrong: Any) -> None:
    view = View("v", {}, {"n": "number"}, 0, "")
    features = FeatureList(["v:n"], [view], {"n": "v:n"}, ["amount"], request_types={"amount": kind})
    made = contract([Column("n", "number", "double")], features=features)
    assert made.decode(json.dumps({"amount": right}).encode()).values[0][made.place["amount"]] == right
    assert sent({"amount": wrong}, made)[0][1] == "amount"


@pytest.mark.parametrize("word", ["NA", " ?", ""])
def test_a_word_for_null_is_null(word: str) -> None:
    columns = [Column("t", "category", "string", nullable=True), Column("u", "category", "string", nullable=False)]
    made = contract([*columns, Column("d", "datetime", "string"), Column("b", "boolean", "string")])
    got = made.matrices(made.decode(json.dumps({"t": word, "u": " x ", "d": word, "b": word}).encode()))
    assert got["text"].tolist() == [["", "x"]] and np.isnan(got["number"]).all()
    assert sent({"u": word}, made) == [(0, "u", "must not be null, and that is what this word says")]


def test_a_model_of_before_null_words_were_kept_reads_as_it_did() -> None:
    old = {"task": "binary", "target": "y", "labels": [0, 1]}
    columns = [{"name": "t", "kind": "category", "dtype": "string", "categories": ["NA", " x"]}]
    schema = Schema.from_dict(old | {"columns": columns})
    assert "NA" not in schema.nulls and "?" in schema.nulls and not schema.trims
    rows = [{"t": value} for value in ("NA", " x", "?", "new ")]
    made = Contract(schema, None, unseen=True, max_rows=9)
    wanted = [["NA"], [" x"], [""], ["new "]]
    assert made.matrices(made.of_table(rows))["text"].tolist() == wanted
    assert matrices(encode(pa.Table.from_pylist(rows), schema), schema)["text"].tolist() == wanted
    plain = Schema.from_dict(old | {"columns": [columns[0] | {"categories": ["x"]}]})
    assert "NA" in plain.nulls and plain.trims

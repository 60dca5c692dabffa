"""A request is decoded as training encoded its rows, and whatever is wrong with it is told by row and field."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.config import Serve
from mlops_glue.encoding import encode, matrices
from mlops_glue.parsing import as_text
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.schema import Column, Schema
from mlops_glue.serving.contract import Contract
from mlops_glue.serving.fields import Invalid, Malformed
from tests.support.contracts import COLUMNS, contract, told, views_of

SCHEMA = Schema("binary", "y", COLUMNS, [0, 1])
GOOD: dict[str, Any] = {"count": 3}


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
        ({**GOOD, "a b": float("nan")}, [(0, "a b", "is NaN, infinite or too large; send null for an unknown value")]),
        ({**GOOD, "cuont": 1}, [(0, "cuont", "unknown field (did you mean 'count'?)")]),
        ({**GOOD, "y": 1}, [(0, "y", "unknown field (is the target)")]),
        ({**GOOD, "ok": "true"}, [(0, "ok", "must be a boolean, not a string")]),
        ({**GOOD, "yes": "maybe"}, [(0, "yes", "must be true or false")]),
        ({**GOOD, "bit": 2}, [(0, "bit", "must be true or false")]),
        ({**GOOD, "when": "soon"}, [(0, "when", "must be a date or time in ISO 8601")]),
        ({**GOOD, "when": "2023-02-29"}, [(0, "when", "must be a date or time in ISO 8601")]),
        ({**GOOD, "when": 7}, [(0, "when", "must be a string, not a number")]),
        ({**GOOD, "größe": 7}, [(0, "größe", "must be a string, not a number")]),
        ({**GOOD, "code": 1 << 64}, [(0, "code", "must be a 64-bit integer")]),
        ({**GOOD, "code": -(10**30)}, [(0, "code", "must be a 64-bit integer")]),
        ({**GOOD, "ratio": 10**30}, [(0, "ratio", "must be a 64-bit integer")]),
        ({**GOOD, "größe": "\ud800"}, [(0, "größe", "is not valid text: it has half a surrogate pair")]),
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
    strict = contract(unseen="refuse")
    said = "is not one of the 2 categories of the training data"
    assert sent({**GOOD, "größe": "XL", "code": 3}, strict) == [(0, "größe", said), (0, "code", said)]
    assert strict.decode(json.dumps({**GOOD, "größe": "s", "code": 1.0}).encode()).bare
    unsure = "is a floating-point number, which from 2^53 on does not determine an integer"
    for many in (contract(), strict):
        assert sent({**GOOD, "code": 2.0**53}, many) == [(0, "code", unsure)]


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
        FeatureView("v", {"customer": "customer_id"}, {"age": "number"}, 0.0, "d", of="v"),
        FeatureView("w", {"shop": "shop"}, {"size": "category"}, 0.0, "d", of="w"),
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
    assert made.incomplete(rows) == [1, 2]
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
    view = FeatureView("v", {"who": "who"}, {"n": "number"}, 0, "")
    features = FeatureList(["v:n"], [view], {"n": "v:n"}, types={"who": "int64"})
    made = contract([Column("n", "number", "double")], features=features)
    body = json.dumps({"who": key}).encode()
    if right:
        assert made.decode(body).values[0][made.position["who"]] == key
    else:
        assert sent({"who": key}, made) == [(0, "who", "must be a 64-bit integer")]


@pytest.mark.parametrize(("kind", "right", "wrong"), [("double", 1.5, "1.5"), ("int64", 2, 2.5), ("string", "2", 2)])
def test_what_is_known_at_request_time_is_of_training_s_type(kind: str, right: Any, wrong: Any) -> None:
    view = FeatureView("v", {}, {"n": "number"}, 0, "")
    features = FeatureList(["v:n"], [view], {"n": "v:n"}, ["amount"], request_types={"amount": kind})
    made = contract([Column("n", "number", "double")], features=features)
    assert made.decode(json.dumps({"amount": right}).encode()).values[0][made.position["amount"]] == right
    assert sent({"amount": wrong}, made)[0][1] == "amount"


@pytest.mark.parametrize("word", ["NA", " ?", ""])
def test_a_word_for_null_is_null(word: str) -> None:
    columns = [Column("t", "category", "string", nullable=True), Column("u", "category", "string", nullable=False)]
    made = contract([*columns, Column("d", "datetime", "string"), Column("b", "boolean", "string")])
    got = made.matrices(made.decode(json.dumps({"t": word, "u": " x ", "d": word, "b": word}).encode()))
    assert got["text"].tolist() == [["", "x"]] and np.isnan(got["number"]).all()
    assert sent({"u": word}, made) == [(0, "u", "must not be null, and this word means null")]


def test_a_model_of_before_null_words_were_kept_reads_as_it_did() -> None:
    old = {"task": "binary", "target": "y", "labels": [0, 1]}
    columns = [{"name": "t", "kind": "category", "dtype": "string", "categories": ["NA", " x"]}]
    schema = Schema.from_dict(old | {"columns": columns})
    assert "NA" not in schema.nulls and "?" in schema.nulls and not schema.trims
    rows = [{"t": value} for value in ("NA", " x", "?", "new ")]
    made = Contract(schema, None, Serve(max_rows=9))
    wanted = [["NA"], [" x"], [""], ["new "]]
    assert made.matrices(made.from_dicts(rows))["text"].tolist() == wanted
    assert matrices(encode(pa.Table.from_pylist(rows), schema), schema)["text"].tolist() == wanted
    plain = Schema.from_dict(old | {"columns": [columns[0] | {"categories": ["x"]}]})
    assert "NA" in plain.nulls and plain.trims


TWICE = "appears twice in one object"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"count": 1, "count": 2}', [(0, "count", TWICE)]),
        (b'{"count": 1, "count": "2"}', [(0, "count", TWICE), (0, "count", "must be a number, not a string")]),
        (b'{"rows": [{"count": 1}, {"count": 1, "code": 1, "code": 1}]}', [(1, "code", TWICE)]),
        (b'{"rows": [{"count": 1}], "rows": [{"count": 2}]}', [(None, "rows", TWICE)]),
        ('{"größe": "a:b", "count": 1, "count": 2}'.encode(), [(0, "count", TWICE)]),
        ('{"größe": "\\u003a", "count": 1, "count": 2}'.encode(), [(0, "count", TWICE)]),
        (
            b'{"more": 1, "more": 2, "rows": [{"count": 1}]}',
            [(None, "more", TWICE), (None, "more", "unknown field")],
        ),
        (b'{"rows": []}', [(None, "rows", "must have at least one row")]),
        (b'{"rows": [], "x": 1}', [(None, "x", "unknown field"), (None, "rows", "must have at least one row")]),
        (b"null", [(0, None, "a row is an object, not null")]),
        (
            b'{"rows": [true, 1, 1.5, "x", [], null]}',
            [
                (at, None, f"a row is an object, not {said}")
                for at, said in enumerate(["a boolean", "a number", "a number", "a string", "an array", "null"])
            ],
        ),
        (b'{"rows": {"count": 1}}', [(None, "rows", "must be an array of rows, not an object")]),
        (
            b'{"rows": {}, "when": 1}',
            [
                (0, "rows", "unknown field ("),
                (0, "when", "must be a string, not a number"),
                (0, "count", "is required"),
            ],
        ),
        (b'{"rows": [{"count": 1}, {"count": 1%s}]}' % (b"0" * 320), [(1, "count", "is NaN, infinite or too large")]),
        (
            b'{"count": 1, "a b": 1%s}' % (b"0" * 320),
            [(0, "a b", "is NaN, infinite or too large; send null for an unknown value")],
        ),
        (b'{"count": 1e999}', [(0, "count", "is NaN, infinite or too large")]),
        (b'{"count": -Infinity}', [(0, "count", "is NaN, infinite or too large")]),
        (b'{"count": 1%s}' % (b"0" * 5000), [(0, "count", "is NaN, infinite or too large")]),
        (b'{"count": 1, "code": "1"}', [(0, "code", "must be a number or string, not a string")]),
        (b'{"count": 1, "code": true}', [(0, "code", "must be a number or string, not a boolean")]),
        (b'{"count": 1, "bit": "x"}', [(0, "bit", "must be a boolean or number, not a string")]),
        (b'{"count": 1, "yes": 1}', [(0, "yes", "must be a boolean or string, not a number")]),
        (b'{"count": 1, "flag": 1}', [(0, "flag", "must be a boolean or string, not a number")]),
    ],
    ids=str,
)
def test_each_problem_by_row_and_field(body: bytes, wanted: list[Any]) -> None:
    made = contract(max_rows=6)
    if b'"code": "1"' in body:  # a code of digits may be text, too
        made.decode(body)
        return
    found = told(made, body)
    assert len(found) == len(wanted)
    for (row, field, said), (at, name, start) in zip(found, wanted, strict=True):
        assert (row, field) == (at, name)
        assert said == start or (start.endswith("(") and said.startswith(start)), said


@pytest.mark.parametrize(("given", "name"), [(b"null", "null"), (b"{}", "an object"), (b'"x"', "a string")])
def test_rows_that_are_no_array_are_told_so(given: bytes, name: str) -> None:
    """No field of the model is called `rows`, so nothing else can be meant."""
    assert told(contract(), b'{"rows": ' + given + b"}") == [(None, "rows", f"must be an array of rows, not {name}")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is not JSON: expecting value at character 0"),
        (b'{"count": 1,}', "is not JSON: "),
        (b'{"count": \xff}', "is not UTF-8 at byte 10"),
        (b'{"count', "is not JSON: unterminated string starting at character 1"),
        (b'{"a b": "\\x"}', "is not JSON: invalid \\escape at character 9"),
        (b'{"a b": "\n"}', "is not JSON: invalid control character at character 9"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(body: bytes, said: str) -> None:
    with pytest.raises(Malformed) as refused:
        contract().decode(body)
    assert str(refused.value).startswith(said) and (said != str(refused.value)) == said.endswith(": ")


def test_what_is_read_slowly_is_the_same() -> None:
    """Names that are not quick, and rows that are Python values already: the same values, of the same types."""
    rows = [
        {"count": 3, "code": 12, "when": "2024-01-02T03:04:05", "größe": "s"},
        {"count": 2.5, "a b": None, "ok": True},
    ]
    made = contract()
    quick = made.decode(json.dumps({"rows": rows}).encode())
    assert repr(made.from_dicts(rows).values) == repr(quick.values) and not made.from_dicts(rows).bare
    slow = made.decode(json.dumps({"rows": rows}).replace("größe", "gr\\u00f6\\u00dfe").encode())
    assert repr(slow.values) == repr(quick.values) and not slow.bare
    view = FeatureView("v", {"who": "who"}, {"n": "number"}, 0, "")
    listed = FeatureList(["v:n"], [view], {"n": "v:n"}, types={"who": "int64"})
    looked = contract([Column("n", "number", "double"), Column("m", "number", "double")], features=listed)
    body = b'{"rows": [{"who": 1}, {"n": 1, "m": 2}]}'
    assert repr(looked.from_dicts(json.loads(body)["rows"]).values) == repr(looked.decode(body).values)
    assert looked.incomplete(looked.decode(body)) == [0] and looked.keys(looked.decode(body), [0]) == [(1,)]


def test_rows_are_limited_when_they_are_read_slowly_too() -> None:
    made = contract([Column('say "x"', "number", "double")], max_rows=1200)
    for rows in (1200, 1201):
        body = json.dumps(
            {"rows": [{'say "x"': 1}] * rows, "more": 1} if rows > 1200 else {"rows": [{}] * rows}
        ).encode()
        if rows == 1200:
            assert len(made.decode(body).values) == 1200
        else:
            assert told(made, body) == [
                (None, "more", "unknown field"),
                (None, "rows", "has 1,201 rows; the limit is 1,200"),
            ]


def test_of_very_many_problems_the_first_are_told() -> None:
    found = told(contract(max_rows=5000), json.dumps({"rows": [{"x": 1}] * 2000}).encode())
    assert len(found) == 1000 and found[-1] == (499, "count", "is required")


def test_the_name_of_an_unknown_field_is_the_senders() -> None:
    """It is cut, and what is no text in it is replaced."""
    ((row, name, said),) = told(contract(), [{**GOOD, "x" * 100 + "count": 1}])
    assert (row, name) == (0, "x" * 80) and said.startswith("unknown field (there are: 'a b', 'when', 'count'")
    ((_, name, _),) = told(contract(), [{**GOOD, "a\ud800b": 1}])
    assert name == "a?b"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"code": -(1 << 63)}, None),
        ({"code": -(1 << 63) - 1}, "must be a 64-bit integer"),
        ({"code": (1 << 64) - 1}, None),
        ({"code": 1 << 64}, "must be a 64-bit integer"),
        ({"größe": "\udfff"}, "is not valid text: it has half a surrogate pair"),
        ({"größe": "a\ud800"}, "is not valid text: it has half a surrogate pair"),
        ({"größe": "\ue000\ud7ff"}, None),
        ({"when": "31/12/2024"}, "must be a date or time in ISO 8601"),
        ({"yes": "x"}, "must be true or false"),
    ],
)
def test_the_limits_of_values(row: dict[str, Any], said: str | None) -> None:
    made = contract()
    if said is None:
        made.matrices(made.from_dicts([GOOD | row]))
    else:
        assert told(made, [GOOD | row]) == [(0, next(iter(row)), said)]


def test_dates_are_written_as_in_training() -> None:
    made = contract([Column("d", "datetime", "string", day_first=True), Column("u", "datetime", "string")])
    days = made.matrices(made.from_dicts([{"d": "31/12/2024", "u": "12/31/2024"}, {"d": "2024-12-31", "u": None}]))[
        "number"
    ]
    since = (np.datetime64("2024-12-31") - np.datetime64("1970-01-01")).astype(int)
    assert days[:, 0].tolist() == [since, since] and days[0, 4] == since and np.isnan(days[1, 4:]).all()
    said = "must be a date or time in ISO 8601, or as in training"
    assert told(made, [{"d": "12/31/2024", "u": "31/12/2024"}]) == [(0, "d", said), (0, "u", said)]


@pytest.mark.parametrize("moment", ["1969-12-31T23:00:00Z", "2024-02-29T13:30:00", "2000-01-01", "1900-03-31T00:15:00"])
def test_parts_of_a_date_are_those_of_training(moment: str) -> None:
    schema = Schema("binary", "y", [Column("d", "datetime", "string")], [0, 1])
    made = Contract(schema, None, Serve(max_rows=5))
    wanted = matrices(encode(pa.table({"d": [moment]}), schema), schema)["number"]
    np.testing.assert_array_equal(made.matrices(made.from_dicts([{"d": moment}]))["number"], wanted)


def test_great_whole_numbers_are_categories_as_training_wrote_them() -> None:
    """To the last digit where they were whole, as a float where they were fractions."""
    made = contract([Column("code", "category", "int64"), Column("ratio", "category", "double")])
    great = (1 << 53) + 1
    text = made.matrices(made.from_dicts([{"code": great, "ratio": great}, {"code": 7.0, "ratio": 7}]))["text"]
    wanted = as_text(pa.chunked_array([[float(great)]]))[0].as_py()
    assert text.tolist() == [[str(great), wanted], ["7", "7"]]


@pytest.mark.parametrize("quick", [True, False])
def test_what_is_taken_off_a_number_is_taken_off_here(quick: bool) -> None:
    """Codes of 13 digits: float32 has no room for them as they are; each column has a base of its own."""
    columns = [Column("id", "number", "double", base=1e12), Column("n", "number", "double")]
    columns += [] if quick else [Column("when", "datetime", "string")]
    made = contract(columns)
    number = made.matrices(made.from_dicts([{"id": 1e12 + 3, "n": 1e12 + 3}, {"id": None, "n": 1}]))["number"]
    assert number[0, :2].tolist() == [3.0, float(np.float32(1e12 + 3))]
    assert np.isnan(number[1, 0]) and number[1, 1] == 1 and number.dtype == np.float32


def test_beyond_what_a_float32_holds_is_unknown() -> None:
    made = contract([Column("a", "number", "double"), Column("b", "number", "double")])
    number = made.matrices(made.from_dicts([{"a": 1e39, "b": 3e38}, {"a": -1e300, "b": 1}]))["number"]
    assert np.isnan(number[:, 0]).all() and number[:, 1].tolist() == [float(np.float32(3e38)), 1.0]


def test_an_infinite_number_among_python_values_is_told() -> None:
    made = contract()
    infinite = made.from_dicts([GOOD, {"count": float("inf"), "a b": 1e39}, {"count": 1, "a b": float("-inf")}])
    with pytest.raises(Invalid) as refused:
        made.matrices(infinite)
    said = "is NaN, infinite or too large"
    assert refused.value.problems == [
        {"row": 1, "field": "count", "problem": said},
        {"row": 2, "field": "a b", "problem": said},
    ]


def test_what_is_looked_up_needs_its_keys() -> None:
    """Those of its view; what is computed on demand needs all of them, and what is known when it is asked."""
    made = contract([Column(name, "number", "double") for name in "nmk"], features=views_of("n", "m", "k"))
    assert [(f.name, f.kind, f.dtype, f.nullable) for f in made.fields[3:]] == [
        ("other", "key", "double", True),
        ("shop", "key", "string", True),
        ("who", "key", "int64", True),
        ("amount", "key", "bool", True),
    ]
    said = "is required to look up {}, which is not given"
    assert told(made, [{"k": 1, "m": 1, "shop": "a"}]) == [(0, "who", said.format("n"))]
    assert told(made, [{"k": 1, "n": None}]) == [(0, "other", said.format("m"))]
    assert told(made, [{"n": 1, "m": 1, "other": 1.5}]) == [
        (0, key, said.format("k")) for key in ("shop", "who", "amount")
    ]
    whole = {"other": 1.5, "shop": None, "who": 3, "amount": True}
    rows = made.decode(json.dumps({"rows": [{"n": 1, "m": 2, "k": 3}, whole, {"n": 5, "k": 2, "other": 0.5}]}).encode())
    assert made.incomplete(rows) == [1, 2]
    assert made.keys(rows, [1, 2]) == [(1.5, None, 3, True), (0.5, None, None, None)]
    made.fill(rows, [1, 2], [[10, 20, 30], [11, 21, 31]])
    assert made.matrices(rows)["number"].tolist() == [[1, 2, 3], [10, 20, 30], [5, 21, 2]]


def test_examples_are_asked_for_by_their_keys() -> None:
    from mlops_glue.serving.contract import without_looked_up
    from mlops_glue.serving.fields import as_micros, as_truth, json_key

    assert without_looked_up([{"n": 1, "who": 2}, {"x": 3}], views_of("n")) == [{"who": 2}, {"x": 3}]
    assert without_looked_up([{"n": 1}], None) == [{"n": 1}]
    assert [json_key(one) for one in (False, True, 0, "a", 1.5)] == ["false", "true", "0", "a", "1.5"]
    assert [as_truth(one) for one in (True, 0, 1.0, " YES ", "f", "x", "", None)] == [1, 0, 1, 1, 0, None, None, None]
    at = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (as_micros(at), as_micros("1970-01-01"), as_micros(None), as_micros(5)) == (1_000_000, 0, None, 5)
    assert as_micros("02/01/1970", True) == as_micros("01/02/1970") == 86_400_000_000


def test_what_open_api_says_of_a_row() -> None:
    columns = [
        Column("n", "number", "double", nullable=False, minimum=0.5, maximum=9),
        Column("t", "category", "string", nullable=False, categories=["s", "m"]),
        Column("u", "category", "string"),
    ]
    schema = Schema("binary", "y", columns, [0, 1], nulls=["NA", "?", "a.b"])
    pattern = r"^[\s\x1c-\x1f]*(NA|\?|a\.b)[\s\x1c-\x1f]*$"
    wanted = {
        "type": "object",
        "properties": {
            "n": {"type": "number", "description": "in training from 0.5 to 9"},
            "t": {
                "type": "string",
                "description": "in training: s, m",
                "not": {"type": "string", "pattern": pattern},
            },
            "u": {"type": ["string", "null"]},
        },
        "additionalProperties": False,
        "required": ["n", "t"],
    }
    assert Contract(schema, None, Serve(max_rows=5)).json_schema == wanted
    untrimmed = Contract(replace(schema, trims=False), None, Serve(max_rows=5)).json_schema
    assert untrimmed["properties"]["t"]["not"]["pattern"] == r"^(NA|\?|a\.b)$"
    none = Contract(replace(schema, columns=columns[2:]), None, Serve(max_rows=5)).json_schema
    assert "required" not in none


def test_categories_of_other_types_that_training_did_not_have() -> None:
    columns = [
        Column("code", "category", "int64", categories=["1", "2"]),
        Column("ratio", "category", "double", categories=["1", "0.5"]),
        Column("flag", "category", "bool", categories=["true"]),
        Column("free", "category", "string"),
    ]
    made = contract(columns, unseen="refuse")
    made.from_dicts([{"code": 1, "ratio": 1, "flag": True, "free": "new"}, {"code": 2.0, "ratio": 0.5, "flag": "true"}])
    made.from_dicts([{"code": None, "ratio": None, "flag": None}, {"flag": "NA"}])
    assert told(made, [{"code": 3, "ratio": 2, "flag": False}]) == [
        (0, name, f"is not one of the {n} categories of the training data")
        for name, n in (("code", 2), ("ratio", 2), ("flag", 1))
    ]

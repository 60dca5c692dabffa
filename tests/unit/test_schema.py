"""The one encoding of the model's input."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.encoding import encode, matrices
from mlops_glue.errors import DataError
from mlops_glue.parsing import as_text
from mlops_glue.pipeline.profile import profile
from mlops_glue.schema import Column, Decision, Schema
from mlops_glue.words import NULLS, format_number, parse_boolean

SCHEMA = Schema(
    "binary",
    "y",
    [Column("n", "number"), Column("c", "category"), Column("b", "boolean"), Column("d", "datetime")],
)


def test_kinds_and_nulls() -> None:
    table = pa.table(
        {
            "n": ["1,000", None, " 2.5 "],
            "c": [1.0, None, 2.5],
            "b": ["Yes", None, "no"],
            "d": ["1970-01-02 06:00", None, "2024-02-29"],
        }
    )
    got = encode(table, SCHEMA)
    np.testing.assert_array_equal(got["n"], np.array([1000, np.nan, 2.5], np.float32))
    assert got["c"].tolist() == ["1", "", "2.5"]
    np.testing.assert_array_equal(got["b"], np.array([1, np.nan, 0], np.float32))
    np.testing.assert_array_equal(got["d.days"], np.array([1.25, np.nan, 19782], np.float32))
    np.testing.assert_array_equal(got["d.weekday"], np.array([4, np.nan, 3], np.float32))
    np.testing.assert_array_equal(got["d.month"], np.array([1, np.nan, 2], np.float32))
    np.testing.assert_array_equal(got["d.hour"], np.array([6, np.nan, 0], np.float32))


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(DataError) as caught:
        encode(pa.table({"N": [1], "c": ["x"], "b": ["perhaps"], "d": [1]}), SCHEMA)
    assert [line.split(": ")[1] for line in caught.value.message.splitlines()] == [
        "column 'n' is missing (did you mean 'N'?)",
        "column 'b'",
        "column 'd'",
    ]


NUMBERS = ["1,234", "-12,345,678.5", "+1,234.", "1234", "0", "00.7", "0.71", ".5", "2e3"]


NO_NUMBERS = ["0,71", "0,418", "-0,707", "001,234", "1,23", "1,2345", "1234,567", "1,234,5", ",5", "1,234e5", "oops"]


@pytest.mark.parametrize("written", NUMBERS + NO_NUMBERS)
def test_what_is_a_number_is_one_for_profiling_and_encoding(written: str) -> None:
    """Commas that part no thousands are refused, by row and value, and not taken out."""
    table = pa.table({"n": ["1", None, written, "2"]})
    schema = Schema("binary", "y", [Column("n", "number")])
    assert (profile(table)[0].kind == "number") is (written in NUMBERS)
    if written in NUMBERS:
        assert encode(table, schema)["n"][2] == np.float32(written.replace(",", ""))
        return
    with pytest.raises(DataError) as refused:
        encode(table, schema, where="t.csv", rows=range(10, 14))
    assert refused.value.message == f"t.csv: column 'n', row 13: {written!r} is not a number"


@pytest.mark.parametrize(("kind", "called"), [("boolean", "boolean"), ("datetime", "date")])
def test_a_value_that_is_refused_is_told_by_its_row(kind: Any, called: str) -> None:
    good = "yes" if kind == "boolean" else "2024-01-01"
    with pytest.raises(DataError, match=f"column 'c', row 4: 'oops' is not a {called}$"):
        encode(
            pa.table({"c": [good, None, good, "oops", "no!"]}),
            Schema("binary", "y", [Column("c", kind)]),
            rows=range(5),
        )


def test_infinite_is_unknown() -> None:
    got = encode(pa.table({"n": [float("inf"), 1e300]}), Schema("binary", "y", [Column("n", "number")]))
    assert np.isnan(got["n"]).all()


NAN = float("nan")


ALL = Schema(
    "multiclass",
    "y",
    [
        Column("n", "number", "int64"),
        Column("c", "category", "string", categories=["a", " b"]),
        Column("at", "datetime", "timestamp[us]"),
        Column("b", "boolean", "bool"),
        Column("z", "category", "double"),
    ],
    ["yes", "no", "perhaps"],
    positive="no",
)


def test_what_a_schema_says_of_itself() -> None:
    assert ALL.numeric == ["n", "at.days", "at.month", "at.weekday", "at.hour", "b"] and ALL.text == ["c", "z"]
    assert ALL.types == {"n": "int64", "c": "string", "b": "bool", "z": "double"}
    assert ALL.class_order == ["yes", "perhaps", "no"]  # the positive one is the last
    assert ALL.class_indices(np.array(["no", "yes", "perhaps"], object)).tolist() == [2, 0, 1]
    with pytest.raises(KeyError):
        ALL.class_indices(np.array(["never"], object))
    plain = Schema("regression", "y")
    values = np.array([1.5, 2.5])
    assert plain.class_indices(values) is values and plain.class_order == [] == plain.numeric == plain.text
    assert Schema("binary", "y", labels=[True, False], positive=True).class_order == [False, True]


def test_a_schema_is_read_as_it_was_written_and_one_of_before_keeps_its_words() -> None:
    """An older model knew `NA` or `" b"` as categories: they are no null to it, and blanks are part of it."""
    made = json.loads(json.dumps(ALL.to_dict()))
    assert Schema.from_dict(made) == ALL and made["columns"][0]["kind"] == "number"
    assert Schema.from_dict(made | {"nulls": ["x"], "trims": False}) == replace(ALL, nulls=["x"], trims=False)
    old = {key: value for key, value in made.items() if key not in ("nulls", "trims")}
    assert Schema.from_dict(old) == replace(ALL, trims=False)  # for " b"
    old["columns"][1]["categories"] = ["a", "NA", "?"]
    found = Schema.from_dict(old)
    assert found.trims and found.nulls == [name for name in NULLS if name not in ("NA", "?")]
    old["columns"][1]["categories"] = ["a", "b\t"]
    assert not Schema.from_dict(old).trims


def one(kind: Any, values: Any, of: Any = None, **column: Any) -> Any:
    """The encoded column, where it is one."""
    schema = of or Schema("binary", "y")
    made = encode(pa.table({"c": values}), replace(schema, columns=[Column("c", kind, **column)]))
    return made["c"]


@pytest.mark.parametrize(
    ("values", "dtype", "wanted"),
    [
        ([" a", "b ", "", None, "NA", "null"], "string", ["a", "b", "", "", "", ""]),
        ([1.0, 2.5, None, 1e20], "double", ["1", "2.5", "", "1e+20"]),
        ([4006381333931.0, 1e10, -0.0, 2.0**62], "double", ["4006381333931", "10000000000", "0", str(2**62)]),
        ([4006381333931.0, None, 2.0**53 - 1], "int64", ["4006381333931", "", str(2**53 - 1)]),
        (["4006381333931.0", "4006381333931", "1e300"], "double", ["4006381333931", "4006381333931", "1e+300"]),
        ([1, None, -3], "int64", ["1", "", "-3"]),
        ([True, None, False], "bool", ["true", "", "false"]),
        (["1.0", "+7", "007", "x", "?"], "double", ["1", "7", "007", "x", ""]),  # text, where training had numbers
        (["True", "FALSE", "no"], "bool", ["true", "false", "no"]),
        (["1.0", "True"], "", ["1.0", "True"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), "string", ["a", "", "a"]),
        (pa.array([1.0, None, 2.5]).dictionary_encode(), "double", ["1", "", "2.5"]),
    ],
)
def test_a_category_is_text(values: Any, dtype: str, wanted: list[str]) -> None:
    assert one("category", values, dtype=dtype).tolist() == wanted


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_a_code_that_a_float_may_have_changed_is_refused(dtype: str) -> None:
    for value in (2.0**53, -(2.0**53), 1e300):
        with pytest.raises(DataError, match=r"column 'c'.*is a floating-point number, which from 2\^53 on") as caught:
            one("category", [1.0, value], dtype=dtype)
        assert caught.value.hint == "write it as a whole number, or as text"
    assert one("category", [2**53 + 1], dtype=dtype).tolist() == [str(2**53 + 1)]
    assert one("category", [2.0**53], dtype="double").tolist() == [str(2**53)]


@pytest.mark.parametrize("seed", range(50))
def test_arrow_and_python_write_the_same_float(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [float(v) for v in rng.normal(size=20) * 10.0 ** rng.integers(-12, 25, 20)]
    values += [float(round(v)) for v in values] + [0.0, -0.0, 2.0**63, -(2.0**63), 2.0**53 + 2]
    assert as_text(pa.chunked_array([values])).to_pylist() == [format_number(v) for v in values]


def test_the_words_of_null_and_blanks_are_those_of_the_model() -> None:
    of = Schema("binary", "y", nulls=["-", "none"])
    assert one("category", [" - ", "NA", "none", " a"], of).tolist() == ["", "NA", "", "a"]
    exact = replace(of, trims=False)
    assert one("category", [" - ", "NA", "none", " a"], exact).tolist() == [" - ", "NA", "", " a"]
    assert np.isnan(one("number", ["-", "1"], of)).tolist() == [True, False]
    with pytest.raises(DataError, match="'NA' is not a number"):
        one("number", ["NA", "1"], of)
    assert np.isnan(one("boolean", ["none", "yes"], of)).tolist() == [True, False]
    made = encode(pa.table({"c": ["-", "2024-02-29"]}), replace(of, columns=[Column("c", "datetime")]))
    assert np.isnan(made["c.days"]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "more", "wanted"),
    [
        (pa.nulls(2), {}, [NAN, NAN]),
        ([True, None], {}, [1, NAN]),
        (["1,234.5", "7"], {}, [1234.5, 7]),
        (["1,234.5", "7"], {"dtype": "string"}, [1234.5, 7]),
        ([1700000000123, 1700000000124, None], {"base": 1.7e12}, [123, 124, NAN]),
        (["1700000000123"], {"base": 1.7e12}, [123]),
        ([1e39, -1e39, 3e38], {}, [NAN, NAN, np.float32(3e38)]),
        (pa.array([2**63 + 2**40, 1], pa.uint64()), {}, [2.0**63, 1]),
    ],
)
def test_a_number_is_the_float_that_is_left_of_its_base(values: Any, more: Any, wanted: list[float]) -> None:
    found = one("number", values, **more)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(wanted, np.float32), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "double", "float", "halffloat", "decimal128(9, 2)"])
def test_a_number_that_training_had_as_one_has_no_sign_that_parts_thousands(dtype: str) -> None:
    with pytest.raises(DataError, match="'1,234' is not a number") as refused:
        one("number", ["1", "1,234"], dtype=dtype)
    said = "write numbers and dates as in training, 1234.5 and 2024-12-31; leave unknown values empty"
    assert refused.value.hint == said


def test_how_a_number_is_written_is_told_as_the_model_has_it() -> None:
    comma = Schema("binary", "y", decimal=",")
    assert one("number", ["1.234,5", "0,5"], comma).tolist() == [1234.5, 0.5]
    for of, written in ((None, "1234.5"), (comma, "1234,5")):
        with pytest.raises(DataError) as refused:
            one("number", ["oops"], of)
        assert f"as in training, {written} and 2024-12-31; leave" in str(refused.value.hint)


def test_a_refusal_says_where_and_its_hint_is_that_of_who_asked() -> None:
    rows = pa.table({"c": ["x" * 200, "1"], "d": ["1", "2"]})
    schema = Schema("binary", "y", [Column("c", "number"), Column("e", "number"), Column("d", "boolean")])
    with pytest.raises(DataError) as refused:
        encode(rows, schema, where="t.csv", rows=[41, 42], hint="mine")
    assert refused.value.message.splitlines() == [
        f"t.csv: column 'c', row 42: '{'x' * 79} is not a number",
        "t.csv: column 'e' is missing (there are: 'c', 'd')",
        "t.csv: column 'd', row 43: '2' is not a boolean",
    ]
    assert refused.value.hint == "mine"
    with pytest.raises(DataError) as refused:
        encode(rows, schema)
    assert refused.value.message.startswith(f"input: column 'c': '{'x' * 79} is not a number\ninput: ")
    assert refused.value.hint is not None and refused.value.hint.startswith("write numbers and dates as in training")
    with pytest.raises(DataError) as refused:
        encode(rows, Schema("binary", "y", [Column("e", "number")]))
    assert refused.value.hint is None


@pytest.mark.parametrize("bad", range(7))
@pytest.mark.parametrize("kind", ["number", "boolean", "datetime"])
def test_the_first_value_that_is_refused_is_told(kind: Any, bad: int) -> None:
    """Wherever it is; those after it may be refused too, and the values may be in many pieces."""
    good = {"number": "1", "boolean": "no", "datetime": "2024-01-31"}[kind]
    values = [good if at < bad else f"oops{at}" if at != bad + 1 else good for at in range(7)]
    pieces = pa.chunked_array([values[:2], values[2:3], values[3:]])
    schema = Schema("binary", "y", [Column("c", kind)])
    with pytest.raises(DataError, match=f", row {bad + 1}: 'oops{bad}' is not a "):
        encode(pa.table({"c": pieces}), schema, rows=range(7))


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("number", pa.array([0], pa.timestamp("us")), "contains timestamp[us], not numbers"),
        ("datetime", pa.array([1.5]), "contains double, not dates"),
        ("boolean", pa.array([[1]]), None),
        ("number", pa.array([[1]]), "contains list<item: int64>, not numbers: "),
    ],
)
def test_a_type_that_no_value_of_is_taken_is_told_by_itself(kind: Any, values: Any, said: str | None) -> None:
    with pytest.raises(DataError) as refused:
        encode(pa.table({"c": values}), Schema("binary", "y", [Column("c", kind)]), rows=range(9))
    line = refused.value.message
    assert line.startswith(f"input: column 'c': {said or ''}") and len(line) < 400


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["TRUE", "f", None, "Y", " n ", "NA", "1", "0"], [1, 0, NAN, 1, 0, NAN, 1, 0]),
        ([True, False, None], [1, 0, NAN]),
        ([1, 0, None], [1, 0, NAN]),
        ([1.0, 0.0], [1, 0]),
        ([], []),
        ([None, None], [NAN, NAN]),
    ],
)
def test_a_boolean_is_one_zero_or_unknown(values: Any, wanted: list[float]) -> None:
    found = one("boolean", pa.array(values, pa.string()) if not any(values) else values)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(wanted, np.float32))


def test_a_word_is_true_or_false_or_neither() -> None:
    words = ("Yes", "1.0", "N", "0.0", "perhaps")
    assert [parse_boolean(word) for word in words] == [True, True, False, False, None]


def test_matrices_have_numbers_and_text_apart_in_the_order_of_the_schema() -> None:
    table = pa.table({"z": [1.5], "b": [True], "n": [7], "c": ["x"], "at": ["1970-01-02T18:00"]})
    found = matrices(encode(table, ALL), ALL)
    assert list(found) == ["number", "text"]
    assert found["number"].dtype == np.float32 and found["number"].tolist() == [[7, 1.75, 1, 4, 18, 1]]
    assert found["text"].dtype == object and found["text"].tolist() == [["x", "1.5"]]
    for columns, names in ((ALL.columns[:1], ["number"]), (ALL.columns[1:2], ["text"]), ([], [])):
        some = replace(ALL, columns=columns)
        assert list(matrices(encode(table, some), some)) == names


@pytest.mark.parametrize("given", [pa.array([12, None]), pa.array([12.0]), pa.array([12], pa.uint8())])
@pytest.mark.parametrize(
    ("categories", "code"),
    [
        (["12", "0012"], "0012"),
        (["a", "1.50"], "1.50"),
        (["1e5"], "1e5"),
        (["+7"], "+7"),
        (["12", "a"], None),
        (None, None),
    ],
)
def test_numbers_are_refused_for_text_that_numbers_do_not_write(
    given: pa.Array, categories: list[str] | None, code: str | None
) -> None:
    """pandas reads the code 0012 as 12, which may be another code."""
    schema = Schema("regression", "y", [Column("c", "category", "string", categories=categories)])
    table = pa.table({"c": given})
    if code is None:
        assert encode(table, schema)["c"][0] == "12"
        return
    with pytest.raises(DataError) as refused:
        encode(table, schema)
    said = f"column 'c': contains {given.type}, but training had text such as {code!r}, which numbers cannot represent"
    assert refused.value.message == f"input: {said}"
    assert refused.value.hint == "read the column as text: dtype={'c': str} in pandas"


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_threshold_decides_alike_in_each_precision(kind: Any) -> None:
    """Shares of ten trees are at the threshold itself, and 0.7 of float32 is less than 0.7; more trees round more."""
    for at in range(1, 10):
        share = np.arange(11, dtype=kind) / kind(10)
        probability = np.column_stack([1 - share, share])
        assert Decision("given", at / 10).classes(probability).tolist() == [int(n >= at) for n in range(11)]
        nearly = probability * kind(1 - 3e-7)
        assert Decision("given", at / 10).classes(nearly).tolist() == [int(n >= at) for n in range(11)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_class_of_the_least_expected_cost(kind: Any) -> None:
    """By hand: c is rare, and to overlook it costs much. Of equal costs the first class is taken."""
    decision = Decision("cost", costs=[[0, 1, 1], [1, 0, 1], [10, 10, 0]])
    shares = np.array([[0.85, 0.05, 0.1], [0.2, 0.75, 0.05], [0.95, 0.04, 0.01], [0.5, 0.5, 0.0]], kind)
    assert decision.classes(shares).tolist() == [2, 1, 0, 0]


@pytest.mark.parametrize(
    ("labels", "positive", "wanted"),
    [
        (["no", "yes"], "yes", ["yes", "yes", "no"]),
        (["no", "yes"], "no", ["no", "no", "no"]),
        ([0, 1], None, [1, 1, 0]),
        ([False, True], True, [True, True, False]),
    ],
)
def test_a_decision_says_labels_as_the_user_wrote_them(labels: Any, positive: Any, wanted: Any) -> None:
    known = Schema("binary", "y", [], labels, positive, decision=Decision("given", 0.3))
    probability = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1]], np.float32)
    assert known.decided(probability, labels).tolist() == wanted
    assert known.decided(probability[:, ::-1], labels[::-1]).tolist() == wanted
    assert (
        known.decided(probability[:, :1] * 0 + 1, labels[:1]).tolist()
        == [known.class_order[positive in labels[:1]]] * 3
    )


def test_without_a_decision_a_schema_is_written_as_ever() -> None:
    assert "decision" not in SCHEMA.to_dict()
    for decision in (None, Decision("f2", 0.25, rows=80), Decision("cost", costs=[[0.0, 1.0], [2.0, 0.0]])):
        known = replace(SCHEMA, labels=["a", "b"], decision=decision)
        assert Schema.from_dict(json.loads(json.dumps(known.to_dict()))) == known


def test_a_decision_in_words() -> None:
    known = Schema("binary", "y", [], ["no", "yes"], "yes")
    assert known.decides == ""
    given = replace(known, decision=Decision("given", 0.2))
    assert given.decides == "'yes' is predicted at a probability of 0.2 or more, as set by evaluate.decision_threshold"
    assert replace(known, decision=Decision("f2", 0.12345, rows=2400)).decides == (
        "'yes' is predicted at a probability of 0.1235 or more, chosen by f2 on 2,400 training rows, each "
        "predicted by a model that was not trained on it"
    )
    cost = replace(known, decision=Decision("cost", costs=[[0.0, 1.0], [1.0, 0.0]]))
    assert cost.decides.startswith("the class with the lowest expected cost is predicted, as ")


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        (Column("n", "number", "uint8", minimum=0.0, maximum=199.0), True),
        (Column("n", "number", "double", minimum=-1.0, maximum=1.0), True),
        (Column("n", "number", "int64", minimum=0.0, maximum=1.0), False),
        (Column("n", "number", "bool", minimum=0.0, maximum=1.0), False),
        (Column("n", "number"), False),
    ],
)
def test_booleans_are_numbers_only_where_training_had_0_and_1(column: Column, refused: bool) -> None:
    schema = Schema("binary", "y", [column])
    if refused:
        with pytest.raises(DataError, match="column 'n': holds booleans, and training had numbers from"):
            encode(pa.table({"n": [True, None]}), schema)
        assert np.isnan(encode(pa.table({"n": pa.nulls(2, pa.bool_())}), schema)["n"]).all()
    else:
        assert encode(pa.table({"n": [True, False]}), schema)["n"].tolist() == [1.0, 0.0]

"""The one encoding of the model's input."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import parsing
from mlops_glue.dates import as_datetime, infer_day_first, timestamps_utc
from mlops_glue.errors import DataError
from mlops_glue.parsing import as_text, format_number, parse_boolean
from mlops_glue.pipeline.profile import profile
from mlops_glue.precision import Float32Fit, float32_fit
from mlops_glue.schema import Column, Schema, encode, matrices

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


@pytest.mark.parametrize(
    ("written", "day_first"),
    [
        (["05/01/2022", "31/12/2022"], True),
        (["05/01/2022", "12/31/2022"], False),
        (["05/01/2022", None], False),
        (["05.01.2022", "06.02.2022"], True),
        (["2022-01-05", "2022-12-31"], None),
        (["01/12/2022"], False),
        (["01/13/2022"], False),
        (["13/01/2022"], True),
        (["12/01/2022"], False),
    ],
)
def test_the_day_of_a_written_date(written: list[str], day_first: bool | None) -> None:
    values = pa.chunked_array([written])
    assert infer_day_first(values) is day_first
    first = as_datetime(values.slice(0, 1), day_first)[0].astype(str)[:10]  # one row alone is read as the whole was
    one, two, three = re.split("[-/.]", written[0])
    year, month, day = (
        (three, two, one) if day_first else (three, one, two) if day_first is False else (one, two, three)
    )
    assert first == f"{year}-{month}-{day}"


@pytest.mark.parametrize(("written", "day_first"), [("18/10/1993", False), ("10/18/1993", True), ("18.10.1993", False)])
def test_a_date_written_the_other_way_round_is_refused(written: str, day_first: bool) -> None:
    """Read one by one, 18/10 would be of October and 05/10 of May."""
    rows = pa.table({"at": ["1993-10-01", written]})
    schema = Schema("binary", "y", [Column("at", "datetime", day_first=day_first)], [0, 1])
    with pytest.raises(DataError, match=rf"column 'at', row 2: '{written}' is not a date"):
        encode(rows, schema, rows=range(2))


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
    assert found.trims and found.nulls == [name for name in parsing.NULLS if name not in ("NA", "?")]
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
    said = "as in training a number is written 1234.5, a date 2024-12-31; what is unknown is left empty"
    assert refused.value.hint == said


def test_how_a_number_is_written_is_told_as_the_model_has_it() -> None:
    comma = Schema("binary", "y", decimal=",")
    assert one("number", ["1.234,5", "0,5"], comma).tolist() == [1234.5, 0.5]
    for of, dtype, written in (
        (None, "", "1234.5 or 1,234.5"),
        (comma, "", "1234,5 or 1.234,5"),
        (comma, "double", "1234,5"),
    ):
        with pytest.raises(DataError) as refused:
            one("number", ["oops"], of, dtype=dtype)
        assert refused.value.hint is not None and f"a number is written {written}, a date" in refused.value.hint


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
    assert refused.value.hint is not None and refused.value.hint.startswith("as in training a number")
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
        ("number", pa.array([0], pa.timestamp("us")), "holds timestamp[us], not numbers"),
        ("datetime", pa.array([1.5]), "holds double, not dates"),
        ("boolean", pa.array([[1]]), None),
        ("number", pa.array([[1]]), "holds list<item: int64>, not numbers: "),
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


@pytest.mark.parametrize(
    ("moment", "parts"),
    [
        ("1970-01-01T00:00:00", (0, 1, 3, 0)),  # a Thursday
        ("1969-12-31T23:59:59", (-1 / 86400, 12, 2, 23)),
        ("2024-02-29T12:30:00", (19782 + 12.5 / 24, 2, 3, 12)),
        ("2023-12-31T06:00:00", (19722.25, 12, 6, 6)),
        ("2024-01-01T00:00:00", (19723, 1, 0, 0)),
    ],
)
def test_the_parts_of_a_date(moment: str, parts: tuple[float, ...]) -> None:
    for values in (pa.array([np.datetime64(moment, "us"), None]), pa.array([moment, None])):
        made = encode(pa.table({"d": values}), Schema("binary", "y", [Column("d", "datetime")]))
        assert [float(made[f"d.{part}"][0]) for part in ("days", "month", "weekday", "hour")] == pytest.approx(parts)
        assert all(np.isnan(column[1]) and column.dtype == np.float32 for column in made.values())


def test_moments_of_any_type_are_microseconds() -> None:
    ns = pa.chunked_array([pa.array([1_500_000_000_000_001_999, None], pa.timestamp("ns"))])
    assert as_datetime(ns).astype(str).tolist() == ["2017-07-14T02:40:00.000001", "NaT"]
    for kind in (pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms", "UTC")):
        made = as_datetime(pa.chunked_array([pa.array([datetime(2024, 2, 29)]).cast(kind)]))
        assert made.dtype == "datetime64[us]" and str(made[0])[:10] == "2024-02-29"
    assert np.isnat(as_datetime(pa.chunked_array([pa.nulls(1)]))).all()
    assert np.isnat(as_datetime(pa.chunked_array([["NA"]]))).all()
    with pytest.raises(ValueError, match="'NA' is not a date"):
        as_datetime(pa.chunked_array([["NA"]]), nulls=["-"])
    assert str(as_datetime(pa.chunked_array([["02/01/2024"]]))[0])[:10] == "2024-02-01"  # month first, but told


def when(parts: dict[str, Any], columns: list[str] | None = None, **how: Any) -> list[str]:
    return timestamps_utc(pa.table(parts), columns or list(parts), **how).astype(str).tolist()  # type: ignore[no-any-return]


def test_a_moment_of_one_column_is_read_as_the_column_says() -> None:
    assert when({"at": ["05/01/2022", "31/12/2022"]})[0][:10] == "2022-01-05"
    assert when({"at": ["05/01/2022", "04/12/2022"]})[0][:10] == "2022-05-01"
    assert when({"at": ["05/01/2022"]}, day_first=True)[0][:10] == "2022-01-05"
    assert when({"at": ["05/01/2022"]}, day_first=False)[0][:10] == "2022-05-01"


YMD = {"year": [2024.0, 1999], "month": [2, 12], "day": [29, 31]}


def test_a_moment_is_made_of_its_parts() -> None:
    assert when(YMD) == ["2024-02-29T00:00:00.000000", "1999-12-31T00:00:00.000000"]
    assert when(YMD | {"hour": [23, 0]}) == ["2024-02-29T23:00:00.000000", "1999-12-31T00:00:00.000000"]
    assert when(YMD | {"hour": [23, 1], "minute": [59, 0]}) == [
        "2024-02-29T23:59:00.000000",
        "1999-12-31T01:00:00.000000",
    ]
    assert when({"y": ["2024"], "m": ["02"], "d": [" 9"], "more": ["x"]}, ["y", "m", "d"])[0][:10] == "2024-02-09"
    assert [str(one) for one in when({"year": [1, 9999], "month": [1, 12], "day": [1, 31]})] == [
        "0001-01-01T00:00:00.000000",
        "9999-12-31T00:00:00.000000",
    ]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((0, 1, 1, 0, 0), "0-1-1-0-0"),
        ((10000, 1, 1, 0, 0), "10000-1-1-0-0"),
        ((2024, 0, 1, 0, 0), "2024-0-1-0-0"),
        ((2024, 13, 1, 0, 0), "2024-13-1-0-0"),
        ((2024, 1, 0, 0, 0), "2024-1-0-0-0"),
        ((2024, 4, 31, 0, 0), "2024-4-31-0-0"),
        ((2023, 2, 29, 0, 0), "2023-2-29-0-0"),
        ((2024, 1, 1, -1, 0), "2024-1-1--1-0"),
        ((2024, 1, 1, 24, 0), "2024-1-1-24-0"),
        ((2024, 1, 1, 0, -1), "2024-1-1-0--1"),
        ((2024, 1, 1, 0, 60), "2024-1-1-0-60"),
    ],
)
def test_parts_that_are_no_moment_are_refused_by_row(parts: tuple[int, ...], said: str) -> None:
    names = ("year", "month", "day", "hour", "minute")
    table = {name: [2024 if name == "year" else 1, None, part] for name, part in zip(names, parts, strict=True)}
    with pytest.raises(DataError) as refused:
        when(table)
    assert refused.value.message == f"timestamp year, month, day, hour, minute, row 3: '{said}' is not a date"
    assert refused.value.hint == "write dates as 2026-11-25, with a time as 2026-11-25T12:00:00Z"


def test_rows_without_a_moment_are_counted() -> None:
    """Of a column, and of parts of which one is not known."""
    for parts, name in (({"at": ["2024-01-01", None, "NA"]}, "at"), (YMD | {"day": [1, None]}, "year, month, day")):
        with pytest.raises(DataError) as refused:
            when(parts)
        lost = "2 of 3" if name == "at" else "1 of 2"
        assert refused.value.message == f"timestamp {name}: {lost} rows have none"
        assert refused.value.hint == "every row needs one, or none: split: {by: random} needs no timestamp"
    with pytest.raises(DataError) as refused:
        when({"at": [None, "2024-01-01"]}, hint="mine")
    assert refused.value.hint == "mine"
    for wrong, said in (
        (["2024-01-01", "soon"], ", row 2: 'soon' is not a date"),
        ([1.5], ": holds double, not dates"),
    ):
        with pytest.raises(DataError) as refused:
            when({"at": wrong})
        assert refused.value.message == f"timestamp at{said}"


def apart(values: Any) -> tuple[float, float, Any]:
    found = float32_fit(pa.chunked_array([values]))
    return found.base, found.lost, found.twins


def test_which_numbers_float32_keeps_apart() -> None:
    """Whole ones up to 2 to the 24th; beyond, by a base, where all are near it; fractions but for rounding."""
    assert apart([1 << 24, -(1 << 24), None]) == (0, 0, None) == apart([]) == apart([None, float("nan")])
    beyond = (1 << 24) + 1
    assert apart([beyond - 1, beyond]) == (beyond - 1, 0, None)
    assert apart([-beyond, -beyond + 1]) == (-beyond, 0, None)
    assert apart([float(beyond), float(beyond - 1), float("inf")]) == (beyond - 1, 0, None)
    assert apart([2 * beyond, 4 * beyond]) == (0, 0, None)  # far from one another
    far = [0, 1 << 40, (1 << 40) + 1, 1]  # no base helps
    assert apart(far) == (0, 0.25, ("1099511627776", "1099511627777"))
    millis = 1_700_000_000_000 + np.arange(0, 200_000, 20)
    assert apart(millis) == (1_700_000_000_000, 0, None)
    assert apart(np.linspace(0, 1, 1000)) == (0, 0, None)
    close = 1 + np.arange(1000) * 1e-8
    base, lost, twins = apart(close)
    assert (base, lost, twins) == (1.0, 0, None)
    some = np.concatenate([np.arange(1000) / 8, 500 + np.array([1, 2, 3, 4]) * 1e-9])
    assert apart(some) == (0, 0, None)  # rounding that nobody would call a loss


def test_how_many_are_lost_at_most() -> None:
    assert Float32Fit(lost=0.01).is_good and not Float32Fit(lost=0.0101).is_good and Float32Fit().is_good
    numbers = np.array([0.0, 2.0**40, 2.0**40 + 1])
    found = float32_fit(pa.chunked_array([["0", "a", "b"]]), numbers)  # text, whose numbers are told
    assert (found.base, found.lost) == (0, pytest.approx(1 / 3)) and found.twins == (
        "1099511627776.0",
        "1099511627777.0",
    )


def test_a_base_that_helps_for_nearly_all_is_taken() -> None:
    """Of many near ones some far away: but for one in a hundred they are apart."""
    near = (1 << 50) + np.arange(1000) * 64
    found = float32_fit(pa.chunked_array([np.concatenate([near, [1 << 56, (1 << 56) + 64]])]))
    assert found.base == 1 << 50 and 0 < found.lost <= 0.01 and found.is_good
    many = np.concatenate([near, (1 << 56) + np.arange(20) * 64])
    found = float32_fit(pa.chunked_array([many]))
    assert found.base == 0 and not found.is_good


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
    said = f"column 'c': holds {given.type}, and training had text such as {code!r}, which no number can be"
    assert refused.value.message == f"input: {said}"
    assert refused.value.hint == "read the column as text: dtype={'c': str} in pandas"

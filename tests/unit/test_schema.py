"""The one encoding of the model's input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.errors import DataError
from mlops_glue.pipeline.profile import profile
from mlops_glue.schema import Column, Schema, as_datetime, encode
from mlops_glue.text import is_day_first

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


@pytest.mark.parametrize("text", NUMBERS + NO_NUMBERS)
def test_what_is_a_number_is_one_for_profiling_and_encoding(text: str) -> None:
    """Commas that part no thousands are refused, by row and value, and not taken out."""
    table = pa.table({"n": ["1", None, text, "2"]})
    schema = Schema("binary", "y", [Column("n", "number")])
    assert (profile(table)[0].kind == "number") is (text in NUMBERS)
    if text in NUMBERS:
        assert encode(table, schema)["n"][2] == np.float32(text.replace(",", ""))
        return
    with pytest.raises(DataError) as refused:
        encode(table, schema, where="t.csv", rows=range(10, 14))
    assert refused.value.message == f"t.csv: column 'n', row 13: {text!r} is no number"


@pytest.mark.parametrize(("kind", "called"), [("boolean", "boolean"), ("datetime", "date")])
def test_a_value_that_is_refused_is_told_by_its_row(kind: Any, called: str) -> None:
    good = "yes" if kind == "boolean" else "2024-01-01"
    with pytest.raises(DataError, match=f"column 'c', row 4: 'oops' is no {called}$"):
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
    assert is_day_first(values) is day_first
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
    with pytest.raises(DataError, match=rf"column 'at', row 2: '{written}' is no date"):
        encode(rows, schema, rows=range(2))

"""The one encoding of the model's input."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.errors import DataError
from mlops_glue.schema import Column, Schema, as_datetime, encode, is_day_first

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
        (["2022-01-05", "2022-12-31"], False),
    ],
)
def test_the_day_of_a_written_date(written: list[str], day_first: bool) -> None:
    values = pa.chunked_array([written])
    assert is_day_first(values) is day_first
    first = as_datetime(values.slice(0, 1), day_first)[0].astype(str)[:10]  # one row alone is read as the whole was
    assert first == ("2022-05-01" if not day_first and "/" in written[0] else "2022-01-05")

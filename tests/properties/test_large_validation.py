"""Great Expectations on DuckDB comes to the verdicts and the counts that it comes to on pandas."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlops_glue import tables
from mlops_glue.adapters import great_expectations as gx
from mlops_glue.pipeline import expectations

COUNTS = ("element_count", "unexpected_count", "missing_count")
SOME = ["red", "blue", "teal", "", "Grün", "日本", "it's"]
NUMBERS = st.one_of(st.integers(-3, 3), st.floats(-2.5, 2.5, width=16), st.sampled_from([float("nan"), float("inf")]))


@st.composite
def table(draw: Any) -> pa.Table:
    rows = draw(st.integers(2, 12))

    def some(values: Any) -> list[Any]:
        made: list[Any] = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        return made

    return pa.table(
        {
            "at": pa.array(some(NUMBERS.map(float)), pa.float64()),
            'the "n"': pa.array(some(st.integers(-3, 3)), pa.int32()),
            "long": pa.array(some(st.sampled_from([2**53, 2**53 + 1, 7])), pa.int64()),
            "Größe": pa.array(some(st.sampled_from(SOME)), pa.string()),
            "flag": pa.array(some(st.booleans()), pa.bool_()),
            "when": pa.array(some(st.datetimes()), pa.timestamp("us")),
            "small": pa.array(some(NUMBERS.map(np.float32)), pa.float32()),
            "none": pa.nulls(rows),
        }
    )


@st.composite
def wanted(draw: Any) -> list[dict[str, dict[str, Any]]]:
    """One of each expectation, of a column and with ends that are chosen."""
    names = st.sampled_from(["at", 'the "n"', "long", "Größe", "flag", "when", "small", "none", "absent"])
    ends = st.fixed_dictionaries(
        {"min_value": st.none() | st.integers(-2, 1) | st.floats(-2, 1, width=16), "max_value": st.integers(1, 3)}
    )
    strict = st.fixed_dictionaries({}, optional={"strict_min": st.booleans(), "strict_max": st.booleans()})
    mostly = st.fixed_dictionaries({}, optional={"mostly": st.sampled_from([0.1, 0.5, 0.9])})
    made: list[dict[str, dict[str, Any]]] = []
    for kind in sorted(expectations.RULES):
        kwargs: dict[str, Any] = {} if kind.startswith("expect_table") else {"column": draw(names)}
        if kind.startswith("expect_column_value"):
            kwargs |= draw(mostly)
        if kind.endswith("between"):
            kwargs |= draw(ends)
            kwargs |= {} if kind.startswith("expect_table") else draw(strict)
        if kind.endswith("count_to_be_between"):
            kwargs |= {"min_value": draw(st.integers(0, 3)), "max_value": draw(st.integers(3, 12))}
        if kind.endswith("in_set"):
            kwargs["value_set"] = draw(st.sampled_from([["red", "it's"], [1, 2], [2**53], [0.5, 1], ["", "red"]]))
        if kind.endswith("_equal"):
            kwargs["value"] = draw(st.integers(1, 8))
        if kind.endswith("ordered_list"):
            kwargs["column_list"] = ["at", "flag"]
        if kind.endswith("match_set"):
            kwargs |= {"column_set": ["at", "flag"], "exact_match": draw(st.booleans())}
        made.append({kind: kwargs})
    made.append({"expect_column_values_to_match_regex": {"column": "Größe", "regex": "^r"}})
    made.append({"expect_column_values_to_be_in_type_list": {"column": "long", "type_list": ["int64", "float64"]}})
    made.append({"expect_column_pair_values_to_be_equal": {"column_A": "at", "column_B": "small"}})
    return made


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    gx.load()
    gc.freeze()  # garbage is collected after each group of expectations


# each example is two dozen queries: none is tried again to be made smaller
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(rows=table(), asked=wanted())
def test_duckdb_finds_what_pandas_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: pa.Table, asked: list[dict[str, dict[str, Any]]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t's.parquet"
    tables.write_parquet(path, rows)
    small, large = gx.Validation(asked, "t"), gx.Validation(asked, "t")
    small.run(tables.to_pandas(tables.read_parquet(path)))
    expectations.run(large, asked, path)
    (records, result, suite), (others, other, same) = (one.results(rows.column_names) for one in (small, large))
    assert suite == same
    assert [(r["expectation"], r["ran"], r["success"]) for r in records] == [
        (r["expectation"], r["ran"], r["success"]) for r in others
    ]
    for one, two in zip(result["results"], other["results"], strict=True):
        counts = [[got["result"].get(key) for key in COUNTS] for got in (one, two)]
        assert counts[0] == counts[1], one["expectation_config"]
    assert result["statistics"] == other["statistics"] and result["success"] == other["success"]


def test_what_duckdb_does_not_know_takes_its_columns_alone(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    for expectation, columns in (
        ({"x": {"column": "b"}}, ("b",)),
        ({"x": {"column_A": "c", "column_B": "a"}}, ("a", "c")),
        ({"x": {"column_list": ["b", "a"]}}, ("a", "b")),
        ({"x": {"column": "b", "row_condition": "a > 1"}}, ("a", "b", "c")),
        ({"x": {"column": "absent"}}, ("a", "b", "c")),
        ({"x": {}}, ("a", "b", "c")),
    ):
        assert expectations.columns_of(expectation, names) == columns
    schema = pa.schema([("a", pa.int64()), ("b", pa.float32()), ("c", pa.string())])
    assert expectations.in_duckdb({"expect_column_values_to_be_between": {"column": "a", "min_value": 1}}, schema)
    assert not expectations.in_duckdb({"expect_column_values_to_be_between": {"column": "b", "min_value": 1}}, schema)
    assert not expectations.in_duckdb(
        {"expect_column_values_to_be_in_set": {"column": "a", "value_set": ["1"]}}, schema
    )

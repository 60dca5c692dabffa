"""Great Expectations on frames: what a record says, and that keys stay exact."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_glue import tables
from mlops_glue.adapters import great_expectations
from mlops_glue.config.names import EXPECTATIONS


def test_records_say_what_was_observed(tools: None) -> None:
    frame = pd.DataFrame({"x": np.arange(100.0), "c": ["a", "b"] * 50})
    shares = {"values": ["a", "b"], "weights": [0.5, 0.5]}
    wanted = [
        {"expect_column_values_to_not_be_null": {"column": "x"}},
        {"expect_column_value_z_scores_to_be_less_than": {"column": "x", "threshold": 3, "double_sided": True}},
        {"expect_column_kl_divergence_to_be_less_than": {"column": "c", "partition_object": shares, "threshold": 0.1}},
        {"expect_column_values_to_be_in_set": {"column": "c", "value_set": ["a"]}},
        {"expect_table_columns_to_match_set": {"column_set": ["x"]}},
    ]
    records, _, _ = great_expectations.validate(frame, wanted, "t")
    assert [record["success"] for record in records] == [True, True, True, False, False], records
    assert records[3]["observed"] == "50 of 100 rows unexpected (50.00%), such as b"
    assert records[4]["observed"] in ("x, c", "c, x")


def test_long_keys_with_a_null_are_not_twins(tools: None) -> None:
    """A float64 would make two of them equal."""
    table = pa.table({"key": [2**53, 2**53 + 1, None], "twin": [2**60, 2**60, None]})
    wanted = [{"expect_column_values_to_be_unique": {"column": name}} for name in table.column_names]
    records, _, _ = great_expectations.validate(tables.to_pandas(table), wanted, "t")
    assert [one["success"] for one in records] == [True, False]


def test_names_that_differ_only_in_case_are_different_columns(tools: None) -> None:
    frame = pd.DataFrame({"Age": [1.5, 2, 3], "age": ["u", "v", "u"], "AGE": [7.0, 8, 9], "other": [0, 0, 1]})
    wanted = [
        {"expect_column_values_to_be_in_set": {"column": "age", "value_set": ["u", "v"]}},
        {"expect_column_values_to_be_between": {"column": "AGE", "min_value": 7, "max_value": 9}},
        {"expect_column_mean_to_be_between": {"column": "AGE", "min_value": 8, "max_value": 8}},
        {"expect_column_pair_values_a_to_be_greater_than_b": {"column_A": "AGE", "column_B": "Age"}},
        {"expect_compound_columns_to_be_unique": {"column_list": ["age", "other"]}},
    ]
    records, _, _ = great_expectations.validate(frame, wanted, "t")
    assert [record["success"] for record in records] == [True] * 5, records


def test_an_editor_completes_the_expectations_that_there_are() -> None:
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    own = {name for name in list_registered_expectation_implementations() if name in EXPECTATIONS}
    assert own == set(EXPECTATIONS)

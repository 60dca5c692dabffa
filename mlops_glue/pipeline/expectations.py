"""Check a large table against expectations: with DuckDB if its results equal those of pandas, else column by column."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import row_groups, tables
from mlops_glue.parsing import is_text
from mlops_glue.words import equal_but_for_case

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.great_expectations import Expectation, Validation

log = logging.getLogger(__name__)
Kind = Any  # pa.DataType, which has no types
LARGE_BYTES = 256 << 20  # in memory, by the file's footer; a smaller table is checked as one frame
COUNTED = {"column", "mostly", "severity"}  # the arguments of all expectations that count rows
ENDS = {"min_value", "max_value", "strict_min", "strict_max"}


def is_large(path: Path) -> bool:
    """Return whether a table is too large for one frame."""
    return row_groups.size(path) > LARGE_BYTES


def run(validation: Validation, listed: list[Expectation], path: Path) -> None:
    """Check the rows of a Parquet file against expectations, with only a few columns in memory at a time."""
    schema = row_groups.empty(path).schema
    names = schema.names
    distinct = not equal_but_for_case(names)  # in DuckDB `a` and `A` are the same column
    counted = [at for at, one in enumerate(listed) if distinct and in_duckdb(one, schema)]
    left = set(range(len(listed))) - set(counted)
    left |= set(validation.run(path, counted)) if counted else set()
    groups: dict[tuple[str, ...], list[int]] = {}
    for at in sorted(left):
        groups.setdefault(columns_of(listed[at], names), []).append(at)
    for columns, positions in groups.items():
        if len(columns) == len(names):
            which = ", ".join(dict.fromkeys(kind for at in positions for kind in listed[at]))
            log.info(f"{which}: loads the whole table into memory")
        validation.run(tables.to_pandas(tables.read_parquet(path, [*columns])), positions)
        gc.collect()  # Great Expectations keeps the frame in a reference cycle


def columns_of(expectation: Expectation, names: list[str]) -> tuple[str, ...]:
    """Return the columns of an expectation, in the table's order; all columns if it does not name them."""
    ((_, kwargs),) = expectation.items()
    given = [value for key, value in kwargs.items() if key.lower().startswith("column")]
    needed = {name for value in given for name in (value if isinstance(value, list) else [value])}
    found = tuple(name for name in names if name in needed)
    return found if found and len(found) == len(needed) and "row_condition" not in kwargs else tuple(names)


def in_duckdb(expectation: Expectation, schema: pa.Schema) -> bool:
    """Return whether DuckDB gives the same verdict and counts as pandas.

    It does not always: pandas compares float32 as float32, has other names for types, and has 0 as the sum of nothing.
    """
    ((kind, kwargs),) = expectation.items()
    rule = RULES.get(kind)
    if rule is None:
        return False
    more, fits = rule
    if set(kwargs) - {"severity"} - (COUNTED | more if fits is not None else more):
        return False
    column = kwargs.get("column")
    if fits is None:
        return True
    return isinstance(column, str) and column in schema.names and fits(schema.field(column).type, kwargs)


def _any(kind: Kind, kwargs: dict[str, Any]) -> bool:
    return True


def _hashed(kind: Kind, kwargs: dict[str, Any]) -> bool:
    return is_text(kind) or _is_number(kind)


def _text(kind: Kind, kwargs: dict[str, Any]) -> bool:
    return is_text(kind)


def _is_number(kind: Kind) -> bool:
    return tables.is_number(kind) and str(kind) not in ("float", "halffloat", "uint64")


def _number(kind: Kind, kwargs: dict[str, Any]) -> bool:
    ends = [kwargs.get("min_value"), kwargs.get("max_value")]
    return _is_number(kind) and all(type(end) in (int, float, type(None)) for end in ends)


def _listed(kind: Kind, kwargs: dict[str, Any]) -> bool:
    """Return whether the listed values have the column's own type."""
    values = kwargs.get("value_set")
    if not isinstance(values, list) or not values:
        return False
    if is_text(kind):
        return all(type(value) is str for value in values)
    return _is_number(kind) and all(type(value) is int for value in values)


RULES: dict[str, tuple[set[str], Callable[[Kind, dict[str, Any]], bool] | None]] = {
    "expect_column_values_to_not_be_null": (set(), _any),
    "expect_column_values_to_be_null": (set(), _any),
    "expect_column_values_to_be_between": (ENDS, _number),
    "expect_column_values_to_be_in_set": ({"value_set"}, _listed),
    "expect_column_values_to_not_be_in_set": ({"value_set"}, _listed),
    "expect_column_values_to_be_unique": (set(), _hashed),
    "expect_column_value_lengths_to_be_between": (ENDS, _text),
    "expect_column_value_lengths_to_equal": ({"value"}, _text),
    "expect_column_unique_value_count_to_be_between": (ENDS, _hashed),
    "expect_column_proportion_of_unique_values_to_be_between": (ENDS, _hashed),
    "expect_column_min_to_be_between": (ENDS, _number),
    "expect_column_max_to_be_between": (ENDS, _number),
    "expect_column_mean_to_be_between": (ENDS, _number),
    "expect_column_stdev_to_be_between": (ENDS, _number),
    "expect_table_row_count_to_be_between": ({"min_value", "max_value"}, None),
    "expect_table_row_count_to_equal": ({"value"}, None),
    "expect_table_column_count_to_be_between": ({"min_value", "max_value"}, None),
    "expect_table_column_count_to_equal": ({"value"}, None),
    "expect_table_columns_to_match_ordered_list": ({"column_list"}, None),
    "expect_table_columns_to_match_set": ({"column_set", "exact_match"}, None),
}

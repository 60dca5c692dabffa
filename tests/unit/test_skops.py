"""Which types a kept model may hold without being trusted by name."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_array

from mlops_glue.adapters import skops


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (partial(check_array, dtype="float64"), []),  # boosting with categories of its own holds one
        (partial(os.system, "true"), ["posix.system"]),
        (partial(partial(eval), "1"), ["builtins.eval"]),
        (partial(check_array, os.system), ["posix.system"]),
    ],
)
def test_what_a_partial_calls_is_looked_for_too(function: Any, found: list[str]) -> None:
    assert skops.foreign(skops.dumped(FunctionTransformer(function))) == found

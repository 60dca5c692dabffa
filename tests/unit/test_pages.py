"""How numbers are written on pages and in a terminal."""

from __future__ import annotations

import math

import pytest

from mlops_glue.pages import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.91239, "0.9124"),
        (-0.0, "0.0000"),
        (12345.678, "12345.6780"),
        (9553031532.195, "9,553,031,532"),
        (-3.2571e15, "-3.257e+15"),
        (0.00005, "0.0001"),
        (0.0000123456, "1.235e-05"),
        (-2.4e-9, "-2.4e-09"),
        (1.1e-16, "0.0000"),  # what rounding leaves of zero
        (math.nan, "n/a"),
        (None, "n/a"),
    ],
)
def test_a_number_keeps_what_can_be_read(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_difference_has_its_sign() -> None:
    assert [number(value, "+") for value in (0.01, 2e6, 1e-6)] == ["+0.0100", "+2,000,000", "+1e-06"]

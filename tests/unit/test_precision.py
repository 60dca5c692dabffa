"""float32 keeps values distinct, or says which it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.precision import Float32Fit, float32_fit


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

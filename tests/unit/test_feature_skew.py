"""A value that is served otherwise than it was trained on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mlops_glue.feature_skew import same

AT = datetime(2026, 1, 1, tzinfo=UTC)
NAN, SHORT = float("nan"), float(np.float32(0.1))
SAME: list[tuple[Any, Any, str]] = [
    (None, None, "number"),
    (NAN, None, "number"),
    (1, 1.0, "number"),
    (0.1, SHORT, "number"),  # Feast's Float32
    (SHORT, 0.1, "number"),
    (0.1 + 0.2, 0.3, "number"),
    (2**60, 2**60, "number"),
    ("a", "a", "category"),
    (AT, AT + timedelta(seconds=0.9), "datetime"),
]
OTHERS: list[tuple[Any, Any, str]] = [
    (0.0, None, "number"),
    (None, 0.0, "number"),
    (1.0, "1.0", "number"),
    (1_700_000_000_000, 1_700_000_060_000, "number"),  # equal as float32
    (1.7e12, 1.7e12 + 1, "number"),
    (2**60, 2**60 + 1, "number"),
    (1.0, 1.000001, "number"),
    ("1", 1, "category"),
    (AT, AT + timedelta(seconds=1), "datetime"),
]


@pytest.mark.parametrize(("trained", "served", "kind"), SAME)
def test_the_same(trained: Any, served: Any, kind: str) -> None:
    assert same(trained, served, kind)


@pytest.mark.parametrize(("trained", "served", "kind"), OTHERS)
def test_not_the_same(trained: Any, served: Any, kind: str) -> None:
    assert not same(trained, served, kind)

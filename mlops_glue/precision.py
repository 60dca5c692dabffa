"""Checks whether float32, the type of a model's numbers, keeps the values of a column distinct.

Its 24 bits cannot represent codes of 13 digits or milliseconds since 1970, but differences from the smallest value may
fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LOST_SHARE = 0.01  # of the distinct values; fewer lost values are harmless rounding
MAX_LOST_FRACTIONS = 0.1  # the same for fractions, which often differ in meaningless digits
FLOAT32_INTEGERS = 1 << 24
MAX_FRACTIONS = 100_000  # examined


@dataclass(frozen=True)
class Float32Fit:
    """How well float32 keeps the numbers of a column distinct."""

    base: float = 0.0  # subtracted first, to keep values distinct; 0 if that is not needed or does not help
    lost: float = 0.0  # the share of the distinct values that nevertheless become equal to another value
    twins: tuple[str, str] | None = None  # two such values as text; None if there are none, or only rounding

    @property
    def is_good(self) -> bool:
        """Do nearly all values stay distinct?"""
        return self.lost <= MAX_LOST_SHARE


def as_float32(numbers: NDArray[np.float64], base: float | NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the differences of float64 numbers from a base, as the model's inputs."""
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.asarray(numbers - base).astype(np.float32)
    out[~np.isfinite(out)] = np.nan  # infinity counts as null, in training too
    return out


def float32_fit(values: pa.ChunkedArray, numbers: NDArray[np.number] | None = None) -> Float32Fit:
    """Return how float32 changes the numbers of a column; if its values are text, `numbers` has their numbers.

    Only a sample of fractions is examined, because they are only rounded.
    """
    import pyarrow as pa

    if numbers is None:
        values = values.drop_null()
        is_integer = pa.types.is_integer(values.type)
        numbers = (values if is_integer else values.cast(pa.float64(), safe=False)).to_numpy()
    known = numbers[np.isfinite(numbers)]
    whole = bool((known == np.round(known)).all())
    if known.size == 0 or (whole and np.abs(known).max() <= FLOAT32_INTEGERS):
        return Float32Fit()
    distinct: NDArray[np.number] = np.unique(known if whole else known[:: max(1, len(known) // MAX_FRACTIONS)])
    plain = _fit(distinct, 0.0)
    if plain.lost <= (0 if whole else MAX_LOST_FRACTIONS):
        return Float32Fit()
    shifted = _fit(distinct, float(distinct[0]))
    return shifted if shifted.lost == 0 or (shifted.is_good and not plain.is_good) else plain


def _fit(distinct: NDArray[np.number], base: float) -> Float32Fit:
    encoded = as_float32(distinct.astype(np.float64), base)
    same = encoded[1:] == encoded[:-1]
    if not same.any():
        return Float32Fit(base)
    at = int(np.argmax(same))
    return Float32Fit(base, float(same.sum()) / len(distinct), (str(distinct[at]), str(distinct[at + 1])))

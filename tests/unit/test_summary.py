"""Summaries of columns against the distances of SciPy, which Evidently's are, and against chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from mlops_glue.drift import MOST_VALUES, Numbers, Reference, Values, counted, inputs, summarised
from mlops_glue.errors import DataError
from mlops_glue.schema import Column, Schema

SHAPES: dict[str, Any] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1, n),
    "counts": lambda rng, n: rng.poisson(2, n).astype(float),
    "mostly zero": lambda rng, n: (rng.random(n) < 0.05) * rng.exponential(size=n),
    "large": lambda rng, n: 1e6 + rng.uniform(size=n),
}


def seen(reference: Numbers, values: Any, pieces: int = 3) -> Numbers:
    out = reference.empty()
    for piece in np.array_split(values, pieces):
        out.add(piece)
    return out


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_numbers_are_as_far_as_scipy_says(name: str, shift: float) -> None:
    rng = np.random.default_rng(0)
    one, two = SHAPES[name](rng, 5000), SHAPES[name](rng, 3000)
    two = two + shift * one.std()
    reference = Numbers.of(one)
    got = reference.distance(seen(reference, two))
    assert got == pytest.approx(wasserstein_distance(one, two) / one.std(), abs=0.004)


def test_nulls_and_what_is_outside_are_counted_and_one_broken_row_is_no_drift() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    reference = Numbers.of(values)
    broken = values[:2000].copy()
    broken[:3] = np.nan, 1e30, -50
    got = seen(reference, broken)
    assert (got.nulls, got.outside, got.known) == (1, 2, 1999)
    assert (reference.distance(got) or 9) < 0.1
    assert reference.distance(reference.empty()) is None
    assert Numbers.of(np.full(5, np.nan)).distance(got) is None


def test_values_are_as_far_as_scipy_says() -> None:
    one, two = {"a": 50, "b": 30, "c": 20, "": 7}, {"a": 10, "c": 5, "new": 5}
    reference = Values.of(one)
    got = reference.empty()
    got.add(two)
    assert reference.distance(got) == pytest.approx(jensenshannon([0.5, 0.3, 0.2, 0], [0.5, 0, 0.25, 0.25]))
    assert (reference.nulls, int(got.counts[-1])) == (7, 5)
    many = Values.of({f"v{at}": 1 for at in range(MOST_VALUES + 5)})
    assert len(many.values) == MOST_VALUES and not many.whole and many.known == MOST_VALUES + 5


@pytest.mark.parametrize("rows", [200, 1000])
@pytest.mark.parametrize("name", ["normal", "lognormal", "words", "many words"])
def test_chance_stays_below(name: str, rows: int) -> None:
    """Of 400 windows of the reference's own distribution, with 20 references, at 99 %: at most 12 are above."""
    rng = np.random.default_rng(5)

    def draw(n: int) -> Any:
        if name in SHAPES:
            return SHAPES[name](rng, n)
        share = 1 / np.arange(1, 200 if name == "many words" else 5)
        return rng.choice(len(share), n, p=share / share.sum()).astype(float)

    method = "wasserstein" if name in SHAPES else "jensenshannon"
    above = 0
    for _ in range(20):
        reference: Any = summarised(draw(5000), method)  # type: ignore[arg-type]
        limit = reference.by_chance(rows, 0.99)
        for _ in range(20):
            got = reference.empty()
            got.add(draw(rows) if name in SHAPES else counted(draw(rows)))
            above += reference.distance(got) > limit
    assert above <= 12


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    schema = Schema("binary", "y", [Column("n", "number"), Column("w", "category"), Column("at", "datetime")])
    assert list(inputs(schema)) == ["n", "w", "at.days", "at.month", "at.weekday", "at.hour"]
    floats = np.random.default_rng(0).normal(size=100).astype(np.float32)
    words = pa.chunked_array([["a", "", "b", "a"]])
    columns = {n: summarised(words if n == "w" else floats, m) for n, m in inputs(schema).items() if n in ("n", "w")}
    columns |= {n: summarised(np.arange(5.0), m) for n, m in inputs(schema).items() if n.startswith("at.")}
    Reference(columns, dict.fromkeys(columns, 0.25), summarised(floats, "wasserstein")).write(tmp_path / "r.parquet")
    back = Reference.read(tmp_path / "r.parquet", schema)
    assert back.weights == dict.fromkeys(columns, 0.25) and back.prediction is not None
    for name, one in columns.items():
        assert back.columns[name].distance(one) == 0.0  # type: ignore[arg-type]
    assert back.columns["w"].nulls == 1
    with pytest.raises(DataError, match="is of another schema"):
        Reference.read(tmp_path / "r.parquet", Schema("binary", "y", [Column("n", "number")]))
    with pytest.raises(DataError, match="has no reference"):
        Reference.read(tmp_path / "nothing.parquet", schema)

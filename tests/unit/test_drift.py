"""Distances of columns against those of SciPy, which Evidently's are, and against chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from mlops_glue import files, layout, tables
from mlops_glue.drift import Categories, Numbers, Reference, distribution, drift_methods, few
from mlops_glue.errors import DataError
from mlops_glue.schema import Column, Schema

SHAPES: dict[str, Any] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1, n),
    "counts": lambda rng, n: rng.poisson(2, n).astype(float),
    "mostly zero": lambda rng, n: (rng.random(n) < 0.05) * rng.exponential(size=n),
    "large": lambda rng, n: 1e6 + rng.uniform(size=n),
}


def words(**counts: int) -> Any:
    """An array of text, each word so often; `null` is an empty one."""
    return np.array([("" if name == "null" else name) for name, n in counts.items() for _ in range(n)], object)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_numbers_are_as_far_as_scipy_says(name: str, shift: float) -> None:
    rng = np.random.default_rng(0)
    one, two = SHAPES[name](rng, 5000), SHAPES[name](rng, 3000)
    two = two + shift * one.std()
    got = Numbers.of(one).compare(two).distance
    assert got == pytest.approx(wasserstein_distance(one, two) / one.std(), abs=0.004)
    if name == "counts":  # nothing is broken or far away in these
        assert got == pytest.approx(wasserstein_distance(one, two) / one.std(), rel=1e-9)


def test_nulls_and_what_is_outside_are_counted_and_one_broken_row_is_no_drift() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    reference = Numbers.of(values)
    broken = values[:2000].copy()
    broken[:3] = np.nan, 1e30, -50
    found = reference.compare(broken)
    assert (found.nulls, found.known, found.unseen) == (1, 1999, pytest.approx(2 / 1999))
    assert (found.distance or 9) < 0.1 and found.null_share == 1 / 2000
    assert reference.compare(np.full(5, np.nan)).distance is None
    assert Numbers.of(np.full(5, np.nan)).compare(values).distance is None


def test_far_rows_are_left_out_on_both_sides_alike() -> None:
    """Of 1,000 rows ten are few; of 30 that are far below and 10 far above they are a quarter of each."""
    one = np.linspace(-1, 1, 1000)
    two = one.copy()
    two[:30], two[-10:] = -1e9, 1e9
    reference = Numbers.of(one)
    low, high = reference.range
    kept = np.concatenate([np.full(22, low), two[30:-10], np.full(8, high)])
    wanted = wasserstein_distance(one, kept) / one.std()
    assert few(1000) == 10 and reference.compare(two).distance == pytest.approx(wanted, rel=1e-9)


def test_categories_are_as_far_as_scipy_says() -> None:
    reference = Categories.of(words(a=50, b=30, c=20, null=7))
    found = reference.compare(words(a=10, c=5, new=5))
    assert found.distance == pytest.approx(jensenshannon([0.5, 0.3, 0.2, 0], [0.5, 0, 0.25, 0.25]))
    assert (reference.nulls, found.unseen) == (7, 0.25)


@pytest.mark.parametrize(("listed", "unseen"), [((), 0.5), (["rare"], 0.0), (None, None)])
def test_what_training_had_is_not_unseen_where_that_is_known(listed: Any, unseen: float | None) -> None:
    assert Categories.of(words(a=50), listed).compare(words(a=5, rare=5)).unseen == unseen


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
        reference = distribution(draw(5000), method)  # type: ignore[arg-type]
        limit = reference.noise(rows, 0.99)
        above += sum((reference.compare(draw(rows)).distance or 0.0) > limit for _ in range(20))
    assert above <= 12


SCHEMA = Schema("binary", "y", [Column("n", "number"), Column("w", "category"), Column("at", "datetime")], [0, 1])


def bundle(folder: Path, **record: Any) -> Path:
    """The files of a bundle that the monitor reads."""
    rng = np.random.default_rng(0)
    times = pa.array(rng.integers(1.6e15, 1.7e15, 200), pa.timestamp("us"))
    rows = {"n": rng.normal(size=200), "w": ["a", "b"] * 100, "at": times, "y": [0, 1] * 100}
    said = {"prediction": [0, 1] * 100, "probability_1": np.linspace(0, 1, 200)}
    sample = pa.table({**rows, layout.SPLIT_COLUMN: ["train"] * 120 + ["test"] * 80, **said})
    tables.write_parquet(folder / layout.SAMPLE, sample)
    files.write_json(folder / layout.HOLDOUT, record)
    return folder


def test_a_reference_is_read_from_a_bundle(tmp_path: Path) -> None:
    weights = {"n": 0.75, "w": 0.25}
    found = Reference.read(bundle(tmp_path, weights=weights), SCHEMA)
    assert list(found.columns) == list(drift_methods(SCHEMA))
    assert list(found.columns) == ["n", "w", "at.days", "at.month", "at.weekday", "at.hour"]
    assert found.weights == weights and {c.known for c in found.columns.values()} == {120}
    assert found.prediction is not None and found.prediction.known == 80 and found.prediction.method == "wasserstein"
    (tmp_path / layout.HOLDOUT).unlink()  # of a model that was trained elsewhere
    assert Reference.read(tmp_path, SCHEMA).weights == dict.fromkeys(found.columns, 1 / 6)
    with pytest.raises(DataError, match=r"reference\.parquet: column 'm' is missing"):
        Reference.read(tmp_path, Schema("binary", "y", [Column("m", "number")], [0, 1]))
    (tmp_path / layout.SAMPLE).unlink()
    with pytest.raises(DataError, match="has no reference"):
        Reference.read(tmp_path, SCHEMA)


@pytest.mark.parametrize("weights", [[1], {"n": "1"}, {"n": -1}, {"n": 2}, {"n": float("nan")}, {"n": True}], ids=str)
def test_weights_that_are_none_are_refused(weights: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the weights in holdout\.json are not between 0 and 1"):
        Reference.read(bundle(tmp_path, weights=weights), SCHEMA)

"""A retraining learns from its fresh rows, and is judged on rows that neither model was trained on.

Generated tables grow by retrainings of any size; `tests/functional/test_learns.py` does it with all the tools.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_glue import files, layout
from mlops_glue.delivery.rows import Rows, identities
from mlops_glue.errors import DataError
from mlops_glue.metrics import MIN_FRESH_ROWS
from mlops_glue.pipeline.split import split
from tests.support.splits import project, rows_of

SIZES = st.lists(st.sampled_from([1, 99, 100, 101, 150, 333, 640]), min_size=1, max_size=3)
EVENT = np.datetime64("2026-01-01", "us")


def grown(sizes: list[int], by: str, seed: int) -> dict[str, Any]:
    """Times and entities of a first batch of 200 rows and of the fresh ones; old ones come again, some are null."""
    rng = np.random.default_rng(seed)
    rows = 200 + sum(sizes)
    late = np.repeat(np.arange(len(sizes) + 1), [200, *sizes]) * 10_000
    when = EVENT + (late + rng.integers(0, 300, rows)).astype("timedelta64[m]")  # many rows of one moment, unsorted
    whom = [
        None if one == 0 else f"e{one}"
        for one in rng.integers(0, 40, rows) + late // 10_000 * rng.integers(0, 40, rows)
    ]
    whom = ["e-" if one is None and n < 200 else one for n, one in enumerate(whom)]
    return {"when": when, "whom": whom, "y": rng.integers(0, 2, rows)}


def sides(
    root: Path, rows: int, made: dict[str, Any], bounds: list[Any], by: str, size: float
) -> tuple[set[int], set[int]]:
    """The rows that are trained on, and those that the model is measured on."""
    some = {name: values[:rows] for name, values in made.items()}
    split(project(root, rows, by=by, test_size=size, fresh_after=bounds, **some), root)
    return set(rows_of(root, layout.TRAIN)), set(rows_of(root, layout.TEST))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(SIZES, st.sampled_from(["time", "entity", "random"]), st.sampled_from([0.05, 0.2, 0.5, 0.9]), st.integers(0, 99))
def test_no_row_is_judged_on_that_was_trained_on(sizes: list[int], by: str, size: float, seed: int) -> None:
    made, trained_before = grown(sizes, by, seed), set[int]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(len(sizes) + 1):
            bounds = [200 + sum(sizes[:n]) for n in range(number)]
            rows = 200 + sum(sizes[:number])
            try:
                train, test = sides(root, rows, made, bounds, by, size)
            except DataError as error:
                if number and min(sizes[:number]) < 2 * MIN_FRESH_ROWS:
                    assert "too few to train on some of them and evaluate on the others" in error.message
                else:
                    assert by == "entity" or number == 0, error.message
                return
            assert train and test and not train & test
            assert not test & trained_before  # no champion of before was trained on a row of the comparison
            assert trained_before <= train  # and what was learned once is learned again
            if number:
                fresh = set(range(bounds[-1], rows))
                told = files.read_json(root / layout.FRESH)
                counts = {"rows": len(fresh), "trained": len(train & fresh), "held_out": len(test)}
                assert told == counts and test <= fresh and counts["trained"] > 0
                if by != "entity":
                    assert len(test) >= MIN_FRESH_ROWS and train & fresh == fresh - test
                    place = made["when"] if by == "time" else np.arange(rows)
                    assert max(place[sorted(fresh - test)]) < min(place[sorted(test)])
            if by == "entity":
                whom = made["whom"]
                assert not {whom[n] for n in train} & {whom[n] for n in set(range(rows)) - train}
            assert (train, test) == sides(root, rows, made, bounds, by, size)  # decided by the files alone
            trained_before = train


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([100, 250, 640]))
def test_a_moment_splits_a_table_in_whatever_order(seed: int, fresh: int) -> None:
    """As `reread` by time does it: the same rows, shuffled, are on the same sides."""
    made = grown([fresh], "time", seed)
    bound = str(np.datetime_as_string(made["when"][:200].max(), unit="us"))
    order = np.random.default_rng(seed).permutation(200 + fresh)
    shuffled = {"when": made["when"][order], "y": made["y"][order]}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plain = {name: made[name] for name in ("when", "y")}
        train, test = sides(root, 200 + fresh, plain, [bound], "time", 0.2)
        assert (train, test) == sides(root, 200 + fresh, plain, [200], "time", 0.2)
        again = sides(root, 200 + fresh, shuffled, [bound], "time", 0.2)
    assert (train, test) == tuple({int(order[n]) for n in side} for side in again)


CELL = st.one_of(st.none(), st.integers(-3, 3))
ROW = st.tuples(CELL, st.sampled_from([None, "", "a", "b"]), st.sampled_from([None, True, False]))


@settings(max_examples=200, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30), st.lists(ROW, max_size=10), st.data())
def test_a_row_is_known_again_after_others_were_added(old: list[Any], new: list[Any], data: st.DataObject) -> None:
    def table(rows: list[Any]) -> pa.Table:
        columns = list(zip(*rows, strict=True))
        kinds = (pa.int64() if None not in columns[0] else pa.float64(), pa.string(), pa.bool_())
        named = zip(("n", "word", "yes"), columns, kinds, strict=True)
        return pa.table({name: pa.array(values, kind) for name, values, kind in named})

    before, after = table(old), table(old + new)
    trained = np.array(data.draw(st.lists(st.booleans(), min_size=len(old), max_size=len(old))))
    rows = Rows(before.column_names, identities(before), trained)
    seen = rows.seen(after)
    assert seen is not None and seen.tolist() == [*trained.tolist(), *[False] * len(new)]
    assert rows.begin(after)

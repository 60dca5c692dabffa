"""Which rows are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import DataError
from mlops_glue.pipeline.split import batches, fresh_holdout, late, late_entities, split


def project(root: Path, rows: int, *, when: Any = None, whom: Any = None, y: Any = None, **options: Any) -> Config:
    """A project whose next stage is split."""
    made = {layout.ROW: np.arange(rows), "x": np.arange(rows, dtype=float)}
    made["target:y"] = np.arange(rows) % 2 if y is None else y
    source: dict[str, Any] = {"path": "t.csv"}
    if when is not None:
        made[layout.WHEN], source["timestamp"] = when, "at"
    if whom is not None:
        made[layout.WHOM], source["entity"] = pa.array(whom), "who"
    io.write_parquet(root / layout.FEATURES, pa.table(made))
    io.write_json(root / layout.COLUMNS, {"schema": {"task": "binary"}})
    data = {"sources": {"t": source}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}, "split": options})


def rows_of(root: Path, path: str) -> list[int]:
    found: list[int] = io.read_parquet(root / path, [layout.ROW]).column(0).to_pylist()
    return found


def days(rows: int) -> Any:
    return np.datetime64("2026-01-01", "us") + np.arange(rows) * np.timedelta64(1, "D")


def test_of_ten_days_a_fifth_are_the_last_two(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(10)
    split(project(tmp_path, 10, when=days(10)[order], by="time"), tmp_path)
    assert sorted(order[rows_of(tmp_path, layout.TEST)]) == [8, 9]
    assert len(rows_of(tmp_path, layout.TRAIN)) == 8 and not (tmp_path / layout.FRESH).exists()


def test_rows_of_one_moment_stay_together() -> None:
    assert late(np.array([1, 2, 3, 3, 3]), 1).tolist() == [False, False, True, True, True]
    assert late(np.array([1, 1, 1, 2]), 2).tolist() == [False, False, False, True]  # all would be late
    assert late(np.array([1, 1]), 1).tolist() == [False, False]


def test_no_entity_is_on_both_sides(tmp_path: Path) -> None:
    whom = [f"e{n % 17}" for n in range(200)]
    split(project(tmp_path, 200, whom=whom, by="entity"), tmp_path)
    sides = [{whom[row] for row in rows_of(tmp_path, path)} for path in (layout.TRAIN, layout.TEST)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_a_batch_is_what_is_after_its_bound() -> None:
    assert batches([3], np.array([0, 2, 3, 4]), None).tolist() == [0, 0, 1, 1]
    assert batches([3, 4], np.array([4, 3, 2]), None).tolist() == [2, 1, 0]
    when = days(4)
    assert batches(["2026-01-02"], np.arange(4), when).tolist() == [0, 0, 1, 1]
    assert batches(["2026-01-02", 3], np.arange(4), when).tolist() == [0, 0, 1, 2]
    assert batches([], np.arange(2), None).tolist() == [0, 0]
    with pytest.raises(DataError, match="no labelled row is after 5") as caught:
        batches([2, 5], np.arange(5), None)
    assert "take 5 out of glue.yaml split.fresh_after" in str(caught.value.hint)
    with pytest.raises(DataError, match="2026-01-02 is a moment, and the labels' table has no timestamp"):
        batches(["2026-01-02"], np.arange(5), None)


@pytest.mark.parametrize(
    "rows, size, many",
    [(100, 0.2, 50), (101, 0.9, 50), (250, 0.2, 50), (255, 0.2, 51), (640, 0.2, 128), (640, 0.9, 320)],
)
def test_fresh_rows_are_held_out_by_their_share_or_enough_to_judge_by(rows: int, size: float, many: int) -> None:
    assert fresh_holdout(rows, size) == many


def test_too_few_fresh_rows_decide_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="99 fresh rows are too few to train on some of them and to judge by the others"
    ):
        fresh_holdout(99, 0.2)
    with pytest.raises(DataError, match="99 fresh rows are too few"):
        split(project(tmp_path, 299, fresh_after=[200]), tmp_path)


def test_fresh_entities_go_where_they_are() -> None:
    whom = np.array(["a", "b", "c", "d", "d", None], object)
    assert late_entities(whom, 1, {"a"}, {"b"}).tolist() == [False, True, False, False, False, False]
    assert late_entities(whom, 2, {"a"}, {"b"}).tolist() == [False, True, False, False, False, True]
    assert late_entities(whom, 3, {"a"}, {"b"}).tolist() == [False, True, False, True, True, True]
    assert late_entities(whom, 9, {"a"}, {"b"}).tolist() == [False, True, True, True, True, True]
    assert late_entities(whom, 1, set(), set()).tolist() == [False, False, False, False, False, True]


def test_no_fresh_row_trained_on_is_an_error(tmp_path: Path) -> None:
    """All fresh rows are of one new entity, which is held out."""
    whom = [f"e{n % 20}" for n in range(200)] + ["new"] * 150
    with pytest.raises(DataError, match="none of the 150 fresh rows would be trained on"):
        split(project(tmp_path, 350, whom=whom, by="entity", fresh_after=[200]), tmp_path)
    assert not (tmp_path / layout.TRAIN).exists()


def test_one_class_to_learn_is_refused_and_few_rows_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match="the training rows hold one class only: 0"):
        split(project(tmp_path, 10, when=days(10), y=[0] * 8 + [1] * 2, by="time"), tmp_path)
    with pytest.raises(DataError, match="the holdout has 1 of 10 rows: nothing can be measured on it"):
        split(project(tmp_path, 10, when=days(10), by="time", test_size=0.1), tmp_path)
    split(project(tmp_path, 95, when=days(95), by="time"), tmp_path)
    assert "the holdout has 19 of 95 rows" in caplog.text
    caplog.clear()
    split(project(tmp_path, 100, when=days(100), by="time"), tmp_path)
    assert not caplog.text

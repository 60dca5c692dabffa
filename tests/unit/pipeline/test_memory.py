"""A fit that would not fit into memory is refused before it begins; a sample of the rows is drawn, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import files, layout, tables
from mlops_glue.config import Config
from mlops_glue.errors import StageError
from mlops_glue.pipeline import memory
from mlops_glue.pipeline.split import split
from mlops_glue.schema import Column, Schema
from tests.support.splits import project, rows_of

FEW, MANY = (
    Column(name, "category", categories=[str(n) for n in range(count)]) for name, count in (("f", 5), ("m", 99))
)
SCHEMA = Schema("binary", "y", [Column("x", "number"), Column("at", "datetime"), FEW, MANY], [0, 1])
GBM = "sklearn.ensemble.HistGradientBoostingClassifier"


def config(**more: Any) -> Config:
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}, **more})


def test_a_category_of_few_values_is_a_column_for_each() -> None:
    assert memory.encoded_columns(config(), SCHEMA, 99) == 1 + 4 + 5 + 1
    text = Schema("binary", "y", [Column("x", "number"), Column("note", "text")], [0, 1])
    assert memory.encoded_columns(config(), text, 1_000) == 1 + 100
    assert memory.encoded_columns(config(train={"words": 7}), text, 1_000) == 1 + 7
    assert memory.encoded_columns(config(train={"categories": "native"}), SCHEMA, 99) == 1 + 4 + 1 + 1
    assert memory.encoded_columns(config(train={"preprocess": False}), SCHEMA, 99) == 1 + 4 + 1 + 1


def test_what_does_not_fit_is_refused_with_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write_parquet(tmp_path / layout.TRAIN, pa.table({"x": np.zeros(30_000)}))
    memory.check(config(compute={"memory": "100MiB"}), tmp_path, SCHEMA, GBM)
    with pytest.raises(StageError) as refused:
        memory.check(config(compute={"memory": "5MiB"}), tmp_path, SCHEMA, GBM)
    assert "HistGradientBoostingClassifier would need about" in refused.value.message
    assert "30,000 rows of 11 encoded columns" in refused.value.message
    assert "train: {rows: 14000} in glue.yaml" in str(refused.value.hint)
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    with pytest.raises(StageError, match="80% of the free memory"):
        memory.check(config(), tmp_path, SCHEMA, GBM)
    monkeypatch.setattr(memory, "free_memory", lambda: None)  # the system does not say
    memory.check(config(), tmp_path, SCHEMA, GBM)


def test_a_sample_is_of_the_training_rows_alone(tmp_path: Path) -> None:
    asked = project(tmp_path, 500)
    split(asked, tmp_path)
    whole, held = rows_of(tmp_path, layout.TRAIN), rows_of(tmp_path, layout.TEST)
    for rows in (100, 4000):
        sampled = asked.model_copy(update={"train": asked.train.model_copy(update={"rows": rows})})
        split(sampled, tmp_path)
        drawn = rows_of(tmp_path, layout.TRAIN)
        assert len(drawn) == min(rows, 400) and set(drawn) <= set(whole) and drawn == sorted(drawn)
        assert rows_of(tmp_path, layout.TEST) == held
        assert files.read_json(tmp_path / layout.SAMPLED) == {"rows": min(rows, 400), "of": 400}

"""XGBoost that learns from pieces says what it says when it learns from all rows at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import files, layout, row_groups, tables
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, StageError
from mlops_glue.pipeline import train
from mlops_glue.pipeline.trusting import load_model
from mlops_glue.schema import Column, Schema

ROWS = 1500


def project(root: Path, task: str) -> Schema:
    """Training rows with numbers that may be null, a category of few values and one of many."""
    rng = np.random.default_rng(0)
    x, few, many = rng.normal(size=(ROWS, 2)).astype(np.float32), rng.integers(0, 4, ROWS), rng.integers(0, 60, ROWS)
    score = x[:, 0] + (few == 2) + many / 30 + rng.normal(size=ROWS)
    x[rng.random((ROWS, 2)) < 0.1] = np.nan
    target = {"regression": score, "binary": (score > 1).astype(int), "multiclass": np.digitize(score, [0, 1.5])}[task]
    made = {"a": x[:, 0], "b": x[:, 1], "few": [f"f{n}" for n in few], "many": [f"m{n}" for n in many]}
    tables.write_parquet(root / layout.TRAIN, pa.table({**made, layout.ROW: np.arange(ROWS), "target:y": target}))
    kinds = {"a": "number", "b": "number", "few": "category", "many": "category"}
    columns = [Column(name, kind) for name, kind in kinds.items()]  # type: ignore[arg-type]
    labels = None if task == "regression" else np.unique(target).tolist()
    schema = Schema(task, "y", columns, labels)
    files.write_json(root / layout.COLUMNS, {"schema": schema.to_dict()})
    return schema


def config(task: str, **more: Any) -> Config:
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    kind = "XGBRegressor" if task == "regression" else "XGBClassifier"
    asked = {"estimator": f"xgboost.{kind}", "params": {"n_estimators": 12, "max_depth": 4, "n_jobs": 1}, **more}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": asked})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_pieces_teach_what_the_whole_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    schema = project(tmp_path, task)
    features, _ = train.xy(tables.read_parquet(tmp_path / layout.TRAIN), schema)
    monkeypatch.setattr(row_groups, "PIECE_ROWS", 400)
    said = []
    for stream in (False, True):
        train.train(config(task, stream=stream), tmp_path)
        model = load_model(config(task), tmp_path)
        said.append(model.predict(features) if task == "regression" else model.predict_proba(features))
    np.testing.assert_allclose(said[1], said[0], rtol=1e-5, atol=1e-6)
    assert np.std(said[0]) > 0.1


def test_what_does_not_go_with_pieces_is_refused(tmp_path: Path) -> None:
    project(tmp_path, "binary")
    for more, problem in (
        ({"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {}}, "cannot learn from pieces"),
        ({"categories": "native"}, "categories: encoded"),
        ({"early_stopping": {"rounds": 5}}, "does not support weight, early_stopping"),
    ):
        with pytest.raises(ConfigError, match=f"train.stream: .*{problem}"):
            train.train(config("binary", stream=True, **more), tmp_path)
    table = tables.read_parquet(tmp_path / layout.TRAIN)
    words = pa.array(["yes" if value else "no" for value in table["target:y"].to_pylist()])
    tables.write_parquet(tmp_path / layout.TRAIN, table.drop(["target:y"]).append_column("target:y", words))
    with pytest.raises(StageError, match="'y' has 'no'"):
        train.train(config("binary", stream=True), tmp_path)

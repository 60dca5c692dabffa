"""One prediction: the commands and servers that a user has say the same of the same rows, of a model of random tables.

What the readers make of rows is compared in `test_one_encoding`; this is the whole way, with the tools themselves.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue import layout
from mlops_glue.adapters import dvc
from mlops_glue.scoring import Bundle
from tests.support.encodings import (
    Row,
    Trained,
    as_json,
    row_of,
    said,
    trained_on,
    write_csv,
    write_jsonl,
    write_parquet,
)
from tests.support.project import Glue
from tests.support.server import ask, serving

ROWS = 40
THRESHOLD = 0.4
Said = tuple[list[float], list[str]]  # the probabilities of `yes`, and the predictions


def by_http(root: Path, trained: Trained, rows: list[Row], r: random.Random) -> Said:
    names = {c.name for c in trained.schema.columns}
    asked = [said(as_json(row, trained.how), trained.how, r) for row in rows]
    with serving(root, "--quiet") as (url, _):
        status, answer = ask(url, body={"rows": [{n: v for n, v in row.items() if n in names} for row in asked]})
    assert status == 200, answer
    answers = answer["predictions"]
    return [one["probabilities"]["yes"] for one in answers], [one["prediction"] for one in answers]


def by_command(root: Path, name: str, glue: Glue) -> Said:
    glue("predict", name, f"{name}.scored.parquet", cwd=root)
    return in_columns(pd.read_parquet(root / f"{name}.scored.parquet"))


def by_log(root: Path) -> Said:
    """What HTTP has answered, as the monitor reads it."""
    return in_columns(pd.concat(map(pd.read_parquet, sorted((root / "data/predictions").rglob("*.parquet")))))


def in_columns(frame: pd.DataFrame) -> Said:
    return list(frame["probability_yes"]), list(frame["prediction"])


@pytest.mark.parametrize("seed", [1, pytest.param(8, marks=pytest.mark.long)])  # trained on decimal commas, on jsonl
def test_every_way_to_score_says_the_same(tmp_path: Path, seed: int, glue: Glue, empty_store: Path) -> None:
    trained = trained_on(tmp_path, seed)
    shutil.copy(empty_store, tmp_path)
    dvc.init(tmp_path, git=False)
    config = (tmp_path / layout.CONFIG).read_text()
    cheap = "train: {params: {min_samples_leaf: 3, max_iter: 20}}"
    more = f"evaluate: {{decision_threshold: {THRESHOLD}}}\nserve: {{prediction_log: data/predictions}}\n"
    (tmp_path / layout.CONFIG).write_text(config.replace("train: {}", cheap) + more)
    glue("run", "--set", "promote.worse_than_trivial=accept", cwd=tmp_path)
    r = random.Random(seed + 3000)
    rows = [row_of(r, trained.how) for _ in range(ROWS)]
    write_csv(tmp_path / "semicolon.csv", rows, trained.how, ";", trained.sign, r)
    write_csv(tmp_path / "tab.csv", rows, trained.how, "\t", trained.sign, r)
    write_jsonl(tmp_path / "rows.jsonl", rows, trained.how, r)
    write_parquet(tmp_path / "rows.parquet", rows, trained.how, r)
    found: dict[str, Any] = {
        name: by_command(tmp_path, name, glue) for name in ("semicolon.csv", "tab.csv", "rows.jsonl", "rows.parquet")
    }
    found["HTTP"] = by_http(tmp_path, trained, rows, r)
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    found["log"] = by_log(tmp_path)
    label, probability = Bundle(tmp_path / layout.BUNDLE).predict(pa.Table.from_pandas(frame))
    found["Bundle"] = probability[:, 1], label
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_registry_uri(None)  # what a test before this one has set stays, and is of another store
    found["pyfunc"] = in_columns(mlflow.pyfunc.load_model("models:/t@champion").predict(frame))
    wanted, labels = found["HTTP"]
    assert len(set(wanted)) > 5  # the model looks at the rows
    assert labels == ["yes" if one >= THRESHOLD else "no" for one in wanted]
    assert any(THRESHOLD <= one < 0.5 for one in wanted)  # where the threshold decides
    for name, (got, said_labels) in found.items():
        np.testing.assert_allclose(got, wanted, rtol=1e-5, err_msg=f"{name}: {json.dumps(trained.how)}")
        assert list(said_labels) == labels, name

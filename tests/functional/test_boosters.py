"""Each booster from `glue init --estimator` to a scored file, on text labels, two classes and numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_glue.adapters import skops
from mlops_glue.schema import Schema
from tests.support.project import Glue, table

FEW = {"catboost": "iterations", "lightgbm": "n_estimators", "xgboost": "n_estimators"}


@pytest.mark.parametrize("booster", FEW)
@pytest.mark.parametrize("target", ["y", "of_three", "value"])
def test_it_is_trained_and_scores_as_the_library_does(
    booster: str, target: str, tmp_path: Path, glue: Glue, empty_store: Path
) -> None:
    rows = table(120)
    rows["of_three"] = np.where(rows.x > 0.5, "high", np.where(rows.x < -0.5, "low", "middle"))
    rows["value"] = (rows.x * 3 + 1).round(3)
    rows[["x", "noise", "town", target]].to_csv(tmp_path / "t.csv", index=False)
    glue("init", "p", "--data", "t.csv", "--target", target, "--estimator", booster, cwd=tmp_path)
    shutil.copy(empty_store, tmp_path / "p")
    project = tmp_path / "p"
    ran: dict[str, Any] = json.loads(
        glue("run", "--json", "--set", f"train.params.{FEW[booster]}=12", cwd=project, code=None).stdout
    )
    assert [stage["outcome"] for stage in ran["stages"]][:7] == ["executed"] * 7
    glue("predict", "../t.csv", "scored.csv", "--version", "1", cwd=project)
    schema = Schema.from_dict(json.loads((project / "artifacts/bundle/schema.json").read_text()))
    model = skops.load(project / "artifacts/train/model.skops")
    test = pd.read_parquet(project / "artifacts/split/test.parquet")
    scored = pd.read_csv(project / "scored.csv").loc[test["glue_row"], "prediction"].to_numpy()
    expected = np.ravel(model.predict(test[[*schema.numeric, *schema.text]]))
    if target == "value":
        np.testing.assert_allclose(scored, expected, rtol=1e-5, atol=1e-5)
    else:
        assert scored.tolist() == expected.tolist()

"""A class of the project in its estimator: trusted by name, in the bundle, and served wherever that is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from tests.support.project import Glue
from tests.support.server import ask, serving

STEPS = """import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Clip(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.bounds_ = np.nanquantile(X, [0.05, 0.95], axis=0)
        return self

    def transform(self, X):
        print("of own code")
        return np.clip(X, *self.bounds_)
"""
MODEL = """import lightgbm
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from steps import Clip


def build(random_state=None):
    columns = make_column_transformer((Clip(), ["bill_length_mm", "bill_depth_mm", "flipper_length_mm"]))
    return make_pipeline(columns, lightgbm.LGBMClassifier(n_estimators=8, n_jobs=2, verbose=-1, random_state=0))
"""


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_own_code_from_the_check_to_a_folder_that_serves_it(penguins: Path, glue: Glue) -> None:
    (penguins / "steps.py").write_text(STEPS)
    (penguins / "model.py").write_text(MODEL)
    refused = glue("run", cwd=penguins, code=2).stderr
    assert "train.estimator: contains steps.Clip, whose code would run wherever the model is loaded" in refused
    assert "hint: package: {trust: [steps.Clip]}" in refused

    edit(penguins / "glue.yaml", "trust: []", "trust: [steps.Clip]")
    ran = glue("run", cwd=penguins).stdout
    assert "steps.Clip has no ONNX form" in ran and "loading the model runs code from steps.Clip" in ran
    assert set(json.loads((penguins / "artifacts/bundle/trust.json").read_text())["modules"]) == {"steps"}
    assert "runs code from steps.Clip" in glue("status", cwd=penguins).stdout
    assert "skops, runs code: steps.Clip, sha256" in glue("lineage", cwd=penguins).stdout

    said = glue("predict", "../penguins.csv", "../before.csv", cwd=penguins).stderr
    assert "(skops, runs code: steps.Clip)" in said
    scored = glue("predict", "../penguins.csv", "-", cwd=penguins)
    assert scored.stdout == (penguins.parent / "before.csv").read_text() and "of own code" in scored.stderr
    assert json.loads(glue("explain", "--json", cwd=penguins).stdout)["columns"]
    edit(penguins / "steps.py", "np.clip(X, *self.bounds_)", "X * 0")  # what is served is what was trained
    glue("predict", "../penguins.csv", "../after.csv", cwd=penguins)
    before, after = (pd.read_csv(penguins.parent / f"{name}.csv") for name in ("before", "after"))
    pd.testing.assert_frame_equal(before, after)
    assert (before["prediction"] == before["species"]).mean() > 0.9
    assert "steps.py modified" in glue("why", "train", cwd=penguins).stdout

    glue("package", "../serving", cwd=penguins)
    needs = (penguins.parent / "serving" / "requirements.txt").read_text()
    assert "lightgbm==" in needs and "scikit-learn==" in needs
    checked = json.loads(glue("serve", "--folder", "../serving", "--check", "--json", cwd=penguins).stdout)
    assert (checked["format"], checked["runs_code"]) == ("skops", ["steps.Clip"])

    with serving(penguins, "--folder", "../serving", env={"OMP_NUM_THREADS": "2"}) as (url, _):  # OpenMP and fork
        row = json.loads((penguins / "artifacts/bundle/input_example.json").read_text())[0]
        assert ask(url, "/predict", row)[1]["prediction"] == before["prediction"][0]

    edit(penguins / "glue.yaml", "trust: [steps.Clip]", "trust: []")  # whoever does not trust it runs none of it
    for words in (("predict", "../penguins.csv", "../none.csv"), ("serve", "--check")):
        told = glue(*words, cwd=penguins, code=None)
        assert told.returncode and "the model runs code of steps.Clip, which is not trusted here" in told.stderr

"""A skewed target by its logarithm goes all the way: what was decided is read wherever the model is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.project import Glue

ROWS = 240


def homes() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    size, town = rng.normal(size=ROWS).round(3), rng.choice(["Ulm", "Bonn", "Kiel"], size=ROWS)
    price = np.exp(3 + size + (town == "Ulm") + rng.normal(0, 0.5, ROWS)).round(2)
    return pd.DataFrame({"size": size, "town": town, "price": price})


def test_a_log_target_is_decided_told_served_and_refused(tmp_path: Path, glue: Glue) -> None:
    homes().to_csv(tmp_path / "homes.csv", index=False)
    glue("init", "homes", "--data", "homes.csv", "--target", "price", cwd=tmp_path)
    root = tmp_path / "homes"
    sets = ["train.estimator=sklearn.linear_model.LinearRegression", "train.params={}", "train.target=auto"]
    words = [word for one in [*sets, "promote.metric=mae"] for word in ("--set", one)]
    done = glue("run", *words, cwd=root)
    evaluation = json.loads((root / "artifacts/evaluate/report/evaluation.json").read_text())
    scale, parity = evaluation["scale"], json.loads((root / "artifacts/bundle/parity.json").read_text())
    assert (scale["taken"], scale["compared"]["metric"], parity["format"]) == ("log", "mae", "onnx")
    said = "fitted on log1p(price): in 5 folds of the training rows mae is "
    assert said in done.stdout and said in done.stderr
    assert said in glue("card", cwd=root).stdout
    assert said in (root / "artifacts/evaluate/report/report.html").read_text()
    assert "executed" not in glue("run", cwd=root).stderr

    glue("predict", "../homes.csv", "scored.csv", cwd=root)
    scored = pd.read_csv(root / "scored.csv")
    assert abs(np.log(scored.prediction / scored.price)).mean() < 0.6 and scored.prediction.max() > 100

    wrong = glue("run", "--set", "train.estimator=sklearn.linear_model.PoissonRegressor", cwd=root, code=2)
    assert "train.target: PoissonRegressor takes the logarithm itself" in wrong.stderr

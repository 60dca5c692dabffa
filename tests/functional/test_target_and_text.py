"""A skewed target by its logarithm, and free text by its words, go all the way: init, run, card, predict, explain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.project import Glue

ROWS = 240
FILLERS = ["the", "sunny", "flat", "with", "a", "garden", "near", "park", "and", "old", "trees"]


def homes() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    size, town = rng.normal(size=ROWS).round(3), rng.choice(["Ulm", "Bonn", "Kiel"], size=ROWS)
    view = rng.choice(["Straßenblick", "海", "😀"], size=ROWS)
    price = np.exp(3 + size + (view == "海") + rng.normal(0, 0.5, ROWS)).round(2)
    about = [f"Flat, {' '.join(rng.choice(FILLERS, 6))} - {word} No{at}" for at, word in enumerate(view)]
    return pd.DataFrame({"size": size, "town": town, "about": about, "price": price})


def test_a_log_target_and_words_are_decided_told_served_and_refused(tmp_path: Path, glue: Glue) -> None:
    homes().to_csv(tmp_path / "homes.csv", index=False)
    told = glue("init", "plain", "--data", "homes.csv", "--target", "price", "--no-text", "--dry-run", cwd=tmp_path)
    assert "left out 'about': free text; list it in features.text to learn from its words" in told.stderr
    told = glue("init", "homes", "--data", "homes.csv", "--target", "price", cwd=tmp_path)
    assert "'about': free text, whose words are features; --no-text leaves it out" in told.stderr
    root = tmp_path / "homes"
    assert "  text:\n    - about\n" in (root / "glue.yaml").read_text()
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
    importances = {one["column"]: one["mean"] for one in evaluation["importances"]}
    assert importances["about"] > importances["town"]
    glue("explain", "../homes.csv", "why.csv", cwd=root)
    why = pd.read_csv(root / "why.csv")
    sea = why.about.str.contains("海")
    assert why.contribution_about[sea].mean() > 0 > why.contribution_about[~sea].mean()
    others = homes().assign(about="ein anderer Text mit ganz neuen Worten")
    others.to_csv(tmp_path / "others.csv", index=False)
    alarm = glue("monitor", "--current", "../others.csv", "--no-page", cwd=root, code=None)
    assert "about" in alarm.stdout and "words 0." in alarm.stdout
    assert abs(np.log(scored.prediction / scored.price)).mean() < 0.6 and scored.prediction.max() > 100

    wrong = glue("run", "--set", "train.estimator=sklearn.linear_model.PoissonRegressor", cwd=root, code=2)
    assert "train.target: PoissonRegressor already takes the logarithm" in wrong.stderr

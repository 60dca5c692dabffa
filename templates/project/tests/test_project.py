"""Two checks before a change is merged; run `glue run` first."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_thresholds_are_met():
    report = json.loads((ROOT / "artifacts/evaluate/report/evaluation.json").read_text())
    assert [t for t in report["thresholds"] if not t["met"]] == []


def test_model_beats_the_trivial_predictor():
    report = json.loads((ROOT / "artifacts/evaluate/report/evaluation.json").read_text())
    losses = {"log_loss", "brier", "rmse", "mae", "median_absolute_error"}
    name, score = next(iter(report["metrics"].items()))
    assert score["value"] < score["trivial"] if name in losses else score["value"] > score["trivial"]

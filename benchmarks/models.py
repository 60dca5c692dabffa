"""Each form of a model beside the library's own predict: latency of one row, rows a second, start, size.

    python benchmarks/models.py                       # all estimators, about three minutes
    python benchmarks/models.py LGBMClassifier SVC    # those whose path ends so

The library's own form is the fitted scikit-learn pipeline on a pandas frame. The other two are what `glue` packages:
ONNX where that is faithful, and skops; `explain` is what `/predict?explain=true` adds to a row.
All answer the same encoded rows, one thread each, in one process and in turns.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlops_glue import files
from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.explanation import Explainer
from mlops_glue.pipeline.package import kept
from mlops_glue.pipeline.train import build, chosen, fitted
from mlops_glue.schema import Column, Schema
from mlops_glue.scoring import Bundle

NUMBERS, CATEGORIES = 10, 2
TRAIN, MANY, CALLS = 5000, 20_000, 200
DEFAULT = "sklearn.ensemble.HistGradientBoosting"
BOOSTERS = ("xgboost.XGB", "lightgbm.LGBM", "catboost.CatBoost")
ESTIMATORS: dict[str, list[str]] = {
    "binary": [f"{name}Classifier" for name in (DEFAULT, *BOOSTERS, "sklearn.ensemble.RandomForest")]
    + ["sklearn.linear_model.LogisticRegression", "sklearn.svm.SVC", "sklearn.neural_network.MLPClassifier"],
    "regression": [f"{name}Regressor" for name in (DEFAULT, *BOOSTERS, "sklearn.ensemble.RandomForest")]
    + ["sklearn.linear_model.Ridge"],
}
PARAMS: dict[str, dict[str, Any]] = {"SVC": {"probability": True}, "CatBoost": {"iterations": 100}}
WANTED = 2.0  # times the default's latency of one row: a booster's in ONNX


def rows_of(rows: int, seed: int) -> pd.DataFrame:
    """Encoded rows as the stages have them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, NUMBERS)).astype(np.float32), columns=[f"x{i}" for i in range(NUMBERS)])
    for at in range(CATEGORIES):
        frame[f"c{at}"] = rng.choice([f"v{i}" for i in range(8)], rows)
    return frame


def target_of(frame: pd.DataFrame, task: str) -> Any:
    """What the columns say, with noise; classes are texts."""
    value = (
        frame["x0"]
        + frame["x1"] * frame["x2"]
        + (frame["c0"] == "v1")
        + np.random.default_rng(0).normal(size=len(frame))
    )
    return np.where(value > 0, "yes", "no") if task == "binary" else value.to_numpy(np.float64)


def made(path: str, task: str, folder: Path) -> tuple[Any, Schema, dict[str, Bundle]]:
    """The fitted pipeline, and its bundles by form."""
    columns = [Column(f"x{i}", "number", "double") for i in range(NUMBERS)]
    columns += [Column(f"c{i}", "category", "string") for i in range(CATEGORIES)]
    schema = Schema(task, "y", columns, ["no", "yes"] if task == "binary" else None)  # type: ignore[arg-type]
    params = next((params for name, params in PARAMS.items() if name in path), {})
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    values = {"glue": 1, "project": "p", "data": data, "train": {"estimator": path, "params": params}}
    config = Config.model_validate(values)
    features = rows_of(TRAIN, 1)
    model, _ = fitted(build(config, schema, features), features, target_of(features, task), classes=task == "binary")
    model = chosen(model)
    skops.save(model, folder / "model.skops")
    kept(model, folder / "model.skops", schema, rows_of(1000, 2), folder / "kept")
    (folder / "skops").mkdir()
    (folder / "model.skops").rename(folder / "skops" / "model.skops")
    found = {}
    for form in ("kept", "skops"):
        files.write_json(folder / form / "schema.json", schema.to_dict())
        bundle = Bundle(folder / form)
        found[bundle.format] = bundle
    return model, schema, found


def seconds(calls: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """The median of each, asked in turns."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            took[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in took.items()}


def asked(model: Any, schema: Schema, bundles: dict[str, Bundle], frame: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    """How each form is asked for the same rows."""
    inputs = {"number": frame[schema.numeric].to_numpy(np.float32), "text": frame[schema.text].to_numpy(object)}
    own = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    return {"library": lambda: own(frame)} | {
        form: (lambda bundle=bundle: bundle.score(inputs)) for form, bundle in bundles.items()
    }


def explain_ms(bundle: Bundle, schema: Schema) -> float:
    """The median time that the contributions of one row take; of a slow form of fewer calls."""

    def matrices(frame: pd.DataFrame) -> dict[str, Any]:
        return {"number": frame[schema.numeric].to_numpy(np.float32), "text": frame[schema.text].to_numpy(object)}

    def score(inputs: dict[str, Any]) -> Any:
        value, probability = bundle.score(inputs)
        return (value, None) if schema.labels is None else bundle.indices(value, probability)

    explainer, row = Explainer(schema, score, matrices(rows_of(100, 5))), matrices(rows_of(1, 3))
    return 1e3 * seconds({"explain": lambda: explainer.explain(row)}, 5 if bundle.format == "skops" else 50)["explain"]


def main() -> None:
    """Print a line for each estimator and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="ends of import paths")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp())  # CatBoost writes
    head = (
        f"{'one row':>10} {'x library':>9} {'x default':>9} {'rows/s':>11} {'x library':>9} {'size':>8} {'explain':>9}"
    )
    print(f"{'estimator':<32} {'form':<8} {head}")
    for task, paths in ESTIMATORS.items():
        default = None
        for path in paths:
            if options.names and path != paths[0] and not path.endswith(tuple(options.names)):
                continue
            with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
                model, schema, bundles = made(path, task, Path(folder))
                one = seconds(asked(model, schema, bundles, rows_of(1, 3)), CALLS)
                many = seconds(asked(model, schema, bundles, rows_of(MANY, 4)), 5)
                explain = {form: explain_ms(bundle, schema) for form, bundle in bundles.items()}
                size = {
                    form: (Path(folder) / at / f"model.{form}").stat().st_size
                    for form, at in (("onnx", "kept"), ("skops", "skops"))
                    if form in bundles
                }
            default = default or one["onnx"]
            for form in one:
                note = ""
                if form == "onnx" and path.startswith(BOOSTERS):
                    note = f"  wanted {WANTED:g}: {'met' if one[form] <= WANTED * default else 'MISSED'}"
                print(
                    f"{path.rpartition('.')[2]:<32} {form:<8} {1e6 * one[form]:>7,.0f} us "
                    f"{one['library'] / one[form]:>8.1f}x {one[form] / default:>8.2f}x "
                    f"{MANY / many[form]:>11,.0f} {many['library'] / many[form]:>8.1f}x "
                    f"{size.get(form, 0) / 1e3:>5,.0f} kB {explain.get(form, 0):>6,.1f} ms{note}"
                )


if __name__ == "__main__":
    main()

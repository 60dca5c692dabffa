"""One row by the ONNX model and by the pipeline itself, for each booster and the default: medians in microseconds."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import palmerpenguins
import pyarrow as pa

from mlops_glue.adapters import onnx, skl2onnx
from mlops_glue.config import Config
from mlops_glue.pipeline.train import build, fitted
from mlops_glue.scaffold import defaults
from mlops_glue.schema import Column, Schema

RUNS = 2000
NUMBERS, TEXTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"], ["island", "sex"]


def median_us(call: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e6


def main() -> None:
    warnings.simplefilter("ignore")
    rows = palmerpenguins.load_penguins().dropna(subset="species").reset_index(drop=True)
    target = rows["species"].to_numpy(object)
    frame = rows[[*NUMBERS, *TEXTS]].copy()
    frame[NUMBERS], frame[TEXTS] = frame[NUMBERS].astype(np.float32), frame[TEXTS].fillna("").astype(object)
    columns = [Column(name, "number") for name in NUMBERS] + [Column(name, "category") for name in TEXTS]
    schema = Schema("multiclass", "species", columns, sorted(set(target)))
    table = pa.table({"species": target})
    print(f"{'one row, median us':<20} {'onnx':>8} {'pipeline':>10}")
    for library in (None, *defaults.BOOSTERS):
        made = defaults.booster(library, table, "species", "multiclass") if library else (None, {})
        path, params = made if library else defaults.estimator(table, "species", "multiclass")
        config = Config.model_validate(
            {
                "glue": 1,
                "project": "p",
                "data": {"labels": {"source": "t", "target": "species"}, "sources": {"t": {"path": "t.csv"}}},
                "train": {"estimator": path, "params": params},
            }
        )
        model, _ = fitted(build(config, schema, frame), frame, target, classes=True)
        run = onnx.runner(onnx.session(skl2onnx.export(model, len(NUMBERS), len(TEXTS))))
        row = frame.head(1)
        inputs = {"number": row[NUMBERS].to_numpy(np.float32), "text": row[TEXTS].to_numpy(object)}
        fast, slow = median_us(partial(run, inputs), RUNS), median_us(partial(model.predict_proba, row), 50)
        print(f"{library or 'default':<20} {fast:8.1f} {slow:10.0f}")


if __name__ == "__main__":
    main()

"""Models that tests make: of every kind, and one that never answers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import skops.io
from onnx import TensorProto, helper

from mlops_glue import files
from mlops_glue.adapters import skops
from mlops_glue.pipeline.package import kept
from mlops_glue.pipeline.train import chosen, fitted
from mlops_glue.schema import Column, Schema
from mlops_glue.scoring import Bundle
from mlops_glue.trusted import Trusted


def endless(folder: Path) -> None:
    """A sound bundle whose model counts to 2^62 before it answers."""
    model = onnx.load(folder / "model.onnx")
    kinds = (TensorProto.BOOL, TensorProto.FLOAT)
    told = [helper.make_tensor_value_info(name, kind, []) for name, kind in zip(("go", "x"), kinds, strict=True)]
    inner = [helper.make_tensor_value_info("n", TensorProto.INT64, []), *told]
    outer = [helper.make_tensor_value_info(f"{name}2", kind, []) for name, kind in zip(("go", "x"), kinds, strict=True)]
    step = [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Identity", ["x"], ["x2"])]
    body = helper.make_graph(step, "body", inner, outer)
    constants = [
        helper.make_tensor("most", TensorProto.INT64, [], [2**62]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    model.graph.initializer.extend(constants)
    last = model.graph.output[1].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == last else name for name in node.output]
    model.graph.node.append(helper.make_node("Loop", ["most", "yes", "zero"], ["end"], body=body))
    model.graph.node.append(helper.make_node("Add", ["before", "end"], [last]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


NAMES = ["a", "b", "c"]


def made(labels: list[Any] | None, seed: int, rows: int = 90) -> tuple[pd.DataFrame, Any, Schema]:
    """Rows that tell the label, some with a null or an extreme; no two classes have equally many rows."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)).astype(np.float32), columns=NAMES)
    columns = [Column(name, "number", "double") for name in NAMES]
    value = frame["a"] - 0.5 * frame["b"]
    if labels is None:
        return frame, value.to_numpy(np.float64), Schema("regression", "y", columns)
    at = np.digitize(value, [0.3] if len(labels) == 2 else [-0.6, 0.3])
    task = "binary" if len(labels) == 2 else "multiclass"
    return frame, np.array(labels)[at], Schema(task, "y", columns, labels)


def through(
    folder: Path, estimator: Any, frame: pd.DataFrame, target: Any, schema: Schema, trust: Trusted | None = None
) -> tuple[Any, Bundle]:
    """The fitted estimator, and the bundle that comes of it."""
    trust = trust or Trusted()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = fitted(estimator, frame, target, classes=schema.labels is not None)
        model = chosen(model)
        skops.save(model, folder / "kept.skops", trust.names)
        with trust.importable():
            loaded = skops.load(folder / "kept.skops", trust.names)
        parity = kept(loaded, folder / "kept.skops", schema, frame, folder / "bundle", trust)
    files.write_json(folder / "bundle" / "schema.json", schema.to_dict())
    files.write_json(folder / "bundle" / "parity.json", parity)
    return model, Bundle(folder / "bundle", trust=trust.names)

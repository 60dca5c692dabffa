"""Export fitted estimators to ONNX, directly or as a `twin`, with skl2onnx and glue's own `converters`."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlops_glue.adapters.skl2onnx import advice, converters
from mlops_glue.adapters.skl2onnx.twins import twin
from mlops_glue.errors import GlueError, ToolError, brief


def export(model: Any, numeric: int, text: int) -> bytes:
    """Convert a fitted pipeline to ONNX, as bytes.

    The ONNX model has the inputs `number` (rows, numeric) of float32 and `text` (rows, text) of string; an input with
    the width 0 is left out. Its outputs are the value or label and, if there are any, the probabilities of shape
    (rows, classes).

    Raises:
        ToolError: skl2onnx has no converter for a part of the pipeline.
        MissingExtra: the converter of a booster is not installed.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types, parts = [], dict[int, Any]()
    if numeric:
        types.append(("number", FloatTensorType([None, numeric])))
    if text:
        types.append(("text", StringTensorType([None, text])))
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            model = twin(model, parts)
            if (endless := advice.endless(parts.values())) is not None:
                raise ToolError(endless)
            converters.register({type(part).__module__.partition(".")[0] for part in parts.values()})
            options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
            made = convert_sklearn(
                model, "glue", initial_types=types, options=options, target_opset={"": 21, "ai.onnx.ml": 3}
            )
    except GlueError:
        raise
    except Exception as error:
        known = advice.reason(error) or advice.advice(parts.values())
        raise ToolError(known or f"ONNX export: {brief(error, 200)}") from error
    _route_missing(made, model)
    if options is None and hasattr(model, "classes_"):
        del made.graph.output[1:]  # scores, or a list of dicts: no probabilities
    made.opset_import.sort(key=lambda o: o.domain)  # skl2onnx takes them from a set, in random order
    return made.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def known_limit(model: Any) -> str | None:
    """Return why a model has no exact ONNX form, and an alternative that has one; None if no rule applies."""
    parts: dict[int, Any] = {}
    twin(model, parts)
    return advice.advice(parts.values())


def _route_missing(made: Any, model: Any) -> None:
    """Route missing values as scikit-learn's forests do; skl2onnx (1.20) sends them to the right in all trees.

    An ONNX tree node belongs to the forest with the same thresholds.
    """
    of_model = list(forests(model, set()))
    for node in made.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if "nodes_missing_value_tracks_true" not in attributes:
            continue
        values = np.array(attributes["nodes_values"].floats)
        for trees in of_model:
            split = np.concatenate([tree.children_left for tree in trees]) >= 0
            if len(split) == len(values):
                known = np.concatenate([tree.threshold for tree in trees])[split]
                if np.allclose(values[split], known, rtol=1e-6, atol=1e-30):
                    left = np.concatenate([tree.missing_go_to_left for tree in trees])
                    attributes["nodes_missing_value_tracks_true"].ints[:] = (left * split).astype(int).tolist()
                    break


def forests(part: Any, seen: set[int]) -> Iterator[list[Any]]:
    """Yield the trees of each forest and of each single tree, at any depth of a fitted estimator."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if hasattr(part, "tree_"):
        yield [part.tree_]
        return
    fitted = list(part.estimators_) if hasattr(part, "estimators_") and not hasattr(part, "steps") else []
    if fitted and all(hasattr(tree, "tree_") for tree in fitted):
        yield [tree.tree_ for tree in fitted]
        yield from ([tree.tree_] for tree in fitted)  # the trees of a bagging model are exported one by one
        return
    if isinstance(part, dict):
        parts: Any = part.values()
    elif isinstance(part, list | tuple):
        parts = part
    else:
        parts = vars(part).values()
    for inner in parts:
        if isinstance(inner, list | tuple | dict) or hasattr(inner, "get_params") or hasattr(inner, "estimator"):
            yield from forests(inner, seen)

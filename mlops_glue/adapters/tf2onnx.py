"""Convert TensorFlow SavedModels and Keras models to ONNX, if tf2onnx and TensorFlow are installed.

glue installs neither. Tested with tensorflow-cpu 2.21, Keras 3.15 and tf2onnx 1.17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue.errors import DataError, ToolError, brief

OPSET = 18
KERAS = (".keras", ".h5")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Converted:
    """A model as ONNX; `predict` runs the original model: it takes arrays by input name and returns one array."""

    onnx: bytes
    predict: Callable[[Mapping[str, Array]], Array]


def is_model(given: Any) -> bool:
    """Check whether `given` is a Keras model, the file of one, or the folder of a SavedModel."""
    if isinstance(given, str | Path):
        return Path(given).suffix in KERAS or Path(given).is_dir()
    return any(base.__module__.startswith("keras.") for base in type(given).__mro__)


def convert(given: Any) -> Converted:
    """Convert anything that `is_model` accepts to ONNX; the inputs keep the model's names.

    Raises:
        ToolError: tf2onnx or TensorFlow is not installed, or cannot express the model.
        DataError: the file is not a model, or the model has several outputs.
    """
    try:
        import tensorflow as tf
        import tf2onnx
    except ImportError as error:
        hint = "pip install tf2onnx tensorflow; or pass an ONNX model"
        raise ToolError(f"{error.name} is not installed, and converting to ONNX needs it", hint=hint) from error
    try:
        call, specs = _function(tf, given)
    except Exception as error:
        raise DataError(f"is not a TensorFlow or Keras model: {brief(error, 120)}") from error
    signature = [tf.TensorSpec([None, *spec.shape[1:]], spec.dtype, name=spec.name) for spec in specs]
    function = tf.function(call, input_signature=signature)
    try:
        made, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    except Exception as error:
        raise ToolError(f"tf2onnx: {brief(error, 200)}") from error
    if len(made.graph.output) != 1:
        raise DataError(f"has {len(made.graph.output)} outputs", hint="pass a model with one output")

    def predict(inputs: Mapping[str, Array]) -> Array:
        given = [tf.constant(inputs[spec.name].astype(spec.dtype.as_numpy_dtype)) for spec in signature]
        return np.asarray(tf.nest.flatten(function(*given))[0])

    return Converted(made.SerializeToString(), predict)


def _function(tf: Any, given: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Return the function to call with one tensor per input, and the specifications of the inputs."""
    if isinstance(given, str | Path) and Path(given).is_dir():
        loaded = tf.saved_model.load(str(given))
        specs = list(loaded.signatures["serving_default"].structured_input_signature[1].values())

        def serve(*values: Any) -> Any:  # keeps a reference to the model: its variables are deleted with it
            return loaded.signatures["serving_default"](**{s.name: x for s, x in zip(specs, values, strict=True)})

        return serve, specs
    model = tf.keras.models.load_model(given) if isinstance(given, str | Path) else given
    specs = [tf.TensorSpec(value.shape, value.dtype, name=value.name) for value in model.inputs]
    return lambda *a: model(list(a) if len(a) > 1 else a[0], training=False), specs

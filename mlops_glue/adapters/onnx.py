"""Run ONNX models, which `adapters.skl2onnx` exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import telemetry
from mlops_glue.errors import ToolError, brief

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Inputs = dict[str, np.ndarray[Any, Any]]
Run = Callable[[Inputs], list[np.ndarray[Any, Any]]]


def session(model: bytes | Path, threads: int = 1) -> InferenceSession:
    """Open an onnxruntime session on the CPU.

    Raises:
        ToolError: onnxruntime refuses the model.
    """
    telemetry.off()
    import onnxruntime as ort

    getattr(ort, "disable_telemetry_events", lambda: None)()  # telemetry is on if onnxruntime was imported earlier
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, so they need no log
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ToolError(f"onnxruntime refuses the model: {type(error).__name__}") from error


def runner(live: InferenceSession) -> Run:
    """Return a function that runs a session and returns the outputs in the model's order.

    The function raises ToolError if onnxruntime cannot run the model on the inputs.
    """
    names, outputs = [i.name for i in live.get_inputs()], [o.name for o in live.get_outputs()]

    def run(inputs: Inputs) -> list[np.ndarray[Any, Any]]:
        try:
            return live.run(outputs, {name: inputs[name] for name in names}, None)  # type: ignore[no-any-return]
        except Exception as error:
            raise ToolError(f"onnxruntime: {brief(error, 200)}") from error

    return run

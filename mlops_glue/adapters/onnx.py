"""ONNX and skops: the two forms a model may be kept in. Pickle is neither written nor read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue.errors import DataError, ToolError, brief

# Exact names that scikit-learn's own models need beside skops' built-in list (seen on skops 0.16); the list inside
# an artifact is never consulted.
TRUSTED = [
    "collections.OrderedDict",
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
]


def save_skops(model: Any, path: Path) -> None:
    """Write an estimator in skops form.

    Raises:
        ToolError: it holds a type that is not on the trusted list, so nothing could load it safely.
    """
    import skops.io

    try:
        data = skops.io.dumps(model)
        unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
    except Exception as error:
        raise ToolError(f"the model cannot be kept in skops form: {error}") from error
    if unknown:
        raise ToolError(
            f"the model holds {unknown[0]}, which is not on the list of types that are safe to load",
            hint="build it from scikit-learn's own classes",
        )
    path.write_bytes(_canonical(data))


def _canonical(data: bytes) -> bytes:
    """The same archive for the same model: skops names members by memory address and stamps them with the time.

    Equal bytes matter: DVC compares them, and a hash of the model must mean the model.
    """
    import io
    import re
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as old:
        schema = old.read("schema.json").decode()
        numbers: dict[str, str] = {}
        # an address is a `"__id__": 140…` and the stem of a `"file": "140….npy"`
        renumbered = re.sub(
            r'("__id__": |"file": ")(\d+)',
            lambda m: m.group(1) + numbers.setdefault(m.group(2), str(len(numbers) + 1)),
            schema,
        )
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
            for name in sorted(old.namelist(), key=lambda n: int(numbers.get(n.partition(".")[0], 0))):
                stem, dot, ending = name.partition(".")
                content = renumbered.encode() if name == "schema.json" else old.read(name)
                info = zipfile.ZipInfo(numbers.get(stem, stem) + dot + ending)  # its date is 1980
                info.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(info, content)
    return out.getvalue()


def load_skops(path: Path) -> Any:
    """Load an estimator with the built-in exact list of trusted types.

    Raises:
        DataError: the file is no skops file or holds another type.
    """
    import skops.io

    try:
        return skops.io.load(path, trusted=TRUSTED)
    except Exception as error:
        raise DataError(f"{path.name}: is not a model that is safe to load: {type(error).__name__}") from error


def export(model: Any, numeric: int, text: int) -> bytes:
    """The fitted pipeline as ONNX bytes, with inputs `number` float32 (rows, numeric) and `text` string (rows, text).

    Raises:
        ToolError: skl2onnx has no converter for a part of it.
    """
    import contextlib
    import io
    import warnings

    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = []
    if numeric:
        types.append(("number", FloatTensorType([None, numeric])))
    if text:
        types.append(("text", StringTensorType([None, text])))
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            made = convert_sklearn(
                model, "glue", initial_types=types, options=options, target_opset={"": 21, "ai.onnx.ml": 3}
            )
    except Exception as error:
        raise ToolError(f"ONNX export: {brief(error, 200)}") from error
    made.opset_import.sort(key=lambda o: o.domain)  # skl2onnx leaves them in the order of a set
    return made.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def session(model: bytes | Path, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ToolError(f"onnxruntime refuses the model: {type(error).__name__}") from error


def run(live: Any, inputs: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Outputs in the model's order: label, then probabilities (rows, classes) for a classifier.

    Raises:
        ToolError: onnxruntime cannot run it on these inputs.
    """
    wanted = {i.name for i in live.get_inputs()}
    try:
        return live.run(None, {k: v for k, v in inputs.items() if k in wanted})  # type: ignore[no-any-return]
    except Exception as error:
        raise ToolError(f"onnxruntime: {brief(error, 200)}") from error

"""Store fitted estimators with skops, whose files load only the types listed here; pickle is never used."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError, ToolError, brief
from mlops_glue.modules import packages_of_modules

if TYPE_CHECKING:
    import pandas as pd

KEEPS = "let fit store only NumPy arrays, plain values and objects of named classes; a data frame cannot be stored"
SPLITS = ("KFold", "StratifiedKFold", "GroupKFold", "ShuffleSplit", "StratifiedShuffleSplit", "TimeSeriesSplit")
SCORES = ("accuracy", "balanced_accuracy", "f1", "fbeta", "precision", "recall", "jaccard", "cohen_kappa")
SELECTORS = ("f_classif", "f_regression", "chi2", "r_regression")
KERNELS = ("ConstantKernel", "DotProduct", "Matern", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel")
ARGMAX = ("CalibratedClassifierCV", "ExtraTreesClassifier", "RandomForestClassifier")
LINKS = ("link.Interval", "link.LogitLink", "link.MultinomialLogit")
LOSSES = ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity")
# The exact types that scikit-learn's own models need in addition to skops' built-in list (tested with skops 0.16). The
# list inside a file is never used.
TRUSTED = [
    "builtins.object",  # with numpy.number, what a make_column_selector selects
    "collections.OrderedDict",
    "functools.partial",  # its function and arguments must also be on the list
    "numpy.dtype",
    "numpy.number",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csr.csr_matrix",
    *(f"sklearn._loss.{name}" for name in LINKS),
    *(f"sklearn._loss.loss.{name}" for name in LOSSES),
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    *(f"sklearn.feature_selection._univariate_selection.{name}" for name in SELECTORS),
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(f"sklearn.gaussian_process.kernels.{name}" for name in KERNELS),
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    *(f"sklearn.metrics._classification.{name}_score" for name in SCORES),
    "sklearn.metrics._classification.matthews_corrcoef",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._scorer._CurveScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    *(f"sklearn.model_selection._split.{name}" for name in SPLITS),
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "sklearn.utils.validation.check_array",
    *(f"mlops_glue.pipeline.own_onnx.Onnx{name}" for name in ("Classifier", "Regressor")),  # their ONNX is checked
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
]


def save(model: Any, path: Path, trust: Sequence[str] = ()) -> None:
    """Write an estimator to a file; equal models give equal bytes.

    Raises:
        ToolError: it contains a type that is neither on the list nor trusted, so it could not be loaded safely.
    """
    data = dumped(model)
    if unknown := [name for name in foreign(data) if name not in trust]:
        raise ToolError(
            f"the model contains {unknown[0]}, which is not on the list of types that are safe to load",
            hint=f"package: {{trust: [{', '.join([*trust, *unknown])}]}} if you trust it",
        )
    path.write_bytes(canonical(data))


def dumped(model: Any) -> bytes:
    """Return an estimator in skops format.

    Raises:
        ToolError: skops cannot store it.
    """
    import skops.io

    try:
        data: bytes = skops.io.dumps(model)
    except Exception as error:
        raise ToolError(f"the model cannot be stored in skops format: {brief(error, 200)}", hint=KEEPS) from error
    return data


def foreign(data: bytes) -> list[str]:
    """Return the types in a stored estimator that are not on the list, sorted.

    Raises:
        ToolError: skops cannot read it.
    """
    import skops.io

    try:
        return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
    except Exception as error:
        raise ToolError(f"the model cannot be stored in skops format: {brief(error, 200)}") from error


def load(path: Path, trust: Sequence[str] = ()) -> Any:
    """Load an estimator if every type in it is on the list or trusted.

    Raises:
        DataError: the file is not a skops file, or contains another type.
    """
    import skops.io

    try:
        return skops.io.load(path, trusted=[*TRUSTED, *trust])
    except Exception as error:
        raise DataError(f"{path.name}: is not a model that is safe to load: {type(error).__name__}") from error


def canonical(data: bytes) -> bytes:
    """Rewrite an archive so that equal models give equal bytes: skops uses random names, memory addresses and dates.

    DVC compares the bytes, and the hash of the file must identify the model.

    Raises:
        ToolError: the archive has a part that its schema does not refer to.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        schema = json.loads(old.read("schema.json"))
        members = dict(renumber(schema, {}, {}))
        if unused := set(old.namelist()) - set(members) - {"schema.json"}:
            raise ToolError(f"the model cannot be stored in skops format: nothing refers to its part {min(unused)}")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
            parts = {"schema.json": json.dumps(schema).encode()}
            parts |= {name: old.read(former) for former, name in members.items()}
            for name, content in parts.items():
                info = zipfile.ZipInfo(name)  # dated 1980
                info.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(info, content)
    return out.getvalue()


def renumber(node: Any, ids: dict[int | str, int], members: dict[str, str]) -> dict[str, str]:
    """Replace the memory addresses and member names of a skops schema with numbers, in reading order.

    Nodes with the same address get the same number, so shared objects stay shared. Equal constants also get the same
    number: whether Python shares them depends on the process that fitted that part of the model. The order of a set
    differs between processes, so its elements are sorted by content.

    Args:
        node: a part of the schema, which is changed in place.
        ids: the numbers assigned so far, by address or constant.
        members: the new member names so far, by former name.

    Returns:
        `members`.
    """
    if isinstance(node, list):
        for part in node:
            renumber(part, ids, members)
    elif isinstance(node, dict):
        if node.get("__loader__") == "SetNode":
            node["content"].sort(key=_content)
        if isinstance(address := node.get("__id__"), int):
            is_constant = node.get("__loader__") == "JsonNode" and isinstance(node.get("content"), str)
            node["__id__"] = ids.setdefault(node["content"] if is_constant else address, len(ids) + 1)
        if isinstance(node.get("__loader__"), str) and isinstance(file := node.get("file"), str):
            node["file"] = members.setdefault(file, f"{len(members) + 1}.{file.rpartition('.')[2]}")
        for part in node.values():
            renumber(part, ids, members)
    return members


def _content(node: Any) -> str:
    """Return a node as text, without its addresses."""
    return re.sub(r'"__id__": \d+,? ?', "", json.dumps(node, sort_keys=True))


def packages(path: Path) -> dict[str, str]:
    """Return the installed packages, with versions, that define the classes and functions in a skops file."""
    with zipfile.ZipFile(path) as archive:
        schema = archive.read("schema.json").decode()
    names = re.findall(r'"__module__": ("(?:[^"\\]|\\.)*")', schema)
    return distributions({json.loads(name).partition(".")[0] for name in names})


def distributions(modules: Iterable[str]) -> dict[str, str]:
    """Return the installed packages, with versions, that contain the given top-level modules."""
    installed = packages_of_modules()
    return {name: version(name) for name in sorted({name for module in modules for name in installed.get(module, [])})}


def outputs(model: Any, frame: pd.DataFrame, *, decided: bool) -> list[Any]:
    """Return the labels or values of a loaded estimator, shape (rows,), and for a classifier its probabilities.

    With `decided`, the caller derives the labels from the probabilities, so all labels returned here are 0. The model
    runs only once if its labels follow from its probabilities.
    """
    import numpy as np

    with contextlib.redirect_stdout(sys.stderr):  # what a model's own code prints is not part of any result
        if not hasattr(model, "predict_proba"):
            return [np.asarray(model.predict(frame))]
        probability = model.predict_proba(frame)
        if decided:
            return [np.zeros(len(probability)), probability]
        if _predicts_the_most_probable(model):
            return [model.classes_[probability.argmax(axis=1)], probability]
        return [np.asarray(model.predict(frame)), probability]


def _predicts_the_most_probable(model: Any) -> bool:
    """Check whether `predict` is exactly the argmax of `predict_proba`, in scikit-learn's own code."""
    while _of_sklearn(model) == "Pipeline":
        model = model.steps[-1][1]
    return _of_sklearn(model) in ARGMAX or (_of_sklearn(model) == "VotingClassifier" and model.voting == "soft")


def _of_sklearn(model: Any) -> str | None:
    """Return the class name of a scikit-learn model; None for any other model."""
    return type(model).__name__ if type(model).__module__.startswith("sklearn.") else None

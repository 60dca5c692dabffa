"""Converters missing in skl2onnx: XGBoost and LightGBM with onnxmltools, CatBoost with its own export, and others.

Each is for one exact class. None is trusted: its result is compared with the model (`pipeline.package.compare`).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from mlops_glue.errors import MissingExtra

OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"], "raw_scores": [True, False]}
INVERSES = {"exp": "Exp", "expm1": "Exp", "square": "Mul", "identity": "Identity"}


def register(packages: set[str]) -> None:
    """Register the converters that skl2onnx lacks, and those of the boosters among a model's packages.

    Raises:
        MissingExtra: `onnxmltools` is not installed. This is an error because otherwise the model's format would depend
            on the machine.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

    _register(TransformedTargetRegressor, "GlueTransformedTargetRegressor", transformed_target)
    _register(FixedThresholdClassifier, "GlueFixedThresholdClassifier", with_threshold)
    _register(TunedThresholdClassifierCV, "GlueTunedThresholdClassifier", with_threshold)  # skl2onnx ignores it
    for kind in (CountVectorizer, TfidfVectorizer):  # skl2onnx splits words differently, with a non-ONNX operator
        _register(kind, f"Glue{kind.__name__}", presence)
    if packages & {"xgboost", "lightgbm"} and find_spec("onnxmltools") is None:
        raise MissingExtra("onnxmltools", "boosters")
    for name, boosters in (("xgboost", _xgboost), ("lightgbm", _lightgbm), ("catboost", _catboost)):
        if name in packages:
            boosters()


def _xgboost() -> None:
    import xgboost
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    for kind in ("Classifier", "RFClassifier", "Regressor", "RFRegressor"):
        _register(getattr(xgboost, f"XGB{kind}"), f"XGBoostXGB{kind}", convert_xgboost)


def _lightgbm() -> None:
    import lightgbm
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    for kind in ("Classifier", "Regressor"):
        _register(getattr(lightgbm, f"LGBM{kind}"), f"LightGbmLGBM{kind}", convert_lightgbm, {"split": None})


def _catboost() -> None:
    from catboost import CatBoostClassifier, CatBoostRegressor

    _register(CatBoostClassifier, "GlueCatBoostClassifier", catboost, parser=_parse_classifier)
    _register(CatBoostRegressor, "GlueCatBoostRegressor", catboost, parser=_parse_regressor)


def _register(kind: type, alias: str, convert: Any, options: dict[str, Any] | None = None, parser: Any = None) -> None:
    """Register the converter of one class; the alias tells whether its outputs are a classifier's or a regressor's."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator

    if alias.endswith("Vectorizer"):
        shapes, known = words_shape, {}
    elif alias.endswith("Classifier"):
        shapes, known = shape_calculator.calculate_linear_classifier_output_shapes, OPTIONS | (options or {})
    else:
        shapes, known = shape_calculator.calculate_linear_regressor_output_shapes, options or {}
    update_registered_converter(kind, alias, shapes, convert, parser=parser, options=known or None)


def _parse_classifier(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> Any:
    """Declare the outputs of a classifier: skl2onnx knows only those of scikit-learn's classes."""
    from skl2onnx import get_model_alias
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    operator = scope.declare_local_operator(get_model_alias(type(model)), model)
    operator.inputs = inputs
    label = StringTensorType() if np.asarray(model.classes_).dtype.kind in "OUS" else Int64TensorType()
    operator.outputs.append(scope.declare_local_variable("label", label))
    operator.outputs.append(scope.declare_local_variable("probabilities", FloatTensorType()))
    return operator.outputs


def _parse_regressor(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> Any:
    from skl2onnx import get_model_alias
    from skl2onnx.common.data_types import FloatTensorType

    operator = scope.declare_local_operator(get_model_alias(type(model)), model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", FloatTensorType()))
    return operator.outputs


def catboost(scope: Any, operator: Any, container: Any) -> None:
    """Insert the tree node of CatBoost's own export into the graph, with the original labels."""
    import onnx
    from catboost.utils import convert_to_onnx_object

    model = operator.raw_operator
    graph = convert_to_onnx_object(model).graph
    tree = next(node for node in graph.node if node.op_type.startswith("TreeEnsemble"))
    values = {one.name: onnx.helper.get_attribute_value(one) for one in tree.attribute}
    classes = getattr(model, "classes_", None)
    if tree.op_type == "TreeEnsembleClassifier":
        labels = np.asarray(classes)
        kind = "classlabels_strings" if labels.dtype.kind in "OUS" else "classlabels_int64s"
        values = {name: value for name, value in values.items() if not name.startswith("classlabels")}
        values[kind] = labels.tolist() if kind.endswith("strings") else [int(label) for label in labels]
    values["name"] = scope.get_unique_operator_name("CatBoost")
    outputs = [one.full_name for one in operator.outputs]
    container.add_node(tree.op_type, [operator.inputs[0].full_name], outputs, op_domain="ai.onnx.ml", **values)


def presence(scope: Any, operator: Any, container: Any) -> None:
    """Convert the presence (0 or 1) of each vocabulary word in space-separated texts, with ONNX's own operators.

    An empty text is added at the end and its row is removed, because TfIdfVectorizer does not accept zero rows.

    Raises:
        NotImplementedError: the texts are split into words in another way, or the words are weighted.
    """
    model = operator.raw_operator
    same = {"analyzer": "word", "lowercase": False, "token_pattern": "[^ ]+", "ngram_range": (1, 1), "binary": True}
    own = ("preprocessor", "tokenizer", "strip_accents", "stop_words")
    params = model.get_params()
    if type(model).__name__ != "CountVectorizer" or any(params[name] != value for name, value in same.items()):
        raise NotImplementedError("the vectorizer splits or weights words itself")
    if any(params[name] is not None for name in own):
        raise NotImplementedError("the vectorizer splits words itself")
    words = model.get_feature_names_out().tolist()

    def constant(name: str, kind: int, values: list[Any]) -> str:
        full = scope.get_unique_variable_name(name)
        container.add_initializer(full, kind, [len(values)], values)
        return str(full)

    def node(kind: str, inputs: list[str], outputs: list[str], version: int, **options: Any) -> list[str]:
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, outputs, op_version=version, name=name, **options)
        return outputs

    flat, rows, split, lengths, found = (scope.get_unique_variable_name(f"words_{name}") for name in "abcde")
    node("Reshape", [operator.inputs[0].full_name, constant("flat", 7, [-1])], [flat], 14)  # 7 is int64, 8 is text
    node("Concat", [flat, constant("none", 8, [b""])], [rows], 13, axis=0)
    node("StringSplit", [rows], [split, lengths], 20, delimiter=" ")
    node(
        "TfIdfVectorizer",
        [split],
        [found],
        9,
        **{"mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "ngram_counts": [0]},
        ngram_indexes=list(range(len(words))),
        pool_strings=words,
    )
    ends = [constant(name, 7, [value]) for name, value in (("first", 0), ("last", -1), ("axis", 0))]
    node("Slice", [found, *ends], [operator.outputs[0].full_name], 13)


def words_shape(operator: Any) -> None:
    """Set the output's shape: one row per text, one column per word."""
    from skl2onnx.common.data_types import FloatTensorType

    operator.outputs[0].type = FloatTensorType([None, len(operator.raw_operator.vocabulary_)])


def transformed_target(scope: Any, operator: Any, container: Any) -> None:
    """Convert the inner regressor, followed by the inverse of the target's transformation.

    Raises:
        NotImplementedError: the inverse is neither in `INVERSES` nor that of a `StandardScaler`.
    """
    from skl2onnx.algebra import onnx_ops
    from skl2onnx.algebra.onnx_operator import OnnxSubEstimator

    model, version = operator.raw_operator, container.target_opset
    value = OnnxSubEstimator(model.regressor_, operator.inputs[0], op_version=version)
    how = model.transformer_
    inverse = getattr(how, "inverse_func", None)
    name = "identity" if inverse is None else getattr(inverse, "__name__", "")
    given = {"op_version": version, "output_names": operator.outputs[:1]}
    if type(how).__name__ == "StandardScaler":
        scale = np.float32(1.0 if how.scale_ is None else how.scale_[0])
        mean = np.float32(0.0 if how.mean_ is None else how.mean_[0])
        scaled = onnx_ops.OnnxMul(value, np.array([scale]), op_version=version)
        out = onnx_ops.OnnxAdd(scaled, np.array([mean]), **given)
    elif type(how).__name__ != "FunctionTransformer" or inverse not in (None, getattr(np, name, None)):
        raise NotImplementedError(f"a target transformed by {type(how).__name__}")
    elif name == "expm1":
        grown = onnx_ops.OnnxExp(value, op_version=version)
        out = onnx_ops.OnnxSub(grown, np.array([1], np.float32), **given)
    elif name in INVERSES:
        inputs = [value, value] if INVERSES[name] == "Mul" else [value]
        out = getattr(onnx_ops, f"Onnx{INVERSES[name]}")(*inputs, **given)
    else:
        raise NotImplementedError(f"a target with the inverse {name}")
    out.add_to(scope, container)


def with_threshold(scope: Any, operator: Any, container: Any) -> None:
    """Convert the inner classifier's probabilities, and the label that follows from the threshold.

    Raises:
        NotImplementedError: the threshold applies to a score that is not a probability.
    """
    from skl2onnx.algebra import onnx_ops
    from skl2onnx.algebra.onnx_operator import OnnxSubEstimator

    model, version = operator.raw_operator, {"op_version": container.target_opset}
    if model.response_method == "decision_function" or not hasattr(model.estimator_, "predict_proba"):
        raise NotImplementedError("a threshold for a score that is not a probability")
    classes = np.asarray(model.classes_)
    positive = getattr(model, "pos_label", None)
    at = 1 if positive is None else classes.tolist().index(positive)
    threshold = getattr(model, "best_threshold_", getattr(model, "threshold", 0.5))
    threshold = np.array([0.5 if threshold == "auto" else threshold], np.float32)
    share = OnnxSubEstimator(model.estimator_, operator.inputs[0], options={"zipmap": False}, **version)[1]
    score = onnx_ops.OnnxArrayFeatureExtractor(share, np.array([at], np.int64), **version)
    reached = onnx_ops.OnnxGreaterOrEqual(score, threshold, **version)
    chosen = onnx_ops.OnnxReshape(onnx_ops.OnnxCast(reached, to=7, **version), np.array([-1]), **version)  # 7 is int64
    by_outcome = np.array([classes[1 - at], classes[at]])
    by_outcome = by_outcome.astype(np.int64) if by_outcome.dtype.kind in "biu" else by_outcome.astype(str)
    label = onnx_ops.OnnxArrayFeatureExtractor(by_outcome, chosen, **version)
    label = onnx_ops.OnnxReshape(label, np.array([-1]), output_names=operator.outputs[:1], **version)
    label.add_to(scope, container)
    onnx_ops.OnnxIdentity(share, output_names=operator.outputs[1:2], **version).add_to(scope, container)

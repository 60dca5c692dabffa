"""Explain in one sentence why a model has no exact ONNX form, and name an alternative.

Each rule was tested: the alternative was exported, and its predictions were compared with the model's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

Part = Any  # a part of a fitted model
NO_CONVERTER = re.compile(r"<class '([^']+)'>")


def advice(parts: Iterable[Part]) -> str | None:
    """Return the advice on the first part that is known to have no exact ONNX form; None if no rule applies."""
    for part in parts:
        rule = RULES.get(type(part).__name__)
        with suppress(Exception):  # a rule needs fitted attributes, and some parts are not fitted
            if rule is not None and (sentence := rule(part)) is not None:
                return sentence
    return None


def endless(parts: Iterable[Part]) -> str | None:
    """Return why an export would take hours: onnxmltools (1.16) copies a whole subtree for each category; else None."""
    for part in parts:
        params = part.get_params(deep=False) if hasattr(part, "get_params") else {}
        if "c" in (params.get("feature_types") or ()) or params.get("categorical_column") is not None:
            name = type(part).__name__
            return f"the ONNX form of {name}'s own categories would be too large; use train: {{categories: encoded}}"
    return None


def reason(error: Exception) -> str | None:
    """Shorten a known error of skl2onnx or CatBoost to one sentence; None for any other error."""
    text = str(error)
    if type(error).__name__ in ("MissingShapeCalculator", "MissingConverter") and (found := NO_CONVERTER.search(text)):
        return f"{found[1]} has no ONNX form; use another estimator or step"
    if type(error).__name__ == "CatBoostError" and "categorical" in text:
        return "CatBoost cannot export cat_features; leave cat_features out, and glue encodes the categories"
    if "Unable to find column name" in text:
        return "a step selects a column of another step's output by name; select it by position"
    return None


def _xgboost(model: Part) -> str | None:
    if model.booster in ("dart", "gblinear"):
        return f"XGBoost's booster {model.booster} has no ONNX form; use booster: gbtree"
    if type(model).__name__ == "XGBRFClassifier" and len(model.classes_) > 2:
        return "XGBRFClassifier has no ONNX form for more than two classes; use XGBClassifier"
    return None


def _lightgbm(model: Part) -> str | None:
    if model.boosting_type == "rf":
        return "LightGBM's boosting_type rf has no ONNX form; use gbdt or dart"
    return None


def _catboost(model: Part) -> str | None:
    policy = model.get_all_params().get("grow_policy", "SymmetricTree")
    if policy != "SymmetricTree":
        return f"CatBoost's grow_policy {policy} has no ONNX form; use SymmetricTree"
    return None


def _calibrated(model: Part) -> str | None:
    inner = model.calibrated_classifiers_[0].estimator
    if model.method == "isotonic":
        return "isotonic calibration has no exact ONNX form; use method: sigmoid"
    if model.method == "temperature":
        return "calibration by temperature has no ONNX form; use method: sigmoid"
    if type(inner).__module__.startswith("lightgbm"):
        return "a calibrated LightGBM has no ONNX form; use LightGBM alone, or a calibrated XGBoost"
    return None


def _target(model: Part) -> str | None:
    if type(model.transformer_).__name__ not in ("FunctionTransformer", "StandardScaler"):
        kind = type(model.transformer_).__name__
        return f"a target transformed by {kind} has no ONNX form; use inverse_func: numpy.exp, expm1 or square"
    return None


def _neighbours(_: Part) -> str:
    return "nearest neighbours differ in ONNX if rows are far away or distances are equal"


def _discretiser(model: Part) -> str | None:
    if model.encode == "onehot":
        return "KBinsDiscretizer has no ONNX form for encode: onehot; use onehot-dense"
    return None


def _vectorizer(model: Part) -> str | None:
    if getattr(model, "token_pattern", None) == "[^ ]+" and type(model).__name__ == "CountVectorizer":
        return None
    kind = type(model).__name__
    return f"{kind} has no exact ONNX form; use features: {{text: [COLUMN]}} instead"


def _dispatch(rules: dict[str, Callable[[Part], str | None]]) -> dict[str, Callable[[Part], str | None]]:
    return {name: rule for names, rule in rules.items() for name in names.split()}


RULES = _dispatch(
    {
        "XGBClassifier XGBRegressor XGBRFClassifier XGBRFRegressor": _xgboost,
        "LGBMClassifier LGBMRegressor": _lightgbm,
        "CatBoostClassifier CatBoostRegressor": _catboost,
        "CalibratedClassifierCV": _calibrated,
        "TransformedTargetRegressor": _target,
        "KNeighborsClassifier KNeighborsRegressor": _neighbours,
        "CountVectorizer TfidfVectorizer HashingVectorizer": _vectorizer,
        "KBinsDiscretizer": _discretiser,
    }
)

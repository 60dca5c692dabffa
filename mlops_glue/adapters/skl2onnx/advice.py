"""Why a model has no ONNX form, and what would have one: one plain sentence, by the part of the model that is known.

Each rule was tried: what it says has a faithful form did export, and was compared with the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

Part = Any  # of a fitted model
NO_CONVERTER = re.compile(r"<class '([^']+)'>")


def advice(parts: Iterable[Part]) -> str | None:
    """What is known of the first part that has no faithful form; None: nothing is known."""
    for part in parts:
        rule = RULES.get(type(part).__name__)
        with suppress(Exception):  # what was not fitted, beside what was, has nothing to look at
            if rule is not None and (said := rule(part)) is not None:
                return said
    return None


def endless(parts: Iterable[Part]) -> str | None:
    """Why an export would take hours: onnxmltools (1.16) makes a node, and a copy of what is below, for each value."""
    for part in parts:
        params = part.get_params(deep=False) if hasattr(part, "get_params") else {}
        if "c" in (params.get("feature_types") or ()) or params.get("categorical_column") is not None:
            name = type(part).__name__
            return f"{name}'s own categories have no ONNX form of bearable size: train: {{categories: encoded}} has one"
    return None


def reason(error: Exception) -> str | None:
    """What skl2onnx or CatBoost says at length, in few words; None for anything else."""
    text = str(error)
    if type(error).__name__ in ("MissingShapeCalculator", "MissingConverter") and (found := NO_CONVERTER.search(text)):
        return f"ONNX has no form of {found[1]}: with another estimator or step it would"
    if type(error).__name__ == "CatBoostError" and "categorical" in text:
        return "CatBoost exports no cat_features: let glue encode the categories, without cat_features"
    if "Unable to find column name" in text:
        return "a step takes a column by name of what another made: by position it has a form"
    return None


def _xgboost(model: Part) -> str | None:
    if model.booster in ("dart", "gblinear"):
        return f"XGBoost's booster {model.booster} has no ONNX form: booster: gbtree has one"
    if type(model).__name__ == "XGBRFClassifier" and len(model.classes_) > 2:
        return "XGBRFClassifier has no ONNX form for more than two classes: XGBClassifier has one"
    return None


def _lightgbm(model: Part) -> str | None:
    if model.boosting_type == "rf":
        return "LightGBM's boosting_type rf has no ONNX form: gbdt and dart have one"
    return None


def _catboost(model: Part) -> str | None:
    policy = model.get_all_params().get("grow_policy", "SymmetricTree")
    if policy != "SymmetricTree":
        return f"CatBoost's grow_policy {policy} has no ONNX form: SymmetricTree has one"
    return None


def _calibrated(model: Part) -> str | None:
    inner = model.calibrated_classifiers_[0].estimator
    if model.method == "isotonic":
        return "isotonic calibration has no exact ONNX form: method: sigmoid has one"
    if type(inner).__module__.startswith("lightgbm"):
        return "a calibrated LightGBM has no ONNX form: LightGBM alone, or a calibrated XGBoost, has one"
    return None


def _target(model: Part) -> str | None:
    if type(model.transformer_).__name__ not in ("FunctionTransformer", "StandardScaler"):
        kind = type(model.transformer_).__name__
        return f"a target transformed by {kind} has no ONNX form: inverse_func: numpy.exp, expm1 or square has one"
    return None


def _neighbours(_: Part) -> str:
    return "nearest neighbours differ in ONNX where rows are far away or distances are equal"


def _discretiser(model: Part) -> str | None:
    if model.encode == "onehot":
        return "KBinsDiscretizer has no ONNX form for encode: onehot: onehot-dense has one"
    return None


def _vectorizer(model: Part) -> str | None:
    if getattr(model, "token_pattern", None) == "[^ ]+" and type(model).__name__ == "CountVectorizer":
        return None
    kind = type(model).__name__
    return f"the words of {kind} have no exact ONNX form: features: {{text: [COLUMN]}}, without it, has one"


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

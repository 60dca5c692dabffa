"""What skl2onnx cannot express, or expresses wrongly, replaced by what predicts the same and that it can.

A twin is made of copies: the model itself is not changed. Whether it is one is for the parity check to say, which
compares the exported twin with the model. What is replaced is found by its exact class, so that nothing is imported.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Part = Any  # of a fitted model: an estimator, or what holds some
LOG_LINKS = ("poisson", "gamma")


def twin(part: Part, made: dict[int, Part] | None = None) -> Part:
    """A copy of a fitted model with each part replaced by its twin, at any depth; arrays are shared with the model.

    `made` has the twins so far by the identity of their models: what occurs twice is one thing in the twin too. The
    copy that a twin was made of is there as well: the twin may hold it, and then its converter is needed.
    """
    made = {} if made is None else made
    if id(part) in made:
        return made[id(part)]
    if isinstance(part, list | tuple):
        new: Part = [twin(inner, made) for inner in part]
        new = tuple(new) if type(part) is tuple else new
    elif isinstance(part, dict):
        new = copy.copy(part)
        made[id(part)] = new
        new.update({key: twin(value, made) for key, value in part.items()})
    elif hasattr(part, "get_params") and not isinstance(part, type):
        new = copy.copy(part)
        made[id(part)] = new
        new.__dict__.update({name: twin(value, made) for name, value in vars(part).items()})
        classes = new.__dict__.get("classes_")
        if isinstance(classes, np.ndarray) and classes.dtype.kind == "b":
            new.classes_ = classes.astype(np.int64)  # ONNX has no boolean label; `scoring` gives it back
        twin_of = TWINS.get(f"{type(part).__module__}.{type(part).__name__}")
        if twin_of is not None and _is_fitted(part):
            made[id(new)] = new
            new = twin_of(new)
    else:
        return part
    made[id(part)] = new
    return new


def _is_fitted(part: Part) -> bool:
    """A model holds the estimators that it was made of too, which know nothing."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(part)
    except NotFittedError:
        return False
    return True


def by_position(columns: Part) -> Part:
    """skl2onnx is given matrices, which have no column names."""
    names = list(getattr(columns, "feature_names_in_", []))
    place = {name: at for at, name in enumerate(names)}

    def placed(chosen: Any) -> Any:
        if isinstance(chosen, str):
            return chosen  # one column as a series, which a matrix cannot give
        if isinstance(chosen, slice):
            stop = place[chosen.stop] + 1 if chosen.stop in place else chosen.stop  # by name it has its last column
            return slice(place.get(chosen.start, chosen.start), stop, chosen.step)
        listed = np.asarray(chosen).tolist()
        return [place.get(name, name) for name in listed] if isinstance(listed, list) else chosen

    columns.transformers_ = [(name, how, placed(which)) for name, how, which in columns.transformers_]
    return columns


def flat(vote: Part) -> Part:
    """The shape of `transform`, which a prediction does not call."""
    vote.flatten_transform = False
    return vote


def within(model: Part) -> Part:
    """A transformed target around a pipeline, put around its last step: a converter has one input, which a step has."""
    if not hasattr(model.regressor_, "steps"):
        return model
    pipeline, new = copy.copy(model.regressor_), copy.copy(model)
    new.regressor_ = pipeline.steps[-1][1]
    pipeline.steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], new)]
    return pipeline


def linear(model: Part) -> Part:
    """A discriminant of two classes has its probability by a sigmoid of the score, as a logistic regression does.

    With more classes both take a softmax (scikit-learn's LinearDiscriminantAnalysis.predict_proba).
    """
    from sklearn.linear_model import LogisticRegression

    new = LogisticRegression()
    new.coef_, new.intercept_, new.classes_ = model.coef_, model.intercept_, model.classes_
    new.n_features_in_ = model.coef_.shape[1]
    return new


def by_score(model: Part) -> Part:
    """The label by the sign of the score, or the greatest: skl2onnx cannot have this one at the end of a pipeline."""
    from sklearn.linear_model import SGDClassifier

    new = SGDClassifier()
    new.coef_, new.intercept_, new.classes_ = model.coef_, np.ravel(model.intercept_), model.classes_
    new.n_features_in_ = model.coef_.shape[1]
    return new


def nameless(model: Part) -> Part:
    """The converter takes trees whose features are called f0, f1 and so on."""
    booster = copy.deepcopy(model.get_booster())
    booster.feature_names = None
    new = copy.copy(model)
    new.__dict__.update({name: booster for name, value in vars(model).items() if type(value) is type(booster)})
    return new


def with_link(model: Part) -> Part:
    """skl2onnx leaves the link of a loss out: it gives the logarithm of what is predicted."""
    return _exponential(model) if getattr(model, "loss", None) in LOG_LINKS else model


def catboost_with_link(model: Part) -> Part:
    """CatBoost leaves it out too."""
    loss = str(model.get_all_params().get("loss_function", ""))
    return _exponential(model) if loss.startswith(("Poisson", "Tweedie")) else model


def with_integers(model: Part) -> Part:
    """CatBoost exports no model of boolean labels."""
    if np.asarray(model.classes_).dtype != bool:
        return model
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        described = json.loads(file.read_text(encoding="utf-8"))
        described["model_info"]["class_params"] |= {"class_label_type": "Integer", "class_names": [0, 1]}
        file.write_text(json.dumps(described), encoding="utf-8")
        return type(model)().load_model(str(file), format="json")


def _exponential(model: Part) -> Part:
    """A target that was learned as its logarithm."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import FunctionTransformer

    new = TransformedTargetRegressor()
    new.regressor_, new.transformer_ = model, FunctionTransformer(np.log, np.exp)
    return new


TWINS: dict[str, Callable[[Part], Part]] = {
    "sklearn.compose._column_transformer.ColumnTransformer": by_position,
    "sklearn.compose._target.TransformedTargetRegressor": within,
    "sklearn.ensemble._voting.VotingClassifier": flat,
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": linear,
    "sklearn.svm._classes.LinearSVC": by_score,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor": with_link,
    "catboost.core.CatBoostClassifier": with_integers,
    "catboost.core.CatBoostRegressor": catboost_with_link,
    **{f"xgboost.sklearn.XGB{kind}": nameless for kind in ("Classifier", "Regressor", "RFClassifier", "RFRegressor")},
}

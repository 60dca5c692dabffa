"""Replace the parts of a model that skl2onnx cannot convert, or converts wrongly, with equivalents that it can convert.

A twin consists of copies, so the model itself does not change. The parity check compares the exported twin with the
model. The parts to replace are recognised by their exact class name, so nothing is imported.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Part = Any  # a part of a fitted model: an estimator, or a container of estimators
LOG_LINKS = ("poisson", "gamma")


def twin(part: Part, made: dict[int, Part] | None = None) -> Part:
    """Copy a fitted model with each part replaced by its twin, at any depth; arrays are shared with the model.

    Args:
        part: the model, or a part of it.
        made: the twins so far, by the identity of their originals, so that a shared part stays shared. It also contains
            the copy that a twin was built from: the twin may contain that copy, whose converter is then needed.
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
            new.classes_ = classes.astype(np.int64)  # ONNX has no boolean labels; `scoring` restores them
        twin_of = TWINS.get(f"{type(part).__module__}.{type(part).__name__}")
        if twin_of is not None and _is_fitted(part):
            made[id(new)] = new
            new = twin_of(new)
    else:
        return part
    made[id(part)] = new
    return new


def _is_fitted(part: Part) -> bool:
    """Check whether an estimator is fitted: a model also contains the unfitted estimators that it was built from."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(part)
    except NotFittedError:
        return False
    return True


def by_position(columns: Part) -> Part:
    """Select columns by position, because skl2onnx receives matrices without column names."""
    names = list(getattr(columns, "feature_names_in_", []))
    place = {name: at for at, name in enumerate(names)}

    def placed(chosen: Any) -> Any:
        if isinstance(chosen, str):
            return chosen  # one column as a series, which a matrix cannot provide
        if isinstance(chosen, slice):
            stop = place[chosen.stop] + 1 if chosen.stop in place else chosen.stop  # a slice by name includes its end
            return slice(place.get(chosen.start, chosen.start), stop, chosen.step)
        listed = np.asarray(chosen).tolist()
        return [place.get(name, name) for name in listed] if isinstance(listed, list) else chosen

    columns.transformers_ = [_in_order(name, how, placed(which)) for name, how, which in columns.transformers_]
    return columns


def _in_order(name: str, how: Part, which: Any) -> tuple[str, Part, Any]:
    """Reorder a whole input's columns in a step: skl2onnx (1.20) takes as many columns as an input has as they are."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if not isinstance(which, list) or how == "drop" or not all(type(at) is int and at >= 0 for at in which):
        return name, how, which
    ordered = list(range(min(which, default=0), min(which, default=0) + len(which)))
    if which == ordered or sorted(which) != ordered:
        return name, how, which
    places = [at - ordered[0] for at in which]
    order = ColumnTransformer([])
    order.transformers_ = [("first", "passthrough", places[:1]), ("others", "passthrough", places[1:])]
    return name, order if how == "passthrough" else Pipeline([("order", order), ("then", how)]), ordered


def flat(vote: Part) -> Part:
    """Switch off `flatten_transform`, which changes no prediction; weights become an array without dropped parts."""
    vote.flatten_transform = False
    return weighted(vote)


def weighted(vote: Part) -> Part:
    """Give a vote its weights in the form that skl2onnx sums: an array, without those of dropped parts."""
    if vote.weights is not None:
        pairs = zip(vote.estimators, vote.weights, strict=True)
        vote.weights = np.array([weight for (_, part), weight in pairs if part != "drop"], np.float64)
    return vote


def within(model: Part) -> Part:
    """Move a transformed target from a pipeline to its last step: a converter has one input, like a step."""
    if not hasattr(model.regressor_, "steps"):
        return model
    pipeline, new = copy.copy(model.regressor_), copy.copy(model)
    new.regressor_ = pipeline.steps[-1][1]
    pipeline.steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], new)]
    return pipeline


def linear(model: Part) -> Part:
    """Replace a linear discriminant analysis with a logistic regression, which computes the same probabilities.

    With two classes both use the sigmoid of the score, with more classes the softmax (see scikit-learn's
    LinearDiscriminantAnalysis.predict_proba).
    """
    from sklearn.linear_model import LogisticRegression

    new = LogisticRegression()
    new.coef_, new.intercept_, new.classes_ = model.coef_, model.intercept_, model.classes_
    new.n_features_in_ = model.coef_.shape[1]
    return new


def by_score(model: Part) -> Part:
    """Replace a LinearSVC with an SGDClassifier, which has the same labels and converts at the end of a pipeline."""
    from sklearn.linear_model import SGDClassifier

    new = SGDClassifier()
    new.coef_, new.intercept_, new.classes_ = model.coef_, np.ravel(model.intercept_), model.classes_
    new.n_features_in_ = model.coef_.shape[1]
    return new


def nameless(model: Part) -> Part:
    """Remove the feature names: the converter accepts only f0, f1 and so on."""
    booster = copy.deepcopy(model.get_booster())
    booster.feature_names = None
    new = copy.copy(model)
    new.__dict__.update({name: booster for name, value in vars(model).items() if type(value) is type(booster)})
    return new


def with_link(model: Part) -> Part:
    """Add the inverse link of a loss, which skl2onnx leaves out: it would return the logarithm of the prediction."""
    return _exponential(model) if getattr(model, "loss", None) in LOG_LINKS else model


def catboost_with_link(model: Part) -> Part:
    """Add the inverse link of a loss, which CatBoost's export leaves out too."""
    loss = str(model.get_all_params().get("loss_function", ""))
    return _exponential(model) if loss.startswith(("Poisson", "Tweedie")) else model


def with_integers(model: Part) -> Part:
    """Replace boolean labels with integers, because CatBoost cannot export boolean labels."""
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
    """Wrap a model that predicts the logarithm of the target."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import FunctionTransformer

    new = TransformedTargetRegressor()
    new.regressor_, new.transformer_ = model, FunctionTransformer(np.log, np.exp)
    return new


TWINS: dict[str, Callable[[Part], Part]] = {
    "sklearn.compose._column_transformer.ColumnTransformer": by_position,
    "sklearn.compose._target.TransformedTargetRegressor": within,
    "sklearn.ensemble._voting.VotingClassifier": flat,
    "sklearn.ensemble._voting.VotingRegressor": weighted,
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": linear,
    "sklearn.svm._classes.LinearSVC": by_score,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor": with_link,
    "catboost.core.CatBoostClassifier": with_integers,
    "catboost.core.CatBoostRegressor": catboost_with_link,
    **{f"xgboost.sklearn.XGB{kind}": nameless for kind in ("Classifier", "Regressor", "RFClassifier", "RFRegressor")},
}

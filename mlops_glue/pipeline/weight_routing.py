"""Pass row weights to pipelines inside a stack, a vote or a search, by scikit-learn's metadata routing.

Stacks, votes and searches pass `sample_weight` to their parts under this name, which a pipeline does not take. Routing
passes it to the steps that request it. The requests are removed after the fit, as skops cannot save them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

Estimator = Any  # of scikit-learn, which has no types
WEIGHT = "sample_weight"
REQUEST = "_metadata_request"  # the attribute in which scikit-learn stores an estimator's requests


def can_reach(model: Estimator) -> bool:
    """Return whether routing reaches all predictors in an unfitted model that take weights."""
    from sklearn import config_context
    from sklearn.model_selection import GridSearchCV

    try:
        with config_context(enable_metadata_routing=True):
            for part in _parts(model):
                part.get_metadata_routing()
                if _takes_weights(part) and not hasattr(part, "set_fit_request"):
                    return False
                if _judges(part) and not isinstance(part, GridSearchCV.__base__):
                    return False  # such as LogisticRegressionCV, whose default score requests the weights
    except (AttributeError, NotImplementedError):  # not from scikit-learn, or without routing
        return False
    return True


@contextmanager
def routed(model: Estimator) -> Iterator[None]:
    """Let a model's predictors request `sample_weight` during a fit; transformers and scores do not."""
    from sklearn import config_context

    parts = [*_parts(model)]
    scorings = [(part, part.scoring) for part in parts if _judges(part)]
    with config_context(enable_metadata_routing=True):
        try:
            for part in parts:
                if _takes_weights(part):
                    part.set_fit_request(sample_weight=hasattr(part, "predict"))
                if hasattr(part, "set_score_request"):
                    with suppress(TypeError):  # its score takes no weights, or passes them to a scorer
                        part.set_score_request(sample_weight=False)
            for part, scoring in scorings:
                part.scoring = _unweighted(scoring)
            yield
        finally:
            for part, scoring in scorings:
                part.scoring = scoring
            _forget(model, set())


def candidates(search: Estimator) -> list[Estimator]:
    """Return the estimators that a search chooses from; transformers do not count."""
    grid = getattr(search, "param_grid", None) or getattr(search, "param_distributions", None) or {}
    values = [each for one in (grid if isinstance(grid, list) else [grid]) for each in one.values()]
    listed = [value for each in values if isinstance(each, list | tuple) for value in each]
    return [value for value in listed if hasattr(value, "fit") and hasattr(value, "predict")]


def _parts(model: Estimator) -> Iterator[Estimator]:
    """Yield a model and each estimator in it, including those that a search chooses from."""
    for part in (model, *model.get_params(deep=True).values()):
        if hasattr(part, "fit") and not isinstance(part, type):
            yield part
            for candidate in candidates(part):
                yield from _parts(candidate)


def _judges(part: Estimator) -> bool:
    """Return whether an estimator compares its fits by a named score."""
    from sklearn.linear_model import LogisticRegressionCV

    named = hasattr(part, "cv") and getattr(part, "scoring", None) is not None
    return named or isinstance(part, LogisticRegressionCV)


def _takes_weights(part: Estimator) -> bool:
    from sklearn.utils.validation import has_fit_parameter

    return bool(has_fit_parameter(part, WEIGHT))


def _unweighted(scoring: Any) -> Any:
    from sklearn.metrics import get_scorer

    if isinstance(scoring, str):
        return get_scorer(scoring).set_score_request(sample_weight=False)
    if isinstance(scoring, dict):
        return {name: _unweighted(one) for name, one in scoring.items()}
    if isinstance(scoring, Iterable):
        return {name: _unweighted(name) for name in scoring}
    if hasattr(scoring, "set_score_request"):
        return deepcopy(scoring).set_score_request(sample_weight=False)
    return scoring


def _forget(value: Any, seen: set[int]) -> None:
    """Remove the requests from all parts of a fitted model."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list | tuple):
        for one in value:
            _forget(one, seen)
    elif isinstance(value, dict):
        for one in value.values():
            _forget(one, seen)
    elif hasattr(value, "get_params") or type(value).__module__.startswith("sklearn."):
        attributes = getattr(value, "__dict__", {})
        attributes.pop(REQUEST, None)
        _forget(attributes, seen)

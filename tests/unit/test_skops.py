"""Which types a kept model may hold without being trusted by name, and how often it predicts."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import check_array

from mlops_glue.adapters import skops


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (partial(check_array, dtype="float64"), []),  # boosting with categories of its own holds one
        (partial(os.system, "true"), ["posix.system"]),
        (partial(partial(eval), "1"), ["builtins.eval"]),
        (partial(check_array, os.system), ["posix.system"]),
    ],
)
def test_what_a_partial_calls_is_looked_for_too(function: Any, found: list[str]) -> None:
    assert skops.foreign(skops.dumped(FunctionTransformer(function))) == found


@pytest.mark.parametrize(
    ("model", "once"),
    [
        (make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)), True),
        (ExtraTreesClassifier(4, random_state=0), True),
        (CalibratedClassifierCV(GaussianNB(), cv=2), True),
        (VotingClassifier([("one", HistGradientBoostingClassifier(max_iter=2))], voting="soft"), True),
        (
            HistGradientBoostingClassifier(max_iter=2),
            False,
        ),  # labels by what is not rounded yet
    ],
)
def test_rows_are_predicted_once_where_the_label_is_the_most_probable(model: Any, once: bool) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 3, (200, 2)), columns=["a", "b"])  # few values, so that classes tie
    model = clone(model).fit(frame, rng.choice(["no", "so", "yes"], 200))
    label, probability = skops.outputs(model, frame, decided=False)
    assert label.dtype == model.classes_.dtype and (label == model.predict(frame)).all()
    assert (probability == model.predict_proba(frame)).all()
    model.predict = None
    assert (skops.outputs(model, frame, decided=True)[1] == probability).all()
    with nullcontext() if once else pytest.raises(TypeError):
        assert (skops.outputs(model, frame, decided=False)[0] == label).all()

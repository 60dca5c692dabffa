"""Whether an estimator is deterministic: who is asked, and what is seen."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlops_glue import files, layout, tables
from mlops_glue.config import Config
from mlops_glue.pipeline import refit, train
from mlops_glue.schema import Column, Schema
from mlops_glue.trusted import NOTHING


class Own(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Of the user's: says a share that is drawn; `draws` is how."""

    def __init__(self, draws: str = "none", seconds: float = 0.0) -> None:
        self.draws, self.seconds = draws, seconds

    def fit(self, X: Any, y: Any) -> Own:
        time.sleep(self.seconds)
        self.classes_ = np.unique(y)
        unseeded, seeded = np.random.default_rng(), np.random
        self.share_ = {
            "none": 0.5,
            "fresh": float(unseeded.random()),
            "global": float(seeded.random()),
            "threads": 0.5 + 1e-12 * unseeded.random(),
        }[self.draws]
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.tile([1 - self.share_, self.share_], (len(X), 1))

    def predict(self, X: Any) -> Any:
        return self.classes_[np.full(len(X), int(self.share_ > 0.5))]


def double(values: Any) -> Any:
    return 2 * values


@pytest.mark.parametrize(
    ("model", "doubt"),
    [
        (LogisticRegression(), False),
        (RandomForestClassifier(), False),  # it draws from NumPy's seed, which the stage sets
        (StackingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(random_state=0))]), False),
        (GridSearchCV(RandomForestClassifier(), {"max_depth": [1]}, n_jobs=2), True),  # other processes have no seed
        (GridSearchCV(RandomForestClassifier(random_state=0), {"max_depth": [1]}, n_jobs=2), False),
        (make_pipeline(StandardScaler(), Own()), True),
        (make_pipeline(FunctionTransformer(double), LogisticRegression()), False),
        (object(), True),
    ],
)
def test_who_is_asked(model: Any, doubt: bool) -> None:
    assert refit.is_in_doubt(model) is doubt


FEATURES = pd.DataFrame({"x": np.arange(50.0)})
TARGET = np.arange(50) % 2


def seen(draws: str, fit_s: float = 0.1, seconds: float = 0.0) -> tuple[float | None, int]:
    fits = []

    def fit(features: Any, target: Any) -> Any:
        fits.append(len(target))
        return Own(draws, seconds).fit(features, target)

    return refit.difference(fit, FEATURES, TARGET, 0, fit_s), len(fits)


def test_what_is_seen() -> None:
    assert seen("none") == (None, 2)
    assert seen("global") == (None, 2)  # as in a run, the seeds are set before
    found, _ = seen("fresh")
    assert found is not None and found > 1e-6
    found, _ = seen("threads")
    assert found is not None and 0 < found <= 1e-12
    assert "can reach is metrics" in refit.described(0.1)
    assert "can reach is predictions" in refit.described(found)


def test_a_slow_one_is_not_fitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen("fresh", fit_s=61) == (None, 0)
    assert seen("fresh", fit_s=3) == (None, 0)  # twice, of all rows
    monkeypatch.setattr(refit, "LONGEST_S", 0.3)
    assert seen("fresh", fit_s=0.1, seconds=0.35) == (None, 1)  # it takes its time whatever the rows


def test_what_fails_on_a_sample_is_no_failure() -> None:
    def fit(features: Any, target: Any) -> Any:
        raise ValueError("too few rows")

    assert refit.difference(fit, FEATURES, TARGET, 0, 0.1) is None


def seeded_anew(draws: str) -> Any:
    """scikit-learn's own, with a seed that is another one each time."""
    return RandomForestClassifier(3, random_state=int(np.random.default_rng().integers(1 << 30)))


@pytest.mark.parametrize(("make", "draws", "told"), [(Own, "fresh", 1), (Own, "none", 0), (seeded_anew, "", 1)])
def test_the_stage_says_so_and_writes_it(
    make: Any, draws: str, told: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is seen, the file is the same to the byte however long it took."""
    schema = Schema("binary", "y", [Column("x", "number")], ["no", "yes"])
    files.write_json(tmp_path / layout.COLUMNS, {"schema": schema.to_dict()})
    y = np.where(TARGET == 1, "yes", "no").astype(object)
    tables.write_parquet(
        tmp_path / layout.TRAIN, pa.table({"x": np.random.default_rng(0).normal(size=50), "target:y": y})
    )
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "train": {"estimator": f"{__name__}:Own", "params": {"draws": draws}},
        }
    )
    monkeypatch.setattr(train, "import_callable", lambda *_: make)
    monkeypatch.setattr(train.skops, "save", lambda *_: None)
    monkeypatch.setattr(train.trusting, "checked", lambda *_: NOTHING)  # a class of the tests' own
    with caplog.at_level(logging.WARNING):
        train.train(config, tmp_path)
    found = files.read_json(tmp_path / layout.REFIT)["difference"]
    assert (found is not None) == bool(told)
    assert sum(": the estimator is not deterministic" in line.getMessage() for line in caplog.records) == told

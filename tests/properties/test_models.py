"""Whatever the estimator and the target: what is kept says what the estimator says, in the user's own labels."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, StackingClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from mlops_glue import files
from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.delivery import publish
from mlops_glue.pipeline.train import chosen, fitted, kind_of
from mlops_glue.scaffold.package import pinned, requirement_names
from mlops_glue.scoring import Bundle
from tests.support.models import made, through


def xgb(**how: Any) -> Any:
    return xgboost.XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1, random_state=0, **how)


def lgbm() -> Any:
    return lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1, random_state=0)


def tree() -> Any:
    return DecisionTreeClassifier(max_depth=3, random_state=0)


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "xgboost": xgb,
    "xgboost in a pipeline": lambda: make_pipeline(xgb()),
    "xgboost of random forests": lambda: xgboost.XGBRFClassifier(n_estimators=4, n_jobs=1, random_state=0),
    "a search of xgboost": lambda: GridSearchCV(xgb(), {"max_depth": [1, 2]}, cv=2),
    "a search of xgboost or a tree": lambda: GridSearchCV(
        make_pipeline(xgb()), {"xgbclassifier": [tree(), xgb()]}, cv=2
    ),
    "stacked xgboost": lambda: StackingClassifier([("x", xgb()), ("t", tree())], cv=2),
    "calibrated xgboost": lambda: CalibratedClassifierCV(xgb(), cv=2),
    "lightgbm": lgbm,
    "stacked lightgbm": lambda: StackingClassifier([("l", lgbm()), ("t", tree())], cv=2),
    "forest": lambda: RandomForestClassifier(4, max_depth=3, random_state=0),
    "logistic regression": LogisticRegression,
    "hinge": lambda: SGDClassifier(random_state=0),
    "log loss": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "ridge": RidgeClassifier,
    "perceptron": lambda: Perceptron(random_state=0),
    "linear SVC": lambda: LinearSVC(random_state=0),
    "SVC": lambda: SVC(random_state=0),
    "nu SVC": lambda: NuSVC(nu=0.1),
    "one against all": lambda: OneVsRestClassifier(LinearSVC(random_state=0)),
    "votes": lambda: VotingClassifier([("x", xgb()), ("r", RidgeClassifier())]),
}
REGRESSORS: dict[str, Callable[[], Any]] = {
    "xgboost": lambda: xgboost.XGBRegressor(n_estimators=4, n_jobs=1, random_state=0),
    "xgboost of quantiles": lambda: xgboost.XGBRegressor(
        n_estimators=4, n_jobs=1, objective="reg:quantileerror", quantile_alpha=0.9
    ),
    "lightgbm": lambda: lightgbm.LGBMRegressor(n_estimators=4, n_jobs=1, verbose=-1),
    "forest": lambda: RandomForestRegressor(4, max_depth=3, random_state=0),
    "linear": LinearRegression,
}
TARGETS: dict[str, list[Any]] = {  # labels, in order
    "words": ["no", "yes"],
    "0 and 1": [0, 1],
    "booleans": [False, True],
    "-1 and 1": [-1, 1],
    "three words": ["b c", "Ä", "🙂"],
    "0, 1, 2": [0, 1, 2],
    "with gaps": [3, 4, 9],
    "digits as text": ["0", "1", "10"],
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_kept_as_it_is(name: str, target: str, tmp_path: Path) -> None:
    labels = TARGETS[target]
    frame, truth, schema = made(labels, seed=len(name) + 31 * len(target))
    model, bundle = through(tmp_path, CLASSIFIERS[name](), frame, truth, schema)
    said, shares = bundle.predict(pa.Table.from_pandas(frame, preserve_index=False))
    wanted = model.predict(frame).tolist()
    assert said.tolist() == wanted and {type(one) for one in said.tolist()} == {type(labels[0])}
    assert set(wanted) <= set(labels) and np.mean(np.array(wanted) == truth) > 0.6
    if not hasattr(model, "predict_proba"):
        assert shares is None
        return
    assert shares.shape == (len(frame), len(labels))
    np.testing.assert_allclose(shares, model.predict_proba(frame), atol=1e-4)
    assert (np.array(labels)[shares.argmax(axis=1)] == np.array(wanted)).mean() > 0.98  # none is in another's column


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("seed", range(3))
def test_a_regressor_is_kept_as_it_is(name: str, seed: int, tmp_path: Path) -> None:
    frame, truth, schema = made(None, seed)
    model, bundle = through(tmp_path, REGRESSORS[name](), frame, truth, schema)
    said, shares = bundle.predict(pa.Table.from_pandas(frame, preserve_index=False))
    assert shares is None
    np.testing.assert_allclose(said, model.predict(frame), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in CLASSIFIERS if "xgboost" in n])
def test_a_class_that_no_training_row_has(name: str, tmp_path: Path) -> None:
    """The middle one of three: what is learnt has other indices than the labels."""
    frame, truth, schema = made(["p", "q", "r"], 5)
    there = truth != "q"
    model, _ = through(tmp_path, CLASSIFIERS[name](), frame[there].reset_index(drop=True), truth[there], schema)
    files.write_json(
        tmp_path / "bundle" / "schema.json", schema.to_dict() | {"trained": np.asarray(model.classes_).tolist()}
    )
    said, shares = Bundle(tmp_path / "bundle").predict(pa.Table.from_pandas(frame, preserve_index=False))
    assert set(said.tolist()) == {"p", "r"} and not shares[:, 1].any()
    assert (np.array(["p", "q", "r"])[shares.argmax(axis=1)] == said).all()


def test_the_kind_is_told_of_what_is_inside() -> None:
    frame, truth, _ = made(["no", "yes"], 0)
    model, _ = fitted(make_pipeline(xgb()), frame, truth, classes=True)
    assert kind_of(model) == "XGBClassifier"
    search, _ = fitted(CLASSIFIERS["a search of xgboost"](), frame, truth, classes=True)
    assert kind_of(chosen(search)) == "XGBClassifier" and not hasattr(chosen(search).estimators_[0], "best_estimator_")


def test_all_candidates_of_a_search_take_part() -> None:
    """Of a search, candidates that refuse the labels would be left out with a warning."""
    frame, truth, _ = made(["no", "yes"], 0)
    model, caught = fitted(CLASSIFIERS["a search of xgboost or a tree"](), frame, truth, classes=True)
    search = model.estimators_[0]
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert not [one for one in caught if one.category.__name__ == "FitFailedWarning"]


@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1]])
def test_what_is_wrong_with_a_fit_is_told_and_not_hidden_by_a_second(labels: list[Any]) -> None:
    frame, truth, _ = made(labels, 0)
    with pytest.raises(ValueError, match="nu"):
        fitted(NuSVC(nu=0.999), frame, truth, classes=True)


def digests(folder: Path) -> dict[str, str]:
    """Of estimators that are fitted from the same rows: in each process they are the same models."""
    out = {}
    frame, truth, _ = made(TARGETS["three words"], 1)
    for name, build in CLASSIFIERS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = chosen(fitted(build(), frame, truth, classes=True)[0])
        model.of_words = {f"word {at}" for at in range(20)}  # a set has an order of its own in each process
        skops.save(model, folder / "model.skops")
        out[name] = hashlib.sha256((folder / "model.skops").read_bytes()).hexdigest()
    return out


def test_equal_models_have_equal_bytes_in_every_process(tmp_path: Path) -> None:
    """DVC compares bytes. The places in memory, the hashes of strings and the random names are others each time."""
    code = (
        "import json, sys; from pathlib import Path; from tests.properties.test_models import digests;"
        "print(json.dumps(digests(Path(sys.argv[1]))))"
    )
    words, env = [sys.executable, "-c", code, str(tmp_path)], os.environ | {"PYTHONHASHSEED": "77"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    here = digests(tmp_path)
    assert len(here) == len(CLASSIFIERS) and json.loads(done.stdout.splitlines()[-1]) == here == digests(tmp_path)


@pytest.mark.parametrize("again", range(12))
def test_every_save_of_a_model_loads(again: int, tmp_path: Path) -> None:
    """Members have random names, which may begin with a digit or not."""
    frame, truth, _ = made(["no", "yes"], again)
    model, _ = fitted(VotingClassifier([("x", xgb()), ("y", xgb()), ("l", lgbm())]), frame, truth, classes=True)
    skops.save(model, tmp_path / "model.skops")
    assert skops.load(tmp_path / "model.skops").predict(frame).tolist() == model.predict(frame).tolist()


def test_what_a_model_is_of_is_found_in_it(tmp_path: Path) -> None:
    frame, truth, _ = made(["no", "yes"], 0)
    model, _ = fitted(VotingClassifier([("x", xgb()), ("l", lgbm())]), frame, truth, classes=True)
    skops.save(model, tmp_path / "model.skops")
    assert {"lightgbm": lightgbm.__version__, "xgboost-cpu": xgboost.__version__}.items() <= skops.packages(
        tmp_path / "model.skops"
    ).items()
    needs = publish.needed(tmp_path / "model.skops")
    assert needs["lightgbm"] == lightgbm.__version__ and needs["skops"]
    (tmp_path / "bundle").mkdir()
    (tmp_path / "model.skops").rename(tmp_path / "bundle/model.skops")
    config = Config.model_validate({"glue": 1, "project": "p", "serve": {"prediction_log": None}})
    requirements, hashed = pinned(requirement_names(tmp_path, config), tmp_path / "no lock file")
    assert f"lightgbm=={lightgbm.__version__}" in requirements and not hashed
    skops.save(LogisticRegression().fit(frame, truth), tmp_path / "model.skops")
    assert sorted(skops.packages(tmp_path / "model.skops")) == ["numpy", "scikit-learn"]

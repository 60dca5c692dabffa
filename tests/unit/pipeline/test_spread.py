"""Which models have parts that a cluster can share, and that a model is the same file wherever they were fitted."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlops_glue.adapters import skops
from mlops_glue.pipeline.spread import has_parallel_parts


@pytest.mark.parametrize(
    ("model", "has"),
    [
        (RandomForestClassifier(), True),
        (RandomForestClassifier(n_jobs=1), False),
        (make_pipeline(StandardScaler(), GridSearchCV(DecisionTreeClassifier(), {})), True),
        (make_pipeline(StandardScaler(), HistGradientBoostingClassifier()), False),
        (object(), False),
    ],
)
def test_parallel_parts(model: Any, has: bool) -> None:
    assert has_parallel_parts(model) is has


def test_trees_of_another_process_make_the_same_file(tmp_path: Path) -> None:
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], list("aabb"))
    skops.save(forest, tmp_path / "here.skops")
    forest.estimators_ = [pickle.loads(pickle.dumps(tree)) for tree in forest.estimators_]
    skops.save(forest, tmp_path / "there.skops")
    assert (tmp_path / "here.skops").read_bytes() == (tmp_path / "there.skops").read_bytes()
    assert skops.load(tmp_path / "there.skops").predict([[0.5], [2.5]]).tolist() == ["a", "b"]

"""What `glue init` proposes, by the table alone."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue.config import Config
from mlops_glue.errors import MissingExtra
from mlops_glue.pipeline.profile import profile
from mlops_glue.pipeline.train import build, fitted
from mlops_glue.scaffold import defaults
from mlops_glue.schema import Column, Schema


def _small(table: pa.Table, task: str) -> bool:
    return defaults.is_small(table, profile(table), "y", task)


def test_limits_have_slack_however_narrow_the_range_is() -> None:
    for start in (0, 170, 20_240_000, 1_700_000_000, -20_240_000, 2**53):
        table = pa.table({"x": range(start, start + 120, 2), "y": ["a", "b"] * 30})
        (limits,) = [e[k] for e in defaults.expectations(table, profile(table), "y") for k in e if "between" in k][1:]
        assert limits["min_value"] <= (start and start - 30)
        assert limits["max_value"] >= start + 150


def test_rows_without_a_target_do_not_make_a_table_big() -> None:
    rng = np.random.default_rng(0)
    target = pa.array([float(v) for v in rng.normal(size=1000)] + [None] * 9000)
    assert _small(pa.table({"x": rng.normal(size=10_000), "y": target}), "regression")
    rare = pa.array(["a"] * 900 + ["b"] * 100 + ["c"] * 3 + [None] * 9000)
    table = pa.table({"x": rng.normal(size=len(rare)), "y": rare})
    assert not _small(table, "multiclass")
    path, params = defaults.estimator(table, "y", "multiclass")
    assert path == "sklearn.ensemble.HistGradientBoostingClassifier" and params["max_leaf_nodes"] == 8


def test_hundreds_of_classes_get_a_model_that_does_not_grow_with_them() -> None:
    """A linear model, to which a category of many values is a column each, and ONNX says the same."""
    from mlops_glue.adapters import skl2onnx
    from mlops_glue.config import Config
    from mlops_glue.pipeline.package import compare
    from mlops_glue.pipeline.train import build
    from mlops_glue.schema import Column, Schema

    rng = np.random.default_rng(0)
    word = np.array([f"w{v}" for v in rng.integers(0, 60, 3000)], object)
    label = np.array([f"c{int(w[1:]) * 5 + n}" for w, n in zip(word, rng.integers(0, 5, 3000), strict=True)], object)
    path, params = defaults.estimator(pa.table({"y": label}), "y", "multiclass")
    assert path == "sklearn.linear_model.LogisticRegression"
    labels = sorted(set(label))
    schema = Schema("multiclass", "y", [Column("x", "number"), Column("word", "category")], labels=labels)
    frame = pd.DataFrame({"x": rng.normal(size=3000).astype(np.float32), "word": word})
    frame.loc[:4, "word"] = [f"rare{n}" for n in range(5)]
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"labels": {"source": "t", "target": "y"}, "sources": {"t": {"path": "t.csv"}}},
            "train": {"estimator": path, "params": params | {"max_iter": 30}},
        }
    )
    model = build(config, schema, frame).fit(frame, label)
    assert model.score(frame, label) > 0.15  # 1 of 5 where the word tells all; 1 of 300 without it
    assert len(model[:-1].get_feature_names_out()) == 61  # the rare ones have none
    assert compare(model, skl2onnx.export(model, 1, 1), schema, frame)["faithful"]


def test_of_few_rows_boosting_stops_early() -> None:
    """Of twenty columns of noise it says the shares of the classes; with scikit-learn's defaults it does worse."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    noise, label = rng.normal(size=(8000, 20)), rng.choice(["a", "b", "c"], 8000, p=[0.6, 0.3, 0.1])
    path, params = defaults.estimator(pa.table({"y": label[:4000]}), "y", "multiclass")
    assert path.endswith("HistGradientBoostingClassifier")
    shares = log_loss(label[4000:], np.tile([0.6, 0.3, 0.1], (4000, 1)), labels=["a", "b", "c"])
    scores = [
        log_loss(label[4000:], model.fit(noise[:4000], label[:4000]).predict_proba(noise[4000:]))
        for model in (
            HistGradientBoostingClassifier(**params, random_state=0),  # it sets rows aside to stop by
            HistGradientBoostingClassifier(random_state=0),
        )
    ]
    assert scores[0] < 1.02 * shares and scores[1] > 1.1 * shares


def test_a_category_of_many_values_is_one_column() -> None:
    """Twenty of them do not make 2,000 rows too wide to compare models on; twenty of 30 values each do."""
    rng = np.random.default_rng(0)
    for values, small in ((400, True), (30, False)):
        wide = {f"c{at}": [f"v{v}" for v in rng.integers(0, values, 2000)] for at in range(20)}
        assert _small(pa.table(wide | {"y": rng.normal(size=2000)}), "regression") is small


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("library", defaults.BOOSTERS)
def test_a_library_is_given_parameters_that_it_takes(library: str, task: str, tmp_path: Path) -> None:
    """And it writes nothing where it is fitted, and prints nothing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=150).astype(np.float32)})
    ends = [0.0, 0.9][: 1 if task == "binary" else 2]
    target = frame["x"].to_numpy(float) if task == "regression" else np.digitize(frame["x"], ends)
    table = pa.table({"x": frame["x"], "y": target})
    path, params = defaults.booster(library, table, "y", task)
    kind = "regressor" if task == "regression" else "classifier"
    assert path.startswith(f"{library}.") and path.lower().endswith(kind)
    assert 200 in params.values() and 0.05 in params.values()
    labels = None if task == "regression" else sorted(set(target.tolist()))
    schema = Schema(task, "y", [Column("x", "number")], labels=labels)
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"labels": {"source": "t", "target": "y"}, "sources": {"t": {"path": "t.csv"}}},
            "train": {"estimator": path, "params": params},
        }
    )
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(io.StringIO()) as said:
        model, _ = fitted(build(config, schema, frame), frame, target, classes=labels is not None)
    assert not list(tmp_path.iterdir()) and not said.getvalue()
    assert np.asarray(model.predict(frame)).ravel().shape == (150,)


def test_of_a_big_table_the_steps_are_greater_and_of_many_classes_the_rounds_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(defaults, "find_spec", lambda name: True)
    many = pa.table({"y": [f"c{n % 100}" for n in range(20_000)]})
    for library in defaults.BOOSTERS:
        _, params = defaults.booster(library, many, "y", "multiclass")
        assert params["learning_rate"] == 0.1 and 20 in params.values() and 200 not in params.values()


def test_a_library_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="catboost is not installed") as told:
        defaults.booster("catboost", pa.table({"y": [1, 0]}), "y", "binary")
    assert told.value.hint == 'pip install "mlops-glue[boosters]"'

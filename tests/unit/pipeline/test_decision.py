"""A threshold is chosen on training rows alone, and is the best there is; what cannot be chosen is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, fbeta_score, precision_score, recall_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from mlops_glue import files, layout, metrics, tables
from mlops_glue.config import ChosenThreshold, Config
from mlops_glue.errors import CheckFailed, ConfigError, StageError
from mlops_glue.pipeline import curves, plots
from mlops_glue.pipeline.decision import best, candidates, with_decision
from mlops_glue.pipeline.featurize import featurize
from mlops_glue.pipeline.stages import import_paths, named
from mlops_glue.pipeline.train import train
from mlops_glue.schema import Column, Decision, Schema

SCHEMA = Schema("binary", "y", [Column("a", "number"), Column("b", "number")], ["no", "yes"], "yes")
ROWS = 400


def config(evaluate: dict[str, Any], **more: Any) -> Config:
    labels = {"source": "t", "target": "y"}
    train = {"estimator": "sklearn.linear_model.LogisticRegression", "preprocess": False, "seed": 3}
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": labels}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": train, "evaluate": evaluate} | more)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training rows, and a holdout that cannot be read."""
    folder, rng = tmp_path_factory.mktemp("project"), np.random.default_rng(1)
    table = {name: rng.normal(size=ROWS).astype(np.float32) for name in "ab"}
    target = np.where(table["a"] + rng.normal(size=ROWS) > 1, "yes", "no").astype(object)
    more = {layout.ROW: np.arange(ROWS), layout.TIMESTAMP_COLUMN: np.arange(ROWS)[::-1].astype("datetime64[s]")}
    more[layout.ENTITY_COLUMN] = np.arange(ROWS) // 4
    tables.write_parquet(folder / layout.TRAIN, pa.table({**more, **table, "target:y": pa.array(target)}))
    (folder / layout.TEST).write_bytes(b"nobody reads it")
    files.write_json(folder / layout.COLUMNS, {"schema": SCHEMA.to_dict()})
    return folder


def unseen(root: Path) -> tuple[Any, Any]:
    """The truth of the training rows, and what models that have not seen them say."""
    frame = tables.read_parquet(root / layout.TRAIN).to_pandas()
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    model, features = LogisticRegression(random_state=3), frame[["a", "b"]]
    share = cross_val_predict(model, features, frame["target:y"], cv=folds, method="predict_proba")[:, 1]
    return (frame["target:y"] == "yes").to_numpy().astype(int), share


def chosen(root: Path, asked: Any, **more: Any) -> Decision:
    found = with_decision(config({"decision_threshold": asked, **more}), root, SCHEMA, LogisticRegression()).decision
    assert found is not None
    return found


def test_it_is_the_best_of_all_thresholds_on_rows_that_the_models_had_not_seen(root: Path) -> None:
    truth, share = unseen(root)
    for by, score in (("f1", f1_score), ("f2", lambda y, p: fbeta_score(y, p, beta=2))):
        found = chosen(root, {"by": by})
        assert (found.by, found.rows, found.costs) == (by, ROWS, None) and found.threshold is not None
        of_all = max(score(truth, share >= one) for one in share)
        assert score(truth, share >= found.threshold) == pytest.approx(of_all)
        assert abs(share / found.threshold - 1).min() > 1e-6  # no row is at the threshold
    cost = {"false_positive": 1, "false_negative": 10}
    found = chosen(root, {"by": "cost"}, cost=cost)

    def paid(threshold: float) -> float:
        said = share >= threshold
        return float((1 * (said & (truth == 0)) + 10 * (~said & (truth == 1))).mean())

    assert found.threshold is not None and paid(found.threshold) == pytest.approx(min(paid(one) for one in share))
    assert found.threshold < 0.3  # one of eleven, where the model is calibrated


def test_recall_at_a_precision_and_precision_at_a_recall(root: Path) -> None:
    truth, share = unseen(root)
    found = chosen(root, {"by": "recall", "min_precision": 0.7})
    assert found.by == "recall at a precision of at least 0.7" and found.threshold is not None
    assert precision_score(truth, share >= found.threshold) >= 0.7
    fit = [recall_score(truth, share >= t) for t in share if precision_score(truth, share >= t) >= 0.7]
    assert recall_score(truth, share >= found.threshold) == pytest.approx(max(fit))
    found = chosen(root, {"by": "precision", "min_recall": 0.6})
    assert found.threshold is not None and recall_score(truth, share >= found.threshold) >= 0.6
    with pytest.raises(
        CheckFailed, match=r"of at least 0\.99 and a recall of at least 0\.9 on .* rows: no threshold reaches both"
    ):
        chosen(root, {"by": "recall", "min_precision": 0.99, "min_recall": 0.9})


@pytest.mark.parametrize("by", ["time", "entity"])
def test_folds_are_taken_as_the_holdout_is(root: Path, by: str) -> None:
    more = {"split": {"by": by}}
    found = with_decision(config({"decision_threshold": {"by": "f1"}}, **more), root, SCHEMA, LogisticRegression())
    assert found.decision is not None and found.decision.rows == (ROWS if by == "entity" else 5 * (ROWS // 6))


@pytest.mark.parametrize("labels", [["a", "b", "c"]])
def test_of_several_classes_the_least_cost_decides(tmp_path: Path, labels: list[str]) -> None:
    birds = Schema("multiclass", "y", labels=labels)
    cost = {one: {other: 5 * (one == "c") + 1 for other in labels if other != one} for one in labels}
    known = config({"cost": cost, "decision_threshold": {"by": "cost"}})
    found = with_decision(known, tmp_path, birds, LogisticRegression())  # nothing is read
    assert found.decision == Decision("cost", costs=[[0, 1, 1], [1, 0, 1], [6, 6, 0]])
    for asked in ({"by": "f1"}, 0.3):
        with pytest.raises(
            ConfigError, match=r"only a binary task has a threshold; for several classes, use \{by: cost\}"
        ):
            with_decision(config({"cost": cost, "decision_threshold": asked}), tmp_path, birds, LogisticRegression())


def test_a_task_that_is_inferred_is_refused_a_threshold_before_the_fit(tmp_path: Path) -> None:
    said = (
        r"evaluate\.decision_threshold: 'y' is the target of a regression task, but only a binary task has a threshold"
    )
    asked = config({"decision_threshold": 0.2})
    tables.write_parquet(tmp_path / layout.TABLE, pa.table({"a": np.arange(99.0), "y": np.arange(99) / 7}))
    with pytest.raises(ConfigError, match=said):
        featurize(asked, tmp_path)
    featurize(config({}), tmp_path)  # the threshold comes later
    with pytest.raises(ConfigError, match=said):
        train(asked, tmp_path)


def test_what_does_not_depend_on_a_threshold_chooses_none(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.decision_threshold\.by: 'roc_auc' uses the probabilities"):
        chosen(root, {"by": "roc_auc"})
    with pytest.raises(ConfigError, match=r"evaluate\.decision_threshold\.by: 'rmse' is not a metric of a binary task"):
        chosen(root, {"by": "rmse"})
    with pytest.raises(StageError, match="returns no probabilities"):
        with_decision(config({"decision_threshold": {"by": "f1"}}), root, SCHEMA, object())
    assert with_decision(config({}), root, SCHEMA, object()) is SCHEMA


def test_thresholds_lie_halfway_below_positives() -> None:
    score, truth = np.array([0.1, 0.2, 0.2, 0.6, 0.9]), np.array([0, 1, 0, 0, 1])
    assert candidates(truth, score) == pytest.approx([0.15, 0.75, 0.95])
    close = np.array([0.5, 0.5 * (1 + 1e-7), 0.8])  # a rounding apart: they are one
    assert candidates(np.array([0, 1, 1]), close) == pytest.approx([0.25, 0.65, 0.9])
    assert candidates(np.array([1, 1]), np.array([0.0, 1.0])) == [0.5]
    assert candidates(np.array([1]), np.array([np.nan])) == []
    many = np.random.default_rng(0).random(5000)
    found = candidates(np.ones(5000, int), many)
    assert len(found) == 501 and found == sorted(found) and found[0] < 0.001 and found[-1] > 0.99


def test_of_equal_values_the_highest_threshold_is_taken_and_no_value_is_none() -> None:
    truth, score = np.array([0, 1, 0, 1]), np.array([0.2, 0.4, 0.6, 0.8])
    probability = np.column_stack([1 - score, score])
    always, never = metrics.Metric(lambda y, p, q: 1.0), metrics.Metric(lambda y, p, q: float("nan"))
    assert best(always, truth, probability, ChosenThreshold(by="x")) == pytest.approx(0.9)
    with pytest.raises(CheckFailed, match=r"no threshold has recall at .*: the highest precision is 0\.5000$"):
        best(always, truth, probability[:, ::-1] * 0.9, ChosenThreshold(by="recall", min_precision=0.99))
    with pytest.raises(CheckFailed, match="no threshold has x on the training rows: x is undefined"):
        best(never, truth, probability, ChosenThreshold(by="x"))
    least = metrics.Metric(lambda y, p, q: float(p.sum()), higher_is_better=False)
    assert best(least, truth, probability, ChosenThreshold(by="x")) == pytest.approx(0.9)


def test_the_curve_by_hand() -> None:
    truth, score = np.array([0, 1, 0, 1]), np.array([0.2, 0.4, 0.4, 0.8])
    found = curves.by_threshold(truth, score, [[0, 1], [10, -1]])
    for name, wanted in {
        "precision": [(0.8, 1), (0.4, 2 / 3), (0.2, 0.5)],
        "recall": [(0.8, 0.5), (0.4, 1), (0.2, 1)],
        "cost": [(0.8, 9 / 4), (0.4, -1 / 4), (0.2, 0)],
    }.items():
        assert np.column_stack(found[name]).ravel() == pytest.approx(np.ravel(wanted)), name
    assert set(curves.by_threshold(truth, score, None)) == {"precision", "recall"}


def test_the_plot_is_drawn_for_two_classes() -> None:
    """With the threshold marked, or 0.5, and the same bytes each time."""
    rng, costs = np.random.default_rng(0), [[0.0, 1.0], [10.0, 0.0]]
    score = rng.random(300)
    truth, probability = (rng.random(300) < score).astype(int), np.column_stack([1 - score, score])
    decided = replace(SCHEMA, decision=Decision("f1", 0.3125))
    drawn = plots.of_threshold(decided, costs, truth, probability)
    assert list(drawn) == ["threshold"] and drawn == plots.of_threshold(decided, costs, truth, probability)
    for text in ("Threshold of yes", "precision", "recall", "cost per row", "0.3125"):
        assert f">{text}<" in drawn["threshold"]
    assert ">cost per row<" not in plots.of_threshold(decided, None, truth, probability)["threshold"]
    assert ">0.5<" in plots.of_threshold(SCHEMA, costs, truth, probability)["threshold"]
    assert ">0.5<" in plots.of_threshold(SCHEMA, None, truth, probability)["threshold"]
    assert plots.of_threshold(replace(SCHEMA, task="multiclass"), None, truth, probability) == {}
    assert plots.of_threshold(decided, None, truth, (probability > 0.5).astype(float)) == {}  # it is always certain
    assert plots.of_threshold(decided, None, truth * 0, probability) == {}


def test_evaluate_depends_on_what_it_measures_and_refits_by(tmp_path: Path) -> None:
    (tmp_path / "my_metrics.py").write_text("import rates\n")
    (tmp_path / "rates.py").write_text("")
    (tmp_path / "model.py").write_text("")
    stage, own = named("evaluate"), {"function": "my_metrics:profit", "higher_is_better": True}
    train = {"train": {"estimator": "model:build"}}
    plain, metric = config({}, **train), config({"metrics": [own]}, **train)
    given, chosen = (config({"decision_threshold": how}, **train) for how in (0.2, {"by": "f1"}))
    code = {"my_metrics.py", "rates.py"}
    assert set(stage.deps(metric, tmp_path)) - set(stage.deps(plain, tmp_path)) == code
    assert stage.deps(given, tmp_path) == stage.deps(plain, tmp_path)
    assert set(stage.deps(chosen, tmp_path)) - set(stage.deps(plain, tmp_path)) == {"model.py"}
    assert stage.params(plain) == stage.params(metric) == stage.params(given)
    more = set(stage.params(chosen)) - set(stage.params(plain))
    assert more == {
        "train.categories",
        "train.early_stopping",
        "train.params",
        "train.preprocess",
        "train.weight",
        "tune.folds",
    }
    assert "my_metrics:profit" in import_paths(metric) and "my_metrics:profit" not in import_paths(plain)

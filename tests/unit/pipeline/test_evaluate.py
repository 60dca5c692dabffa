"""What evaluate writes, held against scikit-learn: metrics, importances, slices, warnings, classes that nobody saw."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, roc_auc_score
from sklearn.svm import LinearSVC

from mlops_glue import bootstrap, files, layout, metrics, pages, tables
from mlops_glue.adapters import matplotlib, skops
from mlops_glue.config import Config, Threshold
from mlops_glue.errors import ConfigError, StageError
from mlops_glue.pipeline.evaluate import by_value, importances_of, threshold
from mlops_glue.pipeline.evaluate import evaluate as run
from mlops_glue.pipeline.outcome import check_known, outcome
from mlops_glue.schema import Column, Schema

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({name: RNG.normal(size=400) for name in "abc"})
SCORE = 2 * FRAME["a"] - FRAME["b"] + RNG.normal(size=400)
CONFIG = Config.model_validate(
    {
        "glue": 1,
        "project": "p",
        "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
        "train": {"seed": 3},
    }
)


def by(task: str, name: str) -> tuple[str, metrics.Metric]:
    return name, metrics.METRICS[task][name]


@pytest.mark.parametrize(
    ("task", "name", "scoring"),
    [
        ("binary", "log_loss", "neg_log_loss"),
        ("binary", "roc_auc", "roc_auc"),
        ("regression", "rmse", "neg_root_mean_squared_error"),
        ("regression", "r2", "r2"),
    ],
)
def test_importances_are_scikit_learns_of_losses_as_of_scores(task: Any, name: str, scoring: str) -> None:
    classes = [0, 1] if task == "binary" else None
    truth: Any = (SCORE > 0).astype(int).to_numpy() if classes else SCORE.to_numpy()
    model = (LogisticRegression() if classes else Ridge()).fit(FRAME, truth)
    found = importances_of(CONFIG, Schema(task, "y", [], classes), model, FRAME, truth, by(task, name))
    wanted = permutation_importance(model, FRAME, truth, scoring=scoring, n_repeats=3, random_state=3)
    assert found is not None and [one["column"] for one in found] == ["a", "b", "c"]
    assert [one["mean"] for one in found] == pytest.approx(wanted.importances_mean.tolist())
    assert [one["std"] for one in found] == pytest.approx(wanted.importances_std.tolist())
    assert {one["rows"] for one in found} == {400}


def test_slices_are_of_the_most_frequent_values_by_hand() -> None:
    counts = RNG.permutation(np.arange(1, 81))  # of eighty values, each with another number of rows
    values = np.repeat([f"v{at:02}" for at in range(80)], counts)
    truth = RNG.integers(0, 2, len(values))
    share = RNG.uniform(0.01, 0.99, len(values))
    label, probability = (share > 0.5).astype(int), np.column_stack([1 - share, share])
    names = {name: metrics.METRICS["binary"][name] for name in ("accuracy", "log_loss")}
    found = by_value(values, names, truth, label, probability, seed=0)
    assert [one["value"] for one in found] == sorted(f"v{at:02}" for at in np.flatnonzero(counts > 30))
    assert len(found) == 50 and {one["values"] for one in found} == {80}
    for one in found:
        at = values == one["value"]
        assert one["rows"] == at.sum()
        assert one["metrics"]["accuracy"] == accuracy_score(truth[at], label[at])
        assert one["metrics"]["log_loss"] == pytest.approx(log_loss(truth[at], share[at], labels=[0, 1]))


def test_a_class_of_the_holdout_alone_has_no_probability() -> None:
    """The columns of a model go by its classes, not by their place among those of the schema."""
    learnt = np.where(FRAME["a"] > 0, "c", "a")
    model = LogisticRegression().fit(FRAME, learnt)
    label, probability = outcome(model, Schema("multiclass", "y", [], ["a", "b", "c"]), FRAME)
    wanted = model.predict_proba(FRAME)
    assert np.array_equal(probability, np.column_stack([wanted[:, 0], np.zeros(400), wanted[:, 1]]))
    assert set(label) == {0, 2}


def written(root: Path, task: Any, model: Any, *, rows: int = 300, held: int = 100, **options: Any) -> Config:
    """A project after `train`: of `rows` rows some are held out, in no order of the table."""
    rng = np.random.default_rng(1)
    table = {"a": rng.normal(size=rows).astype(np.float32), "b": rng.normal(size=rows).astype(np.float32)}
    value = 2 * table["a"] + table["b"] + rng.normal(size=rows)
    if task == "regression":
        target, labels = value, None
    elif task == "binary":
        target, labels = np.where(value > 0.5, "no", "yes").astype(object), ["no", "yes"]
    else:
        target, labels = np.array(["p", "q", "r"], object)[np.digitize(value, [-1, 1])], ["p", "q", "r", "s"]
    place = np.where(np.arange(rows) % 3, "x", "y").astype(object)
    place[:6] = None
    schema = Schema(task, "y", [Column("a", "number"), Column("b", "number")], labels, positive="no")
    order = rng.permutation(rows)
    made = pa.table({layout.ROW: np.arange(rows), **table, "target:y": pa.array(target)})
    tables.write_parquet(root / layout.TABLE, pa.table({**table, "place": pa.array(place), "n": np.arange(rows) % 2}))
    files.write_json(root / layout.COLUMNS, {"schema": schema.to_dict()})
    tables.write_parquet(root / layout.TEST, made.take(order[:held]))
    tables.write_parquet(root / layout.TRAIN, made.take(order[held:]))
    frame = made.take(order[held:]).select(["a", "b"]).to_pandas()
    (root / layout.MODEL).parent.mkdir(parents=True)
    skops.save(model.fit(frame, target[order[held:]]), root / layout.MODEL)
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate(
        {"glue": 1, "project": "p.q", "data": data, "train": {"seed": 3}, "split": {"by": "time"}} | options
    )


def report_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(root / layout.EVALUATION / "evaluation.json")
    return found


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plots are asked for, by these titles, and not drawn."""
    asked: list[str] = []

    def draw(title: str, *_: Any, **__: Any) -> str:
        asked.append(title.partition(" ")[0])
        return f"<svg>{asked[-1]}</svg>"

    for kind in ("lines", "matrix", "points", "bars"):
        monkeypatch.setattr(matplotlib, kind, draw)
    return asked


def test_all_that_evaluate_writes(tmp_path: Path, undrawn: list[str]) -> None:
    """Two classes, of which the positive one is the first by name."""
    evaluate = {
        "metrics": ["roc_auc", "f1"],
        "thresholds": {"f1": {"min": 0.5}, "brier": {"max": 0.01}, "roc_auc": {"min": 0.0, "max": 0.2}},
        "slices": ["place", "n", "place"],
    }
    config = written(tmp_path, "binary", LogisticRegression(), evaluate=evaluate)
    run(config, tmp_path)
    test = tables.read_parquet(tmp_path / layout.TEST).to_pandas()
    model = skops.load(tmp_path / layout.MODEL)
    truth = (test["target:y"] == "no").to_numpy().astype(int)
    share = model.predict_proba(test[["a", "b"]])[:, list(model.classes_).index("no")]
    label = (share > 0.5).astype(int)
    values = {"roc_auc": roc_auc_score(truth, share), "f1": f1_score(truth, label)}
    values["brier"] = brier_score_loss(truth, share)
    prior = (tables.read_parquet(tmp_path / layout.TRAIN).column("target:y").to_numpy() == "no").mean()
    trivial = {"roc_auc": 0.5, "f1": 0.0, "brier": brier_score_loss(truth, np.full(100, prior))}
    report = report_of(tmp_path)
    assert list(report["metrics"]) == ["roc_auc", "f1", "brier"]
    for name, score in report["metrics"].items():
        assert score["value"] == pytest.approx(values[name]) and score["trivial"] == pytest.approx(trivial[name])
        drawn = bootstrap.bootstrap(
            metrics.METRICS["binary"][name], truth, label, np.column_stack([1 - share, share]), seed=3
        )
        assert (score["low"], score["high"]) == pytest.approx(bootstrap.interval(score["value"], drawn, 100))
    assert {
        key: report[key]
        for key in ("project", "target", "task", "estimator", "model", "split", "train_rows", "rows", "intervals")
    } == {
        "project": "p.q",
        "target": "y",
        "task": "binary",
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "model": "LogisticRegression",
        "split": "time",
        "train_rows": 200,
        "rows": 100,
        "intervals": {"samples": 100, "rows": 100},
    }
    assert report["thresholds"] == [
        {"metric": "f1", "value": pytest.approx(values["f1"]), "min": 0.5, "max": None, "met": True},
        {"metric": "brier", "value": pytest.approx(values["brier"]), "min": None, "max": 0.01, "met": False},
        {"metric": "roc_auc", "value": pytest.approx(values["roc_auc"]), "min": 0.0, "max": 0.2, "met": False},
    ]
    assert [(one["column"], one["metric"], one["rows"]) for one in report["importances"]] == [
        ("a", "roc_auc", 100),
        ("b", "roc_auc", 100),
    ]
    table = tables.read_parquet(tmp_path / layout.TABLE).to_pandas().iloc[test[layout.ROW]]
    wanted = []
    for column, texts in (("place", [None, "x", "y"]), ("n", ["0", "1"])):
        for text in texts:
            at = (table[column].isna() if text is None else table[column].astype(str) == text).to_numpy()
            wanted.append((column, text, at.sum(), len(texts), pytest.approx(f1_score(truth[at], label[at]))))
    found = [
        (one["column"], one["value"], one["rows"], one["values"], one["metrics"]["f1"]) for one in report["slices"]
    ]
    for one in report["slices"]:
        assert (one["low"] is None) == (one["metrics"]["roc_auc"] is None)
        assert one["low"] is None or one["low"] <= one["metrics"]["roc_auc"] <= one["high"]
    assert found == wanted and all(list(one["metrics"]) == ["roc_auc", "f1"] for one in report["slices"])
    assert report["warnings"] == [] and "fresh" not in report
    assert files.read_json(tmp_path / layout.METRICS) == {
        name: pytest.approx(values[name]) for name in report["metrics"]
    }
    drawn_files = {path.stem: path.read_text() for path in (tmp_path / layout.PLOTS).iterdir()}
    assert undrawn == ["ROC", "Precision", "Calibration", "Confusion", "Threshold", "Permutation", "Contributions"]
    names = ["roc", "precision_recall", "calibration", "confusion", "threshold", "importances", "contributions"]
    assert drawn_files == {name: f"<svg>{title}</svg>" for name, title in zip(names, undrawn, strict=True)}
    page = (tmp_path / layout.EVALUATION / "report.html").read_text()
    assert "<title>p.q: evaluation</title>" in page and all(
        f'alt="{html.escape(pages.SHOWN[name])}"' in page for name in names
    )
    assert f"{values['roc_auc']:.4f}" in page


@pytest.mark.parametrize(("by", "rows", "held"), [("random", 0, 100), ("random", 9, 100), ("time", 9, 100)])
def test_rows_that_are_in_both_sides_are_warned_of(
    tmp_path: Path, undrawn: list[str], by: str, rows: int, held: int
) -> None:
    config = written(tmp_path, "regression", Ridge(), split={"by": by})
    train, test = (tables.read_parquet(tmp_path / path) for path in (layout.TRAIN, layout.TEST))
    test = pa.concat_tables([train.slice(0, rows), test.slice(rows)])
    tables.write_parquet(tmp_path / layout.TEST, test)
    run(config, tmp_path)
    report = report_of(tmp_path)
    wanted = (
        "9 of the 100 rows of the holdout are also training rows: drop the duplicates, or use split: {by: entity} "
        "with data.sources.t.entity"
    )
    assert report["warnings"] == ([wanted] if rows and by == "random" else [])
    assert report["estimator"] == "sklearn.ensemble.HistGradientBoostingRegressor" and report["model"] == "Ridge"
    assert list(report["metrics"]) == ["r2", "rmse", "mae", "median_absolute_error"] and report["slices"] == []
    assert undrawn == ["Prediction", "Residuals", "Permutation", "Contributions"]


def test_where_there_is_an_entity_the_way_out_is_to_split_by_it(tmp_path: Path, undrawn: list[str]) -> None:
    data = {"sources": {"t": {"path": "t.csv", "entity": "who"}}, "labels": {"source": "t", "target": "y"}}
    config = written(tmp_path, "regression", Ridge(), split={"by": "random"}, data=data)
    train = tables.read_parquet(tmp_path / layout.TRAIN)
    many = pa.concat_tables([train] * 20)
    tables.write_parquet(tmp_path / layout.TEST, many)
    run(config, tmp_path)
    (said,) = report_of(tmp_path)["warnings"]
    assert said.startswith("4,000 of the 4,000 rows of the holdout are also training rows") or "estimated from" in said
    assert said.endswith(": drop the duplicates, or use split: {by: entity}")


@pytest.mark.parametrize("straight", [True, False])
def test_a_column_with_the_order_of_the_target_is_told_where_the_score_is_nearly_perfect(
    tmp_path: Path, undrawn: list[str], straight: bool
) -> None:
    config = written(tmp_path, "regression", Ridge())
    for path in (layout.TRAIN, layout.TEST):
        table = tables.read_parquet(tmp_path / path)
        y = table.column("target:y").to_numpy()
        column = pa.array((y if straight else np.exp(y)).astype(np.float32))
        tables.write_parquet(tmp_path / path, table.set_column(1, "a", column))
    train = tables.read_parquet(tmp_path / layout.TRAIN)
    (tmp_path / layout.MODEL).unlink()
    good = HistGradientBoostingRegressor(random_state=0) if not straight else Ridge(alpha=1e-9)
    skops.save(
        good.fit(train.select(["a", "b"]).to_pandas(), train.column("target:y").to_numpy()), tmp_path / layout.MODEL
    )
    run(config, tmp_path)
    report = report_of(tmp_path)
    (said,) = report["warnings"]
    told = "is a linear copy of the target" if straight else "has exactly the order of the target"
    assert said == f"column 'a' {told}: is it known before the target? if not, features.exclude"


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_model_without_probabilities_is_taken_for_certain_and_that_is_said(
    tmp_path: Path, undrawn: list[str], task: str
) -> None:
    config = written(tmp_path, task, LinearSVC(), train={"estimator": "sklearn.svm.LinearSVC", "seed": 3})
    run(config, tmp_path)
    report = report_of(tmp_path)
    unsure = "roc_auc, average_precision, log_loss, brier" if task == "binary" else "log_loss, roc_auc_ovr"
    assert report["estimator"] == "sklearn.svm.LinearSVC" and report["warnings"][0] == (
        f"LinearSVC returns no probabilities: {unsure} treat each label as certain; "
        f"promote: {{metric: {'f1' if task == 'binary' else 'accuracy'}}} needs only labels"
    )
    assert undrawn == ["Confusion", "Permutation", "Contributions"]
    (tmp_path / "n").mkdir()
    of_labels = {"evaluate": {"metrics": ["accuracy"]}}
    run(written(tmp_path / "n", task, LinearSVC(), **of_labels), tmp_path / "n")
    assert report_of(tmp_path / "n")["warnings"] == []


def test_fresh_rows_have_their_order_and_what_was_learned_from(tmp_path: Path, undrawn: list[str]) -> None:
    """Older rows that were left out are no part of what was learned."""
    config = written(tmp_path, "multiclass", LogisticRegression(), split={"by": "random", "fresh_after": [50]})
    files.write_json(tmp_path / layout.FRESH, {"rows": 250, "trained": 150, "held_out": 100})
    files.write_json(tmp_path / layout.LEARNED, {"older_left_out": 7, "after": [50], "losses": {"0": 1.0}})
    run(config, tmp_path)
    report = report_of(tmp_path)
    order = report["fresh"].pop("order")
    assert report["fresh"] == {
        "rows": 250, "trained": 150, "held_out": 100, "older_left_out": 7, "after": [50], "losses": {"0": 1.0}
    }  # fmt: skip
    assert order["rows"] == order["drawn_rows"] == 100
    train = tables.read_parquet(tmp_path / layout.TRAIN).column(layout.ROW).to_numpy()
    assert report["train_rows"] == (train >= 50).sum() < 200
    assert order["value"] is None  # no row is of the last class
    assert report["metrics"]["accuracy"]["value"] > 0.6


def test_labels_are_decided_by_a_threshold_wherever_they_count(tmp_path: Path, undrawn: list[str]) -> None:
    """Metrics, slices and the trivial predictor's label; what takes probabilities is as it was."""
    evaluate = {"metrics": ["f1", "roc_auc"], "decision_threshold": 0.2, "slices": ["n"]}
    run(written(tmp_path, "binary", LogisticRegression(), evaluate=evaluate), tmp_path)
    test = tables.read_parquet(tmp_path / layout.TEST).to_pandas()
    model = skops.load(tmp_path / layout.MODEL)
    truth = (test["target:y"] == "no").to_numpy().astype(int)
    share = model.predict_proba(test[["a", "b"]])[:, list(model.classes_).index("no")]
    report = report_of(tmp_path)
    scores = report["metrics"]
    assert report["decision"] == {"by": "given", "threshold": 0.2, "costs": None, "rows": None}
    assert scores["f1"]["value"] == pytest.approx(f1_score(truth, share >= 0.2)) != f1_score(truth, share >= 0.5)
    assert scores["f1"]["trivial"] == pytest.approx(f1_score(truth, np.ones(100)))
    assert scores["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, share))
    assert undrawn[-3:] == ["Threshold", "Permutation", "Contributions"] and len(undrawn) == 7
    page = (tmp_path / layout.EVALUATION / "report.html").read_text()
    assert "&#39;no&#39; is predicted at a probability of 0.2 or more, as set by evaluate.decision_threshold" in page
    odd = test[layout.ROW].to_numpy() % 2 == 1
    assert report["slices"][1]["metrics"]["f1"] == pytest.approx(f1_score(truth[odd], share[odd] >= 0.2))


def test_costs_are_measured_and_drawn_and_a_choice_is_told(tmp_path: Path, undrawn: list[str]) -> None:
    evaluate = {
        "metrics": ["f1"],
        "cost": {"false_positive": 1, "false_negative": 5},
        "decision_threshold": {"by": "cost"},
    }
    train = {"estimator": "sklearn.linear_model.LogisticRegression", "preprocess": False, "seed": 3}
    split = {"by": "random"}
    config = written(tmp_path, "binary", LogisticRegression(), evaluate=evaluate, train=train, split=split)
    run(config, tmp_path)
    report = report_of(tmp_path)
    assert list(report["metrics"]) == ["f1", "cost"] and report["decision"]["by"] == "cost"
    score = report["metrics"]["cost"]
    assert score["definition"] == "[[0.0, 1.0], [5.0, 0.0]]" and score["higher_is_better"] is False
    assert score["value"] < score["trivial"] and "definition" not in report["metrics"]["f1"]
    page = (tmp_path / layout.EVALUATION / "report.html").read_text()
    assert "chosen by cost on 200 training rows, each predicted by a model that was not trained on it" in page
    before = report["decision"]
    test = tables.read_parquet(tmp_path / layout.TEST)
    tables.write_parquet(tmp_path / layout.TEST, test.slice(50))
    run(config, tmp_path)
    assert report_of(tmp_path)["decision"] == before  # the holdout has no part in it


@pytest.mark.parametrize(("threshold", "way_out"), [(None, "{by: f1}}"), (0.001, "decision_threshold causes this")])
def test_a_model_that_says_one_class_alone_is_told(
    tmp_path: Path, undrawn: list[str], threshold: float | None, way_out: str
) -> None:
    always = DummyClassifier(strategy="prior")
    evaluate = {"metrics": ["log_loss"], "decision_threshold": threshold}
    run(written(tmp_path, "binary", always, evaluate=evaluate), tmp_path)
    said = report_of(tmp_path)["warnings"]
    label = "yes" if threshold is None else "no"
    (told,) = (
        line for line in said if line.startswith(f"the model predicts y '{label}' for every row of the holdout, but")
    )
    assert told.endswith(way_out) and " of 100 have another class" in told


@pytest.mark.parametrize(
    ("task", "model", "said"),
    [
        ("regression", Ridge(), "glue.yaml evaluate.decision_threshold: 'y' is the target of a regression task"),
        ("multiclass", LogisticRegression(), "glue.yaml evaluate.decision_threshold: 'y' is the target of a multi"),
        ("binary", LinearSVC(), "LinearSVC returns no probabilities, which evaluate.decision_threshold needs"),
    ],
)
def test_where_there_is_nothing_to_decide_by_a_threshold_is_refused(
    tmp_path: Path, undrawn: list[str], task: str, model: Any, said: str
) -> None:
    config = written(tmp_path, task, model, evaluate={"decision_threshold": 0.2})
    with pytest.raises((ConfigError, StageError)) as refused:
        run(config, tmp_path)
    assert refused.value.message.startswith(said)


@pytest.mark.parametrize(
    "evaluate", [{"metrics": ["rmse", "f2"]}, {"thresholds": {"rmse": {"min": 0}, "f2": {"min": 0}}}]
)
def test_what_is_no_metric_of_the_task_is_refused(tmp_path: Path, undrawn: list[str], evaluate: Any) -> None:
    config = written(tmp_path, "regression", Ridge(), evaluate=evaluate)
    with pytest.raises(ConfigError) as refused:
        run(config, tmp_path)
    assert refused.value.problems == ["glue.yaml evaluate: 'f2' is not a metric of a regression task"]


@pytest.mark.parametrize(
    "limit, value, met",
    [
        ({"min": 0.5}, 0.5, True),
        ({"min": 0.5}, 0.4999, False),
        ({"max": 0.5}, 0.5, True),
        ({"max": 0.5}, 0.5001, False),
        ({"min": 0.2, "max": 0.5}, 0.3, True),
        ({"min": 0.2, "max": 0.5}, 0.1, False),
        ({"min": 0.2, "max": 0.5}, 0.6, False),
        ({"min": 0.2}, float("nan"), False),
        ({"max": 0.2}, float("nan"), False),
    ],
)
def test_when_a_threshold_is_met(limit: dict[str, float], value: float, met: bool) -> None:
    found = threshold("f1", Threshold(**limit), value)
    assert found["met"] is met and (found["min"], found["max"]) == (limit.get("min"), limit.get("max"))


def test_importances_are_of_few_columns_and_rows() -> None:
    """Three permutations up to fifty columns, one beyond, none beyond two hundred; a thousand rows of the holdout."""
    rng = np.random.default_rng(5)
    wide = pd.DataFrame(rng.normal(size=(30, 201)), columns=[f"c{at}" for at in range(201)])
    truth = wide["c3"].to_numpy() * 3 + wide["c0"].to_numpy()
    schema = Schema("regression", "y", [])
    for count in (50, 51, 200, 201):
        model = Ridge(alpha=30).fit(wide.iloc[:, :count], truth)
        found = importances_of(CONFIG, schema, model, wide.iloc[:, :count], truth, by("regression", "r2"))
        if count == 201:
            assert found is None
            continue
        assert found is not None and len(found) == count and found[0]["column"] == "c3"
        assert {one["rows"] for one in found} == {30} and {one["metric"] for one in found} == {"r2"}
        assert (found[0]["std"] > 0) == (count == 50)  # of one permutation there is none
        means = [one["mean"] for one in found]
        assert means == sorted(means, reverse=True)
    long = pd.DataFrame({name: rng.normal(size=1200) for name in "ab"})
    truth = (long["a"] * 3 + rng.normal(size=1200)).to_numpy()
    at = np.sort(np.random.default_rng(3).permutation(1200)[:1000])
    model = Ridge().fit(long, truth)
    wanted = permutation_importance(model, long.iloc[at], truth[at], scoring="r2", n_repeats=3, random_state=3)
    found = importances_of(CONFIG, schema, model, long, truth, by("regression", "r2"))
    assert found is not None and [one["rows"] for one in found] == [1000, 1000]
    assert [one["mean"] for one in found] == pytest.approx(wanted.importances_mean.tolist())


class Certain:
    """A model that says no probabilities, and of which what it was asked is known."""

    classes_ = np.array(["b", "a"])

    def predict(self, rows: Any) -> Any:
        return np.array([["a"], ["b"], ["b"]], object)[: len(rows)]


class Sure(Certain):
    def predict_proba(self, rows: Any) -> Any:
        return np.array([[0.1, 0.9], [0.6, 0.4], [1.0, 0.0]])[: len(rows)]


class Says:
    """A model of own code, with the answers and probabilities that it is made of."""

    def __init__(self, said: Any, probability: Any = None, classes: Any = None) -> None:
        self._said = np.array(said, object)
        if probability is not None:
            self.predict_proba = lambda rows: np.array(probability)
        if classes is not None:
            self.classes_ = classes

    def predict(self, rows: Any) -> Any:
        return self._said


def test_what_a_model_says_in_the_form_that_metrics_take() -> None:
    """The positive class is the last; without the label, where there are probabilities, nothing is asked for it."""
    schema = Schema("binary", "y", [], ["a", "b"], positive="a")
    rows = pd.DataFrame({"x": [1, 2, 3]})
    label, probability = outcome(Certain(), schema, rows)
    assert label.tolist() == [1, 0, 0] and probability.tolist() == [[0, 1], [1, 0], [1, 0]]
    assert outcome(Certain(), schema, rows, with_label=False)[0].tolist() == [1, 0, 0]
    label, probability = outcome(Sure(), schema, rows)
    assert label.tolist() == [1, 0, 0] and probability.tolist() == [[0.1, 0.9], [0.6, 0.4], [1.0, 0.0]]
    label, probability = outcome(Sure(), schema, rows, with_label=False)
    assert label.shape == (3,) and label.dtype.kind == "i" and probability[0].tolist() == [0.1, 0.9]
    value, nothing = outcome(Says([[1.5], [2], [3]]), Schema("regression", "y", []), rows, with_label=False)
    assert value.tolist() == [1.5, 2, 3] and nothing is None
    with pytest.raises(StageError) as refused:
        outcome(Certain(), Schema("binary", "y", [], ["a", "c"]), rows)
    assert refused.value.message == "Certain predicts 'b', which is not one of the target's classes"
    assert refused.value.hint == "use a classifier as train.estimator, whose predict returns labels"


def test_what_predicts_no_class_is_told() -> None:
    model = DummyRegressor().fit(np.zeros((4, 1)), [0, 0, 0, 1])
    with pytest.raises(StageError, match=r"DummyRegressor predicts 0\.25, which is not one of the target's classes"):
        outcome(model, Schema("binary", "y", [], [0, 1]), np.zeros((2, 1)))


ODD = [
    (Says(["a", "b"]), "Says has no classes_, its labels in the order of its probabilities"),
    (Says(["a", "b"], [0.1, 0.9], ["a", "b"]), "Says returns probabilities of shape (2,) for 2 rows and 2 classes"),
    (Says(["a", "b"], [[0.1], [0.9]], ["a", "b"]), "Says returns probabilities of shape (2, 1) for 2 rows"),
    (
        Says(["a", "b"], [[0.5, 0.5], [-0.25, 1.25]], ["a", "b"]),
        "Says returns values that are not probabilities: [-0.25, 1.25] for 1 of 2 rows",
    ),
    (Says([1, None]), None),
    (Says(["1.5", "x"]), "Says predicts values of type object, and the task is regression"),
]


@pytest.mark.parametrize(("model", "said"), ODD)
def test_what_own_code_says_in_another_form_is_told(model: Any, said: str | None) -> None:
    of_numbers = said is None or "regression" in said
    schema = Schema("regression", "y", []) if of_numbers else Schema("binary", "y", [], ["a", "b"])
    if said is None:
        assert np.isnan(outcome(model, schema, pd.DataFrame({"x": [1, 2]}))[0][1])
        return
    with pytest.raises(StageError) as refused:
        outcome(model, schema, pd.DataFrame({"x": [1, 2]}))
    assert refused.value.message.startswith(said) and refused.value.hint is not None


def test_an_unknown_probability_is_told_with_its_model() -> None:
    model = Says(["a", "b"], [[0.5, 0.5], [np.nan, np.nan]], ["a", "b"])
    label, probability = outcome(model, Schema("binary", "y", [], ["a", "b"]), pd.DataFrame({"x": [1, 2]}))
    with pytest.raises(StageError, match=r"Says returns values that are not probabilities: \[nan, nan\] for 1 of 2"):
        check_known(label, probability, model)
    check_known(np.array([1.0, np.inf]), None, model)
    with pytest.raises(StageError, match="Says predicts NaN for 1 of 2 rows"):
        check_known(np.array([1.0, np.nan]), None, model)

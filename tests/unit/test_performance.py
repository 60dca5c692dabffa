"""Performance in a window: by labels as scikit-learn says, else estimated, beside the holdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from mlops_glue import io, layout, metrics
from mlops_glue.config import METRICS, Drift, Performance
from mlops_glue.errors import DataError
from mlops_glue.monitoring.labels import TRUTH, Joined
from mlops_glue.monitoring.performance import _worse, performance
from mlops_glue.monitoring.target import target_drift
from mlops_glue.schema import Schema

YES_NO = Schema("binary", "y", labels=["no", "yes"], positive="yes")
BIRDS = Schema("multiclass", "y", labels=["a", "b", "c"])
VALUE = Schema("regression", "y")
METRIC_TABLE = {
    "roc_auc": lambda y, p, q: sk.roc_auc_score(y == "yes", q[:, 1]),
    "average_precision": lambda y, p, q: sk.average_precision_score(y == "yes", q[:, 1]),
    "f1": lambda y, p, q: sk.f1_score(y, p, pos_label="yes"),
    "precision": lambda y, p, q: sk.precision_score(y, p, pos_label="yes"),
    "recall": lambda y, p, q: sk.recall_score(y, p, pos_label="yes"),
    "accuracy": lambda y, p, q: sk.accuracy_score(y, p),
    "log_loss": lambda y, p, q: sk.log_loss(y, q, labels=["no", "yes"]),
    "brier": lambda y, p, q: sk.brier_score_loss(y, q[:, 1], pos_label="yes"),
}
MANY = {
    "accuracy": lambda y, p, q: sk.accuracy_score(y, p),
    "balanced_accuracy": lambda y, p, q: sk.balanced_accuracy_score(y, p),
    "f1_macro": lambda y, p, q: sk.f1_score(y, p, average="macro"),
    "log_loss": lambda y, p, q: sk.log_loss(y, q, labels=["a", "b", "c"]),
    "roc_auc_ovr": lambda y, p, q: sk.roc_auc_score(y, q, multi_class="ovr", labels=["a", "b", "c"]),
}
REAL = {
    "r2": lambda y, p, q: sk.r2_score(y, p),
    "rmse": lambda y, p, q: sk.root_mean_squared_error(y, p),
    "mae": lambda y, p, q: sk.mean_absolute_error(y, p),
    "median_absolute_error": lambda y, p, q: sk.median_absolute_error(y, p),
}


def served(schema: Schema, n: int, seed: int = 0, shift: float = 0.0) -> tuple[pa.Table, Any]:
    """What a well-calibrated model said, and the truth."""
    rng = np.random.default_rng(seed)
    if schema.labels is None:
        truth = rng.normal(shift, 1, n)
        return pa.table({"prediction": truth + rng.normal(0, 0.5, n)}), truth
    raw = np.exp(rng.normal(shift, 1.5, (n, 1)) * np.linspace(-1, 1, len(schema.labels)) + rng.normal(0, 1, (n, 1)))
    raw = raw * np.exp(rng.normal(0, 0.3, raw.shape))
    share = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    truth = np.array(schema.labels)[(rng.random((n, 1)) >= np.cumsum(share, axis=1)[:, :-1]).sum(axis=1)]
    said = np.array(schema.labels)[share.argmax(axis=1)]
    columns = {"prediction": said, **{f"probability_{one}": share[:, at] for at, one in enumerate(schema.labels)}}
    return pa.table(columns), truth


def bundle(folder: Path, schema: Schema, names: Any) -> Path:
    """A bundle's holdout, of 4,000 rows of the same model."""
    from mlops_glue.pipeline.holdout import holdout

    table, truth = served(schema, 4000, seed=1)
    known = metrics.table(schema.task, len(schema.order))
    from mlops_glue.monitoring.performance import outcome, truths

    mine = (truths(schema, pa.chunked_array([pa.array([str(t) for t in truth])]))[0], *outcome(schema, table))
    scores = {}
    for name in names:
        value = metrics.compute(known[name], *mine)
        low, high = metrics.interval(value, metrics.draws(known[name], *mine, 0), 4000)
        scores[name] = {"value": value, "low": low, "high": high}
    sampled = table.append_column("y", pa.array(truth)).append_column(layout.PART, pa.array(["test"] * 4000))
    io.write_json(folder / layout.HOLDOUT, holdout({"metrics": scores, "rows": 4000}, sampled, schema))
    return folder


def labelled(table: pa.Table, truth: Any) -> Joined:
    return Joined(table.append_column(TRUTH, pa.array([str(one) for one in truth])), table.num_rows)


@pytest.mark.parametrize(
    "schema, table", [(YES_NO, METRIC_TABLE), (BIRDS, MANY), (VALUE, REAL)], ids=["binary", "multiclass", "regression"]
)
def test_it_says_what_scikit_learn_says(schema: Schema, table: dict[str, Any], tmp_path: Path) -> None:
    assert set(table) == set(METRICS[schema.task])
    bundle(tmp_path, schema, table)
    rows, truth = served(schema, 3000)
    shares = np.column_stack([rows[f"probability_{one}"] for one in schema.labels]) if schema.labels else None
    for name, by_sklearn in table.items():
        told = performance(schema, tmp_path, Performance(metric=name), None, labelled(rows, truth), None)
        assert told["value"] == pytest.approx(by_sklearn(truth, rows["prediction"].to_numpy(), shares), abs=1e-6), name
        assert told["low"] <= told["value"] <= told["high"] and not told["estimated"]
        assert told["verdict"] == "ok" and told["coverage"] == 1.0


@pytest.mark.parametrize("schema", [YES_NO, BIRDS], ids=["binary", "multiclass"])
def test_the_estimate_is_near_the_truth_where_inputs_drift(schema: Schema, tmp_path: Path) -> None:
    """And it says what it is. Other inputs, the same model, still calibrated: the case that it is made for."""
    names = METRICS[schema.task]
    bundle(tmp_path, schema, names)
    rows, truth = served(schema, 20_000, seed=2, shift=0.7)
    for name in names:
        options = Performance(metric=name)
        guess = performance(schema, tmp_path, options, None, Joined(None, 20_000), rows)
        real = performance(schema, tmp_path, options, None, labelled(rows, truth), None)
        assert guess["estimated"] and "no label went into it" in guess["note"]
        assert guess["value"] == pytest.approx(real["value"], abs=0.02, rel=0.05), name
        assert guess["low"] < guess["value"] < guess["high"] and guess["verdict"] == "not enough data"


def test_the_estimate_uses_the_calibration(tmp_path: Path) -> None:
    """A model that is too sure of itself: its own probabilities promise more than it holds."""
    rows, truth = served(YES_NO, 4000, seed=1)
    sure = np.clip(rows["probability_yes"].to_numpy() ** 3, 1e-6, 1 - 1e-6)
    sure = sure / (sure + (1 - rows["probability_yes"].to_numpy()) ** 3)
    points = [metrics.calibration(truth == one, p) for one, p in (("no", 1 - sure), ("yes", sure))]
    own = np.maximum(sure, 1 - sure).mean()
    calibrated = np.interp(sure, *points[1])
    assert abs(np.maximum(calibrated, 1 - calibrated).mean() - np.mean((sure > 0.5) == (truth == "yes"))) < 0.02
    assert own > np.mean((sure > 0.5) == (truth == "yes")) + 0.05
    few = metrics.calibration((truth == "yes")[:200], sure[:200])
    assert np.all(np.diff(few[0]) > 0) and np.all(np.diff(few[1]) >= 0)


def test_regression_has_no_estimate_and_says_so(tmp_path: Path) -> None:
    bundle(tmp_path, VALUE, REAL)
    told = performance(VALUE, tmp_path, Performance(), None, Joined(None, 500), served(VALUE, 500)[0])
    assert told["value"] is None and told["estimated"] is None and "regression" in told["note"]


def test_a_drop_beyond_the_interval_is_told_and_chance_is_not(tmp_path: Path) -> None:
    bundle(tmp_path, YES_NO, METRICS["binary"])
    rng, told = np.random.default_rng(0), []
    for seed in range(40):
        rows, truth = served(YES_NO, 150, seed=100 + seed)
        told.append(performance(YES_NO, tmp_path, Performance(drop=0.0), None, labelled(rows, truth), None)["verdict"])
    assert told.count("performance") <= 3  # 2.5 % of windows on one side
    rows, truth = served(YES_NO, 1000)
    wrong = np.where(rng.random(1000) < 0.4, rng.permutation(truth), truth)
    for metric in ("roc_auc", "log_loss"):  # higher is better, lower is better
        bad = performance(YES_NO, tmp_path, Performance(metric=metric), None, labelled(rows, wrong), None)
        assert bad["verdict"] == "performance" and bad["worse"] > 0.05
        much = Performance(metric=metric, drop=5.0)
        assert performance(YES_NO, tmp_path, much, None, labelled(rows, wrong), None)["verdict"] == "ok"


def test_a_class_that_is_missing_or_new(tmp_path: Path) -> None:
    bundle(tmp_path, BIRDS, METRICS["multiclass"])
    rows, truth = served(BIRDS, 400)
    for metric in METRICS["multiclass"]:
        options = Performance(metric=metric)
        only, alone = np.flatnonzero(truth != "c"), np.flatnonzero(truth == "a")
        told = performance(BIRDS, tmp_path, options, None, labelled(rows.take(only), truth[only]), None)
        assert (told["value"] is None) == (metric == "roc_auc_ovr")  # as scikit-learn has it
        told = performance(BIRDS, tmp_path, options, None, labelled(rows.take(alone), truth[alone]), None)
        assert (told["value"] is None) == (metric == "roc_auc_ovr")
        if told["value"] is None:
            assert "a class is missing" in told["problems"][0] and told["verdict"] == "not enough data"
        new = truth.copy().astype(object)
        new[:8] = "d"
        told = performance(BIRDS, tmp_path, options, None, labelled(rows, new), None)
        assert "8 of 400 labels are classes that the model does not know" in told["problems"][0]
        assert told["value"] is not None and told["verdict"] != "performance"
        new[:80] = "d"
        assert performance(BIRDS, tmp_path, options, None, labelled(rows, new), None)["verdict"] == "performance"
    none = np.full(400, "d")
    assert performance(BIRDS, tmp_path, Performance(), None, labelled(rows, none), None)["value"] is None
    one = performance(BIRDS, tmp_path, Performance(min_labelled=1), None, labelled(rows.slice(0, 1), truth[:1]), None)
    assert one["labelled"] == 1


def test_labels_are_read_as_the_model_knows_them() -> None:
    from mlops_glue.monitoring.performance import truths

    def of(schema: Schema, *words: str) -> list[int]:
        return truths(schema, pa.chunked_array([list(words)]))[0].tolist()

    assert of(Schema("binary", "y", labels=[False, True], positive=True), "true", "0", "No", "maybe") == [1, 0, 0, -1]
    assert of(Schema("binary", "y", labels=[0, 1], positive=0), "0", "1", "2") == [1, 0, -1]
    assert of(Schema("binary", "y", labels=[0.0, 1.0], positive=1.0), "0", "1") == [0, 1]


def test_a_metric_that_the_version_was_not_evaluated_by(tmp_path: Path) -> None:
    bundle(tmp_path, YES_NO, ["f1"])
    with pytest.raises(DataError, match="was not evaluated by brier"):
        performance(YES_NO, tmp_path, Performance(metric="brier"), None, Joined(None, 0), None)


@pytest.mark.parametrize("schema", [YES_NO, BIRDS, VALUE], ids=["binary", "multiclass", "regression"])
def test_the_labels_themselves_drift(schema: Schema, tmp_path: Path) -> None:
    _, truth = served(schema, 4000)
    sampled = pa.table({"y": truth, layout.PART: ["train"] * 3000 + ["test"] * 1000})
    io.write_parquet(tmp_path / layout.SAMPLE, sampled)
    later, now = served(schema, 1500, seed=3)
    same = target_drift(schema, tmp_path, Drift(), labelled(later, now))
    assert same is not None and same["distance"] < same["threshold"] and not same["drifted"]
    moved = now + 0.5 if schema.labels is None else np.where(np.arange(1500) % 2 == 0, schema.labels[-1], now)
    told = target_drift(schema, tmp_path, Drift(), labelled(later, moved))
    assert told is not None and told["drifted"]
    if schema.labels is not None:  # a class that was never there
        new = target_drift(schema, tmp_path, Drift(), labelled(later, np.where(np.arange(1500) < 300, "new", now)))
        assert new is not None and new["drifted"]
    assert target_drift(schema, tmp_path, Drift(), Joined(None, 100)) is None
    few = target_drift(schema, tmp_path, Drift(), labelled(later.slice(0, 3), now[:3]))
    assert few is not None and few["threshold"] > same["threshold"]


@pytest.mark.parametrize(("rows", "estimated"), [(99, True), (100, False), (101, False)])
def test_with_so_many_labels_it_is_measured(rows: int, estimated: bool, tmp_path: Path) -> None:
    bundle(tmp_path, YES_NO, ["accuracy"])
    table, truth = served(YES_NO, rows)
    options = Performance(metric="accuracy", min_labelled=100)
    assert performance(YES_NO, tmp_path, options, None, labelled(table, truth), table)["estimated"] == estimated


@pytest.mark.parametrize(
    ("higher", "before", "now", "apart", "width"),
    [  # asymmetric intervals: what counts is the side on which the other one lies
        (True, (0.90, 0.70, 0.91), (0.80, 0.50, 0.82), 0.10, (0.20**2 + 0.02**2) ** 0.5),
        (False, (0.30, 0.28, 0.50), (0.40, 0.39, 0.90), 0.10, (0.20**2 + 0.01**2) ** 0.5),
        (True, (0.80, 0.77, 0.90), (0.90, 0.50, 0.94), -0.10, (0.03**2 + 0.04**2) ** 0.5),
        (False, (0.40, 0.10, 0.43), (0.30, 0.26, 0.90), -0.10, (0.03**2 + 0.04**2) ** 0.5),
    ],
)
def test_worse_by_how_much_at_least(higher: bool, before: Any, now: Any, apart: float, width: float) -> None:
    told = _worse(higher, now, dict(zip(("value", "low", "high"), before, strict=True)))
    assert told == (pytest.approx(apart), pytest.approx(apart - width))


def test_a_figure_says_what_it_is_of() -> None:
    """By labels of some rows, of a sample of a great table, or estimated."""
    from mlops_glue.commands.react import performs

    of = {"metric": "f1", "value": 0.9, "low": 0.8, "high": 0.95, "holdout": {"value": 0.91}, "estimated": False}
    of |= {"labelled": 2500, "rows": 20_000, "coverage": 0.125, "sampled": None}
    assert str(performs(of)).endswith("; by 2,500 of 20,000 rows, those with a label")
    sample = of | {"rows": 20_000_000, "sampled": 4000}
    assert str(performs(sample)).endswith("those with a label, on a sample of 4,000 of 20,000,000")
    assert "probabilities, no label" in str(performs(of | {"estimated": True}))
    guess = performs(of | {"estimated": True, "sampled": 2000})
    assert "probabilities on a sample of 2,000 of 20,000 rows, no label went into it" in str(guess)


@pytest.mark.parametrize("asked", [True, False])
def test_labels_that_drift_are_told_and_are_an_alert_where_that_is_asked_for(asked: bool) -> None:
    from mlops_glue.commands.react import judged, lines

    target = {"method": "jensenshannon", "distance": 0.4, "threshold": 0.1, "drifted": True}
    of = {"verdict": "ok", "target": target, "value": None, "note": None}
    for before, wanted in (("ok", "drift" if asked else "ok"), ("not enough data", "not enough data")):
        told: dict[str, Any] = {"versions": [{"version": 1, "verdict": before, "performance": of}]}
        judged(told, {1}, target=asked)
        assert (told["verdict"], told["versions"][0]["verdict"]) == (wanted, wanted)
        assert list(lines(told, [], 0.0)) == ["the labels drifted: jensenshannon 0.400, drift from 0.100"]
    of["target"] = target | {"drifted": False}
    told = {"versions": [{"version": 1, "verdict": "ok", "performance": of}]}
    judged(told, {1}, target=asked)
    assert told["verdict"] == "ok" and not list(lines(told, [], 0.0))

"""Performance in a window: by labels as scikit-learn says, else estimated, beside the holdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from mlops_glue import bootstrap, files, layout, metrics, tables
from mlops_glue.config import Config, Drift, Performance
from mlops_glue.errors import DataError
from mlops_glue.metrics import METRICS
from mlops_glue.monitoring.drift import Version
from mlops_glue.monitoring.labels import TRUTH, Joined
from mlops_glue.monitoring.performance import (
    estimated,
    of_version,
    outcome,
    performance,
    target_drift,
    truths,
    usable,
    worsened,
)
from mlops_glue.pipeline import curves
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
    from mlops_glue.pipeline.reference import holdout

    table, truth = served(schema, 4000, seed=1)
    known = metrics.METRICS[schema.task]
    mine = (truths(schema, pa.chunked_array([pa.array([str(t) for t in truth])]))[0], *outcome(schema, table))
    scores = {}
    for name in names:
        value = metrics.compute(known[name], *mine)
        low, high = bootstrap.interval(value, bootstrap.bootstrap(known[name], *mine, 0), 4000)
        scores[name] = {"value": value, "low": low, "high": high}
    sampled = table.append_column("y", pa.array(truth)).append_column(layout.SPLIT_COLUMN, pa.array(["test"] * 4000))
    files.write_json(
        folder / layout.HOLDOUT, holdout({"metrics": scores, "rows": 4000, "importances": None}, sampled, schema)
    )
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
        assert guess["estimated"] and "without labels" in guess["note"]
        assert guess["value"] == pytest.approx(real["value"], abs=0.02, rel=0.05), name
        assert guess["low"] < guess["value"] < guess["high"] and guess["verdict"] == "not enough data"


def test_the_estimate_uses_the_calibration(tmp_path: Path) -> None:
    """A model that is too sure of itself: its own probabilities promise more than it holds."""
    rows, truth = served(YES_NO, 4000, seed=1)
    sure = np.clip(rows["probability_yes"].to_numpy() ** 3, 1e-6, 1 - 1e-6)
    sure = sure / (sure + (1 - rows["probability_yes"].to_numpy()) ** 3)
    points = [curves.calibration(truth == one, p) for one, p in (("no", 1 - sure), ("yes", sure))]
    own = np.maximum(sure, 1 - sure).mean()
    calibrated = np.interp(sure, *points[1])
    assert abs(np.maximum(calibrated, 1 - calibrated).mean() - np.mean((sure > 0.5) == (truth == "yes"))) < 0.02
    assert own > np.mean((sure > 0.5) == (truth == "yes")) + 0.05
    few = curves.calibration((truth == "yes")[:200], sure[:200])
    assert np.all(np.diff(few[0]) > 0) and np.all(np.diff(few[1]) >= 0)


def test_regression_has_no_estimate_and_says_so(tmp_path: Path) -> None:
    bundle(tmp_path, VALUE, REAL)
    told = performance(VALUE, tmp_path, Performance(), None, Joined(None, 500), served(VALUE, 500)[0])
    assert (
        told["value"] is None
        and told["estimated"] is None
        and told["note"] == "not enough labels yet, so performance is unknown"
    )


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
    def of(schema: Schema, *words: str) -> list[int]:
        return truths(schema, pa.chunked_array([list(words)]))[0].tolist()

    assert of(Schema("binary", "y", labels=[False, True], positive=True), "true", "0", "No", "maybe") == [1, 0, 0, -1]
    assert of(Schema("binary", "y", labels=[0, 1], positive=0), "0", "1", "2") == [1, 0, -1]
    assert of(Schema("binary", "y", labels=[0.0, 1.0], positive=1.0), "0", "1") == [0, 1]


def test_a_metric_that_the_version_was_not_evaluated_by(tmp_path: Path) -> None:
    bundle(tmp_path, YES_NO, ["f1"])
    with pytest.raises(DataError, match="was not evaluated with brier"):
        performance(YES_NO, tmp_path, Performance(metric="brier"), None, Joined(None, 0), None)


@pytest.mark.parametrize("schema", [YES_NO, BIRDS, VALUE], ids=["binary", "multiclass", "regression"])
def test_the_labels_themselves_drift(schema: Schema, tmp_path: Path) -> None:
    _, truth = served(schema, 4000)
    sampled = pa.table({"y": truth, layout.SPLIT_COLUMN: ["train"] * 3000 + ["test"] * 1000})
    tables.write_parquet(tmp_path / layout.SAMPLE, sampled)
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
    told = worsened(higher, now, dict(zip(("value", "low", "high"), before, strict=True)))
    assert told == (pytest.approx(apart), pytest.approx(apart - width))


def test_a_figure_says_what_it_is_of() -> None:
    """By labels of some rows, of a sample of a great table, or estimated."""
    from mlops_glue.monitoring.wording import performance as performs

    of = {"metric": "f1", "value": 0.9, "low": 0.8, "high": 0.95, "holdout": {"value": 0.91}, "estimated": False}
    of |= {"labelled": 2500, "rows": 20_000, "coverage": 0.125, "sampled": None}
    assert str(performs(of)).endswith("; from 2,500 of 20,000 rows, which have a label")
    sample = of | {"rows": 20_000_000, "sampled": 4000}
    assert str(performs(sample)).endswith("which have a label, on a sample of 4,000 of 20,000,000")
    assert "probabilities, without labels" in str(performs(of | {"estimated": True}))
    guess = performs(of | {"estimated": True, "sampled": 2000})
    assert "probabilities on a sample of 2,000 of 20,000 rows, without labels" in str(guess)


@pytest.mark.parametrize(("total", "said"), [(10, None), (11, 10)])
def test_of_how_many_rows_a_figure_of_a_sample_is(total: int, said: int | None, tmp_path: Path) -> None:
    version = Version(1, YES_NO, Mock(), kept(tmp_path, YES_NO, roc_auc=(0.9, 0.8, 0.95)))
    config = Config.model_validate({"glue": 1, "project": "p"})
    told = of_version(config, tmp_path, version, Joined(None, total), pa.table({"prediction": ["yes"] * 10}))
    assert (told["sampled"], told["target"], told["rows"]) == (said, None, total)


@pytest.mark.parametrize("asked", [True, False])
def test_labels_that_drift_are_told_and_are_an_alert_where_that_is_asked_for(asked: bool) -> None:
    from mlops_glue.monitoring.run import combine_verdicts
    from mlops_glue.monitoring.wording import incident

    target = {"method": "jensenshannon", "distance": 0.4, "threshold": 0.1, "drifted": True}
    of = {"verdict": "ok", "target": target, "value": None, "note": None}
    for before, wanted in (("ok", "drift" if asked else "ok"), ("not enough data", "not enough data")):
        told: dict[str, Any] = {"versions": [{"version": 1, "verdict": before, "performance": of}]}
        combine_verdicts(told, {1}, target=asked)
        assert (told["verdict"], told["versions"][0]["verdict"]) == (wanted, wanted)
        assert incident([], told["performance"]) == ["the labels drifted: jensenshannon 0.400, threshold 0.100"]
    of["target"] = target | {"drifted": False}
    told = {"versions": [{"version": 1, "verdict": "ok", "performance": of}]}
    combine_verdicts(told, {1}, target=asked)
    assert told["verdict"] == "ok" and incident([], told["performance"]) == []


def kept(folder: Path, schema: Schema, calibration: Any = None, **scores: Any) -> Path:
    """A bundle's holdout as it is written here; a score is its value, low and high."""
    named = {name: dict(zip(("value", "low", "high"), one, strict=True)) for name, one in scores.items()}
    files.write_json(folder / layout.HOLDOUT, {"rows": 1000, "metrics": named, "calibration": calibration})
    return folder


def told_of(schema: Schema, folder: Path, said: dict[str, Any], truth: list[str], **options: Any) -> dict[str, Any]:
    """Measured by these labels, of twice as many rows."""
    table = pa.table({**said, TRUTH: pa.array(truth, pa.string())})
    asked = Performance(**{"min_labelled": 1, **options})
    return performance(schema, folder, asked, None, Joined(table, 2 * len(truth)), None)


def test_what_was_measured_is_told_in_full(tmp_path: Path) -> None:
    """The interval is that of the bootstrap with 95 %, of the rows that count."""
    kept(tmp_path, YES_NO, accuracy=(0.9, 0.88, 0.93), brier=(0.1, 0.09, 0.12))
    rows, truth = served(YES_NO, 300)
    joined = Joined(labelled(rows, truth).table, 1200, (60.0, 3600.0), ["one is early"])
    for name in ("accuracy", "brier"):
        told = performance(YES_NO, tmp_path, Performance(metric=name, drop=0.5), "brier", joined, None)
        metric, index = metrics.METRICS["binary"][name], (truth == "yes").astype(int)
        share = np.column_stack([rows["probability_no"], rows["probability_yes"]])
        mine = index, (rows["prediction"].to_numpy() == "yes").astype(int), share
        value = metrics.compute(metric, *mine)
        low, high = bootstrap.interval(value, bootstrap.bootstrap(metric, *mine, 0), 300, 0.95)
        before = {"accuracy": (0.9, 0.88, 0.93), "brier": (0.1, 0.09, 0.12)}[name]
        assert told == {
            **{"metric": name, "labelled": 300, "rows": 1200, "coverage": 0.25, "lag_s": [60.0, 3600.0]},
            "holdout": dict(zip(("value", "low", "high"), before, strict=True)),
            **{"drop": 0.5, "problems": ["one is early"], "estimated": False, "verdict": "ok"},
            **{"value": value, "low": low, "high": high},
            "worse": pytest.approx(before[0] - value if name == "accuracy" else value - before[0]),
        }
        assert low < value < high and type(told["value"]) is type(told["low"]) is float
    assert joined.problems == ["one is early"]


@pytest.mark.parametrize(
    ("options", "promote", "name"), [({}, None, "roc_auc"), ({}, "f1", "f1"), ({"metric": "recall"}, "f1", "recall")]
)
def test_by_which_metric(options: Any, promote: str | None, name: str, tmp_path: Path) -> None:
    kept(tmp_path, YES_NO, roc_auc=(0.9, 0.8, 0.95), f1=(0.9, 0.8, 0.95), recall=(0.9, 0.8, 0.95))
    told = performance(YES_NO, tmp_path, Performance(**options), promote, Joined(None, 5), None)
    assert told["metric"] == name and told["worse"] is None and told["verdict"] == "not enough data"
    assert (told["labelled"], told["coverage"], told["lag_s"], told["estimated"]) == (0, 0, None, None)


def test_what_the_bundle_lacks_is_told_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(DataError) as missing:
        performance(YES_NO, tmp_path, Performance(), None, Joined(None, 5), None)
    assert (missing.value.message, missing.value.hint) == (
        "holdout.json: missing from the bundle",
        "glue run, with this version of glue",
    )
    kept(tmp_path, YES_NO, f1=(0.9, 0.8, 0.95))
    with pytest.raises(DataError) as other:
        performance(YES_NO, tmp_path, Performance(metric="brier"), None, Joined(None, 5), None)
    assert (other.value.message, other.value.hint) == (
        "monitor.performance: the version was not evaluated with brier",
        "add it to evaluate.metrics, then glue run",
    )


WORDS = ["yes"] * 6 + ["no"] * 4
LEFT_OUT = ": excluded from accuracy"


@pytest.mark.parametrize(
    ("truth", "said", "problems", "value", "verdict"),
    [
        (WORDS, {}, [], 1.0, "ok"),
        (["True", " yes", "1", "Yes", "t", "yes", "0", "n", "FALSE", "no"], {}, [], 1.0, "ok"),
        (
            [*WORDS[:8], "may", "be"],
            {},
            ["2 of 10 labels are classes that the model does not know ('be', 'may'; it knows 'no', 'yes')" + LEFT_OUT],
            1.0,
            "performance",
        ),
        (
            ["d", "a", "c", "b", "a", *WORDS[5:]],
            {},
            [
                "5 of 10 labels are classes that the model does not know ('a', 'b', 'c'; it knows 'no', 'yes')"
                + LEFT_OUT
            ],
            1.0,
            "performance",
        ),
        (
            WORDS,
            {"prediction": [None, "?", *WORDS[2:]]},
            ["the model could not score 2 of 10 labelled rows" + LEFT_OUT],
            1.0,
            "ok",
        ),
        (
            WORDS,
            {"probability_yes": [0.9] * 5 + [float("nan")] + [0.1] * 4},
            ["the model could not score 1 of 10 labelled rows" + LEFT_OUT],
            1.0,
            "ok",
        ),
        (
            ["may", *WORDS[1:]],
            {"prediction": [None, None, "no", *WORDS[3:]]},
            [
                "1 of 10 labels are classes that the model does not know ('may'; it knows 'no', 'yes')" + LEFT_OUT,
                "the model could not score 1 of 10 labelled rows" + LEFT_OUT,
            ],
            7 / 8,
            "performance",
        ),
        (
            ["may"] * 10,
            {},
            [
                "10 of 10 labels are classes that the model does not know ('may'; it knows 'no', 'yes')" + LEFT_OUT,
                "accuracy is undefined on these labels: a class is missing",
            ],
            None,
            "performance",
        ),
    ],
)
def test_labels_and_answers_that_do_not_count(
    truth: list[str], said: Any, problems: list[str], value: float | None, verdict: str, tmp_path: Path
) -> None:
    """They are left out and told; more new classes than `drop` are a model that no longer does."""
    kept(tmp_path, YES_NO, accuracy=(1.0, 0.5, 1.0))
    of = {"prediction": WORDS, "probability_no": [0.1] * 6 + [0.9] * 4, "probability_yes": [0.9] * 6 + [0.1] * 4}
    told = told_of(YES_NO, tmp_path, of | said, truth, metric="accuracy")
    assert (told["problems"], told["value"], told["verdict"]) == (problems, value, verdict)
    counted = round(
        10 - sum(int(one.removeprefix("the model could not score ").split()[0]) for one in problems if "of 10" in one)
    )
    assert (told["labelled"], told["coverage"]) == (counted, counted / 20)


def test_a_value_that_is_no_number_is_left_out_of_a_regression(tmp_path: Path) -> None:
    kept(tmp_path, VALUE, mae=(0.5, 0.4, 0.6))
    said = {"prediction": [1.0, 2.0, 3.0, float("inf"), 5.0]}
    told = told_of(VALUE, tmp_path, said, ["1.5", "x", "3", "4", "inf"], metric="mae")
    assert (told["value"], told["labelled"], told["coverage"]) == (0.25, 2, 0.2)
    assert told["problems"] == [
        "2 of 5 labels are not numbers ('inf', 'x'): excluded from mae",
        "the model could not score 1 of 5 labelled rows: excluded from mae",
    ]


@pytest.mark.parametrize(
    ("metric", "before", "drop", "verdict"),
    [  # 0.5 now, of rows that do not vary: the interval has no width
        ("mae", (0.4, 0.4, 0.4), 0.09, "performance"),
        ("mae", (0.25, 0.25, 0.25), 0.25, "ok"),  # by just so much is not by more
        ("mae", (0.5, 0.5, 0.5), 0.0, "ok"),
        ("mae", (0.25, 0.25, 0.5), 0.0, "ok"),  # the interval of the holdout reaches it
        ("mae", (0.25, 0.25, 0.49), 0.0, "performance"),
        ("mae", (0.25, 0.25, 0.45), 0.2, "performance"),  # by 0.25, and at least by 0.05: not by chance
        ("mae", (0.75, 0.75, 0.75), 0.0, "ok"),
        ("mae", (None, None, None), 0.0, "not enough data"),
    ],
)
def test_worse_by_more_than_the_drop_and_not_by_chance(
    metric: str, before: Any, drop: float, verdict: str, tmp_path: Path
) -> None:
    kept(tmp_path, VALUE, mae=before)
    told = told_of(VALUE, tmp_path, {"prediction": [1.0, 2.0, 3.0]}, ["1.5", "2.5", "3.5"], metric=metric, drop=drop)
    assert (told["value"], told["low"], told["high"], told["verdict"]) == (0.5, 0.5, 0.5, verdict)
    assert told["worse"] == (None if before[0] is None else pytest.approx(0.5 - before[0]))


@pytest.mark.parametrize(("new", "verdict"), [(1, "ok"), (2, "ok"), (3, "performance")])
def test_as_many_new_classes_as_the_drop_may_be(new: int, verdict: str, tmp_path: Path) -> None:
    kept(tmp_path, BIRDS, accuracy=(1.0, 0.5, 1.0))
    truth = ["d"] * new + ["a"] * (8 - new)
    assert (
        told_of(BIRDS, tmp_path, {"prediction": ["a"] * 8}, truth, drop=0.25, metric="accuracy")["verdict"] == verdict
    )


def test_a_log_without_probabilities_is_measured_by_its_labels(tmp_path: Path) -> None:
    kept(tmp_path, BIRDS, accuracy=(1.0, 0.5, 1.0), log_loss=(0.1, 0.0, 0.2))
    said, truth = {"prediction": ["a", "b", "c", "a"]}, ["a", "b", "c", "b"]
    assert told_of(BIRDS, tmp_path, said, truth, metric="accuracy")["value"] == 0.75
    sure = np.eye(3)[[0, 1, 2, 0]]
    wanted = sk.log_loss(truth, np.clip(sure, 1e-15, 1), labels=["a", "b", "c"])
    assert told_of(BIRDS, tmp_path, said, truth, metric="log_loss")["value"] == pytest.approx(wanted, rel=0.1)
    one = said | {"probability_a": [0.9, 0.1, 0.0, 0.8], "probability_b": [0.1, 0.9, 0.0, 0.2]}  # and none of c
    assert outcome(BIRDS, pa.table(one))[1].tolist() == sure.tolist()  # type: ignore[union-attr]


def test_what_the_log_says_in_the_order_of_the_metrics() -> None:
    """The positive class is the last, whichever way the labels are ordered."""
    flipped = Schema("binary", "y", labels=["no", "yes"], positive="no")
    rows = pa.table({"prediction": ["no", "yes"], "probability_no": [0.75, 0.5], "probability_yes": [0.25, 0.5]})
    label, share = outcome(flipped, rows)
    assert label.tolist() == [1, 0] and share is not None and share.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert truths(flipped, pa.chunked_array([["yes", "no", "?"]]))[0].tolist() == [0, 1, -1]
    found, known = truths(VALUE, pa.chunked_array([["1.5", "x", "-inf", "2"]]))
    assert known.tolist() == [True, False, False, True] and found[[0, 3]].tolist() == [1.5, 2.0]
    assert outcome(VALUE, pa.table({"prediction": [1.5]}))[1] is None


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"prediction": ["a", None, "z", "b"]}, [True, False, False, True]),
        ({"prediction": ["a"] * 4, "probability_a": [1.0, None, float("nan"), 0.0]}, [True, False, False, True]),
        ({"prediction": ["a"] * 4, "probable": [None] * 4, "x_probability_": [None] * 4}, [True] * 4),
        ({"prediction": ["a"] * 4, "probability_of_rain": [None] * 4}, [True] * 4),  # a feature
    ],
)
def test_rows_with_an_answer(columns: Any, wanted: list[bool]) -> None:
    assert usable(BIRDS, pa.table(columns)).tolist() == wanted


@pytest.mark.parametrize("schema", [VALUE, YES_NO])
def test_without_a_calibration_nothing_is_estimated(schema: Schema, tmp_path: Path) -> None:
    note = "not enough labels yet, so performance is unknown"
    kept(tmp_path, schema, accuracy=(0.9, 0.8, 1.0), r2=(0.9, 0.8, 1.0))
    name = "accuracy" if schema.labels else "r2"
    told = performance(schema, tmp_path, Performance(), name, Joined(None, 5), served(schema, 5)[0])
    assert {key: told[key] for key in ("estimated", "value", "low", "high", "note", "worse", "verdict")} == {
        **{"estimated": None, "value": None, "low": None, "high": None, "note": note, "worse": None},
        "verdict": "not enough data",
    }


ALIKE = [[[0.0, 1.0], [0.0, 1.0]]] * 2  # a probability is what it says


def test_the_estimate_is_what_the_calibrated_probabilities_promise(tmp_path: Path) -> None:
    """Each class by its own points, made to sum to 1; a class that nobody gives a chance is as likely as the others."""
    points = [[[0.0, 1.0], [0.0, 0.5]], [[0.0, 0.5, 1.0], [0.0, 0.9, 1.0]]]
    cases = {(0.6, 0.4): 0.3 / (0.3 + 0.72), (1.0, 0.0): 1.0, (0.0, 0.0): 0.5, (0.2, 0.8): 0.1 / (0.1 + 0.96)}
    accuracy = metrics.METRICS["binary"]["accuracy"]
    for (no, yes), of_no in cases.items():
        share = np.tile([no, yes], (4000, 1))
        drawn = estimated(accuracy, np.zeros(4000, int), share, points)
        assert drawn.shape == (bootstrap.SAMPLES,)
        assert drawn.mean() == pytest.approx(of_no, abs=0.004), (no, yes)
    three = [[[0.0, 1.0], [0.0, 1.0]]] * 3
    for label, wanted in enumerate((0.2, 0.3, 0.5)):
        said = np.full(4000, label)
        drawn = estimated(metrics.METRICS["multiclass"]["accuracy"], said, np.tile([0.2, 0.3, 0.5], (4000, 1)), three)
        assert drawn.mean() == pytest.approx(wanted, abs=0.004)
    rows = pa.table({"prediction": ["no"] * 4000, "probability_no": [0.6] * 4000, "probability_yes": [0.4] * 4000})
    kept(tmp_path, YES_NO, points, accuracy=(0.9, 0.8, 1.0), roc_auc=(0.9, 0.8, 1.0))
    told = performance(YES_NO, tmp_path, Performance(metric="accuracy"), None, Joined(None, 4000), rows)
    drawn = estimated(accuracy, np.zeros(4000, int), np.tile([0.6, 0.4], (4000, 1)), points)
    value = float(drawn.mean())
    assert (told["value"], (told["low"], told["high"])) == (value, bootstrap.interval(value, drawn, 4000, 0.95))
    assert told["low"] < value < told["high"] and told["estimated"] is True
    assert told["note"] == ("estimated without labels from the model's own probabilities, calibrated on the holdout")


def test_the_estimate_takes_rows_with_their_own_probabilities() -> None:
    """The sure rows come first: which row a truth is drawn for matters, and so does that rows are drawn at random."""
    sure = np.repeat([[0.0, 1.0], [1.0, 0.0]], 3000, axis=0)
    label = np.repeat([1, 0], 3000)
    metric = metrics.METRICS["binary"]["accuracy"]
    assert (estimated(metric, label, sure, ALIKE) == 1).all()
    assert (estimated(metric, 1 - label, sure, ALIKE) == 0).all()
    unsure = np.vstack([sure[:3000], np.full((3000, 2), 0.5)])
    drawn = estimated(metric, np.ones(6000, int), unsure, ALIKE)
    assert drawn.mean() == pytest.approx(0.75, abs=0.005)
    rows = bootstrap.MAX_ROWS  # of a sample: binomial, and the choice of rows
    assert drawn.std() == pytest.approx((0.75 * 0.25 / rows) ** 0.5, rel=0.3)
    assert estimated(metric, label[:1], sure[:1], ALIKE).tolist() == [1.0] * bootstrap.SAMPLES  # one row is a sample
    assert drawn.tolist() == estimated(metric, np.ones(6000, int), unsure, ALIKE).tolist()  # and the same each time


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (None, None),
        ({"prediction": [], "probability_no": [], "probability_yes": []}, None),
        ({"prediction": [None], "probability_no": [0.5], "probability_yes": [0.5]}, None),
        (
            {"prediction": ["no"] * 3, "probability_no": [1.0] * 3, "probability_yes": [0.0] * 3},
            "roc_auc cannot be estimated: it is undefined on these predictions",
        ),
    ],
)
def test_where_there_is_nothing_to_estimate_from(rows: Any, note: str | None, tmp_path: Path) -> None:
    kept(tmp_path, YES_NO, ALIKE, roc_auc=(0.9, 0.8, 1.0))
    sampled = (
        None
        if rows is None
        else pa.table({name: pa.array(of, None if of else pa.float64()) for name, of in rows.items()})
    )
    told = performance(YES_NO, tmp_path, Performance(), None, Joined(None, 9), sampled)
    assert [told[key] for key in ("estimated", "value", "low", "high", "worse")] == [None] * 5
    assert told.get("note") == note and told["rows"] == 9


def test_a_metric_of_the_projects_own_is_compared_with_what_it_was(tmp_path: Path) -> None:
    kept(tmp_path, YES_NO, profit=(1.0, 0.9, 1.1))
    path = tmp_path / layout.HOLDOUT
    before = files.read_json(path)
    before["metrics"]["profit"]["definition"] = "as it was"
    files.write_json(path, before)
    metric = metrics.Metric(lambda y, p, q: float((y == p).sum()), whole=True)
    rows, truth = served(YES_NO, 300)
    asked = (YES_NO, tmp_path, Performance(metric="profit"), None, labelled(rows, truth), None)
    told = performance(*asked, (metric, "as it was"))
    assert told["value"] == (rows["prediction"].to_numpy() == truth).sum() and told["verdict"] == "ok"
    for own, said in (
        ((metric, "as it is"), "the definition of profit has"),
        (None, "profit is not a metric for binary"),
    ):
        with pytest.raises(DataError, match=f"monitor.performance: {said}"):
            performance(*asked, own)


def test_what_is_of_so_many_rows_is_not_compared_with_a_holdout_of_another_size(tmp_path: Path) -> None:
    kept(tmp_path, YES_NO, **{"precision_at_20": (1.0, 0.9, 1.0), "precision_at_5%": (1.0, 0.9, 1.0)})
    rows, truth = served(YES_NO, 300)
    joined = labelled(rows, truth)
    with pytest.raises(DataError, match="precision_at_20 depends on the number of rows"):
        performance(YES_NO, tmp_path, Performance(metric="precision_at_20"), None, joined, None)
    told = performance(YES_NO, tmp_path, Performance(metric="precision_at_5%"), None, joined, None)
    assert told["low"] <= told["value"] <= told["high"]

"""When a window drifts: each limit on both sides, of real summaries."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from mlops_glue import files, layout, tables
from mlops_glue.config import Drift, Monitor
from mlops_glue.drift import Categories, Distribution, Numbers, Reference
from mlops_glue.errors import DataError
from mlops_glue.monitoring import drift
from mlops_glue.monitoring.drift import DriftMonitor, Version, answered
from mlops_glue.schema import Column, Schema


def version(prediction: Any = None, **columns: Any) -> Version:
    """Of columns of numbers, each of the same weight."""
    schema = Schema("regression", "y", [Column(name, "number", "double") for name in columns])
    known: dict[str, Distribution] = {n: Numbers.of(np.asarray(v, float)) for n, v in columns.items()}
    said = None if prediction is None else Numbers.of(np.asarray(prediction, float))
    return Version(1, schema, Reference(known, dict.fromkeys(known, 1 / len(known)), said), Path())


def verdict(of: Version, settings: Monitor, **columns: Any) -> dict[str, Any]:
    watch = DriftMonitor(of)
    watch.add(pa.table({name: pa.array(np.asarray(v, float), from_pandas=True) for name, v in columns.items()}))
    return watch.verdict(settings)


def normal(rows: int, seed: int, mean: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(mean, 1, rows)


@pytest.mark.parametrize(("rows", "said"), [(199, "not enough data"), (200, "drift"), (201, "drift")])
def test_with_so_many_rows_there_is_a_verdict(rows: int, said: str) -> None:
    told = verdict(version(a=normal(1000, 0)), Monitor(min_rows=200), a=normal(rows, 1, 3))
    assert told["verdict"] == said
    assert (told["drift_share"], told["columns"]["a"]["drifted"]) == ((None, None) if rows < 200 else (1.0, True))


def test_the_level_is_divided_by_the_columns_and_the_prediction() -> None:
    """Bonferroni: of five columns and a prediction each is asked at 1 - 0.05 / 6."""
    names, settings = "abcde", Monitor(min_rows=1)
    of = version(prediction=normal(500, 9), **{name: normal(500, at) for at, name in enumerate(names)})
    told = verdict(of, settings, prediction=normal(30, 19), **{n: normal(30, 10 + at) for at, n in enumerate(names)})
    for name in names:
        known = of.reference.columns[name]
        assert told["columns"][name]["threshold"] == known.noise(30, 1 - 0.05 / 6) > known.noise(30, 0.95) > 0.2
    assert of.reference.prediction is not None
    assert told["prediction"]["threshold"] == of.reference.prediction.noise(30, 1 - 0.05 / 6)


@pytest.mark.parametrize("counts", [True, False])
def test_drift_of_the_prediction_alone_counts_where_that_is_asked_for(counts: bool) -> None:
    of = version(prediction=normal(1000, 0), a=normal(1000, 1))
    told = verdict(of, Monitor(drift=Drift(prediction=counts)), prediction=normal(500, 2, 2), a=normal(500, 3))
    assert told["prediction"]["drifted"] and told["drifted"] == []
    assert told["verdict"] == ("drift" if counts else "ok")


def test_between_the_limit_and_what_chance_does_is_no_drift() -> None:
    of = version(a=normal(1000, 0))
    few, many = normal(30, 1), normal(3000, 1)
    for values, drifts in ((few, False), (many, True)):
        moved = (values - values.mean()) / values.std() + 0.25
        one = verdict(of, Monitor(min_rows=1), a=moved)["columns"]["a"]
        assert one["distance"] > 0.2 and one["drifted"] == drifts == (one["distance"] >= one["threshold"])
        assert one["why"] == ("distribution" if drifts else None)
    assert verdict(of, Monitor(min_rows=1, drift=Drift(number=0.5)), a=many + 0.3)["columns"]["a"]["threshold"] == 0.5


def with_nulls(rows: int, share: float) -> Any:
    """As like the normal distribution as so many rows can be."""
    known = round(rows * (1 - share))
    return np.append(norm.ppf((np.arange(known) + 0.5) / known), np.full(rows - known, np.nan))


@pytest.mark.parametrize(
    ("before", "now", "rows", "why"),
    [
        (0.30, 0.30, 10_000, None),
        (0.30, 0.34, 10_000, None),  # more than chance does, less than the limit of 0.1
        (0.30, 0.26, 10_000, None),
        (0.30, 0.41, 10_000, "nulls"),
        (0.30, 0.19, 10_000, "nulls"),
        (0.30, 0.00, 10_000, "nulls"),  # that they vanish is drift as well
        (0.30, 1.00, 10_000, "nulls"),
        (0.00, 0.11, 10_000, "nulls"),
        (0.30, 0.41, 40, None),  # more than the limit, less than chance does with so few rows
    ],
)
def test_nulls_drift_beyond_the_limit_and_chance(before: float, now: float, rows: int, why: str | None) -> None:
    one = verdict(version(a=with_nulls(10_000, before)), Monitor(min_rows=1), a=with_nulls(rows, now))["columns"]["a"]
    assert (one["why"], one["drifted"]) == (why, why is not None)


def test_predictions_that_are_none_are_counted_and_many_are_drift() -> None:
    of, steady = version(prediction=normal(1000, 0), a=normal(1000, 1)), normal(1000, 2)
    for missing, drifts in ((0, False), (3, False), (900, True), (1000, True)):
        said = normal(1000, 3)
        said[:missing] = np.nan
        told = verdict(of, Monitor(), prediction=said, a=steady)
        assert (told["unanswered"], told["predictions"]) == (missing, 1000)
        assert told["verdict"] == ("drift" if drifts else "ok")


def test_values_of_another_type_are_a_problem_of_their_column() -> None:
    of = version(prediction=normal(1000, 0), a=normal(1000, 1), b=normal(1000, 2))
    watch = DriftMonitor(of)
    nested = pa.array([[1.0]] * 300)
    watch.add(pa.table({"a": nested, "b": normal(300, 4), "prediction": ["much"] * 300}))
    told = watch.verdict(Monitor())
    assert told["drifted"] == ["a"] and told["verdict"] == "drift" and not told["columns"]["b"]["drifted"]
    assert told["prediction"]["drifted"] and "has another type" in told["prediction"]["why"]


RAW = [
    Column("size", "number", "double"),
    Column("town", "category", "string", categories=["Wien", "Graz", "Linz"]),
    Column("when", "datetime", "string"),
    Column("ok", "boolean", "bool"),
    Column("code", "number", "string"),
]
OF_KINDS = Schema("binary", "y", RAW, labels=["no", "yes"], positive="yes")


def asked(rows: int, seed: int) -> dict[str, Any]:
    """What is asked, as training had it."""
    rng = np.random.default_rng(seed)
    return {
        "size": rng.normal(10, 2, rows),
        "town": np.array(["Wien", "Graz", "Linz"])[rng.choice(3, rows, p=[0.6, 0.3, 0.1])],
        "when": [f"2024-{m:02}-{d:02}T{h:02}:00" for m, d, h in rng.integers(1, [13, 29, 24], (rows, 3))],
        "ok": rng.random(rows) < 0.7,
        "code": [str(one) for one in rng.integers(0, 50, rows)],
        "probability_yes": rng.random(rows) * 0.5,
        "prediction": np.where(rng.random(rows) < 0.3, "yes", "no"),
    }


@cache
def trained() -> Reference:
    table = pa.table(asked(3000, 0))
    return Reference.of(table, table, OF_KINDS)


def of_kinds(weights: dict[str, float] | None = None) -> Version:
    reference = replace(trained(), columns=dict(trained().columns), weights=weights or trained().weights)
    return Version(7, OF_KINDS, reference, Path())


def watched(of: Version, *more: dict[str, Any], unlogged: frozenset[str] = frozenset()) -> DriftMonitor:
    """What was asked of 600 rows, changed; None takes the column away."""
    watch = DriftMonitor(of, unlogged)
    for seed, one in enumerate(more or ({},), 1):
        columns = {name: values for name, values in (asked(600, seed) | one).items() if values is not None}
        watch.add(pa.table(columns))
    return watch


PARTS = [f"when.{one}" for one in ("days", "month", "weekday", "hour")]


def test_rows_of_every_kind_that_are_as_in_training_are_no_drift() -> None:
    told = watched(of_kinds(), {}, {}).verdict(Monitor())
    assert (told["version"], told["rows"], told["predictions"], told["unanswered"]) == (7, 1200, 1200, 0)
    assert (told["verdict"], told["drifted"], told["drift_share"], told["threshold"]) == ("ok", [], 0, 0.3)
    assert list(told["columns"]) == ["size", "town", *PARTS, "ok", "code"] and told["other_columns"] == []
    for name, one in told["columns"].items():
        assert (one["drifted"], one["why"], one["null_share"], one["reference_null_share"]) == (False, None, 0, 0), name
        assert one["weight"] == 1 / 8 and 0 < one["distance"] < one["threshold"], name
        numeric = name in ("size", "when.days", "code")
        assert one["method"] == ("wasserstein" if numeric else "jensenshannon"), name
        assert one["threshold"] == (0.2 if numeric else 0.1) or name in (*PARTS[1:], "when.days"), name
        assert set(one) - {"weight"} == {
            *("method", "distance", "threshold", "drifted", "why", "null_share", "reference_null_share"),
            *(("out_of_range", "range") if numeric else ("unseen",)),
        }
    assert told["prediction"]["method"] == "wasserstein" and told["prediction"]["drifted"] is False
    assert told["prediction"]["why"] is None


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        ({"size": None}, ["size"], "the column is missing"),
        ({"when": None}, PARTS, "the column is missing"),
        ({"when": ["soon"] * 600}, PARTS, "column 'when': 'soon' is not a date"),
        ({"code": ["x"] * 600}, ["code"], "column 'code': 'x' is not a number"),
        ({"ok": [2.5] * 600}, ["ok"], "column 'ok': 2.5 is not a boolean"),
        ({"town": [[1]] * 600}, ["town"], "column 'town': Unsupported cast from list"),
        ({"probability_yes": [{"a": 1}] * 600}, [], "has another type: float() argument must be"),
    ],
    ids=lambda of: next(iter(of)) if isinstance(of, dict) else None,
)
@pytest.mark.parametrize("first", [True, False])
def test_what_a_column_cannot_be_is_its_problem(
    change: dict[str, Any], names: list[str], said: str, first: bool
) -> None:
    """In whatever piece of the log; the others are judged all the same, and it has no distance."""
    told = watched(of_kinds(), *((change, {}) if first else ({}, change))).verdict(Monitor(drift=Drift(share=0.1)))
    assert sorted(told["drifted"]) == sorted(names) and told["drift_share"] == len(names) / 8
    assert told["verdict"] == "drift" and told["rows"] == 1200
    for name in names:
        one = told["columns"][name]
        assert one["distance"] is None and one["drifted"] is True and one["why"].startswith(said), one["why"]
        assert "\n" not in one["why"] and len(one["why"]) < 150
    prediction = told["prediction"]
    assert (prediction["drifted"], prediction["distance"] is None) == (not names, not names)
    assert prediction["why"] is None if names else prediction["why"].startswith(said)


@pytest.mark.parametrize("name", ["town", "prediction"])
def test_of_a_problem_the_first_line_is_told_and_not_more_than_fits(name: str) -> None:
    """In place of its distance, also where what came before could be read."""
    schema = Schema("multiclass", "y", [Column("town", "category", "string")], labels=["a", "b"])
    words = Categories.of(np.array(["a", "b"] * 50, object))
    watch = DriftMonitor(Version(1, schema, Reference({"town": words}, {"town": 1.0}, words), Path()))
    watch.add(pa.table({"town": ["a"] * 5, "prediction": ["b"] * 5}))
    there = {"town": ["a"] * 5, "prediction": ["b"] * 5}
    watch.add(pa.table(there | {name: [{"x" * 300: 1}] * 5}))
    told = watch.verdict(Monitor(min_rows=1))
    one = told["prediction"] if name == "prediction" else told["columns"]["town"]
    assert (one["distance"], one["drifted"]) == (None, True)
    said = "has another type: " if name == "prediction" else ""
    before = said or "column 'town': "
    assert one["why"].startswith(f"{before}Unsupported cast from struct")
    assert len(one["why"]) == len(said) + 120


def test_columns_that_the_log_leaves_out_are_not_judged() -> None:
    """They have no weight either, and are no other columns."""
    told = watched(of_kinds(), {"size": None, "when": ["gone"] * 600}, unlogged=frozenset(["size", "when"]))
    assert told.problems == {}
    assert {name: one["weight"] for name, one in told.verdict(Monitor())["columns"].items()} == {
        name: pytest.approx(1 / 3) for name in ("town", "ok", "code")
    }


def test_columns_that_the_version_does_not_know_are_named() -> None:
    """Not those that glue writes, nor the target."""
    more = {name: [1] * 600 for name in ("zeta", "y", "glue_row", "probability_no", "probabilities", "Alpha")}
    assert watched(of_kinds(), more, {"beta": [1] * 600}).verdict(Monitor())["other_columns"] == [
        "Alpha",
        "beta",
        "probabilities",
        "zeta",
    ]


@pytest.mark.parametrize(
    ("weights", "share"), [("importance", [0.5, 0.25, 0.0]), ("equal", [1 / 3, 1 / 3, 1 / 3])], ids=str
)
def test_a_column_counts_by_what_the_model_makes_of_it(weights: Any, share: list[float]) -> None:
    """The most important is named first; what the reference has no weight of counts nothing."""
    of = of_kinds({"size": 0.1, "town": 0.1, "ok": 0.2, "when.days": 0.6})
    change = {"size": [99.0] * 600, "ok": [False] * 600, "code": ["7"] * 600}
    watch = watched(of, change, unlogged=frozenset(["when"]))
    told = watch.verdict(Monitor(drift=Drift(weights=weights)))
    by = {name: one["weight"] for name, one in told["columns"].items()}
    assert [by[name] for name in ("ok", "size", "code")] == (
        [0.5, 0.25, 0.0] if weights == "importance" else [0.25, 0.25, 0.25]
    )
    assert told["drifted"] == (["ok", "size", "code"] if weights == "importance" else ["size", "ok", "code"])
    assert told["drift_share"] == 0.75
    for limit, verdict in ((0.75, "ok"), (0.74, "drift")):  # more than the share is drift, the share itself is not
        settings = Monitor(drift=Drift(weights=weights, share=limit, prediction=False))
        assert watch.verdict(settings)["verdict"] == verdict
    none = watched(of_kinds({"size": 0.0}), change).verdict(Monitor())
    assert {one["weight"] for one in none["columns"].values()} == {1 / 8}  # where nothing has a weight all count alike


def test_what_was_not_there_in_training_is_told_by_its_share() -> None:
    size, town = np.linspace(8, 12, 600), asked(600, 1)["town"].astype(object)
    size[:3], size[3:6], town[:6], town[6:12] = 1e6, -1e6, "Rom", None
    of = of_kinds()
    told = watched(of, {"size": size, "town": town}).verdict(Monitor())["columns"]
    assert told["size"]["out_of_range"] == 0.01 and told["town"]["unseen"] == pytest.approx(6 / 594)
    assert (told["town"]["null_share"], told["town"]["drifted"]) == (0.01, False)
    before: Any = of.reference.columns["size"]  # with three standard deviations on each side
    margin = 3 * before.spread
    assert told["size"]["range"] == [before.values[0] - margin, before.values[-1] + margin]


def test_of_a_column_that_never_varied_there_is_no_range() -> None:
    one = verdict(version(a=np.ones(500)), Monitor(), a=np.append(np.ones(270), np.full(30, 2.0)))["columns"]["a"]
    assert (one["method"], one["range"], one["out_of_range"]) == ("jensenshannon", None, 0.1)
    assert one["threshold"] == 0.1 and one["drifted"]


def test_of_a_column_with_too_many_values_none_is_unseen() -> None:
    of = of_kinds()
    town: Any = of.reference.columns["town"]
    of.reference.columns["town"] = replace(town, complete=False)
    assert watched(of).verdict(Monitor())["columns"]["town"]["unseen"] is None


def test_categories_are_counted_as_the_model_reads_them() -> None:
    """With blanks around it, or as another type, a category is the same one; a word that says null is null."""
    schema = replace(OF_KINDS, columns=[RAW[1], Column("n", "category", "int64")])
    known: dict[str, Distribution] = {"town": Categories.of(np.array(["Wien"] * 60 + ["Graz"] * 40, object))}
    known["n"] = Categories.of(np.array(["1"] * 50 + ["2"] * 50, object))
    watch = DriftMonitor(Version(1, schema, Reference(known, {}, None), Path()))
    towns = ["Wien", "Wien ", " Graz", "Wien", "NA", None, "Wien", "Graz", "Wien", " Wien"]
    watch.add(pa.table({"town": towns, "n": [1.0, 2.0] * 5}))
    told = watch.verdict(Monitor(min_rows=1))
    assert told["prediction"] is None and watch.knows_predictions
    assert told["columns"]["town"]["null_share"] == 0.2 and told["columns"]["town"]["unseen"] == 0
    assert told["columns"]["n"]["distance"] == pytest.approx(0) and told["columns"]["n"]["weight"] == 0.5
    wanted = known["town"].compare(np.array(["Wien"] * 6 + ["Graz"] * 2, object)).distance
    assert told["columns"]["town"]["distance"] == pytest.approx(wanted)


def test_of_what_nothing_is_known_nothing_is_judged() -> None:
    """A column of nulls only, and rows without a prediction."""
    watch = watched(of_kinds(), {"prediction": None, "probability_yes": None, "size": pa.nulls(600, pa.float64())})
    assert not watch.knows_predictions and (watch.predictions, watch.unanswered) == (0, 0)
    told = watch.verdict(Monitor())
    assert told["prediction"] is None and (told["predictions"], told["unanswered"]) == (0, 0)
    size = told["columns"]["size"]
    assert (size["distance"], size["why"], size["null_share"], size["out_of_range"]) == (None, "nulls", 1.0, 0)
    none = watched(of_kinds(), {name: [] for name in asked(1, 1)})
    told = none.verdict(Monitor())
    assert (told["rows"], told["verdict"], told["drift_share"]) == (0, "not enough data", None)
    assert {(one["drifted"], one["null_share"], one["why"]) for one in told["columns"].values()} == {(None, 0, None)}
    assert watched(of_kinds()).knows_predictions
    no_rows = verdict(version(a=with_nulls(1000, 0.95)), Monitor(), a=[])["columns"]["a"]
    assert (no_rows["why"], no_rows["null_share"], no_rows["reference_null_share"]) == (None, 0, 0.95)


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ([0.5, None, float("nan"), float("inf"), -1.0], 3),
        (["a", None, "", "b"], 1),
        ([1, None, 0], 1),
        (pa.array([1.5, float("-inf"), None], pa.float32()), 2),
    ],
    ids=str,
)
def test_which_predictions_are_none(said: Any, missing: int) -> None:
    rows = pa.chunked_array([said if isinstance(said, pa.Array) else pa.array(said)])
    assert int((~answered(rows)).sum()) == missing and len(answered(rows)) == len(rows)
    watch = watched(of_kinds(), {name: list(values[: len(rows)]) for name, values in asked(600, 1).items()})
    watch.add_predictions(pa.table({"prediction": rows}))
    assert (watch.unanswered, watch.predictions) == (missing, 2 * len(rows))


def test_a_version_is_read_from_its_bundle(tmp_path: Path) -> None:
    weights = {"size": 0.25, "town": 0.75}
    files.write_json(tmp_path / "schema.json", OF_KINDS.to_dict())
    with pytest.raises(DataError, match="the bundle has no reference"):
        Version.of(3, tmp_path)
    rows = pa.table(asked(3000, 0))
    parts = [rows.append_column(layout.SPLIT_COLUMN, pa.array([part] * 3000)) for part in ("train", "test")]
    tables.write_parquet(tmp_path / layout.SAMPLE, pa.concat_tables(parts))
    files.write_json(tmp_path / layout.HOLDOUT, {"weights": weights})
    read = Version.of(3, tmp_path)
    assert (read.number, read.schema, read.folder) == (3, OF_KINDS, tmp_path)
    assert read.reference.weights == weights
    assert watched(read).verdict(Monitor())["columns"] == watched(of_kinds(weights)).verdict(Monitor())["columns"]


def test_of_a_large_window_a_sample_is_compared_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What repeats every second row is in the sample; rows, predictions and answers are counted in full."""
    monkeypatch.setattr(drift, "COMPARED_ROWS", 500)
    monkeypatch.setattr(drift, "LEAST_ROWS", 500)
    of = version(prediction=normal(1000, 0), a=normal(1000, 1))
    for shift, verdict in ((0.0, "ok"), (3.0, "drift")):
        watch = DriftMonitor(of)
        for seed in range(20):
            values = normal(400, seed)
            values[::2] += shift
            watch.add(pa.table({"a": values, "prediction": pa.array([None, *values[1:]])}))
        told = watch.verdict(Monitor())
        assert (told["verdict"], told["rows"], told["predictions"], told["unanswered"]) == (verdict, 8000, 8000, 20)
        assert 500 <= told["sampled"] <= 1000
    assert watched(of_kinds()).verdict(Monitor())["sampled"] is None


@pytest.mark.parametrize("nulls", [0.05, 0.3])
def test_the_limit_of_nulls_is_the_greater_of_the_two(nulls: float) -> None:
    """What chance does with these rows and the reference's, or what is configured."""
    of, rows = version(a=with_nulls(400, 0.5)), 100
    chance = norm.ppf(1 - 0.05 / 2) * (0.25 * (1 / rows + 1 / 400)) ** 0.5  # a column and the prediction
    assert 0.1 < chance < 0.12
    for now in range(50, 100):
        settings = Monitor(min_rows=1, drift=Drift(nulls=nulls, number=9))
        one = verdict(of, settings, a=with_nulls(rows, now / 100))["columns"]["a"]
        assert (one["why"] == "nulls") == (now / 100 - 0.5 > max(nulls, chance)), now

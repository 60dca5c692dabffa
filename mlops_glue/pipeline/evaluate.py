"""evaluate: metrics on the holdout with intervals, by slice, compared with thresholds and the trivial predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlops_glue import bootstrap, files, layout, measures, metrics, pages, paired, row_groups, tables
from mlops_glue.config import Config, Threshold
from mlops_glue.pipeline import evaluation, plots, score_warnings, target_scale
from mlops_glue.pipeline.contributions import contributions_of
from mlops_glue.pipeline.decision import with_decision
from mlops_glue.pipeline.evaluation import Evaluation, Importance, Limit, Score, Slice
from mlops_glue.pipeline.ingest import check_columns
from mlops_glue.pipeline.outcome import check_known, outcome
from mlops_glue.pipeline.split import training_columns
from mlops_glue.pipeline.threads import threads_for
from mlops_glue.pipeline.train import DEFAULT, kind_of, trivial, xy
from mlops_glue.pipeline.trusting import load_model
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

MAX_IMPORTANCES = 200  # columns; with more it would take longer than the training
IMPORTANCE_ROWS = 1000  # of the holdout
MAX_CELLS = 4_000_000  # cells of shuffled rows that the model scores together
Array = np.ndarray[Any, Any]
Predicted = tuple[Array, Array, Array | None]  # truth, label and probability, as `metrics` takes them


def evaluate(config: Config, root: Path) -> None:
    """Write `metrics.json` (flat numbers, for DVC), `plots/*.svg`, `evaluation.json` and `report.html`.

    Raises:
        ConfigError: `glue.yaml` names a metric that the task does not have.
    """
    schema = Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])
    model = load_model(config, root)
    features, target = xy(tables.read_parquet(root / layout.TEST), schema)
    names, limits = config.evaluate.measured(list(metrics.METRICS[schema.task])), config.evaluate.thresholds
    known = {name: measures.find(config, schema, root, name) for name in dict.fromkeys([*names, *limits])}
    columns = _Learned(config, root)
    learnt = columns[f"target:{schema.target}"].to_numpy()
    schema = with_decision(config, root, schema, model)
    truth = schema.class_indices(target)
    with threads_for(features):
        label, probability = outcome(model, schema, features)
        check_known(label, probability, model)
    predicted = truth, label, probability
    constant = outcome(trivial(schema, learnt), schema, np.zeros((len(truth), 1)))
    scores = {name: _score(metric, predicted, constant, config.train.seed) for name, metric in known.items()}
    _tell_apart(scores, known, {name: measures.definition(config, schema, root, name) for name in known})
    report: Evaluation = {
        "project": config.project,
        "target": schema.target,
        "task": schema.task,
        "estimator": config.train.named or DEFAULT[schema.task],
        "model": kind_of(model),
        "split": config.split.by,
        "train_rows": len(learnt),
        "rows": len(truth),
        "metrics": scores,
        "intervals": {"samples": bootstrap.SAMPLES, "rows": bootstrap.sample_rows(len(truth))},
        "thresholds": [threshold(name, limit, scores[name]["value"]) for name, limit in limits.items()],
        "slices": _slices(config, root, {name: known[name] for name in names}, predicted),
        "importances": importances_of(config, schema, model, features, truth, (names[0], known[names[0]])),
        "contributions": contributions_of(schema, model, columns, features, config.train.seed),
        "leaks": (leaks := [*score_warnings.leakage(config, schema, (columns, learnt), (features, target), label)]),
        "warnings": [*leaks],
    }
    report |= _where_asked(config, root, schema, predicted, len(learnt))
    report["warnings"] += score_warnings.low_sum(report.get("scale"))
    of_probability = [name for name in scores if not known[name].of_label]
    if schema.labels is not None and not hasattr(model, "predict_proba") and of_probability:
        report["warnings"].append(score_warnings.hard_labels(schema, report["model"], of_probability))
    classes = set(columns[f"target:{schema.target}"].unique().to_pylist() if schema.labels else [])
    report["warnings"] += score_warnings.missing_classes(schema, truth, classes, scores)
    report["warnings"] += score_warnings.one_class(schema, truth, label)
    first, *others = names
    report["warnings"] += score_warnings.first_metric(first, report, higher_is_better=known[first].higher_is_better)
    report["warnings"] += score_warnings.other_losses({n: scores[n] for n in others if not known[n].higher_is_better})
    _write(root, report, _drawn(config, schema, predicted, report), schema.decides)


def _where_asked(config: Config, root: Path, schema: Schema, predicted: Predicted, learnt: int) -> Evaluation:
    """Return the entries of the report that `glue.yaml` requests; `learnt` is the number of training rows."""
    more: dict[str, Any] = {}
    if config.train.rows is not None and (of := files.read_json(root / layout.SAMPLED)["of"]) > learnt:
        more["sampled_of"] = of
    if schema.decision is not None:
        more["decision"] = asdict(schema.decision)
    if (scale := target_scale.of_holdout(config, root, predicted)) is not None:
        more["scale"] = scale
    if config.split.fresh_after:
        order = bootstrap.ranking(schema.task, predicted, config.train.seed)
        fresh = files.read_json(root / layout.FRESH) | files.read_json(root / layout.LEARNED)
        more["fresh"] = fresh | {"order": order}
    return cast(Evaluation, more)


def _drawn(config: Config, schema: Schema, predicted: Predicted, report: Evaluation) -> dict[str, str]:
    """Return the plots by name, as SVG."""
    truth, label, probability = predicted
    drawn = plots.of_outcome(schema, truth, label, probability)
    drawn |= plots.of_threshold(schema, measures.costs(config, schema), truth, probability)
    drawn |= plots.of_importances(report["importances"], len(truth))
    return drawn | plots.of_contributions(report.get("contributions"), schema, len(truth))


class _Learned:
    """The features of the training rows; each is read on access."""

    def __init__(self, config: Config, root: Path) -> None:
        self._read = training_columns(config, root)

    def __getitem__(self, name: str) -> Any:
        return self._read(name)


def _score(metric: metrics.Metric, predicted: Predicted, constant: tuple[Array, Array | None], seed: int) -> Score:
    """Return a metric with its interval and the trivial predictor's value, whose predictions are `constant`."""
    truth = predicted[0]
    value = metrics.compute(metric, *predicted)
    samples = bootstrap.bootstrap(metric, *predicted, seed)
    low, high = bootstrap.interval(value, samples, len(truth), whole=metric.whole)
    return {"value": value, "low": low, "high": high, "trivial": metrics.compute(metric, truth, *constant)}


def _tell_apart(scores: dict[str, Score], known: dict[str, metrics.Metric], definitions: dict[str, str | None]) -> None:
    """Add what the names alone do not show: the definition, which way is better, and the rows of the samples."""
    for name, score in scores.items():
        if (definition := definitions[name]) is not None:
            score["definition"], score["higher_is_better"] = definition, known[name].higher_is_better
        if known[name].whole:
            score["whole"] = True


def _write(root: Path, report: Evaluation, drawn: dict[str, str], decides: str) -> None:
    """Write the report as JSON and as a page, its numbers, and its plots; `decides` describes its decision rule."""
    files.write_json(root / layout.METRICS, {name: score["value"] for name, score in report["metrics"].items()})
    for name, svg in drawn.items():
        files.write_text(root / layout.PLOTS / f"{name}.svg", svg)
    evaluation.write(root / layout.EVALUATION, report)
    of_scale = evaluation.scale_in_words(report["scale"]) if "scale" in report else ""
    shown = [pages.plot(name, svg[svg.index("<svg") :]) for name, svg in drawn.items()]
    values = {
        "evaluation": report,
        "champion": None,
        "drawn": shown,
        "decides": decides,
        "of_scale": of_scale,
        "stale": [],
        "failed": None,
    }
    page = pages.render("evaluation.html", pages.Frame(report["project"]), "evaluation", values)
    files.write_text(root / layout.EVALUATION / "report.html", page)


def threshold(name: str, limit: Threshold, value: float) -> Limit:
    """Return a threshold with the metric's value; NaN meets no threshold, as both comparisons are false."""
    met = (limit.min is None or value >= limit.min) and (limit.max is None or value <= limit.max)
    return {"metric": name, "value": value, "min": limit.min, "max": limit.max, "met": bool(met)}


def importances_of(
    config: Config,
    schema: Schema,
    model: Any,
    features: pd.DataFrame,
    truth: Array,
    by: tuple[str, metrics.Metric],
) -> list[Importance] | None:
    """Return permutation importances (Breiman 2001) by a metric, the largest first; None for too many columns."""
    if features.shape[1] > MAX_IMPORTANCES:
        return None
    name, metric = by
    at = np.sort(np.random.default_rng(config.train.seed).permutation(len(truth))[:IMPORTANCE_ROWS])
    sign = 1 if metric.higher_is_better else -1

    def score(frame: pd.DataFrame, copies: int) -> Array:
        with threads_for(frame):
            label, probability = outcome(model, schema, frame, with_label=metric.of_label)
        parts = [slice(n * len(at), (n + 1) * len(at)) for n in range(copies)]
        some = [None if probability is None else probability[part] for part in parts]
        values = [metrics.compute(metric, truth[at], label[p], q) for p, q in zip(parts, some, strict=True)]
        return sign * np.array(values)

    repeats = 3 if features.shape[1] <= 50 else 1
    several = max(1, MAX_CELLS // max(repeats * len(at) * schema.cells, 1))
    losses = shuffled_losses(features.iloc[at], score, repeats, config.train.seed, several)
    named: list[Importance] = [
        {"column": column, "metric": name, "mean": float(mean), "std": float(std), "rows": len(at)}
        for column, (mean, std) in zip(features.columns, losses, strict=True)
    ]
    return sorted(named, key=lambda column: -column["mean"])


def shuffled_losses(
    features: pd.DataFrame, score: Callable[[pd.DataFrame, int], Array], repeats: int, seed: int, several: int = 1
) -> Array:
    """Return mean and standard deviation of the score lost if each column is shuffled, shape (columns, 2).

    The numbers equal those of scikit-learn's `permutation_importance`, which scores one permutation at a time: with a
    thousand rows, most of its time is the overhead of the calls.

    Args:
        features: a frame of shape (rows, columns).
        score: `(frame, copies) -> float array of shape (copies,)`, higher is better; the frame contains `copies`
            copies of the rows, one below the other.
        repeats: number of permutations of each column.
        seed: of the permutations.
        several: number of columns that are shuffled for one call of `score`.
    """
    rows, count = features.shape
    # scikit-learn draws its seed from the given seed
    rng = np.random.RandomState(np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1))
    shuffle, orders = np.arange(rows), [np.arange(rows)]
    for _ in range(repeats):
        rng.shuffle(shuffle)
        orders.append(orders[-1][shuffle])  # each permutation continues the last one
    shuffled = np.concatenate(orders[1:])
    whole = float(score(features, 1)[0])
    out = np.empty((count, 2))
    for first in range(0, count, several):
        columns = range(first, min(first + several, count))
        copies = len(columns) * repeats
        stacked = features.iloc[np.tile(np.arange(rows), copies)].reset_index(drop=True)
        for at, column in enumerate(columns):
            part = slice(at * repeats * rows, (at + 1) * repeats * rows)
            stacked.iloc[part, column] = features.iloc[:, column].take(shuffled).to_numpy()
        lost = whole - score(stacked, copies).reshape(len(columns), repeats)
        out[columns] = np.column_stack([lost.mean(axis=1), lost.std(axis=1)])
    return out


def _slices(config: Config, root: Path, names: dict[str, metrics.Metric], predicted: Predicted) -> list[Slice]:
    """Return the metrics by value of each slice column."""
    if not config.evaluate.slices:
        return []
    check_columns(config, {config.data.labels.source: tables.column_names(root / config.rows) or []}, "evaluate")
    rows = tables.read_parquet(root / layout.TEST, [layout.ROW]).column(layout.ROW)
    table = row_groups.take(root / config.rows, rows.to_numpy(), list(dict.fromkeys(config.evaluate.slices)))
    return [
        {"column": column, **one}
        for column, values in evaluation.slice_values(config, table).items()
        for one in by_value(values, names, *predicted, seed=config.train.seed)
    ]


def by_value(
    values: Array,
    names: dict[str, metrics.Metric],
    truth: Array,
    label: Array,
    probability: Array | None,
    *,
    seed: int,
) -> list[Slice]:
    """Return the metrics on the rows of each value, in the order of the values; of many values those with most rows.

    A value is a text, "" for null; truth, label and probability are as `metrics` takes them. The first metric has a
    95 % interval from bootstrap samples drawn with `seed`.
    """
    first = next(iter(names))
    out: list[Slice] = []
    for value, at, count in paired.groups(values):
        some = None if probability is None else probability[at]
        scores = {name: metrics.compute(metric, truth[at], label[at], some) for name, metric in names.items()}
        samples = bootstrap.bootstrap(names[first], truth[at], label[at], some, seed)
        low, high = bootstrap.interval(scores[first], samples, len(at), whole=names[first].whole)
        out.append({"value": value, "rows": len(at), "metrics": scores, "values": count, "low": low, "high": high})
    return out

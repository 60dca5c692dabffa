"""evaluate: metrics on the holdout with their uncertainty, by slice, against thresholds and the trivial predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import bootstrap, files, layout, metrics, tables
from mlops_glue.adapters import matplotlib, skops
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, StageError
from mlops_glue.parsing import column_as_text
from mlops_glue.pipeline import doubts, importances, plots, row_selection
from mlops_glue.pipeline.ingest import check_slices
from mlops_glue.pipeline.train import DEFAULT, kind_of, threads_for, trivial, xy
from mlops_glue.schema import Schema

PERFECT, ALONE = 0.999, 0.9  # of a metric whose best value is 1; a column's share of all importances
GOOD = 0.95  # r2, from where on the order of a column may be the reason
MOST_IMPORTANCES = 200  # columns; more would take longer than the training
IMPORTANCE_ROWS = 1000  # of the holdout
MOST_SLICES = 50  # values of a column
Slice = dict[str, Any]


def evaluate(config: Config, root: Path) -> None:
    """Write `metrics.json` (flat numbers, for DVC), `plots/*.svg`, `evaluation.json` and `report.html`."""
    schema = Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])
    model = skops.load(root / layout.MODEL)
    features, target = xy(tables.read_parquet(root / layout.TEST), schema)
    seen, learnt = xy(row_selection.training_rows(root, fresh=bool(config.split.fresh_after)), schema)
    truth = schema.class_indices(target)
    with threads_for(features):
        label, probability = outcome(model, schema, features)
    curves = matplotlib.begin(plots.of_outcome(schema, truth, label, probability))
    constant = outcome(trivial(schema, learnt), schema, np.zeros((len(truth), 1)))
    known = metrics.METRICS[schema.task]
    names = config.evaluate.metrics or list(metrics.METRICS[schema.task])
    wrong = [m for m in (*names, *config.evaluate.thresholds) if m not in known]
    if wrong:
        raise ConfigError([f"{layout.CONFIG} evaluate: {wrong[0]!r} is no metric of a {schema.task} task"])
    importances = _importances(config, schema, model, features, truth, names[0])
    bars = matplotlib.begin(plots.of_importances(importances, len(truth)))
    scores: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys([*names, *config.evaluate.thresholds]):
        value = metrics.compute(known[name], truth, label, probability)
        drawn = bootstrap.bootstrap(known[name], truth, label, probability, config.train.seed)
        low, high = bootstrap.interval(value, drawn, len(truth))
        by_constant = metrics.compute(known[name], truth, *constant)
        scores[name] = {"value": value, "low": low, "high": high, "trivial": by_constant}
    report: dict[str, Any] = {
        "project": config.project,
        "target": schema.target,
        "task": schema.task,
        "estimator": config.train.estimator or DEFAULT[schema.task],
        "model": kind_of(model),
        "split": config.split.by,
        "train_rows": len(learnt),
        "rows": len(truth),
        "metrics": scores,
        "intervals": {"samples": bootstrap.SAMPLES, "rows": bootstrap.sample_rows(len(truth))},
        "thresholds": [_threshold(n, limit, scores[n]["value"]) for n, limit in config.evaluate.thresholds.items()],
        "slices": _slices(config, root, {name: known[name] for name in names}, (truth, label, probability)),
        "importances": importances,
        "warnings": _doubts(config, schema, (seen, learnt), (features, target), label),
    }
    certain = schema.labels is not None and not hasattr(model, "predict_proba")
    if certain and (unsure := [name for name in scores if not known[name].of_label]):
        report["warnings"].append(
            f"{report['model']} gives no probabilities: {', '.join(unsure)} take each label for certain; "
            f"promote: {{metric: {'f1' if schema.task == 'binary' else 'accuracy'}}} takes the labels alone"
        )
    report["warnings"] += _absent(schema, truth, set(learnt.tolist() if schema.labels else []), scores)
    if config.split.fresh_after:
        order = bootstrap.ranking(schema.task, (truth, label, probability), config.train.seed)
        report["fresh"] = (
            files.read_json(root / layout.FRESH) | files.read_json(root / layout.LEARNED) | {"order": order}
        )
    report["warnings"] += _of_score(names[0], report, higher_is_better=known[names[0]].higher_is_better)
    report["warnings"] += _worse({name: scores[name] for name in names[1:] if not known[name].higher_is_better})
    files.write_json(root / layout.METRICS, {name: score["value"] for name, score in scores.items()})
    drawn_plots = curves() | bars()
    for name, svg in drawn_plots.items():
        files.write_text(root / layout.PLOTS / f"{name}.svg", svg)
    files.write_json(root / layout.EVALUATION / "evaluation.json", report)
    page = files.render(layout.templates() / "report" / "evaluation.html", {**report, "plots": drawn_plots})
    files.write_text(root / layout.EVALUATION / "report.html", page)


def _doubts(config: Config, schema: Schema, train: doubts.Part, test: doubts.Part, label: Any) -> list[str]:
    """What the metrics may owe their goodness to, a line each."""
    good = schema.labels is None and metrics.compute(metrics.METRICS["regression"]["r2"], test[1], label, None) > GOOD
    found = doubts.leaks(schema, train, test, good=good)
    copies = doubts.twins(train, test) if config.split.by == "random" else doubts.Twins(0, 0, 0)
    if copies.rows:
        entity = "" if config.source.entity else f" with data.sources.{config.data.labels.source}.entity"
        found.append(
            f"{copies} of the {len(test[1]):,} rows of the holdout are training rows too{copies.judged}: drop the "
            f"duplicates, or split: {{by: entity}}{entity}"
        )
    return found


def _of_score(name: str, report: dict[str, Any], *, higher_is_better: bool) -> list[str]:
    """A line where a metric is no better than the trivial predictor's, or nearly perfect by one column alone."""
    value, trivial = report["metrics"][name]["value"], report["metrics"][name]["trivial"]
    if metrics.is_at_least(trivial, value, higher_is_better=higher_is_better):
        return [f"{name} {value:z.4f} is no better than the trivial predictor's {trivial:z.4f}"]
    found = report["importances"] or []  # the greatest first
    alone = bool(found) and found[0]["mean"] >= ALONE * sum(max(one["mean"], 0.0) for one in found) > 0
    if report["warnings"] or not alone or not higher_is_better or not value >= PERFECT:
        return []
    looked = found[0]["rows"]
    few = f" (by {looked:,} of the {report['rows']:,} rows of the holdout)" if looked < report["rows"] else ""
    said = f"{name} {value:z.4f} is nearly perfect, and column {found[0]['column']!r} makes nearly all of it{few}"
    return [f"{said}: is it known before the target is? else features.exclude"]


def _worse(losses: dict[str, dict[str, float]]) -> list[str]:
    """A line for each loss, of those that decide nothing, that is greater than the trivial predictor's."""
    told = {name: (score["value"], score["trivial"]) for name, score in losses.items()}
    return [
        f"{name} {value:.4f} is worse than the trivial predictor's {trivial:.4f}, and decides nothing here"
        for name, (value, trivial) in told.items()
        if value > trivial and not metrics.is_at_least(value, trivial, higher_is_better=False)
    ]


def _absent(schema: Schema, truth: Any, learnt: set[Any], scores: dict[str, dict[str, Any]]) -> list[str]:
    """Lines on classes that training lacks, which the model never says, and on those without which a metric is none."""
    told = []
    if new := [at for at, one in enumerate(schema.class_order) if one not in learnt and at in truth]:
        classes = _some([schema.class_order[at] for at in new])
        said = f"the model never says {schema.target} {classes}: no training row is such"
        told.append(f"{said}, and {np.isin(truth, new).sum():,} of the {len(truth):,} rows of the holdout are")
    undefined = [name for name, score in scores.items() if np.isnan(score["value"])]
    absent = [one for at, one in enumerate(schema.class_order) if at not in truth]
    if undefined and absent:
        said = f"the holdout has no row where {schema.target} is {_some(absent)}"
        told.append(f"{', '.join(undefined)} not defined: {said}")
    return told


def _some(classes: list[Any]) -> str:
    return ", ".join(map(repr, classes[:3])) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")


def outcome(model: Any, schema: Schema, features: Any, *, with_label: bool = True) -> tuple[Any, Any]:
    """What a model says, in the form that `metrics` takes: class indices and probabilities, or values and None.

    Without the label, where the model has probabilities, the class indices mean nothing.
    """
    certain = not hasattr(model, "predict_proba")
    if with_label or certain or schema.labels is None:
        said = np.ravel(model.predict(features))
        if schema.labels is None:
            return said, None
        try:
            label = schema.class_indices(said)
        except KeyError as error:
            raise StageError(
                f"{kind_of(model)} predicts {error.args[0]!r}, which is none of the target's classes",
                hint="train.estimator: a classifier, whose predict gives labels",
            ) from None
    else:
        label = np.zeros(len(features), np.int64)
    if certain:
        return label, np.eye(len(schema.labels))[label]  # a model without probabilities is certain
    probability = np.zeros((len(label), len(schema.labels)))
    probability[:, schema.class_indices(model.classes_)] = model.predict_proba(features)
    return label, probability


def _threshold(name: str, limit: Any, value: float) -> dict[str, Any]:
    # a NaN meets no threshold: both comparisons are false
    met = (limit.min is None or value >= limit.min) and (limit.max is None or value <= limit.max)
    return {"metric": name, "value": value, "min": limit.min, "max": limit.max, "met": bool(met)}


def _importances(
    config: Config, schema: Schema, model: Any, features: Any, truth: Any, name: str
) -> list[dict[str, Any]] | None:
    """Permutation importances on so many holdout rows at most, the greatest first; None for too many columns."""
    if features.shape[1] > MOST_IMPORTANCES:
        return None
    metric = metrics.METRICS[schema.task][name]
    at = np.sort(np.random.default_rng(config.train.seed).permutation(len(truth))[:IMPORTANCE_ROWS])
    sign = 1 if metric.higher_is_better else -1

    def score(frame: Any, copies: int) -> Any:
        with threads_for(frame):
            label, probability = outcome(model, schema, frame, with_label=metric.of_label)
        parts = [slice(n * len(at), (n + 1) * len(at)) for n in range(copies)]
        some = [None if probability is None else probability[part] for part in parts]
        told = [metrics.compute(metric, truth[at], label[p], q) for p, q in zip(parts, some, strict=True)]
        return sign * np.array(told)

    repeats = 3 if features.shape[1] <= 50 else 1
    found = importances.importances(features.iloc[at], score, repeats, config.train.seed)
    named = [
        {"column": column, "metric": name, "mean": float(mean), "std": float(std), "rows": len(at)}
        for column, (mean, std) in zip(features.columns, found, strict=True)
    ]
    return sorted(named, key=lambda one: -one["mean"])


def _slices(config: Config, root: Path, names: dict[str, metrics.Metric], said: tuple[Any, Any, Any]) -> list[Slice]:
    """The metrics by value of each slice column."""
    if not config.evaluate.slices:
        return []
    check_slices(config, tables.column_names(root / config.rows) or [])
    rows = tables.read_parquet(root / layout.TEST, [layout.ROW]).column(layout.ROW)
    table = tables.read_parquet(root / config.rows, list(dict.fromkeys(config.evaluate.slices))).take(rows)
    texts = {
        column: column_as_text(table.column(column), column).fill_null("").to_numpy()
        for column in config.evaluate.slices
    }
    return [{"column": column, **one} for column, values in texts.items() for one in by_value(values, names, *said)]


def by_value(
    values: Any, names: dict[str, metrics.Metric], truth: Any, label: Any, probability: Any, most: int = MOST_SLICES
) -> list[Slice]:
    """The metrics on the rows of each value, in the order of the values; of many `values` those with the most rows.

    Args:
        values: a text for each row, empty for null, shape (rows,).
        names: the metrics by name.
        truth: class indices or values, shape (rows,).
        label: what was predicted, in the same form.
        probability: shape (rows, classes), or None.
        most: values.
    """
    found, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    out: list[Slice] = []
    for code in sorted(np.argsort(-counts, kind="stable")[:most]):
        at = np.flatnonzero(codes == code)
        some = None if probability is None else probability[at]
        scores = {name: metrics.compute(metric, truth[at], label[at], some) for name, metric in names.items()}
        out.append({"value": found[code] or None, "rows": len(at), "metrics": scores, "values": len(found)})
    return out

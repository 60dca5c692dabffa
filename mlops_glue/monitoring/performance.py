"""Performance of a served model compared with its holdout: measured with labels, or estimated if there are too few.

The estimate draws labels from the calibrated probabilities (confidence-based performance estimation: Kivimäki, Białek,
Kuberski and Nurminen 2025, arXiv:2505.05295). It detects the effect of changed inputs on performance. It does not
detect that the truth for the same inputs has changed: this requires labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import bootstrap, files, layout, measures, metrics, tables
from mlops_glue.config import Config, Drift, Performance
from mlops_glue.drift import Categories, Distribution, Numbers, sample_part
from mlops_glue.errors import DataError
from mlops_glue.monitoring.drift import LEVEL, Version, answered, compare
from mlops_glue.monitoring.labels import TRUTH, Joined, as_number, in_words_of, word_of
from mlops_glue.parsing import as_text
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
ESTIMATED_ROWS = 20_000  # in the sample for an estimate
UNKNOWN_CLASS = "?"  # a class that the model does not know


def of_version(config: Config, root: Path, version: Version, joined: Joined, rows: pa.Table | None) -> dict[str, Any]:
    """Return a version's performance, estimated from `rows` if there are too few labels, and its label drift."""
    options, metric, own = config.monitor.performance, config.promote.metric, None
    name = options.metric or metric
    if name is not None and (definition := measures.definition(config, version.schema, root, name)) is not None:
        own = measures.find(config, version.schema, root, name), definition
    record = performance(version.schema, version.folder, options, metric, joined, rows, own)
    record["sampled"] = rows.num_rows if rows is not None and rows.num_rows < joined.rows else None
    return record | {"target": target_drift(version.schema, version.folder, config.monitor.drift, joined)}


def performance(
    schema: Schema,
    folder: Path,
    options: Performance,
    metric: str | None,
    joined: Joined,
    sampled: pa.Table | None,
    own: tuple[metrics.Metric, str] | None = None,
) -> dict[str, Any]:
    """Return a version's performance in a window, compared with its holdout.

    Args:
        schema: the version's schema.
        folder: its bundle.
        options: `monitor.performance`.
        metric: `promote.metric`, used if `options` has no metric; None: the task's first metric.
        joined: the rows with labels.
        sampled: rows in the window with `prediction` and `probability_...`, for an estimate.
        own: the project's own metric with its definition.

    Returns:
        `verdict` is ok, performance (it became worse), or not enough data; `estimated` is true if `value`, `low` and
        `high` are estimated without labels; `worse` is the difference from the holdout, positive if it is worse.

    Raises:
        DataError: the bundle does not have the metric on its holdout, or the metric's definition has changed.
    """
    path = folder / layout.HOLDOUT
    if not path.is_file():
        raise DataError(f"{path.name}: missing from the bundle", hint="glue run, with this version of glue")
    before = files.read_json(path)
    name = options.metric or metric or metrics.default(schema.task)
    if name not in before["metrics"]:
        problem = f"monitor.performance: the version was not evaluated with {name}"
        raise DataError(problem, hint="add it to evaluate.metrics, then glue run")
    if own is not None and before["metrics"][name].get("definition") != own[1]:
        problem = f"monitor.performance: the definition of {name} has changed since the version was evaluated"
        raise DataError(problem, hint="glue run, which evaluates a new version with the current definition")
    found = own[0] if own is not None else metrics.find(schema.task, name)
    if found is None:
        raise DataError(f"monitor.performance: {name} is not a metric for {schema.task}")
    if found.of_count:
        problem = f"monitor.performance: {name} depends on the number of rows, which differs between window and holdout"
        raise DataError(problem, hint="use a share, as in precision_at_5%, here and in evaluate.metrics")
    record: dict[str, Any] = {
        "metric": name,
        "labelled": joined.labelled,
        "rows": joined.rows,
        "coverage": joined.coverage,
        "lag_s": list(joined.lag_s) if joined.lag_s else None,
        "holdout": before["metrics"][name],
        "drop": options.drop,
        "problems": list(joined.problems),
    }
    if joined.table is not None and joined.labelled >= options.min_labelled:
        by = name, found
        measured = _measured(schema, joined.table, by, before["metrics"][name], options, record["problems"])
        return record | measured | {"coverage": measured["labelled"] / max(joined.rows, 1)}
    return record | {"verdict": "not enough data", "worse": None} | _estimate(schema, before, (name, found), sampled)


Named = tuple[str, metrics.Metric]


def _measured(
    schema: Schema, table: pa.Table, by: Named, before: dict[str, Any], options: Performance, problems: list[str]
) -> dict[str, Any]:
    name, metric = by
    truth, known = truths(schema, table.column(TRUTH))
    new = 1 - float(known.mean())
    if new:
        kind = "classes that the model does not know" if schema.labels is not None else "not numbers"
        examples = ", ".join(sorted(map(repr, set(table.column(TRUTH).filter(~known).to_pylist())))[:3])
        if schema.labels is not None:
            examples += f"; it knows {', '.join(repr(word_of(label)) for label in schema.class_order[:5])}"
        problems.append(
            f"{int((~known).sum()):,} of {len(known):,} labels are {kind} ({examples}): excluded from {name}"
        )
    answers = usable(schema, table)
    if lost := int((known & ~answers).sum()):
        problems.append(f"the model could not score {lost:,} of {len(known):,} labelled rows: excluded from {name}")
    known = known & answers
    measured = truth[known], *outcome(schema, table.filter(known))
    value = metrics.compute(metric, *measured) if known.any() else float("nan")
    low = high = value
    if not np.isnan(value):
        samples = bootstrap.bootstrap(metric, *measured, 0)
        low, high = bootstrap.interval(value, samples, len(measured[0]), LEVEL, whole=metric.whole)
    else:
        problems.append(f"{name} is undefined on these labels: a class is missing")
    worse = worsened(metric.higher_is_better, (value, low, high), before)
    bad = new > options.drop or (worse is not None and worse[0] > options.drop and worse[1] > 0)
    verdict = "performance" if bad else "ok" if worse is not None else "not enough data"
    numbers = {**_numbers(value, low, high), "worse": worse and worse[0], "labelled": int(known.sum())}
    return {"estimated": False, **numbers, "verdict": verdict}


def worsened(
    higher_is_better: bool, now: tuple[float, float, float], before: dict[str, Any]
) -> tuple[float, float] | None:
    """Return the loss from the holdout, and its lower bound. The two intervals are from independent rows."""
    if np.isnan(now[0]) or before["value"] is None:
        return None
    sign = 1 if higher_is_better else -1
    difference = sign * (before["value"] - now[0])
    # the side of each interval that is nearer to the other one
    before_side = before["value"] - before["low"] if higher_is_better else before["high"] - before["value"]
    now_side = now[2] - now[0] if higher_is_better else now[0] - now[1]
    return difference, difference - float(np.hypot(before_side, now_side))


def _numbers(value: float, low: float, high: float) -> dict[str, float | None]:
    named = {"value": value, "low": low, "high": high}
    return {name: None if np.isnan(number) else float(number) for name, number in named.items()}


def truths(schema: Schema, values: pa.ChunkedArray) -> tuple[Array, Array]:
    """Convert labels to the form that `metrics` expects, and return which the model knows, each of shape (rows,)."""
    words = in_words_of(schema, values).to_pylist()
    if schema.labels is None:
        numbers = np.array([as_number(word) for word in words])
        return numbers, np.isfinite(numbers)
    place = {word_of(label): at for at, label in enumerate(schema.class_order)}
    indices = np.array([place.get(word, -1) for word in words], np.int64)
    return indices, indices >= 0


def usable(schema: Schema, table: pa.Table) -> Array:
    """Return which rows have a valid prediction, of shape (rows,). Some inputs may overflow the model."""
    names = [name for name in schema.answers if name in table.column_names]
    has_answer = np.logical_and.reduce([answered(table.column(name)) for name in names])
    if schema.labels is not None:
        classes = set(schema.labels)
        has_answer &= np.array([label in classes for label in table.column("prediction").to_pylist()], bool)
    return np.asarray(has_answer)


def outcome(schema: Schema, table: pa.Table) -> tuple[Array, Array | None]:
    """Return the logged predictions in the form that `metrics` expects. All rows must be `usable`."""
    predicted = table.column("prediction").to_numpy()
    if schema.labels is None:
        return predicted, None
    label = schema.class_indices(predicted)
    names = [f"probability_{label}" for label in schema.class_order]
    if not set(names) <= set(table.column_names):
        return label, np.eye(len(names))[label]
    return label, np.column_stack([table.column(name).to_numpy() for name in names])


def _estimate(schema: Schema, before: dict[str, Any], by: Named, sampled: pa.Table | None) -> dict[str, Any]:
    none: dict[str, Any] = {"estimated": None, "value": None, "low": None, "high": None}
    if before["calibration"] is None:
        return none | {"note": "not enough labels yet, so performance is unknown"}
    sampled = None if sampled is None else sampled.filter(usable(schema, sampled))
    if sampled is None or not sampled.num_rows:
        return none
    name, metric = by
    label, probability = outcome(schema, sampled)
    assert probability is not None
    drawn = estimated(metric, label, probability, before["calibration"])
    if not len(drawn):
        return none | {"note": f"{name} cannot be estimated: it is undefined on these predictions"}
    value = float(drawn.mean())
    low, high = bootstrap.interval(value, drawn, len(label), LEVEL, whole=metric.whole)
    note = "estimated without labels from the model's own probabilities, calibrated on the holdout"
    return {"estimated": True, **_numbers(value, low, high), "note": note}


def estimated(metric: metrics.Metric, label: Array, probability: Array, points: list[Any]) -> Array:
    """Compute the metric with labels drawn from the calibrated probabilities, on samples of the rows: shape (draws,).

    Args:
        metric: one of `metrics.METRICS`.
        label: predicted class indices, shape (rows,).
        probability: shape (rows, classes).
        points: the calibration points, by class.
    """
    shares = np.column_stack([np.interp(probability[:, at], *one) for at, one in enumerate(points)])
    total = shares.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, shares / np.where(total > 0, total, 1), 1 / len(points))
    until, rng, out = np.cumsum(shares, axis=1), np.random.default_rng(0), []
    for _ in range(bootstrap.SAMPLES):
        at = rng.integers(0, len(label), len(label) if metric.whole else min(len(label), bootstrap.MAX_ROWS))
        truth = (rng.random((len(at), 1)) >= until[at, :-1]).sum(axis=1)
        out.append(metrics.compute(metric, truth, label[at], probability[at]))
    drawn = np.array(out)
    return np.asarray(drawn[~np.isnan(drawn)])


def target_drift(schema: Schema, folder: Path, drift: Drift, joined: Joined) -> dict[str, Any] | None:
    """Compare the labels' distribution with the training rows: distance and threshold; None without labels."""
    if joined.table is None or not joined.labelled:
        return None
    trained = sample_part(tables.read_parquet(folder / layout.SAMPLE, [schema.target, layout.SPLIT_COLUMN]), "train")
    before = _target_values(schema, as_text(trained.column(schema.target)))
    reference: Distribution = Numbers.of(before) if schema.labels is None else Categories.of(before)
    verdict = compare(reference, reference.compare(_target_values(schema, joined.table.column(TRUTH))), drift, LEVEL)
    return {key: verdict[key] for key in ("method", "distance", "threshold", "drifted")}


def _target_values(schema: Schema, values: pa.ChunkedArray) -> Array:
    """Return labels as numbers, or as the names of the model's classes."""
    truth, known = truths(schema, values)
    if schema.labels is None:
        return truth[known]
    return np.array([*map(str, schema.class_order), UNKNOWN_CLASS], dtype=object)[truth]  # -1 is the last one

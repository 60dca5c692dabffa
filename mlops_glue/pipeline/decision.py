"""The probability from which the positive class is predicted: given or chosen by `evaluate.decision_threshold`.

It is chosen on the training rows, each predicted by a model that has not seen it; the holdout is not used. It is
halfway between two neighbouring scores, so that float32 rounding moves no row to the other side.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import measures, metrics
from mlops_glue.config import ChosenThreshold, Config
from mlops_glue.errors import CheckFailed, ConfigError, StageError
from mlops_glue.metrics import Metric
from mlops_glue.pipeline import cross_validate
from mlops_glue.pipeline.train import kind_of
from mlops_glue.schema import Decision, Schema

WHERE = f"{measures.WHERE}.decision_threshold"
MAX_CANDIDATES = 500
LEAST_GAP = 1e-5  # relative: closer scores count as equal, and no threshold separates them
Array = np.ndarray[Any, Any]


def with_decision(config: Config, root: Path, schema: Schema, model: Any) -> Schema:
    """Return the schema with the decision rule of `glue.yaml`, if it has one.

    Raises:
        ConfigError: the task has no such decision.
        StageError: the model returns no probabilities.
        CheckFailed: no threshold reaches the required precision or recall.
    """
    setting = config.evaluate.decision_threshold
    if setting is None:
        return schema
    measures.check_decision(config, schema.task)
    if not hasattr(model, "predict_proba"):
        raise StageError(
            f"{kind_of(model)} returns no probabilities, which evaluate.decision_threshold needs",
            hint="use a train.estimator with predict_proba; or remove evaluate.decision_threshold",
        )
    decision = measures.given_decision(config, schema)
    if decision is None and isinstance(setting, ChosenThreshold):
        decision = _chosen(config, root, schema, setting)
    return replace(schema, decision=decision)


def _chosen(config: Config, root: Path, schema: Schema, setting: ChosenThreshold) -> Decision:
    metric = measures.find(config, schema, root, setting.by, f"{WHERE}.by")
    if not metric.of_label:
        raise ConfigError([f"{WHERE}.by: {setting.by!r} uses the probabilities: no threshold changes it"])
    rows = cross_validate.read(config, root)
    folds = [
        (learned, held)
        for learned, held in cross_validate.folds_of(config, rows, config.train.seed)
        if len(np.unique(rows.target[learned])) == 2
    ]
    if not folds:
        raise StageError(f"no fold of the training rows has both classes of {schema.target!r} to learn from")
    truth, _, probability = cross_validate.together(cross_validate.predictions(config, rows, folds))
    return Decision(setting.words, best(metric, truth, probability, setting), rows=len(truth))


def best(metric: Metric, truth: Array, probability: Array, setting: ChosenThreshold) -> float:
    """Return the threshold whose labels have the best value of the metric; the highest of equally good ones.

    The truth has class indices, shape (rows,); the probabilities have shape (rows, 2).

    Raises:
        CheckFailed: no threshold reaches the required precision or recall, or has a defined value.
    """
    limits = {"precision": setting.min_precision, "recall": setting.min_recall}
    least = {name: limit for name, limit in limits.items() if limit is not None}
    sign, found, nearest = (1 if metric.higher_is_better else -1), [], dict.fromkeys(least, 0.0)
    for threshold in candidates(truth, probability[:, 1]):
        label = Decision("", threshold).classes(probability)
        shares = {name: metrics.compute(metrics.METRICS["binary"][name], truth, label, None) for name in least}
        nearest = {name: max(nearest[name], share) for name, share in shares.items()}
        value = sign * metrics.compute(metric, truth, label, probability)
        if all(shares[name] >= limit for name, limit in least.items()) and not np.isnan(value):
            found.append((value, threshold))
    if not found:
        why = ", ".join(f"the highest {name} is {metrics.apart(nearest[name], least[name])[0]}" for name in least)
        why = why or f"{setting.by} is undefined"
        if len(least) == 2 and all(nearest[name] >= limit for name, limit in least.items()):
            why = "no threshold reaches both"
        problem = f"{WHERE}: no threshold has {setting.words} on the training rows: {why}"
        raise CheckFailed(problem, hint="require less, or set the threshold to a number")
    return max(found)[1]


def candidates(truth: Array, score: Array) -> list[float]:
    """Return thresholds in ascending order, halfway between neighbouring scores, at most about 500.

    Only a threshold right below the score of a positive row, or above all scores, can be the best.
    """
    values = np.unique(score[np.isfinite(score)])
    if not len(values):
        return []
    starts = np.flatnonzero(np.diff(values, prepend=-1.0) > LEAST_GAP * np.abs(values))  # of runs of equal scores
    lows = np.concatenate([[0.0], values[starts[1:] - 1]])
    hits = np.zeros(len(starts), bool)
    hits[np.searchsorted(values[starts], score[(truth == 1) & np.isfinite(score)], side="right") - 1] = True
    halfway = ((lows + values[starts]) / 2)[hits]
    if len(halfway) > MAX_CANDIDATES:
        halfway = halfway[np.linspace(0, len(halfway) - 1, MAX_CANDIDATES).astype(int)]
    every = np.append(halfway, (values[-1] + 1) / 2)
    return [float(one) for one in every if 0 < one < 1]

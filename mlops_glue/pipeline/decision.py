"""From which probability on the positive class is said: as `evaluate.decision_threshold` gives it, or has it chosen.

It is chosen on the training rows, each predicted by a model that has not seen it; the holdout has no part in it. It
lies halfway between two neighbouring scores, so that the rounding of float32 moves no row to the other side.
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
LEAST_GAP = 1e-5  # relative: scores that are closer count as one, which no threshold parts
Array = np.ndarray[Any, Any]


def with_decision(config: Config, root: Path, schema: Schema, model: Any) -> Schema:
    """The schema with the decision that `glue.yaml` asks for, if any.

    Raises:
        ConfigError: the task has no such decision.
        StageError: the model gives no probabilities.
        CheckFailed: no threshold has the precision, or the recall, that is asked for.
    """
    asked = config.evaluate.decision_threshold
    if asked is None:
        return schema
    measures.check_decision(config, schema.task)
    if not hasattr(model, "predict_proba"):
        raise StageError(
            f"{kind_of(model)} gives no probabilities, and evaluate.decision_threshold decides by them",
            hint="train.estimator: one with predict_proba; or remove evaluate.decision_threshold",
        )
    decision = measures.given_decision(config, schema)
    if decision is None and isinstance(asked, ChosenThreshold):
        decision = _chosen(config, root, schema, asked)
    return replace(schema, decision=decision)


def _chosen(config: Config, root: Path, schema: Schema, asked: ChosenThreshold) -> Decision:
    metric = measures.find(config, schema, root, asked.by, f"{WHERE}.by")
    if not metric.of_label:
        raise ConfigError([f"{WHERE}.by: {asked.by!r} takes the probabilities: no threshold makes it better"])
    rows = cross_validate.read(config, root)
    folds = [
        (learned, held)
        for learned, held in cross_validate.folds_of(config, rows, config.train.seed)
        if len(np.unique(rows.target[learned])) == 2
    ]
    if not folds:
        raise StageError(f"no fold of the training rows has both classes of {schema.target!r} to learn from")
    truth, _, probability = cross_validate.together(cross_validate.predictions(config, rows, folds))
    return Decision(asked.words, best(metric, truth, probability, asked), rows=len(truth))


def best(metric: Metric, truth: Array, probability: Array, asked: ChosenThreshold) -> float:
    """The threshold whose labels have the best value; of equal ones the highest.

    Truth is of shape (rows,), of class indices; probabilities are of shape (rows, 2).

    Raises:
        CheckFailed: none has the precision or recall that is asked for, or a value at all.
    """
    limits = {"precision": asked.min_precision, "recall": asked.min_recall}
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
        why = ", ".join(f"the most is a {name} of {nearest[name]:.4f}" for name in least) or f"{asked.by} has no value"
        if len(least) == 2 and all(nearest[name] >= limit for name, limit in least.items()):
            why = "none has both"
        problem = f"{WHERE}: no threshold has {asked.words} on the training rows: {why}"
        raise CheckFailed(problem, hint="ask for less, or give a number")
    return max(found)[1]


def candidates(truth: Array, score: Array) -> list[float]:
    """Thresholds from the lowest to the highest, halfway between neighbouring scores, at most about 500.

    Only those right below the score of a positive row can be the best, and that above all scores.
    """
    values = np.unique(score[np.isfinite(score)])
    if not len(values):
        return []
    starts = np.flatnonzero(np.diff(values, prepend=-1.0) > LEAST_GAP * np.abs(values))  # of scores that count as one
    lows = np.concatenate([[0.0], values[starts[1:] - 1]])
    hits = np.zeros(len(starts), bool)
    hits[np.searchsorted(values[starts], score[(truth == 1) & np.isfinite(score)], side="right") - 1] = True
    halfway = ((lows + values[starts]) / 2)[hits]
    if len(halfway) > MAX_CANDIDATES:
        halfway = halfway[np.linspace(0, len(halfway) - 1, MAX_CANDIDATES).astype(int)]
    every = np.append(halfway, (values[-1] + 1) / 2)
    return [float(one) for one in every if 0 < one < 1]

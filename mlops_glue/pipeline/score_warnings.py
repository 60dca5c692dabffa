"""Warnings about a score, one line each: leakage, duplicates, a single decisive column, unseen classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import metrics
from mlops_glue.config import Config
from mlops_glue.pipeline.evaluation import Evaluation, Scale, Score
from mlops_glue.pipeline.leakage import NO_DUPLICATES, Array, Part, duplicate_rows, target_leakage
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

PERFECT = 0.999  # of a metric whose best value is 1
ALONE = 0.9  # share of a single column in all importances
LOW_SUM = 0.95  # of the sum of the truth
GOOD_R2 = 0.95  # from this score on, a column with the order of the target may be the reason


def leakage(
    config: Config, schema: Schema, train: Part, test: tuple[pd.DataFrame, Array], label: Array
) -> Iterator[str]:
    """Yield what may make the metrics too good: a column that is the target, rows that training has seen."""
    r2 = metrics.METRICS["regression"]["r2"]
    good = schema.labels is None and metrics.compute(r2, test[1], label, None) > GOOD_R2
    yield from target_leakage(schema, train, test, good=good)
    rows, examined, equal = duplicate_rows(train, test) if config.split.by == "random" else NO_DUPLICATES
    if rows:
        entity = "" if config.source.entity else f" with data.sources.{config.data.labels.source}.entity"
        about, basis = "", ""
        if examined < equal:
            about, basis = "about ", f", estimated from {examined:,} of {equal:,} rows that equal a training row"
        yield (
            f"{about}{rows:,} of the {len(test[1]):,} rows of the holdout are also training rows{basis}: "
            f"drop the duplicates, or use split: {{by: entity}}{entity}"
        )


def hard_labels(schema: Schema, model: str, names: list[str]) -> str:
    """Return the warning that a model without probabilities was evaluated by `names`, metrics of probabilities."""
    of_labels = "f1" if schema.task == "binary" else "accuracy"
    return (
        f"{model} returns no probabilities: {', '.join(names)} treat each label as certain; "
        f"promote: {{metric: {of_labels}}} needs only labels"
    )


def missing_classes(schema: Schema, truth: Array, learnt: set[Any], scores: Mapping[str, Score]) -> Iterator[str]:
    """Yield warnings on classes that no training row has, and on classes that the holdout lacks for a metric.

    The truth is the holdout's, as class indices or values; `learnt` are the classes of the training rows.
    """
    if new := [at for at, label in enumerate(schema.class_order) if label not in learnt and at in truth]:
        never = f"the model never predicts {schema.target} {_some([schema.class_order[at] for at in new])}"
        rows = f"{np.isin(truth, new).sum():,} of the {len(truth):,} rows of the holdout do"
        yield f"{never}: no training row has it, but {rows}"
    undefined = [name for name, score in scores.items() if np.isnan(score["value"])]
    absent = [label for at, label in enumerate(schema.class_order) if at not in truth]
    if undefined and absent:
        verb = "is" if len(undefined) == 1 else "are"
        rows = f"the holdout has no row in which {schema.target} is {_some(absent)}"
        yield f"{', '.join(undefined)} {verb} undefined: {rows}"


def one_class(schema: Schema, truth: Array, label: Array) -> Iterator[str]:
    """Warn if the model predicts a single class for every row of the holdout; truth and label are class indices."""
    if schema.labels is None or (label != label[0]).any() or (truth == truth[0]).all():
        return
    way_out = "evaluate: {decision_threshold: {by: f1}}" if schema.task == "binary" else "evaluate.cost"
    if schema.decision is not None:
        way_out = "evaluate.decision_threshold causes this"
    others = int((truth != label[0]).sum())
    yield (
        f"the model predicts {schema.target} {schema.class_order[label[0]]!r} for every row of the holdout, but "
        f"{others:,} of {len(truth):,} have another class; {way_out}"
    )


def _some(classes: list[Any]) -> str:
    return ", ".join(map(repr, classes[:3])) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")


def first_metric(name: str, report: Evaluation, *, higher_is_better: bool) -> Iterator[str]:
    """Warn if the first metric is no better than the trivial predictor's, or nearly perfect due to one column."""
    value, trivial = report["metrics"][name]["value"], report["metrics"][name]["trivial"]
    if metrics.is_at_least(trivial, value, higher_is_better=higher_is_better):
        yield f"{name} {value:z.4f} is no better than the trivial predictor's {trivial:z.4f}"
        return
    columns = report["importances"] or []  # the largest first
    alone = bool(columns) and columns[0]["mean"] >= ALONE * math.fsum(max(c["mean"], 0.0) for c in columns) > 0
    if report["warnings"] or not alone or not higher_is_better or not value >= PERFECT:
        return
    first = columns[0]
    few = (
        f" (by {first['rows']:,} of the {report['rows']:,} rows of the holdout)"
        if first["rows"] < report["rows"]
        else ""
    )
    yield (
        f"{name} {value:z.4f} is nearly perfect, almost entirely due to column {first['column']!r}{few}: "
        "is it known before the target? if not, features.exclude"
    )


def other_losses(losses: Mapping[str, Score]) -> Iterator[str]:
    """Warn of losses that are not used for decisions but are greater than the trivial predictor's."""
    for name, score in losses.items():
        value, trivial = score["value"], score["trivial"]
        if value > trivial and not metrics.is_at_least(value, trivial, higher_is_better=False):
            ours, its = metrics.apart(value, trivial)
            yield f"{name} {ours} is worse than the trivial predictor's {its}, but decides nothing here"


def low_sum(scale: Scale | None) -> Iterator[str]:
    """Warn if the predictions of a model of the logarithm add up to clearly less than the truth."""
    if scale is not None and scale["taken"] == "log" and scale["holdout_sum"] < LOW_SUM:
        yield (
            f"predictions on the holdout add up to {scale['holdout_sum']:.1%} of the truth: a model of "
            f"log1p({scale['target']}) predicts roughly the median of a row, not its mean; if sums matter, use "
            "train.target: as_is, for counts with a poisson loss"
        )

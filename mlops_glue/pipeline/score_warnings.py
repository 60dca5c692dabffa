"""What to distrust in a score: leakage, duplicates, a single column, classes that nobody has seen. A line each."""

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
ALONE = 0.9  # share of all importances that one column has
LOW_SUM = 0.95  # of the truth's
GOOD_R2 = 0.95  # from here on a column that has the order of the target may be the reason


def leakage(
    config: Config, schema: Schema, train: Part, test: tuple[pd.DataFrame, Array], label: Array
) -> Iterator[str]:
    """What the metrics may owe their goodness to: a column that is the target, rows that training has seen."""
    r2 = metrics.METRICS["regression"]["r2"]
    good = schema.labels is None and metrics.compute(r2, test[1], label, None) > GOOD_R2
    yield from target_leakage(schema, train, test, good=good)
    rows, examined, equal = duplicate_rows(train, test) if config.split.by == "random" else NO_DUPLICATES
    if rows:
        entity = "" if config.source.entity else f" with data.sources.{config.data.labels.source}.entity"
        about, basis = "", ""
        if examined < equal:
            about, basis = "about ", f", judged by {examined:,} of {equal:,} that are equal to one"
        yield (
            f"{about}{rows:,} of the {len(test[1]):,} rows of the holdout are training rows too{basis}: "
            f"drop the duplicates, or split: {{by: entity}}{entity}"
        )


def hard_labels(schema: Schema, model: str, names: list[str]) -> str:
    """A model without probabilities was measured by metrics of probabilities, which these names are."""
    of_labels = "f1" if schema.task == "binary" else "accuracy"
    return (
        f"{model} gives no probabilities: {', '.join(names)} take each label for certain; "
        f"promote: {{metric: {of_labels}}} takes the labels alone"
    )


def missing_classes(schema: Schema, truth: Array, learnt: set[Any], scores: Mapping[str, Score]) -> Iterator[str]:
    """Classes that no training row has, and classes that the holdout lacks so that a metric is not defined.

    The truth is the holdout's, as class indices or values; `learnt` are the classes of the training rows.
    """
    if new := [at for at, label in enumerate(schema.class_order) if label not in learnt and at in truth]:
        never = f"the model never says {schema.target} {_some([schema.class_order[at] for at in new])}"
        rows = f"{np.isin(truth, new).sum():,} of the {len(truth):,} rows of the holdout are"
        yield f"{never}: no training row is such, and {rows}"
    undefined = [name for name, score in scores.items() if np.isnan(score["value"])]
    absent = [label for at, label in enumerate(schema.class_order) if at not in truth]
    if undefined and absent:
        yield f"{', '.join(undefined)} not defined: the holdout has no row where {schema.target} is {_some(absent)}"


def one_class(schema: Schema, truth: Array, label: Array) -> Iterator[str]:
    """The model says one class of every row of the holdout; truth and label are class indices."""
    if schema.labels is None or (label != label[0]).any() or (truth == truth[0]).all():
        return
    way_out = "evaluate: {decision_threshold: {by: f1}}" if schema.task == "binary" else "evaluate.cost"
    if schema.decision is not None:
        way_out = "evaluate.decision_threshold decides so"
    others = int((truth != label[0]).sum())
    yield (
        f"the model says {schema.target} {schema.class_order[label[0]]!r} of every row of the holdout, and "
        f"{others:,} of {len(truth):,} are otherwise; {way_out}"
    )


def _some(classes: list[Any]) -> str:
    return ", ".join(map(repr, classes[:3])) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")


def first_metric(name: str, report: Evaluation, *, higher_is_better: bool) -> Iterator[str]:
    """The first metric is no better than the trivial predictor's, or nearly perfect by one column alone."""
    value, trivial = report["metrics"][name]["value"], report["metrics"][name]["trivial"]
    if metrics.is_at_least(trivial, value, higher_is_better=higher_is_better):
        yield f"{name} {value:z.4f} is no better than the trivial predictor's {trivial:z.4f}"
        return
    columns = report["importances"] or []  # the greatest first
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
        f"{name} {value:z.4f} is nearly perfect, and column {first['column']!r} makes nearly all of it{few}: "
        "is it known before the target is? else features.exclude"
    )


def other_losses(losses: Mapping[str, Score]) -> Iterator[str]:
    """Losses, of those that decide nothing, that are greater than the trivial predictor's."""
    for name, score in losses.items():
        value, trivial = score["value"], score["trivial"]
        if value > trivial and not metrics.is_at_least(value, trivial, higher_is_better=False):
            yield (f"{name} {value:.4f} is worse than the trivial predictor's {trivial:.4f}, and decides nothing here")


def low_sum(scale: Scale | None) -> Iterator[str]:
    """Predictions of a model of the logarithm that add up to clearly less than the truth."""
    if scale is not None and scale["taken"] == "log" and scale["holdout_sum"] < LOW_SUM:
        yield (
            f"predictions of the holdout add up to {scale['holdout_sum']:.1%} of the truth: a model of "
            f"log1p({scale['target']}) is about the middle of a row, not its mean; where sums matter, "
            "train.target: as_is, of counts with a poisson loss"
        )

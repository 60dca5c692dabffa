"""The plots for a task, as SVG by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_glue import formulas, tables
from mlops_glue.adapters import matplotlib
from mlops_glue.pipeline import curves
from mlops_glue.pipeline.evaluation import Contributions, Importance
from mlops_glue.schema import Schema

MAX_CURVES = 10  # classes that have a curve
MAX_LABELS = 40  # in a confusion matrix
MAX_POINTS = 2000
Array = np.ndarray[Any, Any]


def of_outcome(schema: Schema, truth: Array, label: Array, probability: Array | None) -> dict[str, str]:
    """Return ROC, precision-recall, calibration and confusion for classes; prediction and residuals for values.

    Truth, label and probability are as `metrics` takes them.
    """
    if probability is None:
        return _values(truth, label)
    names = [str(label) for label in schema.class_order]
    is_certain = bool(np.isin(probability, (0, 1)).all())  # a curve of hard labels shows nothing
    plots = {} if is_certain else _curves(names, truth, probability)
    if len(names) <= MAX_LABELS:
        counts = formulas.confusion(truth, label, len(names))
        plots["confusion"] = matplotlib.matrix("Confusion matrix", names, counts)
    return plots


def of_models(schema: Schema, outcomes: Mapping[str, tuple[Array, Array, Array | None]]) -> str | None:
    """Return one plot of several models on the same rows, by name; None if there is nothing to draw.

    For classes it has ROC curves, with more than two classes pooled (the micro-average); for values, the share of rows
    predicted within an error. The outcomes are as `metrics` takes them.
    """
    if schema.labels is None:
        found = {name: curves.within(truth - value) for name, (truth, value, _) in outcomes.items()}
        # a single outlier would squeeze everything else to the left
        wide = max((float(np.interp(0.98, up, across)) for across, up in found.values() if len(up)), default=0.0)
        return matplotlib.lines("Rows within an error", "absolute error", "share of rows", found, wide=wide or 1.0)
    pooled, drawn = len(schema.class_order) > 2, dict[str, tuple[Array, Array]]()
    for name, (truth, _, probability) in outcomes.items():
        if probability is None or np.isin(probability, (0, 1)).all():  # hard labels have no curve
            continue
        is_it = (truth[:, None] == np.arange(len(schema.class_order))).ravel() if pooled else truth == 1
        points = curves.roc(is_it, probability.ravel() if pooled else probability[:, 1])
        drawn |= {name: points} if points is not None else {}
    title = "ROC, the classes pooled" if pooled else f"ROC of {schema.class_order[-1]}"
    rates = ("false positive rate", "true positive rate")
    return matplotlib.lines(title, *rates, drawn, diagonal=True) if drawn else None


def of_threshold(
    schema: Schema, costs: list[list[float]] | None, truth: Array, probability: Array | None
) -> dict[str, str]:
    """Return precision, recall and cost by threshold, for two classes."""
    threshold = None if schema.decision is None else schema.decision.threshold
    if (
        schema.task != "binary"
        or probability is None
        or np.isin(probability, (0, 1)).all()
        or len(np.unique(truth)) < 2
    ):
        return {}
    found = curves.by_threshold(truth, probability[:, 1], costs)
    cost = found.pop("cost", None)
    title, mark = f"Threshold of {schema.class_order[-1]}", threshold or 0.5
    wide = min(1.0, 1.1 * max(mark, float(probability[:, 1].max())))
    plot = matplotlib.lines(title, "threshold", "share", found, wide=wide, mark=mark, right=cost)
    return {"threshold": plot}


def of_importances(importances: Sequence[Importance] | None, rows: int) -> dict[str, str]:
    """Return the twenty largest importances; `rows` is the size of the holdout."""
    if not importances:
        return {}
    top = importances[:20]
    axis, names = f"loss of {top[0]['metric']} when shuffled", [column["column"] for column in top]
    title = "Permutation importances" + part(top[0]["rows"], rows, "rows")
    mean, std = np.array([column["mean"] for column in top]), np.array([column["std"] for column in top])
    return {"importances": matplotlib.bars(title, axis, names, mean, std)}


def of_contributions(found: Contributions | None, schema: Schema, rows: int) -> dict[str, str]:
    """Return how far each of the 20 columns with the largest contributions moves the prediction."""
    if found is None:
        return {}
    of = schema.class_order[-1] if schema.task == "binary" else "the predicted class"
    axis = f"mean |contribution| to {'the value' if schema.labels is None else f'the probability of {of}'}"
    names = list(found["columns"])[:20]
    values = np.array([found["columns"][name] for name in names])
    title = "Contributions (Shapley values)" + part(found["rows"], rows, "rows")
    return {"contributions": matplotlib.bars(title, axis, names, values, np.zeros(len(names)))}


def part(shown: int, of: int, what: str) -> str:
    """Return the end of a title that shows only a part: ` (1,000 of 3,000 rows)`; "" if it shows all."""
    return f" ({shown:,} of {of:,} {what})" if shown < of else ""


def _curves(names: list[str], truth: Array, probability: Array) -> dict[str, str]:
    frequent = np.argsort(-np.bincount(truth, minlength=len(names)), kind="stable")[:MAX_CURVES]
    roc, precision_recall, calibration = (
        {names[at]: points for at, points in found.items() if at in frequent}
        for found in curves.curves(truth, probability, len(names)).values()
    )
    is_binary = len(names) == 2
    of = f" of {names[1]}" if is_binary else part(len(frequent), len(names), "classes")
    level = float((truth == 1).mean()) if is_binary else None
    # the points of a rare class are all near zero: the axes end there
    top = min(1.0, 1.1 * max((float(np.max(points)) for points in calibration.values()), default=1.0))
    lines = matplotlib.lines
    return {
        "roc": lines(f"ROC{of}", "false positive rate", "true positive rate", roc, diagonal=True),
        "precision_recall": lines(f"Precision and recall{of}", "recall", "precision", precision_recall, level=level),
        "calibration": lines(
            f"Calibration{of}",
            "predicted probability",
            "observed share",
            calibration,
            diagonal=True,
            marker="o",
            top=top,
        ),
    }


def _values(truth: Array, label: Array) -> dict[str, str]:
    at = tables.evenly_spaced(len(truth), MAX_POINTS)
    true, predicted, some = truth[at], label[at], part(len(at), len(truth), "rows")
    error = true - predicted
    return {
        "prediction": matplotlib.points(f"Prediction{some}", "true", "predicted", true, predicted, diagonal=True),
        "residuals": matplotlib.points(
            f"Residuals{some}", "predicted", "true - predicted", predicted, error, diagonal=False
        ),
    }

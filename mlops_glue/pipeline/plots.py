"""The plots that fit a task, as SVG by name."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mlops_glue import metrics, tables
from mlops_glue.adapters import matplotlib
from mlops_glue.adapters.matplotlib import Figures
from mlops_glue.pipeline import curves
from mlops_glue.schema import Schema

MOST_CLASSES = 10  # with a curve of their own
MOST_LABELS = 40  # in a confusion matrix
MOST_POINTS = 2000


def of_outcome(schema: Schema, truth: Any, label: Any, probability: Any) -> Figures:
    """ROC, precision-recall, calibration and confusion for classes; prediction and residuals for values.

    Args:
        schema: the model's schema.
        truth: class indices or values, shape (rows,).
        label: what was predicted, in the same form.
        probability: shape (rows, classes), or None.
    """
    if schema.labels is None:
        return _values(truth, label)
    return _classes(schema.class_order, truth, label, probability)


def of_importances(importances: list[dict[str, Any]] | None, rows: int) -> Figures:
    """The twenty greatest importances, as `evaluation.json` has them, of a holdout of so many rows."""
    if not importances:
        return {}
    top = importances[:20]
    mean, std = (np.array([column[key] for column in top]) for key in ("mean", "std"))
    axis, names = f"loss of {top[0]['metric']} when shuffled", [column["column"] for column in top]
    title = "Permutation importances" + part(top[0]["rows"], rows, "rows")
    return {"importances": partial(matplotlib.bars, title, axis, names, mean, std)}


def part(shown: int, of: int, what: str) -> str:
    """What a title says where it is not of all: ` (1,000 of 3,000 rows)`."""
    return f" ({shown:,} of {of:,} {what})" if shown < of else ""


def _classes(labels: list[Any], truth: Any, label: Any, probability: Any) -> Figures:
    names = [str(label) for label in labels]
    out: Figures = {}
    certain = bool(np.isin(probability, (0, 1)).all())  # no curve shows anything about hard labels
    found = curves.curves(truth, probability, len(names)) if not certain else {}
    frequent = np.argsort(-np.bincount(truth, minlength=len(names)), kind="stable")[:MOST_CLASSES]

    def series(kind: str) -> dict[str, Any]:
        return {names[at]: points for at, points in found[kind].items() if at in frequent}

    of = f" of {names[1]}" if len(names) == 2 else part(len(frequent), len(names), "classes")
    if found:
        share = float((truth == 1).mean()) if len(names) == 2 else None
        curve, calibration = partial(partial, matplotlib.lines), series("calibration")
        # of a rare class all is near zero: the square ends where the points do
        top = min(1.0, 1.1 * max((float(np.max(points)) for points in calibration.values()), default=1.0))
        out["roc"] = curve(f"ROC{of}", "false positive rate", "true positive rate", series("roc"), diagonal=True)
        out["precision_recall"] = curve(
            f"Precision and recall{of}", "recall", "precision", series("precision_recall"), level=share
        )
        out["calibration"] = curve(
            f"Calibration{of}",
            "predicted probability",
            "observed share",
            calibration,
            diagonal=True,
            marker="o",
            top=top,
        )
    if len(names) <= MOST_LABELS:
        counts = metrics.confusion(truth, label, len(names))
        out["confusion"] = partial(matplotlib.matrix, "Confusion matrix", names, counts)
    return out


def _values(truth: Any, label: Any) -> Figures:
    at = tables.evenly_spaced(len(truth), MOST_POINTS)
    true, predicted = truth[at], label[at]
    points, some = partial(partial, matplotlib.points), part(len(at), len(truth), "rows")
    return {
        "prediction": points(f"Prediction{some}", "true", "predicted", true, predicted, diagonal=True),
        "residuals": points(
            f"Residuals{some}", "predicted", "true - predicted", predicted, true - predicted, diagonal=False
        ),
    }

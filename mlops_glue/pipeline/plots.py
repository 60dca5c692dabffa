"""The plots that fit a task, as SVG by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_glue import io, metrics
from mlops_glue.adapters import matplotlib
from mlops_glue.schema import Schema

MOST_CLASSES = 10  # with a curve of their own
MOST_LABELS = 40  # in a confusion matrix
MOST_POINTS = 2000


def draw(
    schema: Schema, truth: Any, label: Any, probability: Any, importances: list[dict[str, Any]] | None
) -> dict[str, str]:
    """ROC, precision-recall, calibration and confusion for classes; prediction and residuals for values; importances.

    Args:
        schema: the model's schema.
        truth: class indices or values, shape (rows,).
        label: what was predicted, in the same form.
        probability: shape (rows, classes), or None.
        importances: as `evaluation.json` has them.
    """
    out = _values(truth, label) if schema.labels is None else _classes(schema.order, truth, label, probability)
    if importances:
        top = importances[:20]
        mean, std = (np.array([one[key] for one in top]) for key in ("mean", "std"))
        said = f"loss of {top[0]['metric']} when shuffled"
        out["importances"] = matplotlib.bars("Permutation importances", said, [o["column"] for o in top], mean, std)
    return out


def _classes(labels: list[Any], truth: Any, label: Any, probability: Any) -> dict[str, str]:
    names = [str(one) for one in labels]
    out: dict[str, str] = {}
    certain = bool(np.isin(probability, (0, 1)).all())  # no curve shows anything about hard labels
    found = metrics.curves(truth, probability, len(names)) if not certain else {}
    frequent = np.argsort(-np.bincount(truth, minlength=len(names)), kind="stable")[:MOST_CLASSES]

    def series(kind: str) -> dict[str, Any]:
        return {names[at]: points for at, points in found[kind].items() if at in frequent}

    of = f" of {names[1]}" if len(names) == 2 else ""
    if found:
        share = float((truth == 1).mean()) if len(names) == 2 else None
        curve, calibration = matplotlib.lines, series("calibration")
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
        out["confusion"] = matplotlib.matrix("Confusion matrix", names, counts)
    return out


def _values(truth: Any, label: Any) -> dict[str, str]:
    at = io.spread(len(truth), MOST_POINTS)
    true, said = truth[at], label[at]
    return {
        "prediction": matplotlib.points("Prediction", "true", "predicted", true, said, diagonal=True),
        "residuals": matplotlib.points("Residuals", "predicted", "true - predicted", said, true - said, diagonal=False),
    }

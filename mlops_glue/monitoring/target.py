"""Target drift: is the truth of a window, as far as it is known, distributed as that of the training rows was?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, tables
from mlops_glue.config import Drift
from mlops_glue.drift import Categories, Distribution, Numbers, sample_part
from mlops_glue.monitoring.drift import LEVEL, compare
from mlops_glue.monitoring.labels import TRUTH, Joined
from mlops_glue.monitoring.performance import truths
from mlops_glue.parsing import as_text
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

UNKNOWN_CLASS = "?"  # a class that the model does not know


def target_drift(schema: Schema, folder: Path, drift: Drift, joined: Joined) -> dict[str, Any] | None:
    """Distance and threshold as of any column; None where no label has come.

    Args:
        schema: of the version.
        folder: its bundle, with a sample of the training rows.
        drift: `monitor.drift`.
        joined: the rows whose truth is known.
    """
    if joined.table is None or not joined.labelled:
        return None
    trained = sample_part(tables.read_parquet(folder / layout.SAMPLE, [schema.target, layout.SPLIT_COLUMN]), "train")
    before = _values(schema, as_text(trained.column(schema.target)))
    reference: Distribution = Numbers.of(before) if schema.labels is None else Categories.of(before)
    found = reference.compare(_values(schema, joined.table.column(TRUTH)))
    verdict = compare(reference, found, drift, LEVEL)
    return {key: verdict[key] for key in ("method", "distance", "threshold", "drifted")}


def _values(schema: Schema, values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Labels as numbers, or as the names of the model's classes."""
    found, known = truths(schema, values)
    if schema.labels is None:
        return found[known]
    return np.array([*map(str, schema.class_order), UNKNOWN_CLASS], dtype=object)[found]  # -1 is the last one

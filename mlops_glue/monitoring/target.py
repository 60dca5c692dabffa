"""Target drift: is the truth of a window, as far as it is known, distributed as that of the training rows was?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout, tables
from mlops_glue.config import Drift
from mlops_glue.drift import Numbers, Summary, Values
from mlops_glue.monitoring.labels import TRUTH, Joined
from mlops_glue.monitoring.performance import LEVEL, truths
from mlops_glue.parsing import as_text
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

OTHER = "?"  # a class that the model does not know


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
    import pyarrow.compute as pc

    sampled = tables.read_parquet(folder / layout.SAMPLE, [schema.target, layout.SPLIT_COLUMN])
    trained = sampled.filter(pc.equal(sampled.column(layout.SPLIT_COLUMN), "train")).column(schema.target)
    reference = _summary(schema, as_text(trained))
    seen = reference.empty()
    _add(seen, schema, joined.table.column(TRUTH))
    distance = reference.distance(seen)  # type: ignore[arg-type]
    wanted = drift.number if schema.labels is None else drift.category
    threshold = max(wanted, reference.by_chance(seen.known, LEVEL))
    return {
        "method": "wasserstein" if schema.labels is None else "jensenshannon",
        "distance": distance,
        "threshold": threshold,
        "drifted": distance is not None and distance >= threshold,
    }


def _summary(schema: Schema, values: pa.ChunkedArray) -> Summary:
    numbers, known = truths(schema, values)
    return Numbers.of(numbers[known]) if schema.labels is None else Values.of(_counts(schema, numbers))


def _add(seen: Summary, schema: Schema, values: pa.ChunkedArray) -> None:
    numbers, known = truths(schema, values)
    if isinstance(seen, Numbers):
        seen.add(numbers[known])
    else:
        seen.add(_counts(schema, numbers))


def _counts(schema: Schema, indices: Any) -> dict[str, int]:
    names = [*map(str, schema.class_order), OTHER]  # -1 is the last one
    return {names[at]: int(n) for at, n in zip(*np.unique(indices, return_counts=True), strict=True)}

"""What a point-in-time join has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import ToolError
from mlops_glue.records import FeatureView

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Joined:
    """Label rows with their features.

    Attributes:
        table: a column `view__feature` each, in the order of the label rows.
        found: by view, whether each row found something in it; of shape (rows,).
        at_once: whether what a row found was known at its very moment, or the store does not tell; of shape (rows,).
    """

    table: pa.Table
    found: dict[str, np.ndarray[Any, Any]]
    at_once: np.ndarray[Any, Any]


def found_in(
    view: FeatureView, got: pa.Table, times: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which rows found something in a view, and which of them something that was known at their very moment.

    Raises:
        ToolError: a value was known only after the moment that its row is about.
    """
    import numpy as np

    known = f"{view.name}__known_timestamp"
    if known not in got.column_names:  # another store does not tell: something is not null
        found = np.logical_or.reduce([got.column(f"{view.name}__{f}").is_valid().to_numpy() for f in view.features])
        return found, found
    known_at = got.column(known).cast("timestamp[us]", safe=False).to_numpy().astype("datetime64[us]")
    late = known_at > times
    if late.any():
        raise ToolError(f"view {view.name}: {int(late.sum())} values are of later than their label")
    return ~np.isnat(known_at), known_at == times

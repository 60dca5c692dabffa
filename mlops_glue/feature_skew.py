"""Skew between training and serving: when two feature values are equal, and how to report a difference."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_glue import layout
from mlops_glue.records import FeatureList

if TYPE_CHECKING:
    import pyarrow as pa

NOT_YET_KNOWN = "a feature row with the time of the request itself is not yet in the online store"
DELAY_HINT = (
    f"features: {{delay: 1s}} in {layout.CONFIG} uses the values known one second earlier, also in training; "
    "or set the time of each feature row to when it becomes known"
)
LAST_BITS = 1e-13  # relative; sums of the same numbers in another order may differ by this


def differing_rows(trained: pa.ChunkedArray, served: pa.ChunkedArray, kind: str) -> list[int]:
    """Return the rows in which two columns are not the `same`."""
    import numpy as np
    import pyarrow.compute as pc

    equal = pc.fill_null(pc.equal(trained, served), False).to_numpy()
    return [at for at in np.flatnonzero(~equal).tolist() if not same(trained[at].as_py(), served[at].as_py(), kind)]


def describe(features: FeatureList, ref: str, key: dict[str, Any], moment: Any, trained: Any, served: Any) -> str:
    """Describe a feature whose served value differs from its value in training."""
    view = next(view for view in features.views if view.name == ref.partition(":")[0])
    about = ", ".join(f"{name} {key[name]}" for name in view.keys.values())
    where = f"{ref}{about and f' of {about}'} at {utc(moment):%Y-%m-%d %H:%M:%S}"
    return f"skew: {where} is {trained!r} in training and {served!r} from the online store"


def same(trained: Any, served: Any, kind: str) -> bool:
    """Return whether two values are equal; numbers may be rounded to Float32 by Feast, or differ in their last bits."""
    import numpy as np

    none = [value is None or (isinstance(value, float) and np.isnan(value)) for value in (trained, served)]
    if any(none):
        return all(none)
    if kind == "number":
        if not isinstance(served, int | float):
            return False
        if isinstance(trained, int) and isinstance(served, int):
            return trained == served
        one, other = float(trained), float(served)
        with np.errstate(over="ignore"):
            short = float(np.float32(one)) == other or one == float(np.float32(other))
        return short or math.isclose(one, other, rel_tol=LAST_BITS)
    if kind == "datetime":
        apart = abs(utc(trained) - utc(served))
        return bool(apart.total_seconds() < 1)  # some of Feast's stores keep only seconds
    return type(trained) is type(served) and bool(trained == served)


def utc(moment: Any) -> datetime:
    """Convert a NumPy or pandas time to a Python datetime in UTC."""
    import pandas as pd

    stamp = pd.Timestamp(moment)
    return (stamp.tz_localize(UTC) if stamp.tzinfo is None else stamp.tz_convert(UTC)).to_pydatetime()

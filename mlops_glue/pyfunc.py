"""The model that `mlflow.pyfunc` loads: it takes raw rows like `glue predict`, and returns the columns that it adds.

A logged model contains this module and its imports under a separate name, so that it works, with the same predictions,
if glue is missing or has another version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from mlops_glue.column_types import with_plain_types
from mlops_glue.errors import DataError, first_line
from mlops_glue.scoring import Bundle


class RawRows:
    """A logged model, from a folder with `schema.json` and `model.onnx` or `model.skops`, like a bundle."""

    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle(folder, others=True, trust=None)  # MLflow runs the code in this folder: this module

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return `prediction` and, for classes, `probability_<label>`, with the index of the rows.

        Raises:
            DataError: as for `Bundle.predict`, or a column contains values of several types.
        """
        columns, problems = {}, []
        for name in [c.name for c in self.bundle.schema.columns if c.name in rows.columns]:
            try:
                columns[name] = pa.chunked_array([pa.Array.from_pandas(rows[name])])
            except (pa.ArrowException, TypeError) as error:
                problems.append(f"input: column {name!r}: {first_line(error, 120)}")
        if problems:
            raise DataError("\n".join(problems))
        carried = pa.table({"glue_place": pa.array(range(len(rows)))})
        scored = self.bundle.scored(with_plain_types(pa.table(columns)), carried)
        made = {name: scored.column(name).to_pandas().to_numpy() for name in scored.column_names[1:]}
        return pd.DataFrame(made, index=rows.index)


def _load_pyfunc(path: str) -> RawRows:
    """Load the model; called by MLflow with the folder of the logged model."""
    return RawRows(Path(path))

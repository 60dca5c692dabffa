"""What `mlflow.pyfunc` loads: raw rows in, as `glue predict` takes them; what it would add to them out.

This module and those that it imports are kept with each logged model, under a name of their own: the model is used
where glue is not installed, or is another version, and says what it said.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import tables
from mlops_glue.errors import DataError, first_line
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pandas as pd


class RawRows:
    """A logged model.

    Args:
        folder: it has `schema.json` and `model.onnx` or `model.skops`, as a bundle has.
    """

    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle(folder, others=True)

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """`prediction` and, for classes, `probability_<label>`, with the index of the rows.

        Raises:
            DataError: as for `Bundle.predict`, or a column holds values of several types.
        """
        import pandas as pd
        import pyarrow as pa

        known = [c.name for c in self.bundle.schema.columns if c.name in rows.columns]
        columns, problems = {}, []
        for name in known:
            try:
                columns[name] = pa.chunked_array([pa.Array.from_pandas(rows[name])])
            except (pa.ArrowException, TypeError) as error:
                problems.append(f"column {name!r}: {first_line(error, 120)}")
        if problems:
            raise DataError("\n".join(f"input: {one}" for one in problems))
        carried = pa.table({"glue_place": pa.array(range(len(rows)))})
        scored = self.bundle.scored(tables.with_plain_types(pa.table(columns)), carried)
        made = {name: scored.column(name).to_pandas().to_numpy() for name in scored.column_names[1:]}
        return pd.DataFrame(made, index=rows.index)


def _load_pyfunc(path: str) -> RawRows:
    """As MLflow calls it, with the folder of the logged model."""
    return RawRows(Path(path))

"""How far each column moves the prediction, averaged over rows of the holdout: the plot of `glue explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlops_glue import tables
from mlops_glue.explanation import BACKGROUND, Explainer, Inputs
from mlops_glue.pipeline.evaluation import Contributions
from mlops_glue.pipeline.outcome import outcome
from mlops_glue.pipeline.threads import threads_for
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Columns(Protocol):
    """Rows by column."""

    def __getitem__(self, name: str) -> pa.ChunkedArray: ...


ROWS = 60  # of the holdout: as many rows to score as for importances of a thousand rows with three repeats
ROWS_OF_MANY = 20  # with more than MANY columns, for which importances have one repeat
MANY, MAX_COLUMNS = 50, 200
Array = np.ndarray[Any, Any]


def contributions_of(
    schema: Schema, model: Any, learned: Columns, held: pd.DataFrame, seed: int
) -> Contributions | None:
    """Return the mean of |contribution| by column, the largest first; None for too many columns.

    Args:
        schema: of the rows, with its decision.
        model: the fitted estimator.
        learned: encoded training rows, whose columns are read on access; some of the rows are the background.
        held: encoded rows of the holdout; evenly spaced rows are explained.
        seed: of the background and of the orders of the columns.
    """
    if not 0 < held.shape[1] <= MAX_COLUMNS:
        return None

    def score(inputs: Inputs) -> tuple[Array, Array | None]:
        frame = _frame(inputs, schema)
        with threads_for(frame):
            return outcome(model, schema, frame)

    explainer = Explainer(schema, score, _inputs(_background(learned, list(held.columns), seed), schema), seed)
    rows = tables.evenly_spaced(len(held), ROWS if held.shape[1] <= MANY else ROWS_OF_MANY)
    found = explainer.explain(_inputs(held.iloc[rows], schema))
    means = abs(found.contributions).mean(axis=0)
    columns = {found.columns[at]: float(means[at]) for at in np.argsort(-means, kind="stable")}
    return {"columns": columns, "rows": len(rows), "gap": found.gap, "holds": found.holds}


def _background(learned: Columns, names: list[str], seed: int) -> pd.DataFrame:
    import pandas as pd

    rows = np.random.default_rng(seed).permutation(len(learned[names[0]]))[:BACKGROUND]
    return pd.DataFrame({name: learned[name].take(np.sort(rows)).to_pandas() for name in names})


def _inputs(frame: pd.DataFrame, schema: Schema) -> Inputs:
    matrices = {"number": frame[schema.numeric].to_numpy(np.float32), "text": frame[schema.text].to_numpy(object)}
    return {kind: matrix for kind, matrix in matrices.items() if matrix.shape[1]}


def _frame(inputs: Inputs, schema: Schema) -> pd.DataFrame:
    import pandas as pd

    names = {"number": schema.numeric, "text": schema.text}
    return pd.concat([pd.DataFrame(matrix, columns=names[kind]) for kind, matrix in inputs.items()], axis=1)

"""Agreement of a shadow's predictions with the champion's answers, from the prediction log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlops_glue import config as configs
from mlops_glue import layout, streaming
from mlops_glue.errors import ToolError, first_line
from mlops_glue.log_place import LogPlace, opened

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 100_000  # newest rows of the shadow to use
KEY = ["glue_request_id", "glue_row"]


class Agreement(NamedTuple):
    """The difference of the answers, and the number of rows."""

    difference: float  # share of rows with different labels; for numbers, the mean absolute difference
    rows: int


def agreement(config: configs.Config, root: Path, champion: int, version: int, *, labels: bool) -> Agreement:
    """Compare a version's shadow predictions with the champion's answers to the same requests.

    The log contains both with the request's id; only the champion's rows are marked as answered. Predictions are
    `labels`, or numbers.

    Raises:
        ConfigError: the log's variable is not set.
        ToolError: the log cannot be read.
    """
    import pyarrow as pa

    where = configs.resolve(config.serve.prediction_log or "", "serve.prediction_log")
    folder = opened(where, root)
    by_version: dict[int, dict[str, str]] = {champion: {}, version: {}}
    for name, _, _ in folder.files():
        found = layout.LOGGED.search(name)
        if found is not None and int(found.group(2)) in by_version:
            by_version[int(found.group(2))][name] = found.group(1)
    shadow: list[pa.Table] = []
    days, rows = set[str](), 0
    for name in sorted(by_version[version], reverse=True):
        table = _read(folder, name, config.model_name, answered=False) if rows < ROWS else None
        if table is not None and table.num_rows:
            shadow, rows = [*shadow, table], rows + table.num_rows
            days.add(by_version[version][name])
    names = [name for name, day in by_version[champion].items() if day in days]
    answers = [_read(folder, name, config.model_name, answered=True) for name in names]
    answered = [table for table in answers if table is not None]
    if not shadow or not answered:
        return Agreement(float("nan"), 0)
    both = pa.concat_tables(shadow).join(pa.concat_tables(answered), KEY, join_type="inner", right_suffix="_champion")
    mine, theirs = (both.column(name).to_numpy() for name in ("prediction", "prediction_champion"))
    difference = mine != theirs if labels else np.abs(mine - theirs)
    return Agreement(float(difference.mean()) if len(difference) else float("nan"), both.num_rows)


def _read(folder: LogPlace, name: str, model: str, *, answered: bool) -> pa.Table | None:
    """Read the predictions of a file that were answered, or were not; None if it belongs to another model."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with folder.open(name) as stream, pq.ParquetFile(stream, **streaming.PARQUET_OPTIONS) as file:
            if (file.schema_arrow.metadata or {}).get(b"glue.model", model.encode()) != model.encode():
                return None
            table = file.read([*KEY, "prediction", "glue_answered"])
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ToolError(f"{folder.where}/{name}: cannot be read: {first_line(error)}") from error
    return table.filter(pc.equal(table.column("glue_answered"), answered)).drop(["glue_answered"])

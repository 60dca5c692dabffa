"""Adding the missing features to raw rows before scoring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlops_glue import config as configs
from mlops_glue import features
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.scoring import Bundle


def with_features(
    config: configs.Config,
    root: Path,
    bundle: Bundle,
    rows: pa.Table,
    where: Path | str,
    *,
    as_defined_now: bool = False,
) -> pa.Table:
    """Add features from Feast as of the rows' times, or as of now if the rows have no time.

    Features that are in the rows are kept, unless `as_defined_now` is set.

    Args:
        config: the config.
        root: the project's folder.
        bundle: the model.
        rows: the raw rows.
        where: the name of the rows in messages.
        as_defined_now: look up all features by their current definitions, even if the model was trained with others.

    Raises:
        DataError: a time cannot be read, or Feast does not have a feature.
    """
    taken = bundle.features
    if taken is None or not bundle.lacks(rows):
        return rows
    if as_defined_now:
        rows = rows.select([name for name in rows.column_names if name not in taken.columns])
    clock = config.source.timestamps
    try:
        if set(clock) <= set(rows.column_names):
            when = timestamps_utc(rows, clock, taken.day_first)
        else:
            when = np.full(rows.num_rows, np.datetime64("now", "us"))
        return features.with_features(
            config, root, taken, rows, when, decimal=bundle.schema.decimal, as_defined_now=as_defined_now
        )
    except DataError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from error

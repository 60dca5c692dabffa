"""Raw rows to be scored, with the features that they lack."""

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


def with_features(config: configs.Config, root: Path, bundle: Bundle, rows: pa.Table, where: Path) -> pa.Table:
    """Rows with what Feast knew of them at their time; where they have no time, with what it knows now.

    Raises:
        DataError: a time cannot be read, or Feast does not have a feature; the message names `where`.
    """
    if bundle.features is None or not bundle.lacks(rows):
        return rows
    clock = config.source.timestamps
    has_times = set(clock) <= set(rows.column_names)
    now = np.full(rows.num_rows, np.datetime64("now", "us"))
    try:
        when = timestamps_utc(rows, clock, bundle.features.day_first) if has_times else now
        return features.with_features(config, root, bundle.features, rows, when, decimal=bundle.schema.decimal)
    except DataError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from error

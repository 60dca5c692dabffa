"""split: training rows and a holdout, by time, by entity, or at random (stratified for classes)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import DataError

log = logging.getLogger(__name__)
FEW = 20  # rows of the holdout, below which it is told


def split(config: Config, root: Path) -> None:
    """Write `train.parquet` and `test.parquet`; every feature row is in exactly one."""
    import numpy as np

    table = io.read_parquet(root / layout.FEATURES)
    task = io.read_json(root / layout.COLUMNS)["schema"]["task"]
    test = _holdout(config, table, task)
    if test.all() or not test.any():
        raise DataError(f"split: {table.num_rows} rows give an empty training set or holdout")
    held = int(test.sum())
    said = f"the holdout has {held} of {table.num_rows:,} rows"
    more = f"split: {{test_size: {config.split.test_size:g}}} in {layout.CONFIG} is its share"
    if held < 2:
        raise DataError(f"split: {said}: nothing can be measured on it", hint=more)
    if held < FEW:
        log.warning("warning: %s: what is measured on it is by chance; %s", said, more)
    target = table.column(f"target:{config.data.labels.target}")
    if task != "regression":
        learnt = set(target.filter(~test).to_pylist())
        if len(learnt) < 2:
            raise DataError(f"split: the training rows hold one class only: {learnt.pop()!r}")
    io.write_parquet(root / layout.TRAIN, table.take(np.flatnonzero(~test)))
    io.write_parquet(root / layout.TEST, table.take(np.flatnonzero(test)))


def _holdout(config: Config, table: Any, task: str) -> Any:
    """A boolean array of shape (rows,): true for the holdout."""
    import numpy as np
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    rows, size, seed = np.arange(table.num_rows), config.split.test_size, config.train.seed
    if config.split.by == "time":
        when = table.column(layout.WHEN).to_numpy()
        # rows of one moment stay together: the holdout starts after the cut
        cut = np.sort(when)[min(int(len(when) * (1 - size)), len(when) - 1)]
        late = when >= cut
        return late if not late.all() else when > cut
    if config.split.by == "entity":
        groups = table.column(layout.WHOM).to_numpy()
        _, test = next(GroupShuffleSplit(1, test_size=size, random_state=seed).split(rows, groups=groups))
    else:
        strata = None
        if task != "regression":
            strata = table.column(f"target:{config.data.labels.target}").to_numpy()
            _, counts = np.unique(strata, return_counts=True)
            if counts.min() < 2 or len(counts) > size * len(rows):
                strata = None  # a class with one row cannot be on both sides
        _, test = train_test_split(rows, test_size=size, random_state=seed, stratify=strata)
    return np.isin(rows, test)

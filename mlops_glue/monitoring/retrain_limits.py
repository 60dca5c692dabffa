"""Limits on retraining: the time of the last one, the number of refused candidates, and the rows already used."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, NonNegativeInt

from mlops_glue import files, layout, tables
from mlops_glue.config import Retrain, span
from mlops_glue.errors import DataError
from mlops_glue.metrics import MIN_FRESH_ROWS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store

log = logging.getLogger(__name__)
TAG = "glue.retraining"  # of the registered model: a `State`
KEYS = ["glue_request_id", "glue_row"]


class State(BaseModel):
    """The state of retraining.

    Attributes:
        began: when the last retraining began.
        refused: the number of consecutive refused candidates.
        since: only rows answered later count; None: all.
        resumed: the last version when a person resumed retraining.
    """

    model_config = ConfigDict(strict=True)

    began: AwareDatetime | None = None
    refused: NonNegativeInt = 0
    since: AwareDatetime | None = None
    resumed: NonNegativeInt = 0


def load(store: Store, model: str) -> State:
    """Read the state of retraining, which all machines share.

    Raises:
        DataError: it cannot be read. An empty state would remove all limits.
    """
    try:
        return State.model_validate_json(store.get_model_tag(model, TAG) or "{}")
    except ValueError:
        raise DataError(
            f"{model}: the state of retraining in the registry cannot be read", hint="glue monitor --resume"
        ) from None


def save(store: Store, model: str, state: State, **values: datetime | int | None) -> State:
    """Store the state with new values."""
    new = state.model_copy(update=values)
    store.set_model_tag(model, TAG, new.model_dump_json(exclude_defaults=True))
    return new


def begin_anew(root: Path, state: State, now: datetime, *, had_some: bool) -> State:
    """If the rows already used are unknown, let only rows answered from now on count."""
    try:
        unused(root, state, [], had_some=had_some)
        return state
    except DataError:
        if os.path.lexists(root / layout.APPENDED):
            name = files.set_aside(root / layout.APPENDED).name
            log.info("%s cannot be read: renamed to %s/%s", layout.APPENDED, layout.STATE, name)
        return state.model_copy(update={"since": now.replace(microsecond=0)})


def why_not(options: Retrain, state: State, labelled: int | None, now: datetime) -> str | None:
    """Return why retraining is not allowed now; None if it is. `labelled` is None if labels do not count."""
    if state.refused >= options.max_refused:
        return f"{state.refused} candidates in a row were refused: check why, then run glue monitor --resume"
    if state.began is not None and now < (again := state.began + span(options.cooldown)):
        began, earliest = (time.isoformat(timespec="seconds") for time in (state.began, again))
        return f"the last retraining began at {began}; the next may begin at {earliest}"
    if labelled is not None and labelled < options.min_labelled:
        return f"{labelled:,} new labelled rows; {options.min_labelled:,} are needed"
    if options.data == "append" and (labelled or 0) < 2 * MIN_FRESH_ROWS:
        return f"{labelled or 0:,} new labelled rows; training and evaluation need {2 * MIN_FRESH_ROWS}"
    return None


def unused(root: Path, state: State, tables: list[pa.Table], *, had_some: bool) -> list[pa.Table]:
    """Return the labelled rows that no retraining has used. `had_some`: a retraining has used rows of the log.

    Raises:
        DataError: the rows already used are unknown.
    """
    appended = _appended(root)
    if state.since is not None:
        tables = answered_after(tables, state.since)
    if appended is None:
        if had_some and state.since is None:  # a new clone: the rows would be added a second time
            raise _unknown("does not exist")
        return tables
    used = _keys(appended)
    return [table.filter(~_keys(table).isin(used)) for table in tables]


def answered_after(tables: list[pa.Table], when: datetime) -> list[pa.Table]:
    """Return the rows of the tables that were answered later."""
    at = np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "us")
    return [table.filter(table.column("glue_time").to_numpy().astype("datetime64[us]") > at) for table in tables]


def _appended(root: Path) -> pa.Table | None:
    """Return the keys of the rows that retrainings have used; None if there are none."""
    path = root / layout.APPENDED
    if not os.path.lexists(path):
        return None
    try:
        return tables.read_parquet(path)
    except (OSError, ValueError):  # Arrow's errors are among these
        raise _unknown("cannot be read") from None


def _unknown(why: str) -> DataError:
    return DataError(
        f"{layout.APPENDED}: {why}: the rows already used for retraining are unknown",
        hint="glue monitor --resume; after it, only rows answered from then on count",
    )


def _keys(table: pa.Table) -> pd.MultiIndex:
    import pandas as pd

    return pd.MultiIndex.from_arrays([table.column(key).to_pandas() for key in KEYS])


def note_used(root: Path, answered: list[pa.Table]) -> None:
    """Record that a retraining has used the rows."""
    import pyarrow as pa

    before = _appended(root)
    parts = [*([] if before is None else [before]), *(table.select(KEYS) for table in answered)]
    tables.write_parquet(root / layout.APPENDED, pa.concat_tables([part.replace_schema_metadata() for part in parts]))


def count(tables: list[pa.Table]) -> int:
    """Count the rows of all tables."""
    return sum(table.num_rows for table in tables)

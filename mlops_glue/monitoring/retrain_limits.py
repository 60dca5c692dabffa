"""What limits a retraining: when the last one began, how many candidates were refused, and which rows were used."""

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
    """What retraining has done.

    Attributes:
        began: when the last one began.
        refused: candidates that were refused in a row.
        since: only rows that were answered later count; None: all.
        resumed: the last version when a person let retraining go on.
    """

    model_config = ConfigDict(strict=True)

    began: AwareDatetime | None = None
    refused: NonNegativeInt = 0
    since: AwareDatetime | None = None
    resumed: NonNegativeInt = 0


def load(store: Store, model: str) -> State:
    """What retraining has done, here and on other machines.

    Raises:
        DataError: it cannot be read. It is not taken for nothing: nothing would limit the retrainings then.
    """
    try:
        return State.model_validate_json(store.get_model_tag(model, TAG) or "{}")
    except ValueError:
        raise DataError(
            f"{model}: what the registry keeps of its retrainings cannot be read", hint="glue monitor --resume"
        ) from None


def save(store: Store, model: str, state: State, **values: datetime | int | None) -> State:
    """Keep a state, some values of which are new."""
    new = state.model_copy(update=values)
    store.set_model_tag(model, TAG, new.model_dump_json(exclude_defaults=True))
    return new


def begin_anew(root: Path, state: State, now: datetime, *, had_some: bool) -> State:
    """Where it is not known which rows were used, only those that are answered from now on count."""
    try:
        unused(root, state, [], had_some=had_some)
        return state
    except DataError:
        if os.path.lexists(root / layout.APPENDED):
            log.info("what cannot be read is %s/%s now", layout.STATE, files.set_aside(root / layout.APPENDED).name)
        return state.model_copy(update={"since": now.replace(microsecond=0)})


def why_not(options: Retrain, state: State, labelled: int | None, now: datetime) -> str | None:
    """Why there is no retraining now; None: there may be one. `labelled` None: nobody counts labels."""
    if state.refused >= options.max_refused:
        return f"{state.refused} candidates in a row were refused: a person must look, then glue monitor --resume"
    if state.began is not None and now < (again := state.began + span(options.cooldown)):
        began, earliest = (time.isoformat(timespec="seconds") for time in (state.began, again))
        return f"the last one began at {began}: not before {earliest}"
    if labelled is not None and labelled < options.min_labelled:
        return f"{labelled:,} new labelled rows, of {options.min_labelled:,} that it takes"
    if options.data == "append" and (labelled or 0) < 2 * MIN_FRESH_ROWS:
        few = f"{labelled or 0:,} new labelled rows are too few to train on some of them and to judge by the others"
        return f"{few}: it takes {2 * MIN_FRESH_ROWS}"
    return None


def unused(root: Path, state: State, tables: list[pa.Table], *, had_some: bool) -> list[pa.Table]:
    """The labelled rows that no retraining has used; `had_some` says that one has used rows of the log.

    Raises:
        DataError: which ones that are is not known.
    """
    appended = _appended(root)
    if state.since is not None:
        tables = answered_after(tables, state.since)
    if appended is None:
        if had_some and state.since is None:  # a new clone: the rows would be added a second time
            raise _unknown("is not here")
        return tables
    used = _keys(appended)
    return [table.filter(~_keys(table).isin(used)) for table in tables]


def answered_after(tables: list[pa.Table], when: datetime) -> list[pa.Table]:
    """Their rows that were answered later."""
    at = np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "us")
    return [table.filter(table.column("glue_time").to_numpy().astype("datetime64[us]") > at) for table in tables]


def _appended(root: Path) -> pa.Table | None:
    """The keys of the rows that retrainings have used; None where there was none."""
    path = root / layout.APPENDED
    if not os.path.lexists(path):
        return None
    try:
        return tables.read_parquet(path)
    except (OSError, ValueError):  # Arrow's errors are among these
        raise _unknown("cannot be read") from None


def _unknown(why: str) -> DataError:
    return DataError(
        f"{layout.APPENDED}: {why}: which rows a retraining has had is not known",
        hint="glue monitor --resume, which lets only rows count that are answered from then on",
    )


def _keys(table: pa.Table) -> pd.MultiIndex:
    import pandas as pd

    return pd.MultiIndex.from_arrays([table.column(key).to_pandas() for key in KEYS])


def note_used(root: Path, answered: list[pa.Table]) -> None:
    """Write down that a retraining has used these rows."""
    import pyarrow as pa

    before = _appended(root)
    parts = [*([] if before is None else [before]), *(table.select(KEYS) for table in answered)]
    tables.write_parquet(root / layout.APPENDED, pa.concat_tables([part.replace_schema_metadata() for part in parts]))


def count(tables: list[pa.Table]) -> int:
    """Rows of all of them."""
    return sum(table.num_rows for table in tables)

"""What limits a retraining: when the last one began, how many candidates were refused, and which rows were used."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout, tables
from mlops_glue.config import Retrain, span
from mlops_glue.errors import DataError
from mlops_glue.metrics import MIN_FRESH_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

TAG = "glue.retraining"  # of the registered model: when a job asked for a retraining last
KEYS = ["glue_request_id", "glue_row"]


def state(root: Path) -> dict[str, Any]:
    """When a retraining began last, how many candidates in a row were refused, and from when on rows of the log count.

    Raises:
        DataError: what is kept is torn. It is not believed: nothing would limit the retrainings then.
    """
    path = root / layout.RETRAIN
    try:
        return checked(path.read_text(encoding="utf-8") if os.path.lexists(path) else "{}")
    except (ValueError, OSError):
        raise DataError(
            f"{layout.RETRAIN}: cannot be read: what retraining has done is not known",
            hint="glue monitor --resume, which begins anew",
        ) from None


def checked(text: str) -> dict[str, Any]:
    """A state as JSON has it.

    Raises:
        ValueError: it is none.
    """
    kept = json.loads(text)
    if not isinstance(kept, dict):
        raise ValueError("no object")
    kept = {"began": None, "refused": 0, "since": None, "resumed": 0, **kept}
    for key in ("began", "since"):
        if kept[key] is not None and (type(kept[key]) is not str or datetime.fromisoformat(kept[key]).tzinfo is None):
            raise ValueError("no time")
    if any(type(kept[key]) is not int or kept[key] < 0 for key in ("refused", "resumed")):
        raise ValueError("no count")
    return kept


def begin_anew(root: Path, now: datetime, *, had_some: bool = False) -> list[str]:
    """Put aside what cannot be read; what the files are called now. `had_some` as `unused` takes it.

    Where it is not known which rows a retraining has had, only those that are answered from now on count.
    """
    aside = []
    try:
        state(root)
    except DataError:
        aside.append(files.set_aside(root / layout.RETRAIN).name)
    try:
        unused(root, [], had_some=had_some)
    except DataError:
        if os.path.lexists(root / layout.APPENDED):
            aside.append(files.set_aside(root / layout.APPENDED).name)
        keep(root, {"since": now.isoformat(timespec="seconds")})
    return aside


def keep(root: Path, values: dict[str, Any]) -> None:
    """Write some of them."""
    files.write_json(root / layout.RETRAIN, state(root) | values)


def why_not(options: Retrain, kept: dict[str, Any], labelled: int | None, now: datetime) -> str | None:
    """Why there is no retraining now; None: there may be one. `labelled` None: nobody counts labels."""
    if kept["refused"] >= options.max_refused:
        return f"{kept['refused']} candidates in a row were refused: a person must look, then glue monitor --resume"
    if kept["began"] is not None:
        again = datetime.fromisoformat(kept["began"]) + span(options.cooldown)
        if now < again:
            return f"the last one began at {kept['began']}: not before {again.isoformat(timespec='seconds')}"
    if labelled is not None and labelled < options.min_labelled:
        return f"{labelled:,} new labelled rows, of {options.min_labelled:,} that it takes"
    if options.data == "append" and (labelled or 0) < 2 * MIN_FRESH_ROWS:
        said = f"{labelled or 0:,} new labelled rows are too few to train on some of them and to judge by the others"
        return f"{said}: it takes {2 * MIN_FRESH_ROWS}"
    return None


def unused(root: Path, tables: list[pa.Table], *, had_some: bool = False) -> list[pa.Table]:
    """The labelled rows that no retraining has had; `had_some` says that there was one that took rows of the log.

    Raises:
        DataError: which ones that are is not known.
    """
    since, appended = state(root)["since"], _appended(root)
    if since is not None:
        tables = answered_after(tables, datetime.fromisoformat(since))
    if appended is None:
        if had_some and since is None:  # a new clone: the rows would be added a second time
            raise _unknown("is not here")
        return tables
    had = _keys(appended)
    return [table.filter(~_keys(table).isin(had)) for table in tables]


def answered_after(tables: list[pa.Table], when: datetime) -> list[pa.Table]:
    """Their rows that were answered later."""
    at = np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "us")
    return [table.filter(table.column("glue_time").to_numpy().astype("datetime64[us]") > at) for table in tables]


def _appended(root: Path) -> pa.Table | None:
    """The keys of the rows that a retraining has had; None where there was none."""
    path = root / layout.APPENDED
    if not os.path.lexists(path):
        return None
    try:
        return tables.read_parquet(path)
    except (OSError, ValueError):  # Arrow's errors are among these
        raise _unknown("cannot be read") from None


def _unknown(said: str) -> DataError:
    return DataError(
        f"{layout.APPENDED}: {said}: which rows a retraining has had is not known",
        hint="glue monitor --resume, which lets only rows count that are answered from then on",
    )


def _keys(table: pa.Table) -> Any:
    import pandas as pd

    return pd.MultiIndex.from_arrays([table.column(key).to_pandas() for key in KEYS])


def note_used(root: Path, answered: list[pa.Table]) -> None:
    """Write down that a retraining has had these rows."""
    import pyarrow as pa

    before = _appended(root)
    parts = [*([] if before is None else [before]), *(table.select(KEYS) for table in answered)]
    tables.write_parquet(root / layout.APPENDED, pa.concat_tables([one.replace_schema_metadata(None) for one in parts]))


def bounds(former: list[int | str], now: int | str) -> list[int | str]:
    """`split.fresh_after` with one more; a bound that is not before it is of a table that is no more."""
    return [one for one in former if type(one) is not type(now) or one < now] + [now]  # type: ignore[operator]


def began(root: Path) -> None:
    """A retraining begins."""
    keep(root, {"began": datetime.now(UTC).isoformat(timespec="seconds")})


def labelled(tables: list[pa.Table]) -> int:
    """Rows of all of them."""
    return sum(table.num_rows for table in tables)

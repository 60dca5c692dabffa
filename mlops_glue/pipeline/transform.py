"""The project's own transform: raw tables in, feature tables out, and the check that it does not look ahead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import layout, tables
from mlops_glue.config import Config
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import CheckFailed, DataError, GlueError, StageError, brief, project_lines
from mlops_glue.modules import import_callable
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)
Tables = dict[str, "pd.DataFrame"]  # by name
Transform = Callable[[Tables], Tables]
CUT = 0.6  # share of the returned rows: raw rows that became known after them are removed
UNJUDGED = "warning: features.transform: not checked whether it looks ahead%s: %s"
CLOSE = 1e-9  # relative; sums in a different order differ in their last digits


def load(config: Config, root: Path) -> Transform:
    """Return the function that `features.transform` names, as `run` calls it.

    Raises:
        ConfigError: it cannot be imported, or is not a function.
    """
    path = config.features.transform or ""
    return partial(run, path, root, import_callable(path, f"{layout.CONFIG} features.transform", "module:function"))


def run(path: str, root: Path, transform: Transform, tables: Tables) -> Tables:
    """Run a transform on copies of the tables, and return its checked tables; times in UTC, microseconds.

    Raises:
        StageError: it raises; the message names only lines of the project's own code.
        DataError: it returns no frames, an empty frame, or two columns with the same name.
    """
    named = f"features.transform {path}"
    try:
        made = transform({name: table.copy() for name, table in tables.items()})
    except GlueError:
        raise
    except Exception as error:
        raise StageError(f"{named}: {brief(error)}{project_lines(error, root)}") from error
    import pandas as pd

    if not isinstance(made, dict) or not all(isinstance(t, pd.DataFrame) for t in made.values()):
        raise DataError(f"{named}: returns {type(made).__name__}", hint="return a dict of data frames by name")
    for name, table in made.items():
        twice = sorted({str(c) for c in table.columns if list(table.columns).count(c) > 1})
        if table.empty:
            raise DataError(f"{named}: the table {name!r} is empty")
        if twice:
            raise DataError(f"{named}: the table {name!r} has two columns {twice[0]!r}")
        for column in table.columns:
            if isinstance(table[column].dtype, pd.DatetimeTZDtype) or table[column].dtype.kind == "M":
                table[column] = _utc(table[column])
    return made


def _utc(values: Any) -> Any:
    """Return times in UTC; naive times count as UTC, as in Feast."""
    aware = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
    return aware.dt.as_unit("us")


def write(root: Path, made: Tables) -> None:
    """Write one Parquet file for each table.

    Raises:
        DataError: a column has values without a common type.
    """
    import pyarrow as pa

    for name, table in made.items():
        try:
            columns = pa.Table.from_pandas(table, preserve_index=False)
        except pa.ArrowException as error:
            raise DataError(f"features.transform: the table {name!r}: {': '.join(map(str, error.args))}") from error
        tables.write_parquet(root / layout.FEATURE_TABLES / f"{name}.parquet", columns)


def known_at(config: Config, name: str, table: pa.Table) -> Array | None:
    """Return when each row of a source became known: datetime64[us] of shape (rows,); None without a timestamp."""
    import numpy as np

    source = config.data.sources[name]
    if not source.timestamps:
        return None
    happened = timestamps_utc(table, source.timestamps)
    return np.maximum(happened, timestamps_utc(table, [source.created])) if source.created else happened


def check_no_future(
    transform: Transform,
    tables: Tables,
    known: dict[str, Array | None],
    made: Tables,
    clocks: dict[str, tuple[list[str], list[str]]],
) -> None:
    """Check that the transform does not look ahead: rows up to a cut must not change if later raw rows are removed.

    What cannot be checked in this way is refused, or named in a warning.

    Args:
        transform: from `load`.
        tables: the raw tables.
        known: from `known_at`, for each raw table.
        made: the tables that the transform returned.
        clocks: for each returned table that Feast reads, its keys and its timestamp columns.

    Raises:
        CheckFailed: a value changed, so it was computed from the future.
        DataError: a returned table lacks a key or a timestamp column.
        StageError: the transform fails on a part of the data.
    """
    if not clocks:
        log.warning(UNJUDGED, "", "no view of features.use reads a table that it returns")
        return
    stamps = {name: row_times(made, name, keys, columns) for name, (keys, columns) in clocks.items()}
    cut = time_cut(known, stamps)
    if cut is None:
        log.warning(UNJUDGED, "", "no source has rows later than the rows that it returns, so none could be removed")
        return
    try:
        again = transform(_known_by(cut, tables, known))
    except GlueError as error:
        raise StageError(
            f"with only the rows up to {_second(cut)}, {error.message}",
            hint="it is run again on a part of the data, to check that it does not look ahead",
        ) from error
    for name, (keys, columns) in clocks.items():
        if not (stamps[name] <= cut).any():
            log.warning(UNJUDGED, f" for {name}", f"all its rows are later than {_second(cut)}")
            continue
        difference: str | None = "is not returned"
        if name in again:
            old = _up_to(cut, made[name], stamps[name], [*keys, *columns])
            new = _up_to(cut, again[name], row_times(again, name, keys, columns), [*keys, *columns])
            difference = first_difference(old, new, keys, columns[0])
        if difference is not None:
            raise CheckFailed(
                f"features.transform looks ahead: {name} {difference} without what happened after {_second(cut)}",
                hint="for each row, use only rows from before its time",
            )


def _known_by(cut: np.datetime64, tables: Tables, known: dict[str, Array | None]) -> Tables:
    """Return the rows of each raw table known by the cut; a table without such rows or a timestamp stays complete."""
    before = {}
    for name, table in tables.items():
        clock = known[name]
        rows = clock <= cut if clock is not None else None
        if rows is None or not rows.any():
            why = "it has no timestamp" if rows is None else f"all its rows are later than {_second(cut)}"
            log.warning(UNJUDGED, f" in {name}", f"{why}, so none was removed")
            before[name] = table
        else:
            before[name] = table[rows]
    return before


def _up_to(cut: np.datetime64, table: pd.DataFrame, stamps: Array, order: list[str]) -> pd.DataFrame:
    """Return the rows of a returned table known by the cut, in order."""
    rows: pd.DataFrame = table[stamps <= cut]
    return rows.sort_values(order, kind="stable").reset_index(drop=True)


def row_times(made: Tables, name: str, keys: list[str], columns: list[str]) -> Array:
    """Return when each row of a returned table became known."""
    import numpy as np
    import pandas as pd

    if name not in made:
        raise DataError(f"features.transform: a view reads a table {name!r}, which it does not return")
    table = made[name]
    missing = [column for column in (*keys, *columns) if column not in table]
    if missing:
        suggestion = did_you_mean(missing[0], [str(column) for column in table.columns])
        raise DataError(f"features.transform: the table {name!r} has no column {missing[0]!r} ({suggestion})")
    times = [pd.to_datetime(table[column], utc=True).to_numpy("datetime64[us]") for column in columns]
    latest: Array = np.maximum.reduce(times)
    return latest  # a row without a time is never known, as in the join


def time_cut(known: dict[str, Array | None], stamps: dict[str, Array]) -> np.datetime64 | None:
    """Return the time just before a source's row that is later than `CUT` of the returned rows; None if none is."""
    import numpy as np

    times = np.sort(np.concatenate([table[~np.isnat(table)] for table in stamps.values()]))
    clocks = [clock for clock in known.values() if clock is not None and len(clock)]
    if not len(times) or not clocks:
        return None
    most = times[int(CUT * (len(times) - 1))]
    later = [clock[clock > most].min() for clock in clocks if (clock > most).any()]
    cut = min(later) if later else max(clock.max() for clock in clocks)
    cut -= np.timedelta64(1, "us")
    return cut if (times <= cut).any() else None


def _second(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]"))


def first_difference(old: pd.DataFrame, new: pd.DataFrame, keys: list[str], clock: str) -> str | None:
    """Return the first difference as text."""
    import numpy as np

    if len(old) != len(new):
        return f"has {len(old):,} rows up to then, but {len(new):,}"
    for column in old.columns:
        if column not in new.columns:
            return f"has a column {column!r}, but not"
        a, b = old[column], new[column]
        both_null = (a.isna() & b.isna()).to_numpy()
        wrong = np.flatnonzero(~(equal_values(a, b) | both_null))
        if len(wrong):
            row = old.loc[wrong[0]]
            of = ", ".join(f"{key} {row[key]}" for key in keys)
            return f"{column} of {of} at {row[clock]} is {a[wrong[0]]}, but {b[wrong[0]]}"
    return None


def equal_values(a: Any, b: Any) -> Array:
    """Return where two columns are equal: fractions up to the last digits, anything else exactly."""
    import numpy as np
    import pandas as pd

    types = pd.api.types
    same: Array
    if all(types.is_numeric_dtype(c) for c in (a, b)) and any(types.is_float_dtype(c) for c in (a, b)):
        x, y = (c.to_numpy(float, na_value=np.nan) for c in (a, b))
        scale = np.abs(x[np.isfinite(x)]).max(initial=0)
        same = np.isclose(x, y, rtol=CLOSE, atol=CLOSE * 1e-3 * scale)
    else:
        a, b = (c.map(repr) if c.map(types.is_list_like).any() else c.astype(object) for c in (a, b))
        same = (a.where(a.notna(), None) == b.where(b.notna(), None)).to_numpy(bool)
    return same

"""The project's own transform: raw tables in, feature tables out, and the proof that it does not look ahead."""

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
CUT = 0.6  # share of the made rows: what was known only after them is taken away
UNJUDGED = "warning: features.transform: not checked whether it looks ahead%s: %s"
CLOSE = 1e-9  # relative; sums in another order differ in their last digits


def load(config: Config, root: Path) -> Transform:
    """The function that `features.transform` names, as `run` calls it.

    Raises:
        ConfigError: it does not import, or is no function.
    """
    path = config.features.transform or ""
    return partial(run, path, root, import_callable(path, f"{layout.CONFIG} features.transform", "module:function"))


def run(path: str, root: Path, transform: Transform, tables: Tables) -> Tables:
    """What a transform makes of copies of the tables, checked; times in UTC, microseconds.

    Raises:
        StageError: it raises; the message names the lines of the project's own code alone.
        DataError: it gives no frames, an empty one, or two columns of one name.
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
        raise DataError(f"{named}: gives {type(made).__name__}", hint="return a dict of data frames by name")
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
    """Naive times count as UTC, as Feast takes them."""
    aware = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
    return aware.dt.as_unit("us")


def write(root: Path, made: Tables) -> None:
    """One Parquet file for each table.

    Raises:
        DataError: a column is of values that have no common type.
    """
    import pyarrow as pa

    for name, table in made.items():
        try:
            columns = pa.Table.from_pandas(table, preserve_index=False)
        except pa.ArrowException as error:
            raise DataError(f"features.transform: the table {name!r}: {': '.join(map(str, error.args))}") from error
        tables.write_parquet(root / layout.FEATURE_TABLES / f"{name}.parquet", columns)


def known_at(config: Config, name: str, table: pa.Table) -> Array | None:
    """When each row of a source was known: datetime64[us] of shape (rows,); None where the source has no clock."""
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
    """Take away what was known only after a moment: what the transform makes of the time before it must stay the same.

    What cannot be judged so is refused, or named in a warning.

    Args:
        transform: as `load` gives it.
        tables: the raw tables.
        known: as `known_at` gives it, of each raw table.
        made: what came of them.
        clocks: of each made table that Feast reads, its keys and the columns that say when a row was known.

    Raises:
        CheckFailed: a value changed, so it was computed with the future.
        DataError: a made table lacks a key or a clock.
        StageError: the transform fails on a part of the data.
    """
    if not clocks:
        log.warning(UNJUDGED, "", "no view of features.use reads a file that it makes")
        return
    stamps = {name: row_times(made, name, keys, columns) for name, (keys, columns) in clocks.items()}
    cut = time_cut(known, stamps)
    if cut is None:
        log.warning(UNJUDGED, "", "no source has rows of a later time than what it makes, which could be taken away")
        return
    try:
        again = transform(_known_by(cut, tables, known))
    except GlueError as error:
        raise StageError(
            f"with the rows up to {_second(cut)} alone, {error.message}",
            hint="it is run again on a part of the data, to see that it does not look ahead",
        ) from error
    for name, (keys, columns) in clocks.items():
        if not (stamps[name] <= cut).any():
            log.warning(UNJUDGED, f" for {name}", f"all its rows are of after {_second(cut)}")
            continue
        difference: str | None = "is not made"
        if name in again:
            old = _up_to(cut, made[name], stamps[name], [*keys, *columns])
            new = _up_to(cut, again[name], row_times(again, name, keys, columns), [*keys, *columns])
            difference = first_difference(old, new, keys, columns[0])
        if difference is not None:
            raise CheckFailed(
                f"features.transform looks ahead: {name} {difference} without what happened after {_second(cut)}",
                hint="at each row use only rows before its time",
            )


def _known_by(cut: np.datetime64, tables: Tables, known: dict[str, Array | None]) -> Tables:
    """The rows of each raw table that were known by then; a table that has no such rows, or no clock, stays whole."""
    before = {}
    for name, table in tables.items():
        clock = known[name]
        rows = clock <= cut if clock is not None else None
        if rows is None or not rows.any():
            why = "it has no timestamp" if rows is None else f"all its rows are of after {_second(cut)}"
            log.warning(UNJUDGED, f" in {name}", f"{why}, so none was taken away")
            before[name] = table
        else:
            before[name] = table[rows]
    return before


def _up_to(cut: np.datetime64, table: pd.DataFrame, stamps: Array, order: list[str]) -> pd.DataFrame:
    """The rows of a made table that were known by then, in order."""
    rows: pd.DataFrame = table[stamps <= cut]
    return rows.sort_values(order, kind="stable").reset_index(drop=True)


def row_times(made: Tables, name: str, keys: list[str], columns: list[str]) -> Array:
    """When each row of a made table was known."""
    import numpy as np
    import pandas as pd

    if name not in made:
        raise DataError(f"features.transform: a view reads a table {name!r}, which it does not make")
    table = made[name]
    missing = [column for column in (*keys, *columns) if column not in table]
    if missing:
        suggestion = did_you_mean(missing[0], [str(column) for column in table.columns])
        raise DataError(f"features.transform: the table {name!r} has no column {missing[0]!r} ({suggestion})")
    times = [pd.to_datetime(table[column], utc=True).to_numpy("datetime64[us]") for column in columns]
    latest: Array = np.maximum.reduce(times)
    return latest  # without a time it is never known, as in the join


def time_cut(known: dict[str, Array | None], stamps: dict[str, Array]) -> np.datetime64 | None:
    """Just before a row of a source that follows `CUT` of the made rows; None where no row does."""
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
    """The first value that differs, as text."""
    import numpy as np

    if len(old) != len(new):
        return f"has {len(old):,} rows of that time, and {len(new):,}"
    for column in old.columns:
        if column not in new.columns:
            return f"has a column {column!r}, and none"
        a, b = old[column], new[column]
        both_null = (a.isna() & b.isna()).to_numpy()
        wrong = np.flatnonzero(~(equal_values(a, b) | both_null))
        if len(wrong):
            row = old.loc[wrong[0]]
            of = ", ".join(f"{key} {row[key]}" for key in keys)
            return f"{column} of {of} at {row[clock]} is {a[wrong[0]]}, and {b[wrong[0]]}"
    return None


def equal_values(a: Any, b: Any) -> Array:
    """Where two columns hold the same: fractions up to the last digits, anything else exactly."""
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
